//! Subscribing (XEP-0060 §6.1, §6.2, §8.6), and what somebody is told of their own subscriptions and affiliations (§5.6, §5.7).

use super::config::SendLast;
use super::errors::{self, bad};
use super::node::{Forest, Head, Home, NodeAffiliation, Subscription};
use super::{PubSub, PubSubRequest, access, attribute, node_name, notify};
use crate::core::{Handled, State};
use crate::ext::form;
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Kind, Node, Ns, Stanza, StanzaError, Type};

const AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";
/// Addresses that one account may subscribe to one node.
const ADDRESSES: usize = 16;

/// The address that subscribes: one of the sender's (§6.1.3.1).
fn subscriber(request: Node<'_>) -> Result<Jid, StanzaError> {
    let jid = request.attr("jid").ok_or_else(errors::invalid_jid)?;
    Jid::parse(&jid).map_err(|_| errors::invalid_jid())
}

fn answer(name: &str, jid: &Jid, state: &str) -> String {
    format!(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'>{}</pubsub>",
        notify::subscription_xml(Some(name), jid, state)
    )
}

/// Stores the head of a node with another subscription.
fn save(forest: &mut Forest, st: &mut State, home: &Home, name: &str, head: Head) -> Result<(), StanzaError> {
    forest.save(st, home, name, head).map_err(|error| match error.condition {
        Condition::PolicyViolation => errors::too_many_subscriptions(),
        _ => error,
    })
}

impl PubSub {
    /// §6.1
    pub(super) fn subscribe(&mut self, st: &mut State, rq: &PubSubRequest<'_>, subscribe: Node<'_>) -> Handled {
        let name = node_name(subscribe)?;
        let jid = subscriber(subscribe)?;
        if jid.bare() != rq.who {
            return Err(errors::invalid_jid());
        }
        let leaf = access::find(&self.forest, st, &rq.home, &name, &rq.who)?;
        let mut state = access::subscribe(st, &rq.home, &leaf.head, &rq.who)?;
        match leaf.head.subscriptions.get(&jid) {
            // §6.1.6: the state that it has.
            Some(Subscription::Subscribed) => {
                return st.reply(rq.iq, answer(&name, &jid, Subscription::Subscribed.as_str()));
            }
            Some(Subscription::Pending) if state == Subscription::Pending => return Err(errors::pending()),
            _ if !leaf.head.config.subscribe => return Err(super::errors::unsupported!("subscribe")),
            _ => {}
        }
        if access::is_subscribed(&leaf.head, &rq.who) {
            // An owner let another address of theirs in.
            state = Subscription::Subscribed;
        }
        let own = leaf.head.subscriptions.keys().filter(|jid| jid.bare_str() == rq.who.as_str());
        let full = || !rq.own() && !self.forest.takes_subscription(&rq.home, &name, &rq.who, &jid);
        if own.count() >= ADDRESSES || full() {
            return Err(errors::too_many_subscriptions());
        }
        let mut head = leaf.head.clone();
        head.subscriptions.insert(jid.clone(), state);
        save(&mut self.forest, st, &rq.home, &name, head.clone())?;
        match state {
            Subscription::Pending => self.ask_owners(st, &rq.home, &name, &head, &jid),
            Subscription::Subscribed => {
                self.notify_owners(st, &rq.home, &name, &head, &jid, state.as_str());
                if head.config.last != SendLast::Never {
                    self.send_last(st, &rq.home, &name, &jid);
                }
            }
        }
        st.confirm(rq.iq, answer(&name, &jid, state.as_str()))
    }

    /// §6.2
    pub(super) fn unsubscribe(&mut self, st: &mut State, rq: &PubSubRequest<'_>, unsubscribe: Node<'_>) -> Handled {
        let name = node_name(unsubscribe)?;
        let jid = subscriber(unsubscribe)?;
        let leaf = match self.forest.get(&rq.home.owner, &name) {
            // Whoever is in the list may leave it.
            Some(leaf) if jid.bare() == rq.who && leaf.head.subscriptions.contains_key(&jid) => leaf,
            _ => access::find(&self.forest, st, &rq.home, &name, &rq.who)?,
        };
        if jid.bare() != rq.who {
            return Err(Condition::Forbidden.into());
        }
        let mut head = leaf.head.clone();
        if head.subscriptions.remove(&jid).is_none() {
            return Err(errors::no_subscriber());
        }
        self.forest.save(st, &rq.home, &name, head.clone())?;
        self.notify_owners(st, &rq.home, &name, &head, &jid, "none");
        st.confirm(rq.iq, answer(&name, &jid, "none"))
    }

    /// §5.6
    pub(super) fn own_subscriptions(&mut self, st: &mut State, rq: &PubSubRequest<'_>, request: Node<'_>) -> Handled {
        let only = request.attr("node");
        if let Some(name) = only.as_deref() {
            access::find(&self.forest, st, &rq.home, name, &rq.who)?;
        }
        let mut out = format!(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><subscriptions{}>",
            attribute("node", only.as_deref())
        );
        for (name, leaf) in
            self.forest.of(&rq.home.owner).filter(|(name, _)| only.as_deref().is_none_or(|o| o == *name))
        {
            let own = leaf.head.subscriptions.iter().filter(|(jid, _)| jid.bare_str() == rq.who.as_str());
            for (jid, state) in own {
                out += &notify::subscription_xml(Some(name), jid, state.as_str());
            }
        }
        st.reply(rq.iq, out + "</subscriptions></pubsub>")
    }

