//! XEP-0402: PEP Native Bookmarks, and the two older places where clients keep the same: one element in private storage (XEP-0049)
//! and one item of the node `storage:bookmarks` (XEP-0048). What is in the native node is what counts; the element of private storage
//! is made from it when it is read, and the old node follows it where there is one. What an old client writes becomes single items;
//! those that it did not change stay as they are, with what only newer clients know of them.

use super::pubsub;
use crate::core::{About, Event, Extension, Flow, Handled, Job, Place, State};
use crate::store::{Engine, Query, Rows, StoreError, Tree, key};
use crate::wire::xml::{Raw, Scope, escaped};
use crate::wire::{Condition, Jid, Node, Ns, Stanza, StanzaError, Type};
use std::collections::{BTreeMap, BTreeSet};

const NODE: &str = "urn:xmpp:bookmarks:1";
const OLD_NODE: &str = "storage:bookmarks";
/// The row of private storage.
const ELEMENT: &str = "storage:bookmarks\0storage";
/// §3.3, for nodes that are not there yet.
const OPTIONS: [(&str, &str); 4] = [
    ("pubsub#persist_items", "true"),
    ("pubsub#max_items", "max"),
    ("pubsub#send_last_published_item", "never"),
    ("pubsub#access_model", "whitelist"),
];

#[derive(Default)]
pub(super) struct Bookmarks {
    /// Accounts that have the old node.
    old: BTreeSet<Box<str>>,
    steps: BTreeMap<Job, Step>,
}

/// XEP-0048
const COMPACT: About = About::new("XEP-0048", "Bookmarks", "1.2", "");

/// XEP-0492: what clients say of notifications is in the bookmarks.
const NOTIFICATIONS: About = About::new("XEP-0492", "Chat notification settings", "0.2.0", "");

/// What is waited for.
enum Step {
    /// The row of private storage that somebody asked for.
    Element(Stanza),
    /// The items that belong into it.
    Items(Stanza, Option<String>),
    /// Private storage takes what an old client wrote.
    Stored(Stanza),
    /// The items that are to become what an old client wrote.
    Merge(Jid, Vec<Bookmark>, Option<Stanza>),
    /// What an old client wrote into the old node: whose.
    OldItem(Jid),
    /// The items that the old node is to show, and the item that it has.
    Show(Jid, Option<String>),
    /// That item.
    Shown(Jid),
}

/// A room.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Bookmark {
    jid: Jid,
    name: Option<String>,
    autojoin: bool,
    nick: Option<String>,
    password: Option<String>,
    /// What newer clients keep there, as it is.
    extensions: String,
}

impl Bookmark {
    /// A `<conference/>` in the namespace of the one or the other.
    fn read(jid: &str, conference: Node<'_>) -> Option<Bookmark> {
        let ns = conference.ns();
        let text =
            |name: &str| conference.child(ns, name).map(|c| c.text().into_owned()).filter(|text| !text.is_empty());
        Some(Bookmark {
            jid: Jid::parse(jid).ok()?.bare(),
            name: conference.attr("name").map(|name| name.into_owned()),
            autojoin: conference.attr("autojoin").is_some_and(|yes| matches!(yes.trim(), "1" | "true")),
            nick: text("nick"),
            password: text("password"),
            extensions: conference.child(Ns::BOOKMARKS, "extensions").map(Node::copy).unwrap_or_default(),
        })
    }

    /// Whether an old client sees the same.
    fn same(&self, other: &Bookmark) -> bool {
        *self == Bookmark { extensions: self.extensions.clone(), ..other.clone() }
    }

    /// As a `<conference/>` of this namespace.
    fn write(&self, ns: Ns) -> String {
        let mut out = String::from("<conference");
        let native = ns == Ns::BOOKMARKS;
        out += &if native { format!(" xmlns='{NODE}'") } else { format!(" jid='{}'", self.jid) };
        if let Some(name) = &self.name {
            out += &format!(" name='{}'", escaped(name));
        }
        if self.autojoin {
            out += " autojoin='true'";
        }
        out += ">";
        for (name, value) in [("nick", &self.nick), ("password", &self.password)] {
            if let Some(value) = value {
                out += &format!("<{name}>{}</{name}>", escaped(value));
            }
        }
        if native {
            out += &self.extensions;
        }
        out + "</conference>"
    }
}

