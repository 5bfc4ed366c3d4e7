//! Nodes: what of them is kept in memory, how they are stored, and how many there may be.
//!
//! In memory are the head of each node and, of its items, the ids and sizes; payloads are read from the disk when somebody wants
//! them.

use super::config::NodeConfig;
use super::errors;
use crate::core::share::{Shared, Shares, limits, may_have, whose};
use crate::core::{State, scan};
use crate::store::record::{Broken, Reader, Writer, stored};
use crate::store::{Bytes, Engine, StoreError, Tree, Whose, key};
use crate::wire::{Condition, Jid, StanzaError};
use std::collections::BTreeMap;

/// The nodes of one account.
const ACCOUNT_NODES: usize = 256;
/// The nodes of the service.
const SERVICE_NODES: usize = 1000;
/// The nodes at the service that one account made.
const CREATED_NODES: usize = 50;
/// The heads of an account's nodes as they are stored, in bytes: they are in memory.
const ACCOUNT_HEAD_BYTES: usize = 256 * 1024;
/// The same of the service.
const SERVICE_HEAD_BYTES: usize = 2 * 1024 * 1024;
/// The head of one node, in bytes: it bounds affiliations and subscriptions.
const HEAD_BYTES: usize = 64 * 1024;
/// The items of all nodes of an account, in bytes.
const ACCOUNT_BYTES: usize = 4 * 1024 * 1024;
/// The same of the service.
const SERVICE_BYTES: usize = 32 * 1024 * 1024;
/// The addresses that one account has subscribed to one node, in bytes.
const SUBSCRIBER_BYTES: usize = 2048;
/// What an item counts besides its texts, in bytes: it has a place in memory and a row.
const ITEM_AROUND_BYTES: usize = 512;
/// The name of a node, in bytes.
pub(super) const NAME_BYTES: usize = 512;
/// The id of an item, in bytes.
pub(super) const ID_BYTES: usize = 512;
/// A payload, in bytes: an avatar, in base64.
pub(super) const PAYLOAD_BYTES: usize = 128 * 1024;
/// Items of one node, and what `max` means.
pub(super) const MAX_ITEMS: u32 = 1000;

pub(in crate::ext) const SHARED: [Shared; 4] = [
    Shared {
        what: "nodes of the service",
        whole: limits![SERVICE_NODES, CREATED_NODES],
        share: "an account: that number of nodes that it made, and the rule",
        checked: "ext/pubsub/node.rs",
        told: "`resource-constraint` with `max-nodes-exceeded`: delete one",
    },
    Shared {
        what: "configurations, affiliations and subscriptions of the nodes of the service",
        whole: limits![SERVICE_HEAD_BYTES],
        share: "an account: the rule for the nodes that it made; half of that, by the rule, for who subscribes there",
        checked: "ext/pubsub/node.rs",
        told: "`resource-constraint`: delete a node; subscribers: `policy-violation` with `too-many-subscriptions`",
    },
    Shared {
        what: "items of the nodes of the service",
        whole: limits![SERVICE_BYTES],
        share: "a publisher: the rule",
        checked: "ext/pubsub/node.rs",
        told: "`resource-constraint`: retract an item",
    },
    Shared {
        what: "the nodes of an account that others publish at and subscribe to",
        whole: limits![ACCOUNT_BYTES, ACCOUNT_HEAD_BYTES, HEAD_BYTES, SUBSCRIBER_BYTES],
        share: "the account itself: all; another publisher: the rule; a subscriber: the rule of half, and that number in one node",
        checked: "ext/pubsub/node.rs",
        told: "`resource-constraint`: retract an item; subscribers: `policy-violation` with `too-many-subscriptions`",
    },
];

/// What the service is called on the disk.
const SERVICE: &str = "pubsub";

/// A place that has nodes: an account, or the service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Home {
    /// Whose its nodes are.
    pub(super) owner: Whose,
    pub(super) jid: Jid,
}

