//! Publishing and retracting (XEP-0060 §7).

use super::config::{Full, NodeConfig};
use super::errors::{self, bad, unsupported};
use super::node::{Head, ID_BYTES, Item, NodeAffiliation};
use super::{PubSub, PubSubRequest, access, flag, node_name, notify};
use crate::core::{Event, Handled, State};
use crate::ext::form;
use crate::wire::xml::escaped;
use crate::wire::{Condition, Node, Ns, StanzaError};

const OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";

/// What a publication brings.
struct Publication {
    id: Box<str>,
    payload: Option<String>,
}

/// The item in a publication, as the configuration of its node asks for it (§7.1.3.7). `None`: there is none, and none is due.
fn publication(st: &mut State, config: &NodeConfig, publish: Node<'_>) -> Result<Option<Publication>, StanzaError> {
    let mut items = publish.children().filter(|c| c.is(Ns::PUBSUB, "item"));
    let item = items.next();
    if items.next().is_some() {
        return Err(bad("one item in a publication"));
    }
    let item = match item {
        None if config.persist || config.payloads => return Err(errors::item_required()),
        None => return Ok(None),
        Some(_) if !config.persist && !config.payloads => return Err(errors::item_forbidden()),
        Some(item) => item,
    };
    let mut payloads = item.children();
    let payload = payloads.next();
    if payloads.next().is_some() {
        return Err(errors::invalid_payload());
    }
    if payload.is_some_and(|payload| !config.ty.is_empty() && payload.ns_uri() != *config.ty) {
        return Err(errors::invalid_payload());
    }
    if payload.is_none() && config.payloads {
        return Err(errors::payload_required());
    }
    let payload = payload.map(Node::copy);
    if payload.as_ref().is_some_and(|payload| payload.len() > config.payload_bytes as usize) {
        return Err(errors::too_big().text(format!("a payload has at most {} bytes", config.payload_bytes)));
    }
    let id: Box<str> = match item.attr("id").filter(|id| !id.is_empty()) {
        Some(id) if id.len() > ID_BYTES => {
            let text = format!("the id of an item has at most {ID_BYTES} bytes");
            return Err(StanzaError::new(Condition::NotAcceptable).text(text));
        }
        Some(id) => id.into(),
        None => st.token().into(),
    };
    Ok(Some(Publication { id, payload }))
}

impl PubSub {
    /// §7.1
    pub(super) fn publish(
        &mut self,
        st: &mut State,
        rq: &PubSubRequest<'_>,
        pubsub: Node<'_>,
        publish: Node<'_>,
    ) -> Handled {
        let name = node_name(publish)?;
        let options = match pubsub.child(Ns::PUBSUB, "publish-options") {
            Some(options) => form::submitted(options, OPTIONS)?,
            None => None,
        };
        let missing = self.forest.get(&rq.home.owner, &name).is_none();
        // XEP-0163 §3: the account's own client need not make the node first.
        let head = if missing && rq.own() {
            self.forest.has_room(&rq.home, &name, &rq.who)?;
            let config = NodeConfig::named(true, &name);
            let config = match options {
                Some(fields) => config.wanted(fields)?.ok_or_else(errors::precondition)?,
                None => config,
            };
            Head::new(st, &rq.home, rq.who.clone(), config)
        } else {
            let leaf = access::find(&self.forest, st, &rq.home, &name, &rq.who)?;
            access::publish(st, &rq.home, &leaf.head, &rq.who)?;
            if let Some(fields) = options
                && leaf.head.config.wanted(fields)?.as_ref() != Some(&leaf.head.config)
            {
                return Err(errors::precondition());
            }
            leaf.head.clone()
        };
        let config = &head.config;
        let publication = publication(st, config, publish)?;
        let mut dropped = Vec::new();
        if let Some(Publication { id, payload }) = &publication {
            let payload = payload.as_deref().unwrap_or_default();
            let publisher = Some(&rq.who).filter(|_| !rq.own()).cloned();
            let item = Item { id: id.clone(), publisher, payload: payload.len() };
            if config.persist {
                let oldest = self.overflow(rq, &name, config, id)?;
                dropped.extend(oldest.iter().map(|(_, id)| id.clone()));
                let oldest: Vec<u64> = oldest.into_iter().map(|(number, _)| number).collect();
                let new = missing.then(|| head.clone());
                self.forest.publish(st, &rq.home, &name, new, (item.clone(), payload), &oldest)?;
            } else if missing {
                self.forest.save(st, &rq.home, &name, head.clone())?;
            }
            let shown = notify::item(&rq.home, config, &item, Some(payload).filter(|_| config.payloads));
            self.notify(st, &rq.home, &name, &head, &notify::items(&name, &shown));
        } else {
            if missing {
                self.forest.save(st, &rq.home, &name, head.clone())?;
            }
            self.notify(st, &rq.home, &name, &head, &notify::items(&name, ""));
        }
        if config.notify_retract && config.full == Full::RetractOldest && config.max_items > 1 && !dropped.is_empty() {
            let retracted: String = dropped.iter().map(|id| format!("<retract id='{}'/>", escaped(id))).collect();
            self.notify(st, &rq.home, &name, &head, &notify::items(&name, &retracted));
        }
        let item = publication.map(|publication| publication.id);
        let shown = item.as_ref().map(|id| format!("<item id='{}'/>", escaped(id))).unwrap_or_default();
        let answer = format!(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{}'>{shown}</publish></pubsub>",
            escaped(&name)
        );
        if let (true, Some(item)) = (rq.home.is_account(), item) {
            st.announce(Event::Published { local: rq.home.owner.clone().into(), node: name.into(), item });
        }
        st.confirm(rq.iq, answer)
    }

