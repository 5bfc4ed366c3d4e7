//! What clients ask of rosters, and what changes in them (RFC 6121 §2).

use super::list::{GROUP_BYTES, GROUPS, Item, NAME_BYTES};
use crate::core::impossible::impossible;
use crate::core::outcome::{Flow, Handled};
use crate::core::state::State;
use crate::store::{Tree, key};
use crate::wire::xml::escape;
use crate::wire::{Condition, Jid, Kind, Node, Ns, Stanza, StanzaError};
use std::fmt::Write;
use std::sync::Arc;

/// Answers a roster get (RFC 6121 §2.1.3, §2.6).
pub(crate) fn get(st: &mut State, iq: &Stanza, local: &str) -> Handled {
    let Some(query) = iq.child(Ns::ROSTER, "query") else { return Ok(Flow::Pass) };
    if query.children().next().is_some() {
        return Err(StanzaError::new(Condition::BadRequest).text("a roster get is an empty query"));
    }
    let known = query.attr("ver").map(|v| v.into_owned());
    if let Some(sid) = iq.from.as_ref().and_then(|from| st.session_at(from))
        && let Some(session) = st.here.session_mut(sid)
    {
        session.interested = true;
    }
    let Some(account) = st.here.account(local) else { return Ok(Flow::Pass) };
    let roster = &account.roster;
    if known.as_deref().is_some_and(|known| !known.is_empty() && known == &*roster.version) {
        return st.reply(iq, "");
    }
    let mut out = String::from("<query xmlns='jabber:iq:roster'");
    if known.is_some() {
        let _ = write!(out, " ver='{}'", roster.version);
    }
    out.push('>');
    for (jid, item) in roster.items.iter().filter(|(_, i)| i.listed) {
        item.write(jid, &mut out);
    }
    out.push_str("</query>");
    st.reply(iq, out)
}

/// What a roster set asks for (RFC 6121 §2.1.5), checked.
struct Wanted {
    jid: Jid,
    remove: bool,
    name: Option<Arc<str>>,
    groups: Arc<Vec<Box<str>>>,
}

fn wanted(query: Node<'_>) -> Result<Wanted, StanzaError> {
    let bad = |text: &'static str| StanzaError::new(Condition::BadRequest).text(text);
    let too_long = |text: &'static str| StanzaError::new(Condition::NotAcceptable).text(text);
    let mut items = query.children();
    let (Some(item), None) = (items.next(), items.next()) else {
        return Err(bad("a roster set has exactly one item"));
    };
    if !item.is(Ns::ROSTER, "item") {
        return Err(bad("a roster set has one item element"));
    }
    let jid = item.attr("jid").ok_or_else(|| bad("the item has no jid"))?;
    // RFC 6121 §2.1.2.3 speaks of bare JIDs, and many gateways are domains with a resource: the address is kept as given.
    let jid = Jid::parse(&jid).map_err(|e| StanzaError::new(Condition::JidMalformed).text(e.0))?;
    let name: Option<Arc<str>> = item.attr("name").filter(|n| !n.is_empty()).map(|n| n.into());
    if name.as_ref().is_some_and(|n| n.len() > NAME_BYTES) {
        return Err(too_long("the name is too long"));
    }
    let mut groups: Vec<Box<str>> = Vec::new();
    for group in item.children().filter(|c| c.is(Ns::ROSTER, "group")) {
        let group = group.text();
        if group.is_empty() {
            return Err(too_long("the name of a group is empty"));
        }
        if group.len() > GROUP_BYTES {
            return Err(too_long("the name of a group is too long"));
        }
        if groups.iter().any(|g| **g == *group) {
            return Err(bad("the same group stands there twice"));
        }
        if groups.len() >= GROUPS {
            return Err(too_long("too many groups"));
        }
        groups.push(group.into());
    }
    groups.sort_unstable();
    let remove = item.attr("subscription").as_deref() == Some("remove");
    Ok(Wanted { jid, remove, name, groups: Arc::new(groups) })
}

/// Carries out a roster set (RFC 6121 §2.3, §2.4, §2.5).
pub(crate) fn set(st: &mut State, iq: &Stanza, local: &str) -> Handled {
    let Some(query) = iq.child(Ns::ROSTER, "query") else { return Ok(Flow::Pass) };
    let Wanted { jid, remove, name, groups } = wanted(query)?;
    if remove {
        st.erase()?
    } else {
        st.write()?
    };
    let Some(account) = st.here.account(local) else { return Ok(Flow::Pass) };
    let own = account.jid.clone();
    let item = account.roster.items.get(&jid);
    if !remove {
        if jid == own {
            return Err(StanzaError::new(Condition::NotAllowed).text("nobody is their own contact"));
        }
        let item = Item { listed: true, name, groups, ..item.cloned().unwrap_or_default() };
        account.roster.has_room(&jid, &item)?;
        put(st, local, &jid, item, true)?;
        return st.confirm(iq, "");
    }
    // RFC 6121 §2.5.2, §2.5.3
    let Some(item) = item.filter(|i| i.listed).cloned() else {
        return Err(StanzaError::new(Condition::ItemNotFound).text("no such contact"));
    };
    // RFC 6121 §3.2.1: while it still is subscribed.
    if item.state.from {
        st.withdraw(local, &jid);
    }
    for ty in item.state.ends() {
        st.send(Stanza::new(Kind::Presence, ty).from(own.clone()).to(jid.clone()));
    }
    put(st, local, &jid, Item::default(), true)?;
    st.confirm(iq, "")
}

/// Stores an item, or removes it when it is empty; `push`: and tells the sessions that want to know (RFC 6121 §2.1.6).
pub(crate) fn put(st: &mut State, local: &str, jid: &Jid, mut item: Item, push: bool) -> Result<(), StanzaError> {
    // In memory it shares what others have, too.
    let jid =
        &st.account(jid).map(|account| account.jid.clone()).filter(|own| own == jid).unwrap_or_else(|| jid.clone());
    st.words.share(&mut item);
    let row = key::named(local, jid.as_str());
    let version: Box<str> = st.token().into();
    let batch = st.write()?;
    if item.is_empty() {
        batch.delete(Tree::Roster, row);
    } else {
        batch.put(Tree::Roster, row, item.record());
    }
    if push {
        // The empty name is no JID: this row is the roster's version.
        batch.put(Tree::Roster, key::named(local, ""), version.as_bytes());
    }
    let Some(account) = st.here.account_mut(local) else {
        impossible("a contact is stored for an account that is gone");
        return Ok(());
    };
    if push {
        account.roster.version = version.clone();
    }
    let mut xml = format!("<query xmlns='jabber:iq:roster' ver='{version}'>");
    if item.listed {
        item.write(jid, &mut xml);
    } else {
        xml.push_str("<item jid='");
        escape(jid.as_str(), &mut xml);
        xml.push_str("' subscription='remove'/>");
    }
    xml.push_str("</query>");
    account.roster.insert(jid.clone(), item);
    if push {
        for sid in st.sessions_of(local) {
            if st.here.session(sid).is_some_and(|s| s.interested) {
                st.push_request(sid, &xml);
            }
        }
    }
    Ok(())
}