impl Home {
    /// The account of this bare JID.
    pub(super) fn account(jid: Jid) -> Home {
        Home { owner: Whose::account(jid.local().unwrap_or_default()), jid }
    }

    pub(super) fn service(jid: Jid) -> Home {
        Home { owner: Whose::service(SERVICE), jid }
    }

    pub(super) fn is_account(&self) -> bool {
        self.owner.is_account()
    }

    /// Where a node of it is stored, and how the keys of the node's items begin but for a NUL.
    pub(super) fn row(&self, name: &str) -> Bytes {
        key::named(&self.owner, name)
    }
}

/// How the keys of all items of a node begin.
pub(super) fn items_prefix(owner: &Whose, name: &str) -> Vec<u8> {
    let mut key = key::named(owner, name).into_vec();
    key.push(0);
    key
}

/// Where an item is stored.
pub(super) fn item_row(owner: &Whose, name: &str, number: u64) -> Bytes {
    let mut key = items_prefix(owner, name);
    key.extend_from_slice(&number.to_be_bytes());
    key.into()
}

stored! {
    /// What somebody is to a node (§4.1).
    pub(super) enum NodeAffiliation {
        None = 0, "none";
        Owner = 1, "owner";
        Publisher = 2, "publisher";
        PublishOnly = 3, "publish-only";
        Member = 4, "member";
        Outcast = 5, "outcast";
    }

    /// A subscription (§4.2).
    pub(super) enum Subscription {
        Pending = 0, "pending";
        Subscribed = 1, "subscribed";
    }
}

impl NodeAffiliation {
    /// The state chart of §4.1: whether an owner may make the one of the other.
    pub(super) fn may_become(self, other: NodeAffiliation) -> bool {
        use NodeAffiliation::*;
        match self {
            _ if self == other => true,
            Owner => other == None,
            Publisher | PublishOnly => other != Member,
            None | Member | Outcast => true,
        }
    }
}

/// What of a node is one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// When it was made, in milliseconds since 1970.
    pub(super) created: u64,
    pub(super) creator: Jid,
    pub(super) config: NodeConfig,
    /// By bare JID. At an account, that its owner is the owner goes without saying.
    pub(super) affiliations: BTreeMap<Jid, NodeAffiliation>,
    /// By the address that is subscribed.
    pub(super) subscriptions: BTreeMap<Jid, Subscription>,
}

impl Head {
    pub(super) fn new(st: &State, home: &Home, creator: Jid, config: NodeConfig) -> Head {
        let mut affiliations = BTreeMap::new();
        if !home.is_account() {
            affiliations.insert(creator.clone(), NodeAffiliation::Owner);
        }
        Head { created: st.time(), creator, config, affiliations, subscriptions: BTreeMap::new() }
    }

    fn record(&self) -> Box<[u8]> {
        let w = self.config.write(Writer::new(1).u64(self.created).str(self.creator.as_str()));
        let mut w = w.u32(self.affiliations.len() as u32);
        for (jid, affiliation) in &self.affiliations {
            w = w.str(jid.as_str()).u8(affiliation.number());
        }
        w = w.u32(self.subscriptions.len() as u32);
        for (jid, subscription) in &self.subscriptions {
            w = w.str(jid.as_str()).u8(subscription.number());
        }
        w.done()
    }

    fn from_record(record: &[u8]) -> Result<Head, Broken> {
        let mut r = Reader::new(record)?;
        if r.version != 1 {
            return Err(Broken);
        }
        let jid = |r: &mut Reader<'_>| Jid::parse(r.str()?).map_err(|_| Broken);
        let (created, creator) = (r.u64()?, jid(&mut r)?);
        let config = NodeConfig::read(&mut r)?;
        let affiliations = (0..r.u32()?)
            .map(|_| Ok((jid(&mut r)?, NodeAffiliation::of_number(r.u8()?)?)))
            .collect::<Result<_, Broken>>()?;
        let subscriptions = (0..r.u32()?)
            .map(|_| Ok((jid(&mut r)?, Subscription::of_number(r.u8()?)?)))
            .collect::<Result<_, Broken>>()?;
        Ok(Head { created, creator, config, affiliations, subscriptions })
    }