/// The bookmarks in a `<storage/>`, each room once.
fn stored(storage: Node<'_>) -> Vec<Bookmark> {
    let mut all: BTreeMap<Jid, Bookmark> = BTreeMap::new();
    for conference in storage.children().filter(|c| c.is(Ns::STORAGE_BOOKMARKS, "conference")) {
        if let Some(bookmark) = conference.attr("jid").and_then(|jid| Bookmark::read(&jid, conference)) {
            all.insert(bookmark.jid.clone(), bookmark);
        }
    }
    all.into_values().collect()
}

/// The same in text. `None`: it is something else.
fn stored_in(xml: &str) -> Option<Vec<Bookmark>> {
    let raw = Raw::parse(xml, Scope::client()).ok()?;
    raw.root().is(Ns::STORAGE_BOOKMARKS, "storage").then(|| stored(raw.root()))
}

/// The items of the native node. `None`: there is no such node.
fn native(reply: &Stanza) -> Option<Vec<Bookmark>> {
    let items = reply.child(Ns::PUBSUB, "pubsub")?.child(Ns::PUBSUB, "items")?;
    let read = |item: Node<'_>| Bookmark::read(&item.attr("id")?, item.child(Ns::BOOKMARKS, "conference")?);
    Some(items.children().filter_map(read).collect())
}

/// A `<storage/>` with these rooms, and what else the one before had (XEP-0048 §3.1 has addresses of pages).
fn storage(bookmarks: &[Bookmark], before: Option<&str>) -> String {
    let mut out = String::from("<storage xmlns='storage:bookmarks'>");
    bookmarks.iter().for_each(|bookmark| out += &bookmark.write(Ns::STORAGE_BOOKMARKS));
    if let Some(raw) = before.and_then(|xml| Raw::parse(xml, Scope::client()).ok()) {
        let others = raw.root().children().filter(|c| !c.is(Ns::STORAGE_BOOKMARKS, "conference"));
        others.for_each(|c| out += &c.copy());
    }
    out + "</storage>"
}

/// What an old client stored in the item of the old node.
fn old_item(rows: Option<Rows>) -> Option<String> {
    let (_, record) = rows?.into_iter().next_back()?;
    Some(pubsub::item(&record)?.1)
}

impl Bookmarks {
    /// Asks for the native items of an account, as it would itself.
    fn items(&mut self, st: &mut State, account: &Jid, step: Step) {
        let payload = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{NODE}'/></pubsub>");
        let job = st.inquire(account.clone(), account.clone(), Type::Get, payload);
        self.steps.insert(job, step);
    }

    /// §5.3.2: what is not as it is wanted becomes so, nothing else is touched.
    fn merge(st: &mut State, account: &Jid, is: Option<Vec<Bookmark>>, wanted: Vec<Bookmark>) {
        let options: &[(&str, &str)] = if is.is_none() { &OPTIONS } else { &[] };
        let mut is: BTreeMap<Jid, Bookmark> = is.into_iter().flatten().map(|b| (b.jid.clone(), b)).collect();
        for mut bookmark in wanted {
            let before = is.remove(&bookmark.jid);
            if before.as_ref().is_some_and(|before| before.same(&bookmark)) {
                continue;
            }
            bookmark.extensions = before.map(|before| before.extensions).unwrap_or_default();
            pubsub::publish(st, account, NODE, bookmark.jid.as_str(), &bookmark.write(Ns::BOOKMARKS), options);
        }
        for gone in is.keys() {
            pubsub::retract(st, account, NODE, gone.as_str());
        }
    }
}

