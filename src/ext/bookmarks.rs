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
/// Items of the old node that are read: a client may have made it keep more than one.
const OLD_ITEMS: usize = 1000;
/// Rooms that the native node keeps.
const ROOMS: usize = 1000;
/// What only clients know of bookmarks, in bytes. More is not kept: only what declares far more than it says is that long.
const STORAGE_BYTES: usize = 128 * 1024;
/// §3.3: nothing is written into a node that is otherwise configured.
const OPTIONS: [(&str, &str); 4] = [
    ("pubsub#persist_items", "true"),
    ("pubsub#max_items", "max"),
    ("pubsub#send_last_published_item", "never"),
    ("pubsub#access_model", "whitelist"),
];

/// What a node must have besides, to take everything and give it to nobody.
const BESIDES: [(&str, &str); 4] = [
    ("pubsub#publish_model", "publishers"),
    ("pubsub#publish_node_full", "retract-oldest"),
    ("pubsub#max_payload_size", "max"),
    ("pubsub#type", ""),
];
/// XEP-0223 §3, for the old node, which keeps as many items as it does.
const OLD_OPTIONS: [(&str, &str); 2] = [("pubsub#persist_items", "true"), ("pubsub#access_model", "whitelist")];

#[derive(Default)]
pub(super) struct Bookmarks {
    /// Accounts that have the old node.
    old: BTreeSet<Box<str>>,
    steps: BTreeMap<Job, BookmarkStep>,
    /// What is being changed in native nodes, by the first of the requests for it.
    changes: BTreeMap<Job, BookmarkChange>,
    /// Accounts whose old node has something that is not in the native one yet: how often, and whether the native one has changed
    /// meanwhile, which the old one is to follow.
    behind: BTreeMap<Box<str>, (usize, bool)>,
}

/// What an old client wrote is on its way into the native node.
struct BookmarkChange {
    account: Jid,
    /// What the client waits for.
    iq: Option<Stanza>,
    /// Requests that are not answered.
    left: usize,
    /// Why one of them failed.
    failed: Option<String>,
}

/// XEP-0048
const COMPACT: About = About::new("XEP-0048", "Bookmarks", "1.2", "");

/// XEP-0492: what clients say of notifications is in the bookmarks.
const NOTIFICATIONS: About = About::new("XEP-0492", "Chat notification settings", "0.2.0", "");

/// What is waited for.
enum BookmarkStep {
    /// The row of private storage that somebody asked for.
    Element(Stanza),
    /// The items that belong into it.
    Items(Stanza, Option<String>),
    /// The items that are to become what an old client wants to store.
    Before(Stanza),
    /// Private storage takes what it wrote; the items.
    Stored(Stanza, Vec<(String, Bookmark)>),
    /// A part of a change.
    Part(Job),
    /// What an old client wrote into the old node, whose; the items then come as the answer to the second.
    OldItem(Jid, Job),
    /// The items, when an old client wrote into the old node.
    Then(Option<Native>),
    /// The same, when what it wrote is known.
    Late(Jid, Vec<Bookmark>),
    /// The items that the old node is to show, and the item that it has.
    Show(Jid, Option<String>),
    /// That item.
    Shown(Jid),
    /// The items, when an account is to find a room that it belongs to, and what that is called.
    Enrolling(Box<str>, Jid, Option<Box<str>>),
    /// The same, when it is on its way into the node.
    Enrolled(Box<str>, Jid),
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