    /// Forgets those that `gone` picks; says whether there was one.
    fn forget(&mut self, gone: impl Fn(&Jid) -> bool) -> bool {
        let count = |head: &Head| head.affiliations.len() + head.subscriptions.len();
        let before = count(self);
        self.affiliations.retain(|jid, _| !gone(jid));
        self.subscriptions.retain(|jid, _| !gone(jid));
        count(self) < before
    }

    fn has_owner(&self, st: &State) -> bool {
        self.affiliations.iter().any(|(jid, affiliation)| *affiliation == NodeAffiliation::Owner && st.can_act(jid))
    }

    /// Of a node at the service that nobody owns any more somebody is made the owner: who may publish there, else who may read; those
    /// with an account here first. Says whether there is one.
    fn settle_owner(&mut self, st: &State) -> bool {
        let heir = if self.has_owner(st) { None } else { self.heir(st) };
        self.affiliations.extend(heir.map(|heir| (heir, NodeAffiliation::Owner)));
        self.has_owner(st)
    }

    fn heir(&self, st: &State) -> Option<Jid> {
        let rank = |affiliation: &NodeAffiliation| match affiliation {
            NodeAffiliation::Owner => Some(0),
            NodeAffiliation::Publisher => Some(1),
            NodeAffiliation::PublishOnly => Some(2),
            NodeAffiliation::Member => Some(3),
            NodeAffiliation::None | NodeAffiliation::Outcast => None,
        };
        let all = self.affiliations.iter().filter(|(jid, _)| st.can_act(jid));
        let ranked = all.filter_map(|(jid, affiliation)| Some((rank(affiliation)?, st.local(jid).is_none(), jid)));
        ranked.min().map(|(_, _, jid)| jid.clone())
    }
}

/// What is kept in memory of an item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Item {
    pub(super) id: Box<str>,
    /// The bare JID; `None`: the account itself.
    pub(super) publisher: Option<Jid>,
    /// The bytes of its payload.
    pub(super) payload: usize,
}

impl Item {
    fn bytes(&self) -> usize {
        let publisher = self.publisher.as_ref().map_or(0, |jid| jid.as_str().len());
        ITEM_AROUND_BYTES + self.id.len() + publisher + self.payload
    }

    pub(super) fn record(&self, payload: &str) -> Box<[u8]> {
        let publisher = self.publisher.as_ref().map(Jid::as_str);
        let room = 64 + self.id.len() + publisher.map_or(0, str::len) + payload.len();
        Writer::with_room(1, room).str(&self.id).opt_str(publisher).str(payload).done()
    }

    /// The item of such a row, and its payload.
    pub(super) fn from_record(record: &[u8]) -> Result<(Item, &str), Broken> {
        let mut r = Reader::new(record)?;
        if r.version != 1 {
            return Err(Broken);
        }
        let id = r.str()?.into();
        let publisher = r.opt_str()?.map(|jid| Jid::parse(jid).map_err(|_| Broken)).transpose()?;
        let payload = r.str()?;
        Ok((Item { id, publisher, payload: payload.len() }, payload))
    }
}

#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) head: Head,
    /// The bytes of the head's record.
    head_bytes: usize,
    /// By number: the order of publication, and microseconds since 1970.
    pub(super) items: BTreeMap<u64, Item>,
    /// The last number that was given.
    last: u64,
}

impl Leaf {
    /// The number of an item.
    pub(super) fn number(&self, id: &str) -> Option<u64> {
        self.items.iter().find(|(_, item)| &*item.id == id).map(|(number, _)| *number)
    }
}

/// The nodes of one place.
#[derive(Debug, Default)]
struct Nodes {
    by_name: BTreeMap<Box<str>, Leaf>,
    head_bytes: usize,
    item_bytes: usize,
    /// How many somebody made, and the bytes of their heads.
    made: Shares,
    heads: Shares,
    /// The bytes of the items that somebody published; an account's own have no name.
    published: Shares,
}

