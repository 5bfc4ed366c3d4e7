//! What owners do (XEP-0060 §8): make, configure, purge and delete nodes, and say who is what to them.

use super::config::NodeConfig;
use super::errors::{self, bad, unsupported};
use super::node::{Head, NodeAffiliation, Subscription};
use super::{PubSub, PubSubRequest, access, node_name, notify};
use crate::core::{Event, Handled, State};
use crate::ext::form;
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Node, Ns, Stanza, StanzaError};
use std::collections::BTreeSet;

const CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
/// The address that a deleted node has moved to, in bytes.
const URI_BYTES: usize = 2048;
/// Affiliations or subscriptions that are changed by one request.
const CHANGES: usize = 256;

fn open(element: &str, name: &str) -> String {
    format!("<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><{element} node='{}'>", escaped(name))
}

/// The groups of the roster of who configures a node.
fn groups(st: &State, rq: &PubSubRequest<'_>) -> BTreeSet<Box<str>> {
    let items = st.account(&rq.who).into_iter().flat_map(|account| account.roster.items.values());
    items.flat_map(|item| item.groups.iter().cloned()).collect()
}

impl PubSub {
    /// The head of a node for its owner.
    fn owned(&self, st: &State, rq: &PubSubRequest<'_>, request: Node<'_>) -> Result<(String, Head), StanzaError> {
        let name = node_name(request)?;
        let leaf = access::find(&self.forest, st, &rq.home, &name, &rq.who)?;
        access::own(st, &rq.home, &leaf.head, &rq.who)?;
        Ok((name, leaf.head.clone()))
    }

    /// §8.1
    pub(super) fn create(
        &mut self,
        st: &mut State,
        rq: &PubSubRequest<'_>,
        pubsub: Node<'_>,
        create: Node<'_>,
    ) -> Handled {
        let account = rq.home.is_account();
        if account && !rq.own() {
            let stranger = access::stranger(st, &rq.home, &rq.who);
            return Err(if stranger { errors::presence_required() } else { Condition::Forbidden.into() });
        }
        if !account && st.account(&rq.who).is_none() {
            return Err(Condition::Forbidden.into());
        }
        let given = create.attr("node").filter(|name| !name.is_empty());
        let mut config = NodeConfig::named(account, given.as_deref().unwrap_or_default());
        if let Some(configure) = pubsub.children().find(|c| c.name() == "configure") {
            let first = pubsub.children().next().is_some_and(|first| first.name() == "create");
            if !first || configure.attr("node").is_some() || configure.ns() != Ns::PUBSUB {
                return Err(bad("the configuration of a new node stands behind it, and names none"));
            }
            if let Some(fields) = form::submitted(configure, CONFIG)? {
                config = config.configured(fields)?;
            }
        }
        let name = given.as_deref().map_or_else(|| st.token(), str::to_owned);
        if self.forest.get(&rq.home.owner, &name).is_some() {
            return Err(Condition::Conflict.into());
        }
        self.forest.has_room(&rq.home, &name, &rq.who)?;
        let head = Head::new(st, &rq.home, rq.who.clone(), config);
        self.forest.save(st, &rq.home, &name, head)?;
        // §8.1.2: an instant node tells what it is called.
        let answer = match given {
            Some(_) => String::new(),
            None => {
                let name = escaped(&name);
                format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='{name}'/></pubsub>")
            }
        };
        st.confirm(rq.iq, answer)
    }

    /// §8.2.1
    pub(super) fn configuration(&mut self, st: &mut State, rq: &PubSubRequest<'_>, request: Node<'_>) -> Handled {
        let (name, head) = self.owned(st, rq, request)?;
        let form = head.config.form("form", &groups(st, rq));
        st.reply(rq.iq, format!("{}{form}</configure></pubsub>", open("configure", &name)))
    }

    /// §8.3
    pub(super) fn defaults(&mut self, st: &mut State, rq: &PubSubRequest<'_>) -> Handled {
        let form = NodeConfig::new(rq.home.is_account()).form("form", &groups(st, rq));
        let xml = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><default>{form}</default></pubsub>");
        st.reply(rq.iq, xml)
    }