    /// §5.7
    pub(super) fn own_affiliations(&mut self, st: &mut State, rq: &PubSubRequest<'_>, request: Node<'_>) -> Handled {
        let only = request.attr("node");
        if let Some(name) = only.as_deref() {
            access::find(&self.forest, st, &rq.home, name, &rq.who)?;
        }
        let mut out = format!(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><affiliations{}>",
            attribute("node", only.as_deref())
        );
        for (name, leaf) in
            self.forest.of(&rq.home.owner).filter(|(name, _)| only.as_deref().is_none_or(|o| o == *name))
        {
            let affiliation = access::listed(&rq.home, &leaf.head, &rq.who);
            if affiliation != NodeAffiliation::None {
                out += &format!("<affiliation node='{}' affiliation='{}'/>", escaped(name), affiliation.as_str());
            }
        }
        st.reply(rq.iq, out + "</affiliations></pubsub>")
    }

    /// Asks the owners whether somebody may subscribe (§8.6).
    fn ask_owners(&self, st: &mut State, home: &Home, name: &str, head: &Head, jid: &Jid) {
        let form = format!(
            "<x xmlns='jabber:x:data' type='form'><title>PubSub subscriber request</title>\
             <field var='FORM_TYPE' type='hidden'><value>{AUTHORIZATION}</value></field>\
             <field var='pubsub#node' type='text-single' label='Node ID'><value>{}</value></field>\
             <field var='pubsub#subscriber_jid' type='jid-single' label='Subscriber Address'><value>{}</value></field>\
             <field var='pubsub#allow' type='boolean' label='Allow this JID to subscribe to this pubsub node?'>\
             <value>false</value></field></x>",
            escaped(name),
            escaped(jid.as_str())
        );
        let id = st.token();
        let request = Stanza::new(Kind::Message, Type::None).from(home.jid.clone()).with_id(&id).with(form);
        for owner in access::owners_of(home, head) {
            st.send(request.clone().to(owner));
        }
    }

    /// An owner's answer to that. `None`: it is none.
    ///
    /// # Errors
    /// `forbidden` for somebody who is no owner; `item-not-found` if there is nothing to approve.
    pub(super) fn authorized(
        &mut self,
        st: &mut State,
        home: &Home,
        message: &Stanza,
    ) -> Option<Result<(), StanzaError>> {
        let x = message.child(Ns::DATA_FORM, "x")?;
        let field = |var: &str| {
            let mut fields = x.children().filter(|c| c.is(Ns::DATA_FORM, "field"));
            let field = fields.find(|field| field.attr("var").as_deref() == Some(var))?;
            field.child(Ns::DATA_FORM, "value").map(|value| value.text().into_owned())
        };
        if field("FORM_TYPE").as_deref() != Some(AUTHORIZATION) {
            return None;
        }
        match x.attr("type").as_deref() {
            // It stays pending.
            Some("cancel") => Some(Ok(())),
            Some("submit") => Some(self.authorize(st, home, message)),
            _ => None,
        }
    }

    fn authorize(&mut self, st: &mut State, home: &Home, message: &Stanza) -> Result<(), StanzaError> {
        let who = message.from.as_ref().map(Jid::bare).ok_or(Condition::BadRequest)?;
        let raw = message.child(Ns::DATA_FORM, "x").ok_or(Condition::BadRequest)?;
        let mut fields = form::fields(raw)?;
        let name = form::single(&mut fields, "pubsub#node")?.ok_or_else(|| bad("no node is named"))?;
        let jid = form::single(&mut fields, "pubsub#subscriber_jid")?.ok_or_else(|| bad("nobody is named"))?;
        let jid = Jid::parse(&jid).map_err(|_| errors::invalid_jid())?;
        let allow = form::boolean(&mut fields, "pubsub#allow")?.ok_or_else(|| bad("it is not said whether"))?;
        let leaf = access::find(&self.forest, st, home, &name, &who)?;
        access::own(st, home, &leaf.head, &who)?;
        if leaf.head.subscriptions.get(&jid) != Some(&Subscription::Pending) {
            return Err(errors::no_node());
        }
        let state = allow.then_some(Subscription::Subscribed);
        self.change(st, home, &name, &jid, state)
    }

    /// Another state of somebody's subscription, which they are told of (§8.8.4).
    pub(super) fn change(
        &mut self,
        st: &mut State,
        home: &Home,
        name: &str,
        jid: &Jid,
        state: Option<Subscription>,
    ) -> Result<(), StanzaError> {
        let Some(leaf) = self.forest.get(&home.owner, name) else { return Err(errors::no_node()) };
        let mut head = leaf.head.clone();
        match state {
            Some(state) => head.subscriptions.insert(jid.clone(), state),
            None => head.subscriptions.remove(jid),
        };
        if head == leaf.head {
            return Ok(());
        }
        save(&mut self.forest, st, home, name, head.clone())?;
        notify::subscription(st, home, name, jid, state.map_or("none", Subscription::as_str));
        if state == Some(Subscription::Subscribed) && head.config.last != SendLast::Never {
            self.send_last(st, home, name, jid);
        }
        Ok(())
    }
}