#[derive(Debug, Default)]
pub(super) struct Forest {
    homes: BTreeMap<Whose, Nodes>,
    /// The domain that is served.
    domain: Box<str>,
}

/// In whose share an item is.
fn publisher<'a>(domain: &str, item: &'a Item) -> &'a str {
    item.publisher.as_ref().map_or("", |jid| whose(domain, jid))
}

/// What a subscription adds to a head, in bytes.
fn subscription_bytes(jid: &Jid) -> usize {
    jid.as_str().len() + 5
}

/// What the subscriptions of somebody add to a head, in bytes.
fn subscribed(head: &Head, who: &Jid) -> usize {
    let own = head.subscriptions.keys().filter(|jid| jid.bare_str() == who.as_str());
    own.map(subscription_bytes).sum()
}

fn full(text: String) -> StanzaError {
    StanzaError::new(Condition::ResourceConstraint).text(text)
}

impl Forest {
    /// Reads all that is stored. What belongs to accounts that are gone is taken out.
    pub(super) fn load(&mut self, st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        let damaged = || StoreError::Damaged("the key of a node or an item in the database is not readable".into());
        self.domain = st.domain().domain().into();
        let ours = |jid: &Jid| st.local(jid).is_some_and(|local| !st.accounts().contains_key(local));
        let (mut changed, mut newest) = (Vec::new(), 0);
        scan(engine, Tree::Node, &[], |key, record| {
            let (owner, name) = key::split(key).ok_or_else(damaged)?;
            let owner = Whose::stored(owner);
            let name = std::str::from_utf8(name).map_err(|_| damaged())?;
            let mut head = Head::from_record(record)?;
            let orphan = !owner.is_account() && ours(&head.creator);
            if orphan {
                head.creator = st.domain().clone();
            }
            let forgot = head.forget(ours);
            if !owner.is_account() && forgot {
                head.settle_owner(st);
            }
            if forgot || orphan {
                changed.push((owner.clone(), Box::<str>::from(name)));
            }
            self.put(&owner, name, head);
            Ok(())
        })?;
        scan(engine, Tree::Item, &[], |key, record| {
            let (owner, tail) = key::split(key).ok_or_else(damaged)?;
            let owner = Whose::stored(owner);
            let (name, number) = tail.split_last_chunk::<8>().ok_or_else(damaged)?;
            let name = name.strip_suffix(&[0]).and_then(|name| std::str::from_utf8(name).ok()).ok_or_else(damaged)?;
            let number = u64::from_be_bytes(*number);
            newest = newest.max(number);
            self.insert(&owner, name, number, Item::from_record(record)?.0);
            Ok(())
        })?;
        st.seen_mark(newest);
        let mut batches = Vec::new();
        for (owner, name) in changed {
            let mut batch = crate::store::Batch::default();
            let Some(leaf) = self.get(&owner, &name) else { continue };
            if !owner.is_account() && !leaf.head.has_owner(st) {
                batch.delete_all(Tree::Item, items_prefix(&owner, &name));
                batch.delete(Tree::Node, key::named(&owner, &name));
                self.take(&owner, &name);
            } else {
                batch.put(Tree::Node, key::named(&owner, &name), leaf.head.record());
            }
            batches.push(batch);
        }
        if batches.is_empty() { Ok(()) } else { engine.commit(&batches) }
    }

    pub(super) fn get(&self, owner: &Whose, name: &str) -> Option<&Leaf> {
        self.homes.get(owner)?.by_name.get(name)
    }

    /// The nodes of one place, by name.
    pub(super) fn of(&self, owner: &Whose) -> impl Iterator<Item = (&str, &Leaf)> {
        self.homes.get(owner).into_iter().flat_map(|nodes| nodes.by_name.iter().map(|(name, leaf)| (&**name, leaf)))
    }