impl Extension for Bookmarks {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0402",
            name: "PEP Native Bookmarks",
            version: "1.2.0",
            missing: "",
            server: &[],
            account: &["urn:xmpp:bookmarks:1#compat", "urn:xmpp:bookmarks:1#compat-pep"],
            iq: &[Ns::PRIVATE],
        }
    }

    fn also(&self) -> &'static [About] {
        &[COMPACT, NOTIFICATIONS]
    }

    fn load(&mut self, st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        for local in st.accounts.keys() {
            if !engine.query(&pubsub::items(local, OLD_NODE, 1))?.is_empty() {
                self.old.insert(local.clone());
            }
        }
        Ok(())
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        let Place::Own(local) = at else { return Ok(Flow::Pass) };
        // From the bare address: this is what is stored below.
        let Some(from) = iq.from.as_ref().filter(|from| !from.is_bare()) else { return Ok(Flow::Pass) };
        let Some(query) = iq.child(Ns::PRIVATE, "query") else { return Ok(Flow::Pass) };
        let mut elements = query.children();
        let (Some(element), None) = (elements.next(), elements.next()) else { return Ok(Flow::Pass) };
        if !element.is(Ns::STORAGE_BOOKMARKS, "storage") {
            return Ok(Flow::Pass);
        }
        if iq.ty == Type::Get {
            let job = st.ask(Query::Get(Tree::Private, key::named(local, ELEMENT)));
            self.steps.insert(job, Step::Element(iq.clone()));
        } else {
            st.write()?;
            let bare = from.bare();
            let payload = format!("<query xmlns='jabber:iq:private'>{}</query>", element.copy());
            let job = st.inquire(bare.clone(), bare, Type::Set, payload);
            self.steps.insert(job, Step::Stored(iq.clone()));
        }
        Ok(Flow::Done)
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        match self.steps.remove(&job) {
            Some(Step::Element(iq)) => {
                let Some(account) = iq.from.as_ref().map(Jid::bare) else { return };
                let row =
                    rows.map(|rows| rows.into_iter().next().map(|(_, xml)| String::from_utf8(xml.into())).transpose());
                match row {
                    Some(Ok(row)) => self.items(st, &account, Step::Items(iq, row)),
                    Some(Err(_)) | None => st.refuse(&iq, &Condition::InternalServerError.into()),
                }
            }
            Some(Step::OldItem(account)) => {
                if let Some(wanted) = old_item(rows).and_then(|xml| stored_in(&xml)) {
                    self.items(st, &account, Step::Merge(account.clone(), wanted, None));
                }
            }
            Some(Step::Shown(account)) => {
                let step = Step::Show(account.clone(), old_item(rows));
                self.items(st, &account, step);
            }
            _ => {}
        }
    }

    fn answered(&mut self, st: &mut State, job: Job, reply: &Stanza) {
        match self.steps.remove(&job) {
            Some(Step::Items(iq, row)) => {
                let xml = match (native(reply), row) {
                    // Nothing was ever converted.
                    (None, Some(row)) => row,
                    (None, None) => "<storage xmlns='storage:bookmarks'/>".into(),
                    (Some(bookmarks), row) => storage(&bookmarks, row.as_deref()),
                };
                let _ = st.reply(&iq, format!("<query xmlns='jabber:iq:private'>{xml}</query>"));
            }
            Some(Step::Stored(iq)) => {
                let (Some(account), Some(query)) = (iq.from.as_ref().map(Jid::bare), iq.child(Ns::PRIVATE, "query"))
                else {
                    return;
                };
                if reply.ty == Type::Error {
                    let text = "private storage does not take so much";
                    return st.refuse(&iq, &StanzaError::new(Condition::ResourceConstraint).text(text));
                }
                let wanted = query.child(Ns::STORAGE_BOOKMARKS, "storage").map(stored).unwrap_or_default();
                self.items(st, &account, Step::Merge(account.clone(), wanted, Some(iq.clone())));
            }
            Some(Step::Merge(account, wanted, iq)) => {
                Bookmarks::merge(st, &account, native(reply), wanted);
                if let Some(iq) = iq {
                    let _ = st.confirm_all(&iq, "");
                }
            }
            Some(Step::Show(account, item)) => {
                let bookmarks = native(reply).unwrap_or_default();
                let Some(shown) = item.as_deref().and_then(stored_in) else { return };
                let by_jid = |all: &[Bookmark]| -> BTreeMap<Jid, Bookmark> {
                    all.iter().map(|b| (b.jid.clone(), Bookmark { extensions: String::new(), ..b.clone() })).collect()
                };
                if by_jid(&bookmarks) != by_jid(&shown) {
                    let xml = storage(&bookmarks, item.as_deref());
                    pubsub::publish(st, &account, OLD_NODE, "current", &xml, &[]);
                }
            }
            _ => {}
        }
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        let (local, node) = match event {
            Event::Published { local, node, .. } => (local, node),
            Event::Retracted { local, node, .. } => (local, node),
            Event::Removed(local) => {
                self.old.remove(local);
                return;
            }
            _ => return,
        };
        let Some(account) = st.accounts.get(local).map(|account| account.jid.clone()) else { return };
        match (&**node, event) {
            (OLD_NODE, Event::Published { .. }) => {
                self.old.insert(local.clone());
                let job = st.ask(pubsub::items(local, OLD_NODE, 1));
                self.steps.insert(job, Step::OldItem(account));
            }
            (OLD_NODE, _) => drop(self.old.remove(local)),
            (NODE, _) if self.old.contains(local) => {
                let job = st.ask(pubsub::items(local, OLD_NODE, 1));
                self.steps.insert(job, Step::Shown(account));
            }
            _ => {}
        }
    }
}
