//! Who may do what (XEP-0060 §4.1, §4.5, §6.5.1, §14).
//!
//! A stranger, who may not see the presence of an account, learns nothing of its nodes: whatever they ask about one that is not
//! open to them, about one that does not exist, and about an account that does not exist, the answer is the same.
//!
//! Who administers the server is an owner of every node at the service, on no list, as in rooms; what is at an account is its own.

use super::config::{Access, Publish};
use super::errors;
use super::node::{Forest, Head, Home, Leaf, NodeAffiliation, Subscription};
use crate::core::State;
use crate::wire::{Condition, Jid, StanzaError};

/// What somebody, by bare JID, may do as at a node.
pub(super) fn affiliation(st: &State, home: &Home, head: &Head, who: &Jid) -> NodeAffiliation {
    match !home.is_account() && st.administers(who) {
        true => NodeAffiliation::Owner,
        false => listed(home, head, who),
    }
}

/// What somebody, by bare JID, is to a node.
pub(super) fn listed(home: &Home, head: &Head, who: &Jid) -> NodeAffiliation {
    if home.is_account() && *who == home.jid {
        return NodeAffiliation::Owner;
    }
    head.affiliations.get(who).copied().unwrap_or(NodeAffiliation::None)
}

/// Whether somebody may not see the presence of an account, by bare JID; at the service nobody is a stranger.
pub(super) fn stranger(st: &State, home: &Home, who: &Jid) -> bool {
    home.is_account() && *who != home.jid && !st.account(&home.jid).is_some_and(|a| a.shows_presence_to(who))
}

/// The owners of a node that have an account here.
fn owners<'a>(home: &'a Home, head: &'a Head) -> impl Iterator<Item = &'a Jid> {
    let named = head.affiliations.iter().filter(|(_, affiliation)| **affiliation == NodeAffiliation::Owner);
    Some(&home.jid).filter(|_| home.is_account()).into_iter().chain(named.map(|(jid, _)| jid))
}

/// The owners of a node.
pub(super) fn owners_of(home: &Home, head: &Head) -> Vec<Jid> {
    owners(home, head).cloned().collect()
}

/// Whether somebody has a subscription to a node, with any of their addresses.
pub(super) fn is_subscribed(head: &Head, who: &Jid) -> bool {
    head.subscriptions.iter().any(|(jid, s)| *s == Subscription::Subscribed && jid.bare_str() == who.as_str())
}

/// A node for somebody who asks for it by its name.
///
/// # Errors
/// `item-not-found`; of an account, a stranger hears the same of all nodes that are not open to them.
pub(super) fn find<'a>(
    forest: &'a Forest,
    st: &State,
    home: &Home,
    name: &str,
    who: &Jid,
) -> Result<&'a Leaf, StanzaError> {
    let leaf = forest.get(&home.owner, name);
    let open = |head: &Head| {
        matches!(head.config.access, Access::Open | Access::Authorize)
            || !matches!(affiliation(st, home, head, who), NodeAffiliation::None | NodeAffiliation::Outcast)
    };
    match leaf {
        Some(leaf) if open(&leaf.head) || !stranger(st, home, who) => Ok(leaf),
        _ if stranger(st, home, who) => Err(errors::presence_required()),
        _ => Err(errors::no_node()),
    }
}

/// Whether somebody may subscribe to a node and read it, but for what an owner must approve.
fn enters(st: &State, home: &Home, head: &Head, who: &Jid) -> Result<(), StanzaError> {
    match affiliation(st, home, head, who) {
        NodeAffiliation::Owner | NodeAffiliation::Publisher | NodeAffiliation::Member => return Ok(()),
        NodeAffiliation::PublishOnly | NodeAffiliation::Outcast => return Err(Condition::Forbidden.into()),
        NodeAffiliation::None => {}
    }
    let sees = |owner: &Jid| st.account(owner).filter(|account| account.shows_presence_to(who));
    let in_group = |owner: &Jid| {
        let item = sees(owner).and_then(|account| account.roster.items.get(who));
        item.is_some_and(|item| item.groups.iter().any(|group| head.config.groups.contains(group)))
    };
    let mut owners = owners(home, head);
    match head.config.access {
        Access::Open | Access::Authorize => Ok(()),
        Access::Presence if owners.any(|owner| sees(owner).is_some()) => Ok(()),
        Access::Presence => Err(errors::presence_required()),
        Access::Roster if owners.any(in_group) => Ok(()),
        Access::Roster => Err(errors::not_in_group()),
        Access::Whitelist => Err(errors::closed()),
    }
}

/// Whether somebody may read the items of a node (§6.5.1).
pub(super) fn read(st: &State, home: &Home, head: &Head, who: &Jid) -> Result<(), StanzaError> {
    enters(st, home, head, who)?;
    let asked = head.config.access == Access::Authorize && affiliation(st, home, head, who) == NodeAffiliation::None;
    if asked && !is_subscribed(head, who) { Err(errors::not_subscribed()) } else { Ok(()) }
}

/// What a subscription of somebody would be (§6.1.3, §6.1.4).
pub(super) fn subscribe(st: &State, home: &Home, head: &Head, who: &Jid) -> Result<Subscription, StanzaError> {
    enters(st, home, head, who)?;
    let asked = head.config.access == Access::Authorize && affiliation(st, home, head, who) == NodeAffiliation::None;
    Ok(if asked { Subscription::Pending } else { Subscription::Subscribed })
}

/// Whether somebody may publish at a node.
pub(super) fn publish(st: &State, home: &Home, head: &Head, who: &Jid) -> Result<(), StanzaError> {
    let allowed = match affiliation(st, home, head, who) {
        NodeAffiliation::Owner | NodeAffiliation::Publisher | NodeAffiliation::PublishOnly => true,
        NodeAffiliation::Outcast => false,
        NodeAffiliation::None | NodeAffiliation::Member => match head.config.publishers {
            Publish::Publishers => false,
            // Who lost access to the node is still in the list of subscriptions.
            Publish::Subscribers => is_subscribed(head, who) && read(st, home, head, who).is_ok(),
            Publish::Open => enters(st, home, head, who).is_ok(),
        },
    };
    if allowed { Ok(()) } else { Err(Condition::Forbidden.into()) }
}

/// # Errors
/// `forbidden` for everybody but an owner (§8).
pub(super) fn own(st: &State, home: &Home, head: &Head, who: &Jid) -> Result<(), StanzaError> {
    if affiliation(st, home, head, who) == NodeAffiliation::Owner { Ok(()) } else { Err(Condition::Forbidden.into()) }
}

/// Whether a notification may go to an address. What was allowed when it subscribed is not what counts.
pub(super) fn receive(st: &State, home: &Home, head: &Head, to: &Jid) -> bool {
    let blocked = st.account(&home.jid).is_some_and(|account| account.blocks(to));
    !blocked && read(st, home, head, &to.bare()).is_ok()
}