    /// Takes a head into memory.
    fn put(&mut self, owner: &Whose, name: &str, head: Head) {
        let new = head.record().len();
        let nodes = self.homes.entry(owner.clone()).or_default();
        let creator = whose(&self.domain, &head.creator);
        nodes.heads.add(creator, new);
        nodes.made.add(creator, 1);
        match nodes.by_name.get_mut(name) {
            Some(leaf) => {
                nodes.head_bytes = nodes.head_bytes.saturating_sub(leaf.head_bytes);
                nodes.heads.take(whose(&self.domain, &leaf.head.creator), leaf.head_bytes);
                nodes.made.take(whose(&self.domain, &leaf.head.creator), 1);
                (leaf.head, leaf.head_bytes) = (head, new);
            }
            None => {
                let leaf = Leaf { head, head_bytes: new, items: BTreeMap::new(), last: 0 };
                nodes.by_name.insert(name.into(), leaf);
            }
        }
        nodes.head_bytes += new;
    }

    /// Takes an item into memory, if its node is there.
    fn insert(&mut self, owner: &Whose, name: &str, number: u64, item: Item) {
        let Some(nodes) = self.homes.get_mut(owner) else { return };
        let Some(leaf) = nodes.by_name.get_mut(name) else { return };
        nodes.item_bytes += item.bytes();
        nodes.published.add(publisher(&self.domain, &item), item.bytes());
        leaf.last = leaf.last.max(number);
        leaf.items.insert(number, item);
    }

    /// Takes an item out of memory.
    fn cut(&mut self, owner: &Whose, name: &str, number: u64) {
        let Some(nodes) = self.homes.get_mut(owner) else { return };
        if let Some(item) = nodes.by_name.get_mut(name).and_then(|leaf| leaf.items.remove(&number)) {
            nodes.item_bytes = nodes.item_bytes.saturating_sub(item.bytes());
            nodes.published.take(publisher(&self.domain, &item), item.bytes());
        }
    }

    /// Takes a node out of memory.
    fn take(&mut self, owner: &Whose, name: &str) -> Option<Leaf> {
        let nodes = self.homes.get_mut(owner)?;
        let leaf = nodes.by_name.remove(name)?;
        nodes.head_bytes = nodes.head_bytes.saturating_sub(leaf.head_bytes);
        nodes.heads.take(whose(&self.domain, &leaf.head.creator), leaf.head_bytes);
        nodes.made.take(whose(&self.domain, &leaf.head.creator), 1);
        for item in leaf.items.values() {
            nodes.item_bytes = nodes.item_bytes.saturating_sub(item.bytes());
            nodes.published.take(publisher(&self.domain, item), item.bytes());
        }
        Some(leaf)
    }

    /// Whether another node may be made.
    ///
    /// # Errors
    /// `resource-constraint` with `max-nodes-exceeded`; `not-acceptable` for a name that is too long.
    pub(super) fn has_room(&self, home: &Home, name: &str, creator: &Jid) -> Result<(), StanzaError> {
        if name.len() > NAME_BYTES {
            let text = format!("the name of a node has at most {NAME_BYTES} bytes");
            return Err(StanzaError::new(Condition::NotAcceptable).text(text));
        }
        let Some(nodes) = self.homes.get(&home.owner) else { return Ok(()) };
        let creator = whose(&self.domain, creator);
        let enough = if home.is_account() {
            nodes.by_name.len() >= ACCOUNT_NODES
        } else {
            nodes.made.of(creator) >= CREATED_NODES || !nodes.made.may(creator, 1, SERVICE_NODES)
        };
        let text = "you have made as many nodes as you can have; delete one";
        if enough { Err(errors::too_many_nodes().text(text)) } else { Ok(()) }
    }

