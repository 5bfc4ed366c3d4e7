//! What administrators tell everybody: announcements, the message of the day, and a welcome (XEP-0133 §4.23 to §4.28). By command, or
//! by a message to `DOMAIN/announce/online` and its like.
//!
//! In [`Tree::Meta`]: `motd` and `welcome` are the texts, `motd NUL local` says that the account has got the first.

use super::is_admin;
use crate::core::{self, Flow, Handled, SessionId, State};
use crate::store::{Engine, Query, StoreError, Tree, key};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Kind, Ns, Stanza, StanzaError, Type};
use std::collections::BTreeSet;

/// The longest text, in bytes: it goes to everybody.
const TEXT_BYTES: usize = 4096;

const MOTD: &str = "motd";
const WELCOME: &str = "welcome";

/// The standing messages, and who has got them.
#[derive(Default)]
pub(super) struct Announcements {
    motd: Option<String>,
    welcome: Option<String>,
    /// The localparts of the accounts that have got the message of the day.
    told: BTreeSet<Box<str>>,
    /// New accounts that were welcomed, as long as nobody can see that they are not new.
    welcomed: BTreeSet<Box<str>>,
}

/// A text that may be sent to everybody.
fn checked(text: &str) -> Result<String, StanzaError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(super::bad_payload("a text is needed"));
    }
    if text.len() > TEXT_BYTES {
        return Err(super::bad_payload(format!("a text for everybody has at most {TEXT_BYTES} bytes")));
    }
    Ok(text.to_owned())
}

fn message(st: &mut State, text: &str) -> Stanza {
    let id = st.token();
    let message = Stanza::new(Kind::Message, Type::Headline).from(st.domain().clone()).with_id(&id);
    message.with(format!("<body>{}</body>", escaped(text)))
}

/// The accounts that take messages now.
fn listeners(st: &State) -> Vec<Jid> {
    let receives = |sid: &SessionId| st.session(*sid).is_some_and(|session| session.receives());
    let accounts = st.accounts().matching(|account| account.sessions.values().any(receives));
    accounts.map(|(_, account)| account.jid.clone()).collect()
}

impl Announcements {
    pub(super) fn load(engine: &mut dyn Engine) -> Result<Announcements, StoreError> {
        let mut text = |name: &str| -> Result<Option<String>, StoreError> {
            let rows = engine.query(&Query::Get(Tree::Meta, name.as_bytes().into()))?;
            Ok(rows.first().map(|(_, value)| String::from_utf8_lossy(value).into_owned()))
        };
        let (motd, welcome) = (text(MOTD)?, text(WELCOME)?);
        let mut told = BTreeSet::new();
        core::scan(engine, Tree::Meta, &key::prefix(MOTD), |key, _| {
            told.extend(key::split(key).and_then(|(_, local)| std::str::from_utf8(local).ok()).map(Box::from));
            Ok(())
        })?;
        Ok(Announcements { motd, welcome, told, welcomed: BTreeSet::new() })
    }

    pub(super) fn motd(&self) -> Option<&str> {
        self.motd.as_deref()
    }

    pub(super) fn welcome(&self) -> Option<&str> {
        self.welcome.as_deref()
    }

    /// To all who are online now (XEP-0133 §4.23).
    pub(super) fn announce(&self, st: &mut State, text: &str) -> Result<(), StanzaError> {
        let message = message(st, &checked(text)?);
        for jid in listeners(st) {
            st.send(message.clone().to(jid));
        }
        Ok(())
    }

    /// To everybody once: now, or when they come (§4.24).
    pub(super) fn set_motd(&mut self, st: &mut State, text: &str) -> Result<(), StanzaError> {
        let text = checked(text)?;
        self.write_motd(st, &text)?;
        self.forget_told(st)?;
        for jid in listeners(st) {
            self.tell_motd(st, jid);
            st.step();
        }
        Ok(())
    }

