//! XEP-0191: Blocking Command. Whom an account blocks is in [`core::account`](crate::core::account); presence heeds it there.

use crate::core::account::{Account, covers};
use crate::core::{About, Event, Extension, Flow, Handled, Place, SessionId, State};
use crate::wire::xml::escape;
use crate::wire::{Condition, Jid, Kind, Node, Ns, Stanza, StanzaError, Type};
use std::collections::BTreeSet;

/// Addresses that one account can block, in bytes as they are written.
const BLOCKED_BYTES: usize = 128 * 1024;
/// What is around an address there, in bytes.
const ITEM_BYTES: usize = "<item jid=''/>".len();

#[derive(Default)]
pub(super) struct Blocking {
    /// The sessions that asked for the list, and are told when it changes (§3.3).
    asked: BTreeSet<SessionId>,
}

/// The addresses in a request.
fn items(request: Node<'_>) -> Result<BTreeSet<Jid>, StanzaError> {
    let bad = |text: &'static str| StanzaError::new(Condition::BadRequest).text(text);
    let mut jids = BTreeSet::new();
    for item in request.children() {
        if !item.is(Ns::BLOCKING, "item") {
            return Err(bad("only items stand here"));
        }
        let jid = item.attr("jid").ok_or_else(|| bad("an item has no jid"))?;
        jids.insert(Jid::parse(&jid).map_err(|e| StanzaError::new(Condition::JidMalformed).text(e.0))?);
    }
    Ok(jids)
}

/// `<block/>`, `<unblock/>` or `<blocklist/>` with these items.
fn element<'a>(name: &str, jids: impl IntoIterator<Item = &'a Jid>) -> String {
    let mut out = format!("<{name} xmlns='urn:xmpp:blocking'>");
    for jid in jids {
        out.push_str("<item jid='");
        escape(jid.as_str(), &mut out);
        out.push_str("'/>");
    }
    out.push_str("</");
    out.push_str(name);
    out.push('>');
    out
}

/// The addresses that may see the account's presence, are meant by one of these entries, and are not blocked now.
fn seeing(account: &Account, entries: &BTreeSet<Jid>) -> BTreeSet<Jid> {
    let contacts = account.roster.subscribers().filter(|contact| covers(entries, contact));
    // One resource of a contact.
    let resources = entries.iter().filter(|jid| !jid.is_bare() && account.roster.state(&jid.bare()).from);
    let mut jids: BTreeSet<Jid> = contacts.chain(resources).cloned().collect();
    jids.retain(|jid| !account.blocks(jid));
    jids
}

/// Whose invitation, or answer to one, a room passes on.
fn carried(message: &Stanza) -> Option<Jid> {
    if !message.may_have(Ns::MUC_USER) {
        return None;
    }
    let x = message.child(Ns::MUC_USER, "x")?;
    let inside = x.children().find(|c| c.is(Ns::MUC_USER, "invite") || c.is(Ns::MUC_USER, "decline"))?;
    Jid::parse(&inside.attr("from")?).ok()
}

fn block(st: &mut State, local: &str, entries: &BTreeSet<Jid>) -> Result<(), StanzaError> {
    st.write()?;
    let Some(account) = st.account_of(local) else { return Ok(()) };
    let new: Vec<Jid> = entries.difference(&account.blocked).cloned().collect();
    let bytes: usize = account.blocked.iter().chain(&new).map(|jid| ITEM_BYTES + jid.as_str().len()).sum();
    if bytes > BLOCKED_BYTES {
        return Err(StanzaError::new(Condition::ResourceConstraint).text("the block list is full"));
    }
    let losing = seeing(account, entries);
    st.block(local, &new)?;
    for jid in &losing {
        st.withdraw(local, jid);
    }
    // Directed presence is taken back, too; who was just told need not hear it twice.
    for sid in st.sessions_of(local) {
        let (Some(account), Some(session)) = (st.account_of(local), st.session(sid)) else { continue };
        let (me, shows) = (session.jid.clone(), session.presence.is_some());
        let blocked: Vec<Jid> = session.directed.iter().filter(|jid| account.blocks(jid)).cloned().collect();
        for jid in blocked {
            st.forget_directed(sid, &jid);
            if !shows || !covers(&losing, &jid) {
                st.send(Stanza::new(Kind::Presence, Type::Unavailable).from(me.clone()).to(jid));
            }
        }
    }
    Ok(())
}

/// `None`: all.
fn unblock(st: &mut State, local: &str, entries: Option<BTreeSet<Jid>>) -> Result<(), StanzaError> {
    st.erase()?;
    let Some(account) = st.account_of(local) else { return Ok(()) };
    let gone: BTreeSet<Jid> = match entries {
        Some(entries) => account.blocked.intersection(&entries).cloned().collect(),
        None => account.blocked.clone(),
    };
    st.unblock(local, &gone)?;
    let Some(account) = st.account_of(local) else { return Ok(()) };
    let seeing = seeing(account, &gone);
    let seen = account.roster.subscriptions().filter(|contact| covers(&gone, contact));
    let seen: Vec<Jid> = seen.filter(|contact| !account.blocks(contact)).cloned().collect();
    for jid in &seeing {
        st.show(local, jid);
    }
    // What the contact's presence is now, nobody in this account knows.
    for sid in st.available(local) {
        let Some(session) = st.session(sid) else { continue };
        let me = session.jid.clone();
        for contact in &seen {
            st.send(Stanza::new(Kind::Presence, Type::Probe).from(me.clone()).to(contact.clone()));
        }
    }
    Ok(())
}

