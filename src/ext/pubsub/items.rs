//! Reading items (XEP-0060 §6.5), page by page (XEP-0059).

use super::errors::{self, bad, unsupported};
use super::node::{Home, Item, Leaf, item_row, items_prefix};
use super::{PubSub, PubSubRequest, PubSubTask, access, node_name, notify};
use crate::core::{Flow, Handled, State};
use crate::ext::rsm;
use crate::store::{Query, Rows, Tree};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Node, Ns, Stanza, StanzaError};
use std::collections::{BTreeSet, VecDeque};

/// Items in one answer, in bytes, but for one that is larger by itself.
const PAGE_BYTES: usize = 256 * 1024;
/// What an item has around its payload, in bytes, about.
const AROUND_BYTES: usize = 64;
/// Items that can be asked for by their ids in one request.
const IDS: usize = 256;

/// A request that waits for what storage says.
#[derive(Debug)]
pub(super) struct ItemsReading {
    /// Without its payload.
    iq: Stanza,
    home: Home,
    name: Box<str>,
    queries: VecDeque<Query>,
    wanted: BTreeSet<u64>,
    /// The items that were read.
    found: String,
    /// What is said of the page.
    set: String,
}

/// The numbers of a page, and what is said of it.
struct ItemsPage {
    numbers: Vec<u64>,
    set: String,
}

fn size(item: &Item) -> usize {
    AROUND_BYTES + item.id.len() + item.payload
}

/// As many as fit, from the first or from the last on.
fn fitting<'a>(items: impl Iterator<Item = (&'a u64, &'a Item)>, most: usize) -> Vec<u64> {
    let mut bytes = 0;
    let fits = |(n, (_, item)): &(usize, (&u64, &Item))| {
        bytes += size(item);
        *n < most && (*n == 0 || bytes <= PAGE_BYTES)
    };
    items.enumerate().take_while(fits).map(|(_, (number, _))| *number).collect()
}

/// The page that is asked for; without any limit in the request, the last ones that fit (§6.5.4).
fn page(leaf: &Leaf, request: &rsm::ResultPage, paged: bool, latest: Option<usize>) -> Result<ItemsPage, StanzaError> {
    let at = |id: &str| leaf.number(id).ok_or(Condition::ItemNotFound);
    let most = request.max.unwrap_or(usize::MAX).min(latest.unwrap_or(usize::MAX));
    let from = request.after.as_deref().map(at).transpose()?.map_or(0, |number| number.saturating_add(1));
    let to = match request.before.as_deref().filter(|before| !before.is_empty()) {
        Some(before) => at(before)?,
        None => u64::MAX,
    };
    let range = || leaf.items.range(from..to.max(from));
    let backwards = request.before.is_some() || !paged;
    let mut numbers = if backwards { fitting(range().rev(), most) } else { fitting(range(), most) };
    numbers.sort_unstable();
    let all = numbers.len() == leaf.items.len();
    let id = |number: Option<&u64>| number.and_then(|number| leaf.items.get(number)).map(|item| &*item.id);
    let set = if paged || (!all && latest.is_none_or(|latest| numbers.len() < latest.min(leaf.items.len()))) {
        let first = numbers.first().map_or(0, |first| leaf.items.range(..first).count());
        let ends = id(numbers.first()).zip(id(numbers.last()));
        rsm::counted(ends.map(|(a, b)| (a, b, first)), leaf.items.len())
    } else {
        String::new()
    };
    Ok(ItemsPage { numbers, set })
}

impl PubSub {
    pub(super) fn items(
        &mut self,
        st: &mut State,
        rq: &PubSubRequest<'_>,
        pubsub: Node<'_>,
        items: Node<'_>,
    ) -> Handled {
        let name = node_name(items)?;
        let leaf = access::find(&self.forest, st, &rq.home, &name, &rq.who)?;
        access::read(st, &rq.home, &leaf.head, &rq.who)?;
        if !leaf.head.config.persist {
            return Err(unsupported!("persistent-items"));
        }
        let named: Vec<_> = items.children().filter(|c| c.is(Ns::PUBSUB, "item")).collect();
        if named.len() > IDS {
            return Err(bad("too many items are asked for at once"));
        }
        let mut wanted = BTreeSet::new();
        let mut queries = VecDeque::new();
        let mut set = String::new();
        if named.is_empty() {
            let latest = match items.attr("max_items") {
                None => None,
                Some(number) if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) => {
                    return Err(bad("max_items is not a number"));
                }
                // Only a number that is too large cannot be read.
                Some(number) => Some(number.parse().unwrap_or(usize::MAX)),
            };
            let paged = pubsub.child(Ns::RSM, "set").is_some();
            let page = page(leaf, &rsm::read(pubsub)?, paged, latest)?;
            set = page.set;
            if let Some(first) = page.numbers.first() {
                queries.push_back(Query::Scan {
                    tree: Tree::Item,
                    prefix: items_prefix(&rq.home.owner, &name).into(),
                    after: first.checked_sub(1).map(|before| item_row(&rq.home.owner, &name, before)),
                    rows: page.numbers.len(),
                    bytes: usize::MAX,
                });
            }
            wanted.extend(page.numbers);
        } else {
            let mut bytes = 0;
            for item in named {
                let id = item.attr("id").filter(|id| !id.is_empty()).ok_or_else(errors::item_required)?;
                // §6.5.9.12: what is not there is not in the answer.
                let Some(number) = leaf.number(&id) else { continue };
                bytes += leaf.items.get(&number).map_or(0, size);
                if (bytes <= PAGE_BYTES || wanted.is_empty()) && wanted.insert(number) {
                    queries.push_back(Query::Get(Tree::Item, item_row(&rq.home.owner, &name, number)));
                }
            }
        }
        let mut iq = rq.iq.clone();
        iq.clear();
        let reading =
            ItemsReading { iq, home: rq.home.clone(), name: name.into(), queries, wanted, found: String::new(), set };
        self.read_on(st, reading);
        Ok(Flow::Done)
    }

    fn read_on(&mut self, st: &mut State, mut reading: ItemsReading) {
        if let Some(query) = reading.queries.pop_front() {
            let job = st.ask(query);
            self.tasks.insert(job, PubSubTask::Read(reading));
            return;
        }
        let node = escaped(&reading.name);
        let items = format!("<items node='{node}'>{}</items>{}", reading.found, reading.set);
        let _ = st.reply(&reading.iq, format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{items}</pubsub>"));
    }

    pub(super) fn was_read(&mut self, st: &mut State, mut reading: ItemsReading, rows: Option<Rows>) {
        let config = self.forest.get(&reading.home.owner, &reading.name).map(|leaf| &leaf.head.config);
        let (Some(rows), Some(config)) = (rows, config) else {
            let gone = if config.is_none() { Condition::ItemNotFound } else { Condition::InternalServerError };
            return st.refuse(&reading.iq, &gone.into());
        };
        for (key, record) in &rows {
            let number = key.last_chunk::<8>().map(|number| u64::from_be_bytes(*number));
            if !number.is_some_and(|number| reading.wanted.contains(&number)) {
                continue;
            }
            let Ok((item, payload)) = Item::from_record(record) else {
                return st.refuse(&reading.iq, &Condition::InternalServerError.into());
            };
            reading.found += &notify::item(&reading.home, config, &item, Some(payload));
        }
        self.read_on(st, reading);
    }
}