    /// Another text for those who have not got it (§4.25).
    pub(super) fn edit_motd(&mut self, st: &mut State, text: &str) -> Result<(), StanzaError> {
        self.write_motd(st, &checked(text)?)
    }

    fn write_motd(&mut self, st: &mut State, text: &str) -> Result<(), StanzaError> {
        st.write()?.put(Tree::Meta, MOTD.as_bytes(), text.as_bytes());
        self.motd = Some(text.to_owned());
        Ok(())
    }

    /// §4.26
    pub(super) fn delete_motd(&mut self, st: &mut State) -> Result<(), StanzaError> {
        st.erase()?.delete(Tree::Meta, MOTD.as_bytes());
        self.motd = None;
        self.forget_told(st)
    }

    fn forget_told(&mut self, st: &mut State) -> Result<(), StanzaError> {
        if !self.told.is_empty() {
            st.write()?.delete_all(Tree::Meta, key::prefix(MOTD));
            self.told.clear();
        }
        Ok(())
    }

    /// Sends the message of the day to somebody who is there.
    fn tell_motd(&mut self, st: &mut State, to: Jid) {
        let (Some(motd), Some(local)) = (&self.motd, to.local()) else { return };
        if !self.told.insert(local.into()) {
            return;
        }
        // While storage takes nothing, they may get it twice.
        if let Ok(batch) = st.write() {
            batch.put(Tree::Meta, key::named(MOTD, local), *b"1");
        }
        let message = message(st, motd);
        st.send(message.to(to));
    }

    /// §4.27, §4.28
    pub(super) fn set_welcome(&mut self, st: &mut State, text: Option<&str>) -> Result<(), StanzaError> {
        let text = text.map(checked).transpose()?;
        match &text {
            Some(text) => st.write()?.put(Tree::Meta, WELCOME.as_bytes(), text.as_bytes()),
            None => st.erase()?.delete(Tree::Meta, WELCOME.as_bytes()),
        }
        self.welcome = text;
        Ok(())
    }

    /// A session takes messages from now on.
    pub(super) fn receives(&mut self, st: &mut State, sid: SessionId) {
        let Some(jid) = st.session(sid).map(|session| session.jid.clone()) else { return };
        // Nobody has ever left who is here for the first time.
        let new = st.account(&jid).is_some_and(|account| account.last_seen.is_none());
        if new
            && let (Some(welcome), Some(local)) = (&self.welcome, jid.local())
            && self.welcomed.insert(local.into())
        {
            let message = message(st, welcome);
            st.send(message.to(jid.clone()));
        }
        self.tell_motd(st, jid);
    }

    /// An account is gone.
    pub(super) fn removed(&mut self, st: &mut State, local: &str) {
        self.welcomed.remove(local);
        if self.told.remove(local)
            && let Ok(batch) = st.write()
        {
            batch.delete(Tree::Meta, key::named(MOTD, local));
        }
    }

    /// A message of an administrator to one of the addresses for announcements. For everybody else they are not there.
    pub(super) fn by_message(&mut self, st: &mut State, message: &Stanza) -> Handled {
        let (Some(to), Some(from)) = (&message.to, &message.from) else { return Ok(Flow::Pass) };
        let Some(what) = to.resource().and_then(|resource| resource.strip_prefix("announce/")) else {
            return Ok(Flow::Pass);
        };
        if to.bare_str() != st.domain().as_str() || message.ty == Type::Error || !is_admin(st, from) {
            return Ok(Flow::Pass);
        }
        let text = message.child(Ns::CLIENT, "body").map(|body| body.text().into_owned());
        match (what, text) {
            ("motd/delete", _) => self.delete_motd(st)?,
            // A chat state, or the like.
            (_, None) => {}
            ("online", Some(text)) => self.announce(st, &text)?,
            ("motd", Some(text)) => self.set_motd(st, &text)?,
            ("motd/update", Some(text)) => self.edit_motd(st, &text)?,
            _ => return Err(Condition::ItemNotFound.into()),
        }
        log::info!("{from} has sent a message to {to}");
        Ok(Flow::Done)
    }
}
