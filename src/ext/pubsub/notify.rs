//! Who is told of what happens at a node (XEP-0060 §7.1.2, §12.2; XEP-0163 §4).

use super::PubSub;
use super::access;
use super::config::{NodeConfig, ReplyTo, Style};
use super::node::{Head, Home, Item, Subscription};
use crate::core::State;
use crate::wire::xml::{escape, escaped};
use crate::wire::{Jid, Kind, Stanza, Type};
use std::collections::BTreeSet;

/// An `<item/>`; without `payload` it has none.
pub(super) fn item(home: &Home, config: &NodeConfig, item: &Item, payload: Option<&str>) -> String {
    let mut out = String::with_capacity(64 + item.id.len() + payload.map_or(0, str::len));
    out.push_str("<item id='");
    escape(&item.id, &mut out);
    if config.reply == ReplyTo::Publisher {
        out.push_str("' publisher='");
        escape(item.publisher.as_ref().unwrap_or(&home.jid).as_str(), &mut out);
    }
    match payload {
        None | Some("") => out.push_str("'/>"),
        Some(payload) => {
            out.push_str("'>");
            out.push_str(payload);
            out.push_str("</item>");
        }
    }
    out
}

/// `<items/>` of a node in an event.
pub(super) fn items(name: &str, inner: &str) -> String {
    format!("<items node='{}'>{inner}</items>", escaped(name))
}

/// The message that tells of an event.
pub(super) fn message(st: &mut State, home: &Home, config: &NodeConfig, event: &str) -> Stanza {
    let ty = match config.style {
        Style::Normal => Type::None,
        Style::Headline => Type::Headline,
    };
    let xml = format!("<event xmlns='http://jabber.org/protocol/pubsub#event'>{event}</event>");
    Stanza::new(Kind::Message, ty).from(home.jid.clone()).with_id(&st.token()).with(xml)
}

/// A change of a subscription (§12.14), to whom it is about. One that is not online hears of it later.
pub(super) fn subscription(st: &mut State, home: &Home, name: &str, jid: &Jid, state: &str) {
    let xml = format!(
        "<event xmlns='http://jabber.org/protocol/pubsub#event'>{}</event>",
        subscription_xml(Some(name), jid, state)
    );
    let message = Stanza::new(Kind::Message, Type::None).from(home.jid.clone()).to(jid.clone());
    let id = st.token();
    st.send(message.with_id(&id).with(xml));
}

/// A `<subscription/>`.
pub(super) fn subscription_xml(name: Option<&str>, jid: &Jid, state: &str) -> String {
    let node = name.map(|name| format!(" node='{}'", escaped(name))).unwrap_or_default();
    format!("<subscription{node} jid='{}' subscription='{state}'/>", escaped(jid.as_str()))
}

impl PubSub {
    /// Tells all who are subscribed, or interested.
    pub(super) fn notify(&self, st: &mut State, home: &Home, name: &str, head: &Head, event: &str) {
        if !head.config.notifications {
            return;
        }
        let receivers = self.receivers(st, home, name, head);
        if receivers.is_empty() {
            return;
        }
        let message = message(st, home, &head.config, event);
        for to in receivers {
            st.send(message.clone().to(to));
        }
    }

    /// Tells the owners of a new subscription or the end of one (`pubsub#notify_sub`).
    pub(super) fn notify_owners(&self, st: &mut State, home: &Home, name: &str, head: &Head, jid: &Jid, state: &str) {
        if !head.config.notify_sub {
            return;
        }
        let message = message(st, home, &head.config, &subscription_xml(Some(name), jid, state));
        for owner in access::owners_of(home, head) {
            st.send(message.clone().to(owner));
        }
    }

    /// XEP-0163 §4.3.2: sessions that are interested, by their full JIDs, and those who subscribed themselves; each once.
    fn receivers(&self, st: &State, home: &Home, name: &str, head: &Head) -> Vec<Jid> {
        let mut receivers = Vec::new();
        // Bare and full JIDs that are served by that.
        let mut served = BTreeSet::new();
        if let Some(account) = home.is_account().then(|| st.account(&home.jid)).flatten() {
            let contacts = account.roster.subscribers().filter(|jid| access::receive(st, home, head, jid));
            for jid in [&account.jid].into_iter().chain(contacts) {
                let Some(local) = st.local(jid) else {
                    receivers.extend(self.caps.interested_elsewhere(jid, name).cloned());
                    served
                        .extend(self.caps.interested_elsewhere(jid, name).flat_map(|full| [full.clone(), full.bare()]));
                    continue;
                };
                for sid in st.available(local) {
                    if let Some(session) = st.session(sid)
                        && self.caps.interested(sid, name)
                    {
                        receivers.push(session.jid.clone());
                        served.extend([session.jid.clone(), session.jid.bare()]);
                    }
                }
            }
        }
        for (jid, state) in &head.subscriptions {
            if *state == Subscription::Subscribed && !served.contains(jid) && access::receive(st, home, head, jid) {
                receivers.push(jid.clone());
            }
        }
        receivers
    }
}
