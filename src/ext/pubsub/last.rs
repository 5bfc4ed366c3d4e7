//! The last item of each node, to whoever has come or has become interested (XEP-0163 §4.3.4, XEP-0060 §6.1.7).
//!
//! They are read one after the other, and what a session gets by having come is bounded: a person with many contacts does not set
//! off a storm.

use super::caps::{CapsClient, NewInterests};
use super::config::SendLast;
use super::node::{Home, Item, item_row};
use super::{PubSub, PubSubTask, access, notify};
use crate::core::State;
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
    /// The client, if it is one that must still be there.
    client: Option<CapsClient>,
    to: Jid,
    queue: VecDeque<(Home, Box<str>)>,
    /// Bytes that may be sent.
    left: usize,
}

/// The account of a localpart.
fn account_jid(st: &State, local: &str) -> Option<Jid> {
    st.account_of(local).map(|account| account.jid.clone())
}

impl PubSub {
    /// Clients have become interested in nodes: of their own account, and of contacts whose presence they get.
    pub(super) fn news(&mut self, st: &mut State, news: NewInterests) {
        for (client, names) in news {
            let sid = match client {
                CapsClient::Here(sid) => sid,
                CapsClient::Elsewhere(ref jid) => {
                    let homes: Vec<Jid> =
                        self.caps.accounts(jid).iter().filter_map(|local| account_jid(st, local)).collect();
                    self.greet(st, client, &homes, &names);
                    continue;
                }
            };
            let Some(session) = st.session(sid) else { continue };
            let Some(account) = st.account_of(session.local()) else { continue };
            let contacts =
                account.roster.subscriptions().filter(|jid| !account.blocks(jid) && st.account(jid).is_some());
            let homes: Vec<Jid> = [&account.jid].into_iter().chain(contacts).cloned().collect();
            self.greet(st, CapsClient::Here(sid), &homes, &names);
        }
    }

    /// A contact has let an account see its presence.
    pub(super) fn subscribed(&mut self, st: &mut State, local: &str, contact: &Jid) {
        for sid in st.available(local) {
            let names = self.caps.interests(&CapsClient::Here(sid));
            self.greet(st, CapsClient::Here(sid), &[contact.bare()], &names);
        }
    }

    /// A client elsewhere shows its presence to an account for the first time.
    pub(super) fn met(&mut self, st: &mut State, local: &str, from: &Jid) {
        let client = CapsClient::Elsewhere(from.clone());
        let names = self.caps.interests(&client);
        if let Some(home) = account_jid(st, local) {
            self.greet(st, client, &[home], &names);
        }
    }

    fn greet(&mut self, st: &mut State, client: CapsClient, homes: &[Jid], names: &BTreeSet<Box<str>>) {
        let to = match &client {
            CapsClient::Here(sid) => st.session(*sid).map(|session| session.jid.clone()),
            CapsClient::Elsewhere(jid) => Some(jid.clone()),
        };
        let Some(to) = to else { return };
        let theirs = |task: &&PubSubTask| matches!(task, PubSubTask::SendLast(sending, ..) if sending.client.as_ref() == Some(&client));
        if self.tasks.values().filter(theirs).count() >= SENDINGS {
            return;
        }
        let mut queue = VecDeque::new();
        for jid in homes {
            let home = Home::account(jid.clone());
            for name in names {
                let leaf = self.forest.get(&home.owner, name);
                if leaf
                    .is_some_and(|leaf| leaf.head.config.last == SendLast::OnSubAndPresence && !leaf.items.is_empty())
                {
                    queue.push_back((home.clone(), name.clone()));
                }
            }
        }
        self.send_on(st, Sending { client: Some(client), to, queue, left: LAST_BYTES });
    }

    /// To an address that has just been subscribed.
    pub(super) fn send_last(&mut self, st: &mut State, home: &Home, name: &str, to: &Jid) {
        let queue = [(home.clone(), name.into())].into();
        self.send_on(st, Sending { client: None, to: to.clone(), queue, left: usize::MAX });
    }

    fn send_on(&mut self, st: &mut State, mut sending: Sending) {
        let is_gone = match &sending.client {
            Some(CapsClient::Here(sid)) => st.session(*sid).is_none_or(|session| session.presence.is_none()),
            Some(client) => !self.caps.is_known(client),
            None => false,
        };
        if is_gone {
            return;
        }
        while let Some((home, name)) = sending.queue.pop_front() {
            let Some(leaf) = self.forest.get(&home.owner, &name) else { continue };
            let Some((number, item)) = leaf.items.last_key_value() else { continue };
            let config = &leaf.head.config;
            // An account need not be a stranger's contact to send to itself.
            let own = sending.to.bare_str() == home.jid.as_str();
            let shown = own
                || !home.is_account()
                || sending.client.is_none()
                || !access::stranger(st, &home, &sending.to.bare());
            if !config.notifications || !shown || !access::receive(st, &home, &leaf.head, &sending.to) {
                continue;
            }
            let Some(left) = sending.left.checked_sub(AROUND_BYTES + item.payload) else { continue };
            sending.left = left;
            let number = *number;
            let job = st.ask(Query::Get(Tree::Item, item_row(&home.owner, &name, number)));
            self.tasks.insert(job, PubSubTask::SendLast(sending, home, name, number));
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