    /// §8.2.4
    pub(super) fn configure(&mut self, st: &mut State, rq: &PubSubRequest<'_>, request: Node<'_>) -> Handled {
        let (name, mut head) = self.owned(st, rq, request)?;
        let form = request.child(Ns::DATA_FORM, "x");
        if form.is_some_and(|x| x.attr("type").as_deref() == Some("cancel")) {
            return st.reply(rq.iq, "");
        }
        let fields = form::submitted(request, CONFIG)?.ok_or_else(|| bad("there is no form"))?;
        let config = head.config.configured(fields)?;
        if config == head.config {
            return st.confirm(rq.iq, "");
        }
        head.config = config;
        self.forest.save(st, &rq.home, &name, head.clone())?;
        let most = if head.config.persist { head.config.max_items as usize } else { 0 };
        if let Some(leaf) = self.forest.get(&rq.home.owner, &name) {
            let over = leaf.items.len().saturating_sub(most);
            let oldest: Vec<u64> = leaf.items.keys().take(over).copied().collect();
            self.forest.remove(st, &rq.home, &name, &oldest)?;
        }
        if head.config.notify_config {
            let form = if head.config.payloads { head.config.form("result", &BTreeSet::new()) } else { String::new() };
            let event = format!("<configuration node='{}'>{form}</configuration>", escaped(&name));
            self.notify(st, &rq.home, &name, &head, &event);
        }
        st.confirm(rq.iq, "")
    }

    /// §8.4
    pub(super) fn delete(&mut self, st: &mut State, rq: &PubSubRequest<'_>, request: Node<'_>) -> Handled {
        let (name, head) = self.owned(st, rq, request)?;
        let redirect = request.child(Ns::PUBSUB_OWNER, "redirect").and_then(|redirect| redirect.attr("uri"));
        if redirect.as_ref().is_some_and(|uri| uri.len() > URI_BYTES) {
            return Err(bad("the address of the other node is too long"));
        }
        self.forest.delete(st, &rq.home, &name)?;
        if head.config.notify_delete {
            let inner = redirect.map(|uri| format!("<redirect uri='{}'/>", escaped(&uri))).unwrap_or_default();
            let event = format!("<delete node='{}'>{inner}</delete>", escaped(&name));
            self.notify(st, &rq.home, &name, &head, &event);
        }
        self.emptied(st, rq, &name);
        st.confirm(rq.iq, "")
    }

    /// §8.5
    pub(super) fn purge(&mut self, st: &mut State, rq: &PubSubRequest<'_>, request: Node<'_>) -> Handled {
        let (name, head) = self.owned(st, rq, request)?;
        if !head.config.persist {
            return Err(unsupported!("persistent-items"));
        }
        self.forest.purge(st, &rq.home, &name)?;
        if head.config.notify_retract {
            self.notify(st, &rq.home, &name, &head, &format!("<purge node='{}'/>", escaped(&name)));
        }
        self.emptied(st, rq, &name);
        st.confirm(rq.iq, "")
    }

    fn emptied(&self, st: &mut State, rq: &PubSubRequest<'_>, name: &str) {
        if rq.home.is_account() {
            st.announce(Event::Retracted { local: rq.home.owner.clone().into(), node: name.into(), item: None });
        }
    }

    /// §8.8.1: those that are pending are not among them.
    pub(super) fn subscriptions(&mut self, st: &mut State, rq: &PubSubRequest<'_>, request: Node<'_>) -> Handled {
        let (name, head) = self.owned(st, rq, request)?;
        let mut out = open("subscriptions", &name);
        for (jid, state) in head.subscriptions.iter().filter(|(_, state)| **state == Subscription::Subscribed) {
            out += &notify::subscription_xml(None, jid, state.as_str());
        }
        st.reply(rq.iq, out + "</subscriptions></pubsub>")
    }

    /// §8.9.1
    pub(super) fn affiliations(&mut self, st: &mut State, rq: &PubSubRequest<'_>, request: Node<'_>) -> Handled {
        let (name, head) = self.owned(st, rq, request)?;
        let mut out = open("affiliations", &name);
        let own = Some((&rq.home.jid, &NodeAffiliation::Owner)).filter(|_| rq.home.is_account());
        for (jid, affiliation) in own.into_iter().chain(&head.affiliations) {
            out += &affiliation_xml(jid, *affiliation);
        }
        st.reply(rq.iq, out + "</affiliations></pubsub>")
    }

