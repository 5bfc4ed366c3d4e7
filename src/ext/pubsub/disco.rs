//! What discovery tells of nodes (XEP-0060 §5.1 to §5.5): of those that somebody may see.

use super::config::Access;
use super::node::{Head, Home, Leaf, MAX_ITEMS, NodeAffiliation};
use super::{PubSub, access};
use crate::core::{Flow, Handled, State};
use crate::ext::disco::{Identity, Info, InfoForm};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Ns, Stanza, StanzaError, Type, stamp};
use std::collections::{BTreeMap, BTreeSet};

macro_rules! names {
    ($($name:literal),* $(,)?) => { &[$(concat!("http://jabber.org/protocol/pubsub#", $name)),*] };
}

/// What accounts can do.
pub(super) const ACCOUNT: &[&str] = names![
    "access-presence",
    "auto-create",
    "auto-subscribe",
    "config-node",
    "config-node-max",
    "create-and-configure",
    "create-nodes",
    "delete-items",
    "delete-nodes",
    "filtered-notifications",
    "instant-nodes",
    "item-ids",
    "last-published",
    "manage-subscriptions",
    "member-affiliation",
    "meta-data",
    "modify-affiliations",
    "multi-items",
    "outcast-affiliation",
    "persistent-items",
    "presence-subscribe",
    "publish",
    "publish-node-full",
    "publish-only-affiliation",
    "publish-options",
    "publisher-affiliation",
    "pubsub-on-a-jid",
    "purge-nodes",
    "retract-items",
    "retrieve-affiliations",
    "retrieve-default",
    "retrieve-items",
    "retrieve-subscriptions",
    "rsm",
    "subscribe",
    "subscription-notifications",
];

/// What accounts can do and the service cannot.
const ACCOUNT_ONLY: &[&str] = names![
    "access-presence",
    "auto-create",
    "auto-subscribe",
    "filtered-notifications",
    "last-published",
    "presence-subscribe",
    "pubsub-on-a-jid",
];

const META: &str = "http://jabber.org/protocol/pubsub#meta-data";

/// What the service tells of itself (§5.1).
fn service(name: &str) -> Info {
    let identity = Identity { category: "pubsub", ty: "service", lang: "", name: name.to_owned().into() };
    let mut features: BTreeSet<&'static str> =
        ACCOUNT.iter().copied().filter(|feature| !ACCOUNT_ONLY.contains(feature)).collect();
    features.extend([
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "http://jabber.org/protocol/pubsub",
        "http://jabber.org/protocol/pubsub#access-open",
        "urn:xmpp:ping",
    ]);
    Info { identities: [identity].into(), features, forms: BTreeMap::new() }
}

/// §5.3, §5.4
fn node(home: &Home, leaf: &Leaf) -> Info {
    let Head { config, .. } = &leaf.head;
    let mut form = InfoForm::new();
    let mut field = |name: &str, values: Vec<String>| {
        let values: BTreeSet<String> = values.into_iter().filter(|value| !value.is_empty()).collect();
        if !values.is_empty() {
            form.insert(format!("pubsub#{name}"), values);
        }
    };
    let with = |which: NodeAffiliation| {
        let all = leaf.head.affiliations.iter().filter(move |(_, affiliation)| **affiliation == which);
        all.map(|(jid, _)| jid.to_string()).collect::<Vec<_>>()
    };
    let owners = access::owners_of(home, &leaf.head);
    let max = if config.max_items == MAX_ITEMS { "max".into() } else { config.max_items.to_string() };
    field("title", vec![config.title.to_string()]);
    field("description", vec![config.description.to_string()]);
    field("type", vec![config.ty.to_string()]);
    field("language", vec![config.language.to_string()]);
    field("contact", config.contact.iter().map(|jid| jid.to_string()).collect());
    field("creator", vec![leaf.head.creator.to_string()]);
    field("creation_date", vec![stamp::format(leaf.head.created)]);
    field("access_model", vec![config.access.as_str().into()]);
    field("publish_model", vec![config.publishers.as_str().into()]);
    field("max_items", vec![max]);
    field("owner", owners.iter().map(|jid| jid.to_string()).collect());
    field("publisher", with(NodeAffiliation::Publisher));
    field("num_subscribers", vec![leaf.head.subscriptions.len().to_string()]);
    let identity = Identity { category: "pubsub", ty: "leaf", lang: "", name: config.title.to_string().into() };
    Info {
        identities: [identity].into(),
        features: ["http://jabber.org/protocol/pubsub"].into(),
        forms: [(META, form)].into(),
    }
}