    /// Whether somebody may subscribe an address to a node. They take of the share of who made it, which must last for that one.
    pub(super) fn takes_subscription(&self, home: &Home, name: &str, who: &Jid, jid: &Jid) -> bool {
        let Some((nodes, leaf)) = self.homes.get(&home.owner).and_then(|nodes| Some((nodes, nodes.by_name.get(name)?)))
        else {
            return false;
        };
        let more = subscription_bytes(jid);
        let here = subscribed(&leaf.head, who);
        let creator = whose(&self.domain, &leaf.head.creator);
        let (taken, most) = if home.is_account() {
            (nodes.head_bytes, ACCOUNT_HEAD_BYTES)
        } else {
            let taken = nodes.heads.of(creator);
            (taken, taken + nodes.heads.spare(creator, SERVICE_HEAD_BYTES))
        };
        let theirs = nodes.by_name.values().filter(|other| whose(&self.domain, &other.head.creator) == creator);
        let own: usize = theirs.map(|other| subscribed(&other.head, who)).sum();
        here + more <= SUBSCRIBER_BYTES
            && may_have(here, more, leaf.head_bytes, HEAD_BYTES)
            && may_have(own, more, taken, most / 2)
    }

    /// Stores the head of a node, new or not.
    ///
    /// # Errors
    /// `policy-violation` if there is too much in it, or `resource-constraint` in all heads of its place; then nothing is changed.
    pub(super) fn save(&mut self, st: &mut State, home: &Home, name: &str, head: Head) -> Result<(), StanzaError> {
        self.fits(home, name, &head)?;
        self.store(st, home, name, head)
    }

    /// Whether the head of a node may be like that.
    ///
    /// # Errors
    /// As [`Forest::save`].
    pub(super) fn fits(&self, home: &Home, name: &str, head: &Head) -> Result<(), StanzaError> {
        let record = head.record();
        if record.len() > HEAD_BYTES {
            let text = "the node has too many subscriptions, affiliations or too long a configuration";
            return Err(StanzaError::new(Condition::PolicyViolation).text(text));
        }
        let old = self.get(&home.owner, name).map_or(0, |leaf| leaf.head_bytes);
        let more = record.len().saturating_sub(old);
        if let Some(nodes) = self.homes.get(&home.owner).filter(|_| more > 0) {
            if home.is_account() && nodes.head_bytes + more > ACCOUNT_HEAD_BYTES {
                let text = format!("all nodes together have at most {ACCOUNT_HEAD_BYTES} bytes of configuration");
                return Err(full(text));
            }
            let creator = whose(&self.domain, &head.creator);
            if !home.is_account() && !nodes.heads.may(creator, more, SERVICE_HEAD_BYTES) {
                let text = "the nodes that their creator made have their share of what all may have; delete one";
                return Err(full(text.into()));
            }
        }
        Ok(())
    }

    fn store(&mut self, st: &mut State, home: &Home, name: &str, head: Head) -> Result<(), StanzaError> {
        st.write()?.put(Tree::Node, home.row(name), head.record());
        self.put(&home.owner, name, head);
        Ok(())
    }

    /// Stores an item of a node. `head`: of a node that is made with it. One with the same id is replaced, and `oldest` go.
    ///
    /// # Errors
    /// `resource-constraint` if there are too many bytes in its place; then nothing is changed.
    pub(super) fn publish(
        &mut self,
        st: &mut State,
        home: &Home,
        name: &str,
        head: Option<Head>,
        (item, payload): (Item, &str),
        oldest: &[u64],
    ) -> Result<(), StanzaError> {
        let most = if home.is_account() { ACCOUNT_BYTES } else { SERVICE_BYTES };
        let number = st.next_mark();
        let leaf = self.get(&home.owner, name);
        let mut gone = oldest.to_vec();
        gone.extend(leaf.and_then(|leaf| leaf.number(&item.id)));
        let freed: Vec<&Item> = leaf.iter().flat_map(|l| gone.iter().filter_map(|n| l.items.get(n))).collect();
        let who = publisher(&self.domain, &item);
        let own: usize =
            freed.iter().filter(|item| publisher(&self.domain, item) == who).map(|item| item.bytes()).sum();
        let freed: usize = freed.iter().map(|item| item.bytes()).sum();
        let nodes = self.homes.get(&home.owner);
        let bytes = nodes.map_or(0, |nodes| nodes.item_bytes).saturating_sub(freed);
        if bytes + item.bytes() > most {
            return Err(full(format!("all items together have at most {most} bytes")));
        }
        let more = item.bytes().saturating_sub(own);
        if !who.is_empty() && nodes.is_some_and(|nodes| !nodes.published.may(who, more, most)) {
            return Err(full("your items have their share of what all may have here; retract some".into()));
        }
        if let Some(head) = head {
            self.save(st, home, name, head)?;
        }
        st.write()?.put(Tree::Item, item_row(&home.owner, name, number), item.record(payload));
        self.insert(&home.owner, name, number, item);
        self.remove(st, home, name, &gone)
    }