    /// As a `<conference/>` of this namespace. `before`: what an old client wrote of it, with what only that knows.
    fn write(&self, ns: Ns, before: Option<Node<'_>>) -> String {
        let mut out = String::from("<conference");
        let native = ns == Ns::BOOKMARKS;
        out += &if native { format!(" xmlns='{NODE}'") } else { format!(" jid='{}'", self.jid) };
        if let Some(name) = &self.name {
            out += &format!(" name='{}'", escaped(name));
        }
        if self.autojoin {
            out += " autojoin='true'";
        }
        let known = |name: &str| matches!(name, "jid" | "name" | "autojoin" | "xmlns") || name.contains(':');
        for (name, value) in before.iter().flat_map(|before| before.attrs()).filter(|(name, _)| !known(name)) {
            out += &format!(" {name}='{}'", escaped(&value));
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
        let known = |c: &Node<'_>| c.is(Ns::STORAGE_BOOKMARKS, "nick") || c.is(Ns::STORAGE_BOOKMARKS, "password");
        for (_, copy) in before.iter().flat_map(|before| before.copies()).filter(|(c, _)| !known(c)) {
            if out.len() + copy.len() > STORAGE_BYTES {
                break;
            }
            out += &copy;
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

/// What is in the native node.
enum Native {
    /// Each item with its id.
    Items(Vec<(String, Bookmark)>),
    /// There is no such node.
    Missing,
    /// It keeps no items.
    Keepless,
    /// It could not be read.
    Unreadable,
}

impl Native {
    /// The items. `None`: they could not be read.
    fn items(self) -> Option<Vec<(String, Bookmark)>> {
        match self {
            Native::Items(items) => Some(items),
            Native::Missing | Native::Keepless => Some(Vec::new()),
            Native::Unreadable => None,
        }
    }

    fn of(reply: &Stanza) -> Native {
        let items = || reply.child(Ns::PUBSUB, "pubsub")?.child(Ns::PUBSUB, "items");
        let read = |item: Node<'_>| {
            let id = item.attr("id")?;
            Some((id.to_string(), Bookmark::read(&id, item.child(Ns::BOOKMARKS, "conference")?)?))
        };
        match items() {
            Some(items) => Native::Items(items.children().filter_map(read).collect()),
            None if has(reply, Condition::ItemNotFound) => Native::Missing,
            None if has(reply, Condition::FeatureNotImplemented) => Native::Keepless,
            None => Native::Unreadable,
        }
    }
}

/// Whether it is this error.
fn has(reply: &Stanza, condition: Condition) -> bool {
    let error = reply.child(Ns::CLIENT, "error").filter(|_| reply.ty == Type::Error);
    error.is_some_and(|error| error.child(Ns::STANZAS, condition.as_str()).is_some())
}

/// Each room once, whatever the ids of its items: the newest says what it is.
fn once(items: Vec<(String, Bookmark)>) -> Vec<Bookmark> {
    let mut seen = BTreeSet::new();
    let mut all: Vec<Bookmark> = items.into_iter().rev().map(|(_, bookmark)| bookmark).collect();
    all.retain(|bookmark| seen.insert(bookmark.jid.clone()));
    all.reverse();
    all
}

/// An account belongs to a room by now: its clients enter it, under the account's name.
fn enrolled(st: &mut State, local: &str, room: &Jid, name: Option<&str>) -> Option<Job> {
    let account = st.account_of(local).map(|account| account.jid.clone())?;
    let bookmark = Bookmark {
        jid: room.clone(),
        name: name.map(str::to_owned),
        autojoin: true,
        nick: Some(local.to_owned()),
        password: None,
        extensions: String::new(),
    };
    Some(pubsub::publish(st, &account, NODE, room.as_str(), &bookmark.write(Ns::BOOKMARKS, None), &OPTIONS))
}

/// A `<storage/>` with these rooms, and what else the one before had: addresses of pages (XEP-0048 §3.1), rooms whose address is none,
/// and what only its client knows of a room.
fn storage(bookmarks: &[Bookmark], before: Option<&str>) -> String {
    let raw = before.and_then(|xml| Raw::parse(xml, Scope::client()).ok());
    let (mut known, mut others) = (BTreeMap::new(), String::new());
    for (c, copy) in raw.iter().flat_map(|raw| raw.root().copies()) {
        let room = c.is(Ns::STORAGE_BOOKMARKS, "conference").then(|| c.attr("jid")).flatten();
        match room.and_then(|jid| Jid::parse(&jid).ok()) {
            Some(jid) => drop(known.insert(jid.bare(), c)),
            None if others.len() + copy.len() <= STORAGE_BYTES => others += &copy,
            None => {}
        }
    }
    let mut out = String::from("<storage xmlns='storage:bookmarks'>");
    for bookmark in bookmarks {
        let before = known.get(&bookmark.jid).copied().filter(|_| out.len() <= STORAGE_BYTES);
        out += &bookmark.write(Ns::STORAGE_BOOKMARKS, before);
    }
    out + &others + "</storage>"
}

/// What an old client stored in the old node: in the item of the name that all use, else in the newest.
fn old_item(rows: Option<Rows>) -> Option<String> {
    let mut items: Vec<(Box<str>, String)> = rows?.iter().filter_map(|(_, record)| pubsub::item(record)).collect();
    let current = items.iter().position(|(id, _)| **id == *"current");
    let at = current.or(items.len().checked_sub(1))?;
    Some(items.swap_remove(at).1)
}

impl Bookmarks {
    /// What an old client wrote into the old node is in the native one, as far as it goes in.
    fn caught_up(&mut self, st: &mut State, account: &Jid) {
        let local = account.local().unwrap_or_default();
        let Some((times, changed)) = self.behind.get_mut(local) else { return };
        *times -= 1;
        if *times > 0 {
            return;
        }
        let changed = *changed;
        self.behind.remove(local);
        if changed && self.old.contains(local) {
            self.show(st, account);
        }
    }

    /// Lets the old node follow the native one.
    fn show(&mut self, st: &mut State, account: &Jid) {
        let job = st.ask(pubsub::items(account.local().unwrap_or_default(), OLD_NODE, OLD_ITEMS));
        self.steps.insert(job, BookmarkStep::Shown(account.clone()));
    }

    /// Asks for the native items of an account, as it would itself.
    fn items(&mut self, st: &mut State, account: &Jid, step: BookmarkStep) -> Job {
        let payload = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{NODE}'/></pubsub>");
        let job = st.inquire(account.clone(), account.clone(), Type::Get, payload);
        self.steps.insert(job, step);
        job
    }

    /// An account belongs to a room by now, and this is in its node: it gets one more, unless another one would go for that.
    fn enroll(&mut self, st: &mut State, items: &Stanza, local: Box<str>, room: Jid, name: Option<Box<str>>) {
        let all = items.child(Ns::PUBSUB, "pubsub").and_then(|pubsub| pubsub.child(Ns::PUBSUB, "items"));
        let ids = || all.iter().flat_map(|all| all.children()).filter_map(|item| item.attr("id"));
        if ids().count() >= ROOMS && !ids().any(|id| *id == *room.as_str()) {
            log::warn!("{local} has no bookmark of {room}: there are {ROOMS} already");
            return st.housed(&local, &room);
        }
        let job = enrolled(st, &local, &room, name.as_deref());
        self.steps.extend(job.map(|job| (job, BookmarkStep::Enrolled(local, room))));
    }

    /// §5.3.2: what is not as it is wanted becomes so, nothing else is touched. The client is told once all of it is stored, or that it
    /// is not.
    fn merge(
        &mut self,
        st: &mut State,
        account: &Jid,
        is: Vec<(String, Bookmark)>,
        wanted: Vec<Bookmark>,
        iq: Option<Stanza>,
    ) {
        let mut groups: BTreeMap<Jid, Vec<(String, Bookmark)>> = BTreeMap::new();
        is.into_iter().for_each(|(id, b)| groups.entry(b.jid.clone()).or_default().push((id, b)));
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        for mut bookmark in wanted {
            let mut group = groups.remove(&bookmark.jid).unwrap_or_default();
            let before = group.last().map(|(_, before)| before.clone());
            group.retain(|(id, _)| *id != *bookmark.jid.as_str());
            let same = before.as_ref().is_some_and(|before| before.same(&bookmark));
            // §3: the id is the address of the room. The newest that says something else is another client's.
            if !same || !group.is_empty() {
                bookmark.extensions = before.map(|before| before.extensions).unwrap_or_default();
                new.push(bookmark);
            }
            gone.extend(group.into_iter().map(|(id, _)| id));
        }
        gone.extend(groups.into_values().flatten().map(|(id, _)| id));
        let mut jobs: Vec<Job> = gone.iter().map(|id| pubsub::retract(st, account, NODE, id)).collect();
        if !new.is_empty() {
            // If that fails, so does what follows.
            pubsub::configure(st, account, NODE, &[&OPTIONS[..], &BESIDES].concat());
        }
        for bookmark in new {
            let xml = bookmark.write(Ns::BOOKMARKS, None);
            jobs.push(pubsub::publish(st, account, NODE, bookmark.jid.as_str(), &xml, &OPTIONS));
        }
        let Some(first) = jobs.first().copied() else {
            match iq {
                Some(iq) => drop(st.confirm_all(&iq, "")),
                None => self.caught_up(st, account),
            }
            return;
        };
        self.steps.extend(jobs.iter().map(|job| (*job, BookmarkStep::Part(first))));
        self.changes.insert(first, BookmarkChange { account: account.clone(), iq, left: jobs.len(), failed: None });
    }

    /// A part of a change was answered.
    fn part(&mut self, st: &mut State, change: Job, reply: &Stanza) {
        let Some(BookmarkChange { left, failed, .. }) = self.changes.get_mut(&change) else { return };
        *left -= 1;
        // What was to be retracted may have gone by itself.
        if reply.ty == Type::Error && !has(reply, Condition::ItemNotFound) {
            let text = reply.child(Ns::CLIENT, "error").and_then(|error| error.child(Ns::STANZAS, "text"));
            *failed = Some(text.map_or_else(|| "the node does not take it".into(), |text| text.text().into_owned()));
        }
        if *left > 0 {
            return;
        }
        match self.changes.remove(&change) {
            Some(BookmarkChange { iq: Some(iq), failed: None, .. }) => drop(st.confirm_all(&iq, "")),
            Some(BookmarkChange { iq: Some(iq), failed: Some(why), .. }) => {
                let text = format!("not all bookmarks could be stored: {why}");
                st.refuse(&iq, &StanzaError::new(Condition::ResourceConstraint).text(text));
            }
            Some(BookmarkChange { account, failed, .. }) => {
                if failed.is_some() {
                    // The old node has what the native one could not take: it is not made to follow.
                    self.old.remove(account.local().unwrap_or_default());
                }
                self.caught_up(st, &account);
            }
            None => {}
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
        for (local, _) in st.accounts().iter() {
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
        if iq.ty == Type::Set && stored(element).len() > ROOMS {
            let text = format!("at most {ROOMS} rooms can be bookmarked");
            return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
        }
        if iq.ty == Type::Get {
            let job = st.ask(Query::Get(Tree::Private, key::named(local, ELEMENT)));
            self.steps.insert(job, BookmarkStep::Element(iq.clone()));
        } else {
            st.write()?;
            // What others change from now on is not what this client has seen.
            self.items(st, &from.bare(), BookmarkStep::Before(iq.clone()));
        }
        Ok(Flow::Done)
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        match self.steps.remove(&job) {
            Some(BookmarkStep::Element(iq)) => {
                let Some(account) = iq.from.as_ref().map(Jid::bare) else { return };
                let row =
                    rows.map(|rows| rows.into_iter().next().map(|(_, xml)| String::from_utf8(xml.into())).transpose());
                match row {
                    Some(Ok(row)) => drop(self.items(st, &account, BookmarkStep::Items(iq, row))),
                    Some(Err(_)) | None => st.refuse(&iq, &Condition::InternalServerError.into()),
                }
            }
            Some(BookmarkStep::OldItem(account, items)) => {
                let is = self.steps.remove(&items);
                let wanted = old_item(rows).and_then(|xml| stored_in(&xml));
                match (is, wanted) {
                    (Some(BookmarkStep::Then(Some(native))), Some(wanted)) => match native.items() {
                        Some(is) => self.merge(st, &account, is, wanted, None),
                        None => self.caught_up(st, &account),
                    },
                    // They come later.
                    (Some(BookmarkStep::Then(None)), Some(wanted)) => {
                        drop(self.steps.insert(items, BookmarkStep::Late(account, wanted)))
                    }
                    _ => self.caught_up(st, &account),
                }
            }
            Some(BookmarkStep::Shown(account)) => {
                let step = BookmarkStep::Show(account.clone(), old_item(rows));
                self.items(st, &account, step);
            }
            _ => {}
        }
    }

    fn answered(&mut self, st: &mut State, job: Job, reply: &Stanza) {
        match self.steps.remove(&job) {
            Some(BookmarkStep::Items(iq, row)) => {
                let xml = match (Native::of(reply), row) {
                    // Nothing was ever converted.
                    (Native::Missing | Native::Keepless, Some(row)) => row,
                    (Native::Missing | Native::Keepless, None) => "<storage xmlns='storage:bookmarks'/>".into(),
                    (Native::Items(items), row) => storage(&once(items), row.as_deref()),
                    (Native::Unreadable, _) => return st.refuse(&iq, &Condition::InternalServerError.into()),
                };
                let _ = st.reply(&iq, format!("<query xmlns='jabber:iq:private'>{xml}</query>"));
            }
            Some(BookmarkStep::Before(iq)) => {
                let (Some(account), Some(query)) = (iq.from.as_ref().map(Jid::bare), iq.child(Ns::PRIVATE, "query"))
                else {
                    return;
                };
                let Some(is) = Native::of(reply).items() else {
                    return st.refuse(&iq, &Condition::InternalServerError.into());
                };
                let element = query.children().next().map(Node::copy).unwrap_or_default();
                let payload = format!("<query xmlns='jabber:iq:private'>{element}</query>");
                let job = st.inquire(account.clone(), account, Type::Set, payload);
                self.steps.insert(job, BookmarkStep::Stored(iq, is));
            }
            Some(BookmarkStep::Stored(iq, is)) => {
                let (Some(account), Some(query)) = (iq.from.as_ref().map(Jid::bare), iq.child(Ns::PRIVATE, "query"))
                else {
                    return;
                };
                if reply.ty == Type::Error {
                    let text = "private storage does not take so much";
                    return st.refuse(&iq, &StanzaError::new(Condition::ResourceConstraint).text(text));
                }
                let wanted = query.child(Ns::STORAGE_BOOKMARKS, "storage").map(stored).unwrap_or_default();
                self.merge(st, &account, is, wanted, Some(iq));
            }
            Some(BookmarkStep::Then(_)) => drop(self.steps.insert(job, BookmarkStep::Then(Some(Native::of(reply))))),
            Some(BookmarkStep::Late(account, wanted)) => match Native::of(reply).items() {
                Some(is) => self.merge(st, &account, is, wanted, None),
                None => self.caught_up(st, &account),
            },
            Some(BookmarkStep::Enrolling(local, room, name)) => self.enroll(st, reply, local, room, name),
            Some(BookmarkStep::Enrolled(local, room)) => {
                if reply.ty == Type::Error {
                    log::warn!("{local} has no bookmark of {room}: its node does not take one");
                }
                st.housed(&local, &room);
            }
            Some(BookmarkStep::Part(change)) => self.part(st, change, reply),
            Some(BookmarkStep::Show(account, item)) => {
                let bookmarks = match Native::of(reply) {
                    Native::Items(items) => once(items),
                    Native::Missing => Vec::new(),
                    Native::Keepless | Native::Unreadable => return,
                };
                let Some(shown) = item.as_deref().and_then(stored_in) else { return };
                let by_jid = |all: &[Bookmark]| -> BTreeMap<Jid, Bookmark> {
                    all.iter().map(|b| (b.jid.clone(), Bookmark { extensions: String::new(), ..b.clone() })).collect()
                };
                if by_jid(&bookmarks) != by_jid(&shown) {
                    let xml = storage(&bookmarks, item.as_deref());
                    // There are passwords in it.
                    pubsub::configure(st, &account, OLD_NODE, &[&OLD_OPTIONS[..], &BESIDES].concat());
                    pubsub::publish(st, &account, OLD_NODE, "current", &xml, &OLD_OPTIONS);
                }
            }
            _ => {}
        }
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        let (local, node) = match event {
            Event::Enrolled { local, room, name } => {
                let Some(account) = st.account_of(local).map(|account| account.jid.clone()) else { return };
                self.items(st, &account, BookmarkStep::Enrolling(local.clone(), room.clone(), name.clone()));
                return;
            }
            Event::HouseEnded(room) => {
                self.steps.retain(|_, step| match step {
                    BookmarkStep::Enrolling(local, to, _) if to == room => {
                        st.not_housed(local, false);
                        false
                    }
                    _ => true,
                });
                for local in st.housed_people() {
                    let Some(account) = st.account_of(&local).map(|account| account.jid.clone()) else { continue };
                    // Who has none loses none.
                    pubsub::retract(st, &account, NODE, room.as_str());
                }
                return;
            }
            Event::Published { local, node, .. } => (local, node),
            Event::Retracted { local, node, .. } => (local, node),
            Event::Removed(local) => {
                self.old.remove(local);
                self.behind.remove(local);
                return;
            }
            _ => return,
        };
        let Some(account) = st.account_of(local).map(|account| account.jid.clone()) else { return };
        match (&**node, event) {
            (OLD_NODE, Event::Published { .. }) => {
                self.old.insert(local.clone());
                self.behind.entry(local.clone()).or_default().0 += 1;
                let items = self.items(st, &account, BookmarkStep::Then(None));
                let job = st.ask(pubsub::items(local, OLD_NODE, OLD_ITEMS));
                self.steps.insert(job, BookmarkStep::OldItem(account, items));
            }
            (OLD_NODE, _) => drop(self.old.remove(local)),
            (NODE, _) if self.old.contains(local) => match self.behind.get_mut(local) {
                Some((_, changed)) => *changed = true,
                None => self.show(st, &account),
            },
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What is declared once could be in each of many children.
    #[test]
    fn what_only_clients_know_has_a_limit() {
        let names: Vec<String> = (0..200).map(|n| format!("room{n}@rooms.example")).collect();
        let rooms: String =
            names.iter().map(|jid| format!("<s:conference jid='{jid}'><a/><a/></s:conference>")).collect();
        let before = format!(
            "<s:storage xmlns:s='storage:bookmarks' xmlns='{}'>{rooms}{}</s:storage>",
            "x".repeat(50_000),
            "<b/>".repeat(1_000)
        );
        let raw = Raw::parse(&before, Scope::client()).unwrap();
        let bookmarks = stored(raw.root());
        assert_eq!(bookmarks.len(), 200);
        let made = storage(&bookmarks, Some(&before));
        assert!(made.len() < 4 * STORAGE_BYTES, "{}", made.len());
        assert!(names.iter().all(|name| made.contains(name)), "no bookmark is lost for that");
    }
}