/// Whether a node is shown to somebody.
fn shown(st: &State, home: &Home, head: &Head, who: &Jid) -> bool {
    access::subscribe(st, home, head, who).is_ok()
}

impl PubSub {
    /// disco#info and disco#items at an account: what is not about its nodes passes.
    pub(super) fn account_disco(&mut self, st: &mut State, home: &Home, iq: &Stanza) -> Handled {
        let Some(query) = iq.children().next().filter(|q| iq.ty == Type::Get && q.name() == "query") else {
            return Ok(Flow::Pass);
        };
        let who = iq.from.as_ref().map(Jid::bare).ok_or(Condition::BadRequest)?;
        match (query.attr("node"), query.ns()) {
            (None, Ns::DISCO_ITEMS) => st.reply(iq, self.nodes(st, home, &who)),
            (Some(name), ns) if access::find(&self.forest, st, home, &name, &who).is_ok() => {
                let answer = self.node_disco(st, home, &name, &who, ns)?;
                st.reply(iq, answer)
            }
            _ => Ok(Flow::Pass),
        }
    }

    /// The same at the service, where nobody else answers.
    pub(super) fn service_disco(&mut self, st: &mut State, home: &Home, iq: &Stanza, title: &str) -> Handled {
        let Some(query) = iq.children().next().filter(|q| iq.ty == Type::Get && q.name() == "query") else {
            return Err(Condition::BadRequest.into());
        };
        let who = iq.from.as_ref().map(Jid::bare).ok_or(Condition::BadRequest)?;
        let answer = match (query.attr("node"), query.ns()) {
            (None, Ns::DISCO_ITEMS) => self.nodes(st, home, &who),
            (None, _) => service(title).write(None),
            (Some(name), ns) => self.node_disco(st, home, &name, &who, ns)?,
        };
        st.reply(iq, answer)
    }

    /// §5.2
    fn nodes(&self, st: &State, home: &Home, who: &Jid) -> String {
        let mut out = String::from("<query xmlns='http://jabber.org/protocol/disco#items'>");
        let jid = escaped(home.jid.as_str());
        for (name, leaf) in self.forest.of(&home.owner) {
            // Who must be approved is told of a node at the service, and by the account's owner.
            let asked = leaf.head.config.access == Access::Authorize && access::stranger(st, home, who);
            if asked || !shown(st, home, &leaf.head, who) {
                continue;
            }
            let title = super::attribute("name", Some(&*leaf.head.config.title).filter(|title| !title.is_empty()));
            out += &format!("<item jid='{jid}' node='{}'{title}/>", escaped(name));
        }
        out + "</query>"
    }

    fn node_disco(&self, st: &State, home: &Home, name: &str, who: &Jid, ns: Ns) -> Result<String, StanzaError> {
        let leaf = access::find(&self.forest, st, home, name, who)?;
        if ns == Ns::DISCO_INFO {
            access::subscribe(st, home, &leaf.head, who)?;
            return Ok(node(home, leaf).write(Some(name)));
        }
        // §5.5
        access::read(st, home, &leaf.head, who)?;
        let (jid, node) = (escaped(home.jid.as_str()), escaped(name));
        let mut out = format!("<query xmlns='http://jabber.org/protocol/disco#items' node='{node}'>");
        for item in leaf.items.values() {
            out += &format!("<item jid='{jid}' name='{}'/>", escaped(&item.id));
        }
        Ok(out + "</query>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_has_what_accounts_have_but_for_presence() {
        let service = service("x").features;
        assert!(ACCOUNT_ONLY.iter().all(|feature| ACCOUNT.contains(feature) && !service.contains(feature)));
        assert!(service.contains("http://jabber.org/protocol/pubsub"));
        assert_eq!(service.len(), ACCOUNT.len() - ACCOUNT_ONLY.len() + 5);
    }
}
