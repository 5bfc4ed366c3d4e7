//! The roster (RFC 6121 §2): what an account keeps of its contacts, how it is written down and shown.

use crate::core::share::{Shared, Shares, limits};
use crate::core::subscription;
use crate::store::record::{Broken, Reader, Writer};
use crate::wire::xml::escape;
use crate::wire::{Condition, Jid, StanzaError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Contacts in one roster, without the requests of strangers.
pub(crate) const ROSTER_ITEMS: usize = 2000;
/// A roster as it is written to a client, in bytes.
pub(crate) const ROSTER_BYTES: usize = 512 * 1024;
/// Requests of strangers that wait for an answer.
pub(crate) const PENDING_ITEMS: usize = 200;
/// The same in bytes, about: their addresses, and what they say.
pub(crate) const PENDING_BYTES: usize = 256 * 1024;
/// The name of a contact, in bytes.
pub(crate) const NAME_BYTES: usize = 1023;
/// The name of a group, in bytes.
pub(crate) const GROUP_BYTES: usize = 1023;
/// Groups of one contact.
pub(crate) const GROUPS: usize = 32;
/// A subscription request that is kept until it is answered, in bytes; a longer one is kept without its children.
pub(crate) const REQUEST_BYTES: usize = 1024;

/// For the table of what is shared.
pub(crate) const SHARED: Shared = Shared {
    what: "requests for a subscription that wait for one account",
    whole: limits![PENDING_ITEMS, PENDING_BYTES],
    share: "an account is one; the accounts of another domain, the rule",
    checked: "core/roster/list.rs",
    told: "`resource-constraint`",
};

/// An account's contacts.
#[derive(Debug, Default)]
pub struct Roster {
    /// Changes with every change; unpredictable, so that a version that was told and then lost with the power never comes
    /// again with another meaning.
    pub version: Box<str>,
    /// By bare JID (or whatever the contact's address is).
    pub items: BTreeMap<Jid, Item>,
    /// Those that are listed, and their bytes as they are written to a client.
    listed: usize,
    bytes: usize,
}

/// What an account keeps of one contact (RFC 6121 §2.1.2).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// Whether it is in the roster as clients see it; if not, it is here for its `state.pending` alone (RFC 6121 §3.1.3).
    pub listed: bool,
    /// The name the user gave it.
    pub name: Option<Arc<str>>,
    /// Its groups, sorted, each once.
    pub groups: Arc<Vec<Box<str>>>,
    pub state: subscription::SubscriptionState,
    /// The request that waits for an answer, as XML, while `state.pending`.
    pub request: Option<Box<str>>,
    /// The house has put it there (`core/household.rs`): it goes with the account that it is for.
    pub house: bool,
}

/// The bits of an item's row, which are for good.
mod bit {
    pub(crate) const LISTED: u8 = 1 << 0;
    pub(crate) const TO: u8 = 1 << 1;
    pub(crate) const FROM: u8 = 1 << 2;
    pub(crate) const ASK: u8 = 1 << 3;
    pub(crate) const PENDING: u8 = 1 << 4;
    pub(crate) const APPROVED: u8 = 1 << 5;
    pub(crate) const HOUSE: u8 = 1 << 6;
}

impl Item {
    /// Whether nothing is left to remember.
    pub fn is_empty(&self) -> bool {
        !self.listed && self.state == subscription::SubscriptionState::default()
    }

    /// The bytes of its `<item/>`.
    fn bytes(&self, jid: &Jid) -> usize {
        let mut out = String::new();
        self.write(jid, &mut out);
        out.len()
    }

    /// Appends the `<item/>` (RFC 6121 §2.1.2).
    pub fn write(&self, jid: &Jid, out: &mut String) {
        out.push_str("<item jid='");
        escape(jid.as_str(), out);
        out.push_str("' subscription='");
        out.push_str(self.state.as_str());
        out.push('\'');
        if self.state.ask {
            out.push_str(" ask='subscribe'");
        }
        if self.state.approved {
            out.push_str(" approved='true'");
        }
        if let Some(name) = &self.name {
            out.push_str(" name='");
            escape(name, out);
            out.push('\'');
        }
        if self.groups.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for group in self.groups.iter() {
            out.push_str("<group>");
            escape(group, out);
            out.push_str("</group>");
        }
        out.push_str("</item>");
    }

    /// Its row in [`crate::store::Tree::Roster`].
    pub fn record(&self) -> Box<[u8]> {
        let s = self.state;
        let flags = [
            (bit::LISTED, self.listed),
            (bit::TO, s.to),
            (bit::FROM, s.from),
            (bit::ASK, s.ask),
            (bit::PENDING, s.pending),
            (bit::APPROVED, s.approved),
            (bit::HOUSE, self.house),
        ];
        let mut w = Writer::new(1).flags(&flags).opt_str(self.name.as_deref()).u32(self.groups.len() as u32);
        for group in self.groups.iter() {
            w = w.str(group);
        }
        w.opt_str(self.request.as_deref()).done()
    }

