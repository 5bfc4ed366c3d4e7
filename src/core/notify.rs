//! Notifications are said; who may is told in [`super::notifier`].
//!
//! A notification is a message like any other from the moment it is sent. What is refused in the turn that sends it is told to whoever asked,
//! in place of an error stanza; that it was taken, once all that the turn has changed is on stable storage.

use super::ids::Job;
use super::notifier::{Notification, Notifier, NotifyRefusal, TokenDigest, WantedNotifier};
use super::promise::Promise;
use super::server::Core;
use super::state::State;
use crate::store::Tree;
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Kind, Stanza, StanzaError, Type};
use std::net::IpAddr;

impl Core {
    /// Whether a token may be used now, before anything is read of what is to be said with it. One that is none counts against the network
    /// that it came from. `now`: see [`super::Now::mono`].
    ///
    /// # Errors
    /// Why not.
    pub fn knows_notifier(&mut self, now: u64, digest: &TokenDigest, peer: IpAddr) -> Result<(), NotifyRefusal> {
        let st = &mut self.state;
        match st.notifiers.of_token(digest) {
            Err(NotifyRefusal::Unknown) => match st.throttle.unknown_token(now, &st.secret, peer) {
                0 => Err(NotifyRefusal::Unknown),
                wait => Err(NotifyRefusal::Later(wait)),
            },
            known => known.map(|_| ()),
        }
    }
}

impl State {
    /// One more notifier. `is_room`: it speaks in a room that is there.
    pub(super) fn add_notifier(&mut self, wanted: WantedNotifier, is_room: bool) -> Result<Vec<String>, String> {
        let to = wanted.to.clone();
        if is_room && wanted.from.is_some() {
            return Err("what is said in a room, the room says itself: --from is for people".into());
        }
        if !is_room && self.services.contains_key(to.domain()) {
            return Err(format!("nobody is at {to} who could be told something"));
        }
        if !is_room && self.local(&to).is_none() && wanted.from.is_none() {
            // What an account says is in the log until the other server has it, and the account is told if that cannot be.
            return Err(format!(
                "{to} is elsewhere: say with --from which account writes there, and is told if nobody is reached"
            ));
        }
        let ours = [Some(&to), wanted.from.as_ref()].into_iter().flatten();
        let missing = ours.filter(|jid| self.local(jid).is_some()).find(|jid| self.account(jid).is_none());
        if let Some(missing) = missing {
            return Err(format!("there is no {missing}; `inglenook user list` tells the accounts that there are"));
        }
        self.write().map_err(super::admin::words)?;
        let name = self.notifiers.add(wanted)?;
        self.store_notifier(&name);
        Ok(vec![format!("added {name}, for {to}")])
    }

    /// Its token says nothing any more.
    pub(super) fn remove_notifier(&mut self, name: &str) -> Result<Vec<String>, String> {
        if self.notifiers.get(name).is_none() {
            return Err(format!("there is no \"{name}\"; `inglenook notify list` tells those that there are"));
        }
        self.erase().map_err(super::admin::words)?.delete(Tree::Notifier, name.as_bytes());
        self.notifiers.remove(name);
        Ok(vec![format!("removed {name}: nothing can be said with its URL any more")])
    }

    /// A room or an account is removed: nothing is said to whoever has its name later. Asked with the removal, storage has taken that.
    pub fn lose_notifiers(&mut self, jid: &Jid) {
        for name in self.notifiers.lose(jid) {
            self.store_notifier(&name);
        }
    }

    /// The rooms of a domain that are told something.
    pub fn notified_at(&self, domain: &str) -> Vec<Jid> {
        self.notifiers.told_at(domain)
    }

    fn store_notifier(&mut self, name: &str) {
        if let Some(record) = self.notifiers.get(name).map(Notifier::record) {
            self.changes.add().put(Tree::Notifier, name.as_bytes(), record);
        }
    }

    /// Says what is to be said with a token.
    pub(super) fn notify(&mut self, job: Job, digest: &TokenDigest, text: &str) {
        let ready = self.write().map(|_| ()).map_err(|e| NotifyRefusal::NotStored(super::admin::words(e)));
        let counted = ready.and_then(|()| self.notifiers.count(digest, self.now.mono).cloned());
        let notifier = match counted {
            Ok(notifier) => notifier,
            Err(refusal) => return self.promise(Promise::Notified(job, Err(refusal))),
        };
        let to = notifier.to;
        let (ty, from) = match self.services.contains_key(to.domain()) {
            // The room itself speaks.
            true => (Type::Groupchat, to.clone()),
            false => (Type::Chat, notifier.from.unwrap_or_else(|| self.domain().clone())),
        };
        let id = self.token();
        let body = format!("<body>{}</body>", escaped(text));
        let message = Stanza::new(Kind::Message, ty).from(from).to(to).with_id(&id).with(body);
        self.notification = Some(Notification { job, id, refused: None });
        self.send(message);
    }

    /// Whether a message is the notification of this turn, and not one that somebody says is from there.
    pub fn is_notification(&self, message: &Stanza) -> bool {
        let id = self.notification.as_ref().map(|notification| notification.id.as_str());
        message.kind == Kind::Message && id.is_some() && message.id().as_deref() == id
    }

    /// Whether a stanza that is refused is the notification of this turn; then whoever asked is told.
    pub(super) fn is_refused_notification(&mut self, stanza: &Stanza, error: &StanzaError) -> bool {
        let is_it = self.is_notification(stanza);
        if let Some(notification) = self.notification.as_mut().filter(|_| is_it) {
            let why = || super::admin::words(error.clone());
            notification.refused = Some(match error.condition {
                Condition::ResourceConstraint => NotifyRefusal::NotStored(why()),
                Condition::ItemNotFound => NotifyRefusal::Gone,
                _ => NotifyRefusal::Refused(why()),
            });
        }
        is_it
    }

    /// All that a notification sets off is done.
    pub(super) fn notified(&mut self) {
        if let Some(Notification { job, id, refused }) = self.notification.take() {
            self.promise(Promise::Notified(job, refused.map_or(Ok(id), Err)));
        }
    }
}
