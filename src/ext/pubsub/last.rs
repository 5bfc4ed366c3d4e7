//! The last item of each node, to whoever has come or has become interested (XEP-0163 §4.3.4, XEP-0060 §6.1.7).
//!
//! They are read one after the other, and what a session gets by having come is bounded: a person with many contacts does not set
//! off a storm.

use super::caps::News;
use super::config::Last;
use super::node::{Home, Item, item_row};
use super::{PubSub, Task, access, notify};
use crate::core::{SessionId, State};
use crate::store::{Query, Rows, Tree};
use crate::wire::{Jid, stamp};
use std::collections::{BTreeSet, VecDeque};

/// What one session gets at one time, in bytes: a part of what its queue and its outbox hold.
const LAST_BYTES: usize = 512 * 1024;
/// How often it may become interested in something while it still gets what it wanted before.
const SENDINGS: usize = 8;
/// What an event has around its payload, in bytes, about.
const AROUND_BYTES: usize = 512;

/// What is still to be sent.
#[derive(Debug)]
pub(super) struct Sending {
    /// The session, if it is one that must still be there.
    sid: Option<SessionId>,
    to: Jid,
    queue: VecDeque<(Home, Box<str>)>,
    /// Bytes that may be sent.
    left: usize,
}

impl PubSub {
    /// Sessions have become interested in nodes: of their own account, and of contacts whose presence they get.
    pub(super) fn news(&mut self, st: &mut State, news: News) {
        for (sid, names) in news {
            let Some(session) = st.session(sid) else { continue };
            let Some(account) = st.account_of(session.local()) else { continue };
            let contacts =
                account.roster.subscriptions().filter(|jid| !account.blocks(jid) && st.account(jid).is_some());
            let homes: Vec<Jid> = [&account.jid].into_iter().chain(contacts).cloned().collect();
            self.greet(st, sid, &homes, &names);
        }
    }

    /// A contact has let an account see its presence.
    pub(super) fn subscribed(&mut self, st: &mut State, local: &str, contact: &Jid) {
        for sid in st.available(local) {
            let names = self.caps.interests(sid);
            self.greet(st, sid, &[contact.bare()], &names);
        }
    }

    fn greet(&mut self, st: &mut State, sid: SessionId, homes: &[Jid], names: &BTreeSet<Box<str>>) {
        let Some(to) = st.session(sid).map(|session| session.jid.clone()) else { return };
        let theirs = |task: &&Task| matches!(task, Task::Last(sending, ..) if sending.sid == Some(sid));
        if self.tasks.values().filter(theirs).count() >= SENDINGS {
            return;
        }
        let mut queue = VecDeque::new();
        for jid in homes {
            let home = Home::account(jid.clone());
            for name in names {
                let leaf = self.forest.get(&home.owner, name);
                if leaf.is_some_and(|leaf| leaf.head.config.last == Last::OnSubAndPresence && !leaf.items.is_empty()) {
                    queue.push_back((home.clone(), name.clone()));
                }
            }
        }
        self.send_on(st, Sending { sid: Some(sid), to, queue, left: LAST_BYTES });
    }

    /// To an address that has just been subscribed.
    pub(super) fn send_last(&mut self, st: &mut State, home: &Home, name: &str, to: &Jid) {
        let queue = [(home.clone(), name.into())].into();
        self.send_on(st, Sending { sid: None, to: to.clone(), queue, left: usize::MAX });
    }

    fn send_on(&mut self, st: &mut State, mut sending: Sending) {
        if sending.sid.is_some_and(|sid| st.session(sid).is_none_or(|session| session.presence.is_none())) {
            return;
        }
        while let Some((home, name)) = sending.queue.pop_front() {
            let Some(leaf) = self.forest.get(&home.owner, &name) else { continue };
            let Some((number, item)) = leaf.items.last_key_value() else { continue };
            let config = &leaf.head.config;
            // An account need not be a stranger's contact to send to itself.
            let own = sending.to.bare_str() == home.jid.as_str();
            let shown =
                own || !home.is_account() || sending.sid.is_none() || !access::stranger(st, &home, &sending.to.bare());
            if !config.notifications || !shown || !access::receive(st, &home, &leaf.head, &sending.to) {
                continue;
            }
            let Some(left) = sending.left.checked_sub(AROUND_BYTES + item.payload) else { continue };
            sending.left = left;
            let number = *number;
            let job = st.ask(Query::Get(Tree::Item, item_row(&home.owner, &name, number)));
            self.tasks.insert(job, Task::Last(sending, home, name, number));
            return;
        }
    }

    pub(super) fn was_last(
        &mut self,
        st: &mut State,
        sending: Sending,
        (home, name, number): (Home, Box<str>, u64),
        rows: Option<Rows>,
    ) {
        // What was published meanwhile has been told of already.
        let leaf = self.forest.get(&home.owner, &name);
        let leaf = leaf.filter(|leaf| leaf.items.last_key_value().is_some_and(|(last, _)| *last == number));
        if let (Some(leaf), Some((_, record))) = (leaf, rows.and_then(|rows| rows.into_iter().next()))
            && let Ok((item, payload)) = Item::from_record(&record)
            && access::receive(st, &home, &leaf.head, &sending.to)
        {
            let config = &leaf.head.config;
            let shown = notify::item(&home, config, &item, Some(payload).filter(|_| config.payloads));
            let message = notify::message(st, &home, config, &notify::items(&name, &shown));
            let stamp = stamp::format(st.stamp(number));
            let delay = format!("<delay xmlns='urn:xmpp:delay' stamp='{stamp}'/>");
            st.send(message.with(delay).to(sending.to.clone()));
        }
        self.send_on(st, sending);
    }
}