    /// What an item more pushes out of its node (§7.1.2.5).
    fn overflow(
        &self,
        rq: &PubSubRequest<'_>,
        name: &str,
        config: &NodeConfig,
        id: &str,
    ) -> Result<Vec<(u64, Box<str>)>, StanzaError> {
        let Some(leaf) = self.forest.get(&rq.home.owner, name) else { return Ok(Vec::new()) };
        if leaf.number(id).is_some() {
            return Ok(Vec::new());
        }
        let over = (leaf.items.len() + 1).saturating_sub(config.max_items as usize);
        if over > 0 && config.full == Full::Reject {
            return Err(errors::node_full());
        }
        Ok(leaf.items.iter().take(over).map(|(number, item)| (*number, item.id.clone())).collect())
    }

    /// §7.2
    pub(super) fn retract(&mut self, st: &mut State, rq: &PubSubRequest<'_>, retract: Node<'_>) -> Handled {
        let name = node_name(retract)?;
        let leaf = access::find(&self.forest, st, &rq.home, &name, &rq.who)?;
        let mut items = retract.children().filter(|c| c.is(Ns::PUBSUB, "item"));
        let id = items.next().and_then(|item| item.attr("id")).filter(|id| !id.is_empty());
        let id = id.ok_or_else(errors::item_required)?;
        if items.next().is_some() {
            return Err(bad("one item in a retraction"));
        }
        let publishes = access::publish(st, &rq.home, &leaf.head, &rq.who);
        if !leaf.head.config.persist {
            return Err(publishes.err().unwrap_or_else(|| unsupported!("persistent-items")));
        }
        // Whether there is such an item is for those who may read.
        let sees = access::read(st, &rq.home, &leaf.head, &rq.who);
        let found = leaf.number(&id).and_then(|number| Some((number, leaf.items.get(&number)?)));
        let (number, item) = match (found, sees, &publishes) {
            (Some(found), ..) => found,
            (None, Ok(()), Ok(())) => return Err(errors::no_node()),
            _ => return Err(Condition::Forbidden.into()),
        };
        // §4.1: publishers delete what they published themselves.
        let owner = access::affiliation(st, &rq.home, &leaf.head, &rq.who) == NodeAffiliation::Owner;
        let publisher = item.publisher.as_ref() == Some(&rq.who) && publishes.is_ok();
        if !owner && !publisher {
            return Err(Condition::Forbidden.into());
        }
        let told = flag(retract, "notify")? || leaf.head.config.notify_retract;
        let head = leaf.head.clone();
        st.erase()?;
        self.forest.remove(st, &rq.home, &name, &[number])?;
        if told {
            let retracted = format!("<retract id='{}'/>", escaped(&id));
            self.notify(st, &rq.home, &name, &head, &notify::items(&name, &retracted));
        }
        if rq.home.is_account() {
            let item = Some(id.into());
            st.announce(Event::Retracted { local: rq.home.owner.clone().into(), node: name.into(), item });
        }
        st.confirm(rq.iq, "")
    }
}