    /// The item of such a row.
    pub fn from_record(record: &[u8]) -> Result<Item, Broken> {
        let mut r = Reader::new(record)?;
        if r.version != 1 {
            return Err(Broken);
        }
        let bits = r.u8()?;
        let has = |bit: u8| bits & bit != 0;
        Ok(Item {
            listed: has(bit::LISTED),
            house: has(bit::HOUSE),
            state: subscription::SubscriptionState {
                to: has(bit::TO),
                from: has(bit::FROM),
                ask: has(bit::ASK),
                pending: has(bit::PENDING),
                approved: has(bit::APPROVED),
            },
            name: r.opt_str()?.map(Into::into),
            groups: Arc::new((0..r.u32()?).map(|_| r.str().map(Into::into)).collect::<Result<_, _>>()?),
            request: r.opt_str()?.map(Into::into),
        })
    }
}

/// What a request takes, in bytes, about.
fn request_bytes(contact: &Jid, request: usize) -> usize {
    128 + contact.as_str().len() + request
}

impl Roster {
    /// What is known of a contact; the default for one that is not there.
    pub fn state(&self, jid: &Jid) -> subscription::SubscriptionState {
        self.items.get(jid).map(|i| i.state).unwrap_or_default()
    }

    /// After many were taken in, mostly at the end of the map: its nodes are half empty, and full again behind this.
    pub(in crate::core) fn fit(&mut self) {
        self.items = std::mem::take(&mut self.items).into_iter().collect();
    }

    /// Takes an item in; an empty one takes it out.
    pub(in crate::core) fn insert(&mut self, jid: Jid, item: Item) {
        // What strangers ask for is not the account's doing.
        let size = |item: &Item| if item.listed { (1, item.bytes(&jid)) } else { (0, 0) };
        let (count, bytes) = size(&item);
        let old = if item.is_empty() { self.items.remove(&jid) } else { self.items.insert(jid.clone(), item) };
        let (old_count, old_bytes) = old.as_ref().map_or((0, 0), size);
        self.listed = (self.listed + count).saturating_sub(old_count);
        self.bytes = (self.bytes + bytes).saturating_sub(old_bytes);
    }

    /// Whether a request of somebody, of so many bytes, may wait for an answer, too. `whose`: in whose share it is.
    pub(in crate::core) fn takes_request<'a>(
        &'a self,
        contact: &'a Jid,
        bytes: usize,
        whose: impl Fn(&'a Jid) -> &'a str,
    ) -> bool {
        let (mut items, mut all) = (Shares::default(), Shares::default());
        for (jid, item) in self.items.iter().filter(|(_, item)| item.state.pending) {
            items.add(whose(jid), 1);
            all.add(whose(jid), request_bytes(jid, item.request.as_deref().map_or(0, str::len)));
        }
        let who = whose(contact);
        items.may(who, 1, PENDING_ITEMS) && all.may(who, request_bytes(contact, bytes), PENDING_BYTES)
    }

    /// Whether an item has room in the place of what is there.
    pub(in crate::core) fn has_room(&self, jid: &Jid, item: &Item) -> Result<(), StanzaError> {
        let old = self.items.get(jid).filter(|old| old.listed);
        let bytes = self.bytes.saturating_sub(old.map_or(0, |old| old.bytes(jid))) + item.bytes(jid);
        if (old.is_none() && self.listed >= ROSTER_ITEMS) || bytes > ROSTER_BYTES {
            return Err(StanzaError::new(Condition::ResourceConstraint).text("the roster is full"));
        }
        Ok(())
    }

    /// Contacts that get the account's presence.
    pub fn subscribers(&self) -> impl Iterator<Item = &Jid> {
        self.items.iter().filter(|(_, i)| i.state.from).map(|(jid, _)| jid)
    }

    /// Contacts whose presence the account gets.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Jid> {
        self.items.iter().filter(|(_, i)| i.state.to).map(|(jid, _)| jid)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_one_on_disks() {
        type Flag = (fn(&mut Item), u8);
        let bits: [Flag; 7] = [
            (|item| item.listed = true, 0b00_0001),
            (|item| item.state.to = true, 0b00_0010),
            (|item| item.state.from = true, 0b00_0100),
            (|item| item.state.ask = true, 0b00_1000),
            (|item| item.state.pending = true, 0b01_0000),
            (|item| item.state.approved = true, 0b10_0000),
            (|item| item.house = true, 0b100_0000),
        ];
        for (set, bit) in bits {
            let mut item = Item::default();
            set(&mut item);
            let bytes = [1, bit, 0, 0, 0, 0, 0, 0];
            assert_eq!(*item.record(), bytes);
            assert_eq!(Item::from_record(&bytes).unwrap(), item);
        }
        let item = Item {
            name: Some("N".into()),
            groups: Arc::new(vec!["G".into()]),
            request: Some("<r/>".into()),
            ..Item::default()
        };
        let bytes = b"\x01\0\x01\x01\0\0\0N\x01\0\0\0\x01\0\0\0G\x01\x04\0\0\0<r/>";
        assert_eq!(*item.record(), *bytes);
        assert_eq!(Item::from_record(bytes).unwrap(), item);
    }
}