    /// Removes items; storage was asked before.
    pub(super) fn remove(
        &mut self,
        st: &mut State,
        home: &Home,
        name: &str,
        numbers: &[u64],
    ) -> Result<(), StanzaError> {
        for number in numbers {
            st.write()?.delete(Tree::Item, item_row(&home.owner, name, *number));
            self.cut(&home.owner, name, *number);
            st.step();
        }
        Ok(())
    }

    /// Removes all items of a node.
    pub(super) fn purge(&mut self, st: &mut State, home: &Home, name: &str) -> Result<(), StanzaError> {
        st.erase()?.delete_all(Tree::Item, items_prefix(&home.owner, name));
        let numbers: Vec<u64> =
            self.get(&home.owner, name).map(|leaf| leaf.items.keys().copied().collect()).unwrap_or_default();
        for number in numbers {
            self.cut(&home.owner, name, number);
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, st: &mut State, home: &Home, name: &str) -> Result<Option<Leaf>, StanzaError> {
        let batch = st.erase()?;
        batch.delete_all(Tree::Item, items_prefix(&home.owner, name));
        batch.delete(Tree::Node, home.row(name));
        Ok(self.take(&home.owner, name))
    }

    /// An account is gone: its own nodes went with it; at those of others it is nobody any more. Who has the name next inherits
    /// nothing. A node at the service that nobody owns now is that of who publishes there, or goes, too.
    pub(super) fn account_removed(&mut self, st: &mut State, local: &str, service: &Jid) {
        self.homes.remove(local);
        let domain = st.domain().clone();
        let gone = |jid: &Jid| jid.local() == Some(local) && jid.domain() == domain.domain();
        let mut changed = Vec::new();
        for (owner, nodes) in &mut self.homes {
            for (name, leaf) in &mut nodes.by_name {
                // What nobody pays for who is there is the server's own.
                let orphan = !owner.is_account() && gone(&leaf.head.creator);
                if leaf.head.forget(gone) || orphan {
                    changed.push((owner.clone(), name.clone()));
                }
            }
        }
        for (owner, name) in changed {
            let home = Home { owner, jid: service.clone() };
            let Some(mut head) = self.get(&home.owner, &name).map(|leaf| leaf.head.clone()) else { continue };
            if !home.is_account() && gone(&head.creator) {
                head.creator = domain.clone();
            }
            // Storage was asked when the account was removed.
            let _ = match !home.is_account() && !head.settle_owner(st) {
                true => self.delete(st, &home, &name).map(|_| ()),
                false => self.store(st, &home, &name, head),
            };
            st.step();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_on_disks() {
        use NodeAffiliation::{Member, None, Outcast, Owner, PublishOnly, Publisher};
        let affiliations = [(None, 0), (Owner, 1), (Publisher, 2), (PublishOnly, 3), (Member, 4), (Outcast, 5)];
        assert_eq!(NodeAffiliation::ALL.map(|value| (value, value.number())), affiliations);
        let subscriptions = [(Subscription::Pending, 0), (Subscription::Subscribed, 1)];
        assert_eq!(Subscription::ALL.map(|value| (value, value.number())), subscriptions);
        assert_eq!((NodeAffiliation::of_number(6), Subscription::of_number(2)), (Err(Broken), Err(Broken)));
    }
}