impl Extension for Blocking {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0191",
            name: "Blocking Command",
            version: "1.3",
            missing: "a blocked full JID still gets the presence that is broadcast to its bare JID",
            server: &["urn:xmpp:blocking"],
            account: &["urn:xmpp:blocking"],
            iq: &[Ns::BLOCKING],
        }
    }

    /// What the user sends to a blocked address (§3.3).
    fn leave(&mut self, st: &mut State, sid: SessionId, stanza: &mut Stanza) -> Handled {
        let account = st.session(sid).and_then(|s| st.account_of(s.local()));
        if let (Some(account), Some(to)) = (account, &stanza.to)
            && account.blocks(to)
        {
            let blocked = StanzaError::new(Condition::NotAcceptable)
                .ty(crate::wire::ErrorType::Cancel)
                .app("<blocked xmlns='urn:xmpp:blocking:errors'/>");
            return Err(blocked);
        }
        Ok(Flow::Pass)
    }

    /// What a blocked address sends to the user (§3.3). An error that may not be sent is none: results are dropped.
    fn arrive(&mut self, st: &mut State, local: &str, stanza: &mut Stanza) -> Handled {
        let (Some(account), Some(from)) = (st.account_of(local), &stanza.from) else { return Ok(Flow::Pass) };
        match stanza.kind {
            // Nor do they come through a room (XEP-0045 §7.8.2).
            Kind::Message if carried(stanza).is_some_and(|inviter| account.blocks(&inviter)) => Ok(Flow::Done),
            _ if !account.blocks(from) => Ok(Flow::Pass),
            Kind::Presence => Ok(Flow::Done),
            Kind::Message | Kind::Iq => Err(Condition::ServiceUnavailable.into()),
        }
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        let Place::Own(local) = at else { return Ok(Flow::Pass) };
        let Some(request) = iq.children().next() else { return Ok(Flow::Pass) };
        let sid = iq.from.as_ref().and_then(|from| st.session_at(from));
        let bad = |text: &'static str| Err(StanzaError::new(Condition::BadRequest).text(text));
        match (iq.ty, request.name()) {
            (Type::Get, "blocklist") => {
                self.asked.extend(sid);
                let list = st.account_of(local).map(|a| element("blocklist", &a.blocked)).unwrap_or_default();
                return st.reply(iq, list);
            }
            (Type::Set, name @ "block") => {
                let entries = items(request)?;
                if entries.is_empty() {
                    return bad("nobody is named");
                }
                block(st, local, &entries)?;
                self.push(st, local, &element(name, &entries));
            }
            (Type::Set, name @ "unblock") => {
                let entries = items(request)?;
                let push = element(name, &entries);
                unblock(st, local, (!entries.is_empty()).then_some(entries))?;
                self.push(st, local, &push);
            }
            _ => return bad("no such request"),
        }
        st.confirm(iq, "")
    }

    fn event(&mut self, _st: &mut State, event: &Event) {
        if let Event::Closed { sid, .. } = event {
            self.asked.remove(sid);
        }
    }
}

impl Blocking {
    fn push(&self, st: &mut State, local: &str, xml: &str) {
        for sid in st.sessions_of(local) {
            if self.asked.contains(&sid) {
                st.push_request(sid, xml);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::scram::Credentials;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    #[test]
    fn whom_an_entry_means() {
        for (entry, yes, no) in [
            ("romeo@mantua.test/orchard", "romeo@mantua.test/orchard", "romeo@mantua.test"),
            ("romeo@mantua.test", "romeo@mantua.test/orchard", "iago@mantua.test"),
            ("mantua.test/gate", "mantua.test/gate", "romeo@mantua.test/gate"),
            ("mantua.test", "romeo@mantua.test/orchard", "romeo@sub.mantua.test"),
            ("mantua.test", "mantua.test/gate", "venice.test"),
        ] {
            let entries = BTreeSet::from([jid(entry), jid("unrelated.test")]);
            assert!(covers(&entries, &jid(yes)), "{entry} {yes}");
            assert!(!covers(&entries, &jid(no)), "{entry} {no}");
        }
    }

    #[test]
    fn nobody_blocks_themselves_or_their_server() {
        let credentials = Credentials::fake(&[0; 32], "juliet", 1);
        let mut account = Account::new(jid("juliet@house.test"), credentials);
        account.blocked.insert(jid("house.test"));
        account.blocked.insert(jid("juliet@house.test/pda"));
        assert!(!account.blocks(&jid("juliet@house.test/pda")));
        assert!(!account.blocks(&jid("house.test")));
        assert!(account.blocks(&jid("romeo@house.test")));
    }
}
