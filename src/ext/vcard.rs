//! XEP-0054: vcard-temp. One per account, for everybody to read. What somebody calls themselves there, or in the node of XEP-0172, is what
//! they are called in the house.

use super::pubsub;
use crate::core::{About, Event, Extension, Flow, Handled, Job, Place, State};
use crate::store::{Engine, Query, Rows, StoreError, Tree, key};
use crate::wire::xml::{Raw, Scope};
use crate::wire::{Condition, Ns, Stanza, StanzaError, Type};
use std::collections::BTreeMap;

/// The longest vCard, in bytes: there is a picture in it, in base64.
pub(super) const VCARD_BYTES: usize = 128 * 1024;

/// Up to so many bytes a vCard has no picture: to store it makes room, if there was one.
const EMPTIED_BYTES: usize = 512;

/// What is told of one that was never set to who may know that.
pub(super) const NONE: &str = "<vCard xmlns='vcard-temp'/>";

/// The node with what somebody calls themselves (XEP-0172 §4.1).
const NICK: &str = "http://jabber.org/protocol/nick";
/// Items of it that are read: a client may have made it keep more than one.
const NICKS: usize = 100;

#[derive(Default)]
pub(super) struct Vcard {
    /// Requests that wait for what storage says.
    waiting: BTreeMap<Job, Stanza>,
    /// Whose nickname is being read.
    nicks: BTreeMap<Job, Box<str>>,
}

impl Vcard {
    fn get(&mut self, st: &mut State, iq: &Stanza, local: &str) -> Handled {
        let job = st.ask(Query::Get(Tree::Vcard, key::account(local)));
        self.waiting.insert(job, iq.clone());
        Ok(Flow::Done)
    }
}

/// Stores an account's own.
pub(super) fn set(st: &mut State, iq: &Stanza, local: &str, vcard: String) -> Handled {
    if vcard.len() > VCARD_BYTES {
        let text = format!("a vCard has at most {VCARD_BYTES} bytes");
        return Err(StanzaError::new(Condition::NotAcceptable).text(text));
    }
    let batch = if vcard.len() <= EMPTIED_BYTES { st.erase()? } else { st.write()? };
    let name = called(&vcard);
    batch.put(Tree::Vcard, key::account(local), vcard.into_bytes());
    // Others see a new name when that can be stored; the vCard has it in any case. One without a name has only a picture.
    if let Some(name) = name {
        let _ = st.call(local, &name);
    }
    st.confirm(iq, "")
}

/// What somebody calls themselves: FN, or else the nickname.
fn called(vcard: &str) -> Option<String> {
    let raw = Raw::parse(vcard, Scope::client()).ok()?;
    let text = |name: &str| raw.root().child(Ns::VCARD, name).map(|c| c.text().trim().to_owned());
    ["FN", "NICKNAME"].into_iter().filter_map(text).find(|name| !name.is_empty())
}

/// What an account's newest nickname is, of the rows of its node.
fn nickname(rows: Option<Rows>) -> Option<String> {
    let (_, payload) = rows?.iter().filter_map(|(_, record)| pubsub::item(record)).next_back()?;
    let raw = Raw::parse(&payload, Scope::client()).ok()?;
    let name = raw.root().text().trim().to_owned();
    (!name.is_empty()).then_some(name)
}

impl Extension for Vcard {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0054",
            name: "vcard-temp",
            version: "1.3.0",
            missing: "",
            server: &["vcard-temp"],
            account: &["vcard-temp"],
            iq: &[Ns::VCARD],
        }
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        let Some(vcard) = iq.child(Ns::VCARD, "vCard") else { return Err(Condition::BadRequest.into()) };
        match (at, iq.ty) {
            (Place::Own(local) | Place::Account(local), Type::Get) => self.get(st, iq, local),
            (Place::Server, Type::Get) => Ok(Flow::Pass),
            (Place::Own(local), _) => set(st, iq, local, vcard.copy()),
            // XEP-0054 §3.2: nobody writes another's.
            (Place::Account(_) | Place::Server, _) => Err(Condition::Forbidden.into()),
        }
    }

    fn load(&mut self, st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        for local in st.unnamed() {
            let rows = engine.query(&Query::Get(Tree::Vcard, key::account(&local)))?;
            let vcard = rows.first().and_then(|(_, value)| std::str::from_utf8(value).ok());
            if let Some(name) = vcard.and_then(called) {
                st.has_called(&local, &name);
            }
        }
        Ok(())
    }

    fn also(&self) -> &'static [About] {
        const { &[About::new("XEP-0172", "User Nickname", "1.1", "")] }
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        if let Event::Published { local, node, .. } = event
            && **node == *NICK
        {
            let job = st.ask(pubsub::items(local, NICK, NICKS));
            self.nicks.insert(job, local.clone());
        }
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        if let Some(local) = self.nicks.remove(&job) {
            if let Some(name) = nickname(rows) {
                let _ = st.call(&local, &name);
            }
            return;
        }
        let Some(iq) = self.waiting.remove(&job) else { return };
        match rows.map(|rows| rows.into_iter().next().map(|(_, value)| String::from_utf8(value.into())).transpose()) {
            Some(Ok(vcard)) => answer(st, &iq, vcard),
            Some(Err(_)) | None => st.refuse(&iq, &Condition::InternalServerError.into()),
        }
    }
}

/// Answers who asked for a vCard with that or none.
pub(super) fn answer(st: &mut State, iq: &Stanza, vcard: Option<String>) {
    let own = iq.from.as_ref().zip(iq.to.as_ref()).is_some_and(|(from, to)| from.bare_str() == to.bare_str());
    match vcard {
        Some(vcard) => drop(st.reply(iq, vcard)),
        // XEP-0054 §3.1: libraries read before they write; and §3.3: as if there were no such account.
        None if own => drop(st.reply(iq, NONE)),
        None => st.refuse(iq, &Condition::ServiceUnavailable.into()),
    }
}
