//! XEP-0030: Service Discovery. What the server and its accounts are and can do, made from what all extensions say of
//! themselves.

use super::{caps, commands, contacts, form};
use crate::core::{About, Extension, Flow, Handled, Place, State};
use crate::wire::xml::{escape, escaped};
use crate::wire::{Condition, Ns, Stanza, Type};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Disco;

/// What an entity tells of itself, everything in the order of bytes: the order that XEP-0115 hashes.
#[derive(Debug, Default)]
pub(super) struct Info {
    /// What it is, at least one.
    pub identities: BTreeSet<Identity>,
    /// What it can do.
    pub features: BTreeSet<&'static str>,
    /// XEP-0128: by `FORM_TYPE`, the values of each field.
    pub forms: BTreeMap<&'static str, InfoForm>,
}

/// The fields of a form, without `FORM_TYPE`, and the values of each.
pub(super) type InfoForm = BTreeMap<String, BTreeSet<String>>;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub category: &'static str,
    pub ty: &'static str,
    /// Empty: none.
    pub lang: &'static str,
    /// Empty: none.
    pub name: Cow<'static, str>,
}

/// What the server's own address tells.
pub(super) fn server(st: &State) -> Info {
    let name = "Inglenook".into();
    Info {
        identities: [Identity { category: "server", ty: "im", lang: "", name }].into(),
        features: st.abouts().iter().flat_map(|about| about.server).copied().collect(),
        forms: contacts::form(st).into_iter().collect(),
    }
}

/// What every account tells.
fn account(st: &State) -> Info {
    let identity = |category, ty| Identity { category, ty, lang: "", name: "".into() };
    Info {
        // XEP-0163 §6.1
        identities: [identity("account", "registered"), identity("pubsub", "pep")].into(),
        features: st.abouts().iter().flat_map(|about| about.account).copied().collect(),
        forms: BTreeMap::new(),
    }
}

/// The items of the server's own address: (domain, name) of each service on a subdomain, and of each component that is here.
fn services(st: &State) -> Vec<(String, &str)> {
    let services = st.services().iter().map(|(domain, service)| (domain.to_string(), &*service.name));
    services.chain(st.components().map(|domain| (domain.to_owned(), domain))).collect()
}

impl Info {
    /// The `<query/>` of disco#info.
    pub(super) fn write(&self, node: Option<&str>) -> String {
        let mut out = open(Ns::DISCO_INFO, node);
        let attr = |out: &mut String, name: &str, value: &str| {
            if !value.is_empty() {
                *out += &format!(" {name}='{}'", escaped(value));
            }
        };
        for identity in &self.identities {
            out += "<identity";
            attr(&mut out, "xml:lang", identity.lang);
            attr(&mut out, "category", identity.category);
            attr(&mut out, "type", identity.ty);
            attr(&mut out, "name", &identity.name);
            out += "/>";
        }
        for feature in &self.features {
            out += "<feature";
            attr(&mut out, "var", feature);
            out += "/>";
        }
        for (ty, fields) in &self.forms {
            out += "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>";
            escape(ty, &mut out);
            out += "</value></field>";
            for (var, values) in fields {
                out += "<field";
                attr(&mut out, "type", form::registered(ty, var));
                attr(&mut out, "var", var);
                out += ">";
                for value in values {
                    out += "<value>";
                    escape(value, &mut out);
                    out += "</value>";
                }
                out += "</field>";
            }
            out += "</x>";
        }
        out + "</query>"
    }
}

/// The start tag of an answer; the node that was asked for comes back in it (XEP-0030 §3.2).
pub(super) fn open(ns: Ns, node: Option<&str>) -> String {
    match node {
        Some(node) => format!("<query xmlns='{}' node='{}'>", ns.uri(), escaped(node)),
        None => format!("<query xmlns='{}'>", ns.uri()),
    }
}

/// The `<query/>` of disco#items: (JID, name) of each; empty: it has none.
pub(super) fn items(list: &[(String, &str)], node: Option<&str>) -> String {
    let mut out = open(Ns::DISCO_ITEMS, node);
    for (jid, name) in list {
        out += &format!("<item jid='{}'", escaped(jid));
        if !name.is_empty() {
            out += &format!(" name='{}'", escaped(name));
        }
        out += "/>";
    }
    out + "</query>"
}

/// The query of a well-formed request, and its node.
pub(super) fn query(iq: &Stanza) -> Result<(Ns, Option<Cow<'_, str>>), Condition> {
    match iq.children().next() {
        Some(query) if iq.ty == Type::Get && query.name() == "query" => Ok((query.ns(), query.attr("node"))),
        _ => Err(Condition::BadRequest),
    }
}

impl Extension for Disco {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0030",
            name: "Service Discovery",
            version: "2.5.0",
            missing: "the resources of an account are not among its items",
            server: &["http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"],
            account: &["http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"],
            iq: &[Ns::DISCO_INFO, Ns::DISCO_ITEMS],
        }
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        let (ns, node) = query(iq)?;
        let node = node.as_deref();
        let info = ns == Ns::DISCO_INFO;
        // XEP-0030 §8: nothing about an account to those who may not see its presence.
        let trusted = match at {
            Place::Server | Place::Own(_) => true,
            Place::Account(_) => st.shows_presence(iq),
        };
        if !trusted {
            return if info { Ok(Flow::Pass) } else { st.reply(iq, items(&[], node)) };
        }
        if let Some(answer) = node.and_then(|node| commands::disco(st, at, iq, info, node)) {
            return st.reply(iq, answer?);
        }
        let server_node = |node: &str| *at == Place::Server && node == caps::node(&server(st));
        if node.is_some_and(|node| !server_node(node)) {
            return Err(Condition::ItemNotFound.into());
        }
        let answer = match (at, info) {
            (Place::Server, true) => server(st).write(node),
            // The node of XEP-0115 has no items of its own.
            (Place::Server, false) if node.is_none() => items(&services(st), node),
            (_, true) => account(st).write(node),
            (_, false) => items(&[], node),
        };
        st.reply(iq, answer)
    }
}