    /// §8.8.2
    pub(super) fn change_subscriptions(
        &mut self,
        st: &mut State,
        rq: &PubSubRequest<'_>,
        request: Node<'_>,
    ) -> Handled {
        let (name, head) = self.owned(st, rq, request)?;
        st.write()?;
        let mut wrong = String::new();
        for (jid, element) in entries(request, "subscription")? {
            let before = head.subscriptions.get(&jid).copied();
            let state = match element.attr("subscription").as_deref() {
                None => continue,
                Some("none") => None,
                // Nobody is let in who may not be there.
                Some("subscribed") if before.is_some() => Some(Subscription::Subscribed),
                Some("subscribed") if access::subscribe(st, &rq.home, &head, &jid.bare()).is_ok() => {
                    Some(Subscription::Subscribed)
                }
                Some("pending") if before == Some(Subscription::Pending) => before,
                _ => {
                    wrong += &notify::subscription_xml(None, &jid, before.map_or("none", Subscription::as_str));
                    continue;
                }
            };
            if self.change(st, &rq.home, &name, &jid, state).is_err() {
                wrong += &notify::subscription_xml(None, &jid, before.map_or("none", Subscription::as_str));
            }
            st.step();
        }
        changed(st, rq, "subscriptions", &name, &wrong)
    }

    /// §8.9.2
    pub(super) fn change_affiliations(&mut self, st: &mut State, rq: &PubSubRequest<'_>, request: Node<'_>) -> Handled {
        let (name, mut head) = self.owned(st, rq, request)?;
        st.write()?;
        let mut wrong = String::new();
        for (jid, element) in entries(request, "affiliation")? {
            let Some(wanted) = element.attr("affiliation") else { continue };
            let before = access::listed(&rq.home, &head, &jid);
            let mut next = head.clone();
            let fine = NodeAffiliation::of(&wanted).is_some_and(|after| {
                match after {
                    NodeAffiliation::None => next.affiliations.remove(&jid),
                    after => next.affiliations.insert(jid.clone(), after),
                };
                if after == NodeAffiliation::Outcast {
                    next.subscriptions.retain(|subscriber, _| subscriber.bare() != jid);
                }
                // §4.1; and the owner of an account is the one owner of its nodes (XEP-0163 §2.2).
                let owners = if rq.home.is_account() {
                    (before == NodeAffiliation::Owner) == (after == NodeAffiliation::Owner)
                } else {
                    next.affiliations.values().any(|one| *one == NodeAffiliation::Owner)
                };
                before.may_become(after) && owners
            });
            if rq.home.is_account() {
                next.affiliations.remove(&rq.home.jid);
            }
            if !jid.is_bare() || !fine || self.forest.fits(&rq.home, &name, &next).is_err() {
                wrong += &affiliation_xml(&jid, before);
                continue;
            }
            for gone in head.subscriptions.keys().filter(|jid| !next.subscriptions.contains_key(*jid)) {
                notify::subscription(st, &rq.home, &name, gone, "none");
            }
            head = next;
        }
        // All of it is one row: written once.
        if self.forest.get(&rq.home.owner, &name).is_some_and(|leaf| leaf.head != head) {
            self.forest.save(st, &rq.home, &name, head)?;
        }
        changed(st, rq, "affiliations", &name, &wrong)
    }
}

fn affiliation_xml(jid: &Jid, affiliation: NodeAffiliation) -> String {
    format!("<affiliation jid='{}' affiliation='{}'/>", escaped(jid.as_str()), affiliation.as_str())
}

/// The entries of a list that an owner changes, each address once.
fn entries<'a>(request: Node<'a>, name: &str) -> Result<Vec<(Jid, Node<'a>)>, StanzaError> {
    let mut seen = BTreeSet::new();
    let mut entries = Vec::new();
    for element in request.children().filter(|c| c.is(Ns::PUBSUB_OWNER, name)) {
        let jid = element.attr("jid").ok_or_else(errors::invalid_jid)?;
        let jid = Jid::parse(&jid).map_err(|_| errors::invalid_jid())?;
        if !seen.insert(jid.clone()) {
            return Err(bad("somebody stands there twice"));
        }
        if entries.len() >= CHANGES {
            return Err(bad("too many changes at once"));
        }
        entries.push((jid, element));
    }
    Ok(entries)
}

/// The answer to a list of changes (§8.8.2.4, §8.9.2.4): what could not be done is in it, as it is.
fn changed(st: &mut State, rq: &PubSubRequest<'_>, element: &str, name: &str, wrong: &str) -> Handled {
    if wrong.is_empty() {
        return st.confirm(rq.iq, "");
    }
    let error = StanzaError::new(Condition::NotAcceptable).text("some of it could not be done");
    if let Some(mut answer) = Stanza::error_of(rq.iq, &error) {
        answer.push(format!("{}{wrong}</{element}></pubsub>", open(element, name)));
        st.confirm_with(answer);
    }
    Ok(crate::core::Flow::Done)
}
