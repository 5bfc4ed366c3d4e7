//! What somebody wants to read of an archive (XEP-0313 §4 and §5), and how it is read: step by step, each step a question to the
//! storage with a limit in bytes, until the page is full or nothing is left.

use super::order;
use crate::core::message::Logged;
use crate::core::share::{Shared, Shares, limits};
use crate::core::{Job, State};
use crate::ext::{form, rsm};
use crate::store::{self, Rows, Whose};
use crate::wire::xml::escape;
use crate::wire::{Condition, Jid, Kind, Node, Ns, Scope, Stanza, StanzaError, Type, stamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Results in a page if the client does not say how many it wants.
const PAGE_ROWS: usize = 50;
/// Results in a page at most.
const PAGE_ROWS_MOST: usize = 250;
/// Results in a page, in bytes, but for one that is larger by itself. Some pages fit into an outbox and into the queue of a session,
/// so that a client may ask for the next one while it reads.
const PAGE_BYTES: usize = 256 * 1024;
/// What a result has around its message, in bytes, about.
const AROUND_BYTES: usize = 512;
/// Entries that are read in one step.
const STEP_ROWS: usize = PAGE_ROWS_MOST + 1;
/// Bytes that are read in one step, about.
const STEP_BYTES: usize = 128 * 1024;
/// Entries that are read by their ids in one step: their bytes are not known before.
const STEP_IDS: usize = 8;
/// Ids in one query.
const IDS: usize = PAGE_ROWS_MOST;
/// The longest `queryid`, in bytes: it stands in every result.
const QUERY_ID_BYTES: usize = 256;
/// A query, in bytes.
const QUERY_BYTES: usize = 64 * 1024;
/// Requests of one client that wait for the one before.
const TASKS: usize = 16;
/// Requests of all clients that wait, at most.
const QUERIES: usize = 4096;

pub(in crate::ext) const SHARED: Shared = Shared {
    what: "queries of archives that wait for the one before; those of accounts, and those of rooms",
    whole: limits![QUERIES, TASKS],
    share: "an account or a component: the rule; of one session, that number",
    checked: "ext/archive/query.rs",
    told: "`resource-constraint`: one query after the other",
};

/// The fields that can be filled in (§4.1.5).
pub(in crate::ext) const FORM: &str = "<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='form'>\
    <field type='hidden' var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>\
    <field type='jid-single' var='with'/>\
    <field type='text-single' var='start'/>\
    <field type='text-single' var='end'/>\
    <field type='text-single' var='before-id'/>\
    <field type='text-single' var='after-id'/>\
    <field type='list-multi' var='ids'>\
    <validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'><open/></validate></field>\
    <field type='boolean' var='include-groupchat'/>\
    </x></query>";

/// What is read.
#[derive(Clone, Debug)]
pub(in crate::ext) struct Source {
    /// Whose archive it is in the log.
    pub(in crate::ext) owner: Whose,
    /// The bare JID that it is asked for at.
    pub(in crate::ext) jid: Jid,
    /// The first number in it.
    pub(in crate::ext) begins: u64,
    /// Who is asked about with `with`, and where that stands in a message.
    pub(in crate::ext) with: With,
}

/// How a message is found by its other side (§4.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ext) enum With {
    /// By both its addresses.
    Ends,
    /// A room's, by the real JID of its sender, which it names.
    Sender,
    /// Not at all: who asks may not know.
    Hidden,
}

impl Source {
    /// The archive of an account.
    pub(super) fn account(st: &State, account: &Jid) -> Source {
        let owner = Whose::account(account.local().unwrap_or_default());
        let begins = st.archived(&owner).map_or(0, |archived| archived.begins);
        Source { owner, jid: account.clone(), begins, with: With::Ends }
    }

    /// What is asked for to know the first entry, or the last one.
    pub(super) fn end(&self, backwards: bool) -> store::Query {
        let (owner, from) = (self.owner.clone().into(), self.begins);
        store::Query::Archive(store::Page { owner, with: None, from, to: u64::MAX, backwards, rows: 1, bytes: 1 })
    }
}

/// The number of what was found.
pub(super) fn end_of(rows: &Rows) -> Option<u64> {
    rows.first().and_then(|(key, _)| number(key))
}

/// The numbers of the first entry and of the last one, for the client (§5).
pub(super) fn metadata(st: &State, owner: &str, ends: Option<(u64, u64)>) -> String {
    let Some((first, last)) = ends else { return "<metadata xmlns='urn:xmpp:mam:2'/>".into() };
    let end = |name: &str, mark: u64| {
        let (uid, time) = (st.uid(owner, mark), stamp::format(st.stamp(mark)));
        format!("<{name} id='{uid}' timestamp='{time}'/>")
    };
    format!("<metadata xmlns='urn:xmpp:mam:2'>{}{}</metadata>", end("start", first), end("end", last))
}

/// One request that reads an archive.
#[derive(Debug)]
pub(in crate::ext) struct Task {
    /// The request, without its payload.
    pub(in crate::ext) iq: Stanza,
    source: Source,
    want: Want,
    /// In whose share it is, while it waits.
    whose: Option<Arc<str>>,
}

#[derive(Debug)]
enum Want {
    Page(Box<Search>),
    /// The first message and the last (§5).
    Ends {
        first: Option<Option<u64>>,
        last: Option<u64>,
    },
}

/// A query for messages.
#[derive(Debug)]
struct Search {
    queryid: Option<String>,
    /// Those named in the query, which must be there.
    named: Vec<u64>,
    /// Only what is to or from this one.
    with: Option<Jid>,
    /// What is left to be read: the first number and the last.
    from: u64,
    to: u64,
    /// And then those between these, in ascending order: there are some only where the clock went back.
    spans: VecDeque<(u64, u64)>,
    /// Only those of them, in ascending order.
    ids: Option<VecDeque<u64>>,
    max: usize,
    /// The last one is the first in the result set.
    descending: bool,
    /// From the last on towards the first.
    backwards: bool,
    /// The page is sent from its end.
    flipped: bool,
    /// The page, in the order in which it was read.
    found: Vec<(u64, Stanza)>,
    bytes: usize,
    /// There is nothing more than the page.
    complete: bool,
    /// There is nothing more to be read.
    done: bool,
}

fn bad(text: impl Into<std::borrow::Cow<'static, str>>) -> StanzaError {
    StanzaError::new(Condition::BadRequest).text(text)
}

/// A time in a form, in milliseconds since 1970; before that nothing was sent.
fn moment(text: &str) -> Result<u64, StanzaError> {
    let before = |text: &str| {
        let early = text.get(..4)? <= "1970";
        stamp::parse(&format!("2000{}", text.get(4..)?)).filter(|_| early).map(|_| 0)
    };
    stamp::parse(text)
        .or_else(|| before(text))
        .ok_or(bad("a time is not one of XEP-0082, such as 2026-05-01T12:00:00Z"))
}

fn number(key: &[u8]) -> Option<u64> {
    key.try_into().map(u64::from_be_bytes).ok()
}

impl Search {
    fn read(st: &State, source: &Source, iq: &Stanza, query: Node<'_>) -> Result<Search, StanzaError> {
        if iq.bytes() > QUERY_BYTES {
            return Err(bad(format!("a query has at most {QUERY_BYTES} bytes")));
        }
        if query.attr("node").is_some() {
            // XEP-0313 §6.1.3: what has nodes is publish-subscribe.
            return Err(StanzaError::new(Condition::ItemNotFound).text("there are no nodes in this archive"));
        }
        let queryid = query.attr("queryid").map(|id| id.into_owned());
        if queryid.as_ref().is_some_and(|id| id.len() > QUERY_ID_BYTES) {
            return Err(bad(format!("a queryid has at most {QUERY_ID_BYTES} bytes")));
        }
        let unknown = || StanzaError::new(Condition::ItemNotFound).text("a message with that id is not in the archive");
        let mark = |uid: &str| st.uid_mark(&source.owner, uid).ok_or_else(unknown);
        let mut fields = form::submitted(query, Ns::MAM.uri())?.unwrap_or_default();
        let with = form::single(&mut fields, "with")?.map(|jid| Jid::parse(&jid));
        let with = with.transpose().map_err(|_| bad("with is not a JID"))?;
        if with.is_some() && source.with == With::Hidden {
            let text = "who is who in this room is not for you to know";
            return Err(StanzaError::new(Condition::Forbidden).text(text));
        }
        let start = form::single(&mut fields, "start")?.map(|time| moment(&time)).transpose()?;
        let end = form::single(&mut fields, "end")?.map(|time| moment(&time)).transpose()?;
        let after = form::single(&mut fields, "after-id")?.map(|id| mark(&id)).transpose()?;
        let before = form::single(&mut fields, "before-id")?.map(|id| mark(&id)).transpose()?;
        let ids = fields.remove("ids").map(|ids| ids.iter().map(|id| mark(id)).collect::<Result<Vec<_>, _>>());
        let ids = ids.transpose()?;
        // Messages of rooms are archived by rooms: they are not here, whether or not they are wanted.
        form::boolean(&mut fields, "include-groupchat")?;
        if !fields.is_empty() {
            let text = "there is no such field; a get shows those that there are";
            return Err(StanzaError::new(Condition::FeatureNotImplemented).text(text));
        }
        let page = rsm::read(query)?;
        let page_after = page.after.as_deref().map(mark).transpose()?;
        let page_before = page.before.as_deref().filter(|id| !id.is_empty()).map(mark).transpose()?;
        let descending = order::descending(query)?;

        let mut named: Vec<u64> = [after, before, page_after, page_before].into_iter().flatten().collect();
        named.extend(ids.iter().flatten());
        named.sort_unstable();
        named.dedup();
        let ids = match ids {
            Some(ids) if ids.is_empty() => return Err(bad("ids has no values")),
            Some(ids) if ids.len() > IDS => return Err(bad(format!("at most {IDS} ids in a query"))),
            Some(mut ids) => {
                ids.sort_unstable();
                ids.dedup();
                Some(VecDeque::from(ids))
            }
            None => None,
        };
        // A page lies behind or before something in the order of the result set.
        let (low, high) = if descending { (page_before, page_after) } else { (page_after, page_before) };
        let behind = |mark: u64| mark.saturating_add(1);
        let from = [after.map(behind), low.map(behind)].into_iter().flatten().fold(source.begins, u64::max);
        let to = [before, high].into_iter().flatten().map(|mark| mark.saturating_sub(1)).min().unwrap_or(u64::MAX);
        let spans = st.marks_between(start, end).into_iter().map(|(first, last)| (first.max(from), last.min(to)));
        let spans: VecDeque<_> = spans.filter(|(first, last)| first <= last).collect();
        let mut search = Search {
            queryid,
            named,
            with,
            from,
            to,
            spans,
            ids,
            max: page.max.unwrap_or(PAGE_ROWS).min(PAGE_ROWS_MOST),
            descending,
            backwards: page.before.is_some() != descending,
            flipped: query.child(Ns::MAM, "flip-page").is_some(),
            found: Vec::new(),
            bytes: 0,
            complete: false,
            done: false,
        };
        match &mut search.ids {
            Some(ids) => ids.retain(|id| search.spans.iter().any(|(first, last)| (first..=last).contains(&id))),
            None => _ = search.next_span(),
        }
        Ok(search)
    }

    /// Goes on to the next numbers that are wanted. Says whether there are some.
    fn next_span(&mut self) -> bool {
        let next = if self.backwards { self.spans.pop_back() } else { self.spans.pop_front() };
        (self.from, self.to) = next.unwrap_or((1, 0));
        next.is_some()
    }

    /// What is to be asked next; `None`: nothing more.
    fn next(&mut self, source: &Source) -> Option<store::Query> {
        let owner = &*source.owner;
        if !self.named.is_empty() {
            let ids = self.named[..self.named.len().min(STEP_IDS)].into();
            return Some(store::Query::Entries { owner: owner.into(), ids });
        }
        if let Some(ids) = &mut self.ids {
            ids.retain(|id| (self.from..=self.to).contains(id));
            let left = ids.len();
            let step = left.min(STEP_IDS);
            let ids: Box<[u64]> = if self.backwards {
                ids.range(left - step..).copied().collect()
            } else {
                ids.range(..step).copied().collect()
            };
            self.complete |= !self.done && left == 0;
            return (!self.done && left > 0).then(|| store::Query::Entries { owner: owner.into(), ids });
        }
        if self.done || (self.from > self.to && !self.next_span()) {
            self.complete |= !self.done;
            return None;
        }
        // The archive of messages to oneself is that with oneself; what was sent by one's other client is with anybody.
        let own = |with: &Jid| source.with == With::Ends && with.bare_str() == source.jid.as_str();
        let with = self.with.as_ref().filter(|with| with.is_bare() || !own(with));
        Some(store::Query::Archive(store::Page {
            owner: owner.into(),
            with: with.map(|with| with.bare_str().into()),
            from: self.from,
            to: self.to,
            backwards: self.backwards,
            rows: (self.max - self.found.len() + 1).min(STEP_ROWS),
            bytes: STEP_BYTES,
        }))
    }

    /// What was found.
    fn take(&mut self, source: &Source, rows: Rows, view: &mut impl View) -> Result<(), StanzaError> {
        if !self.named.is_empty() {
            let rest = self.named.split_off(self.named.len().min(STEP_IDS));
            let asked = std::mem::replace(&mut self.named, rest);
            let there: Vec<u64> = rows.iter().filter_map(|(key, _)| number(key)).collect();
            if asked.iter().any(|id| *id < source.begins || !there.contains(id)) {
                let text = "a message with that id is not in the archive";
                return Err(StanzaError::new(Condition::ItemNotFound).text(text));
            }
            return Ok(());
        }
        if rows.is_empty() && self.ids.is_none() {
            if !self.next_span() {
                (self.complete, self.done) = (true, true);
            }
            return Ok(());
        }
        let mut last = None;
        let by_id = self.ids.is_some() && self.backwards;
        let mut rows = rows;
        if by_id {
            rows.reverse();
        }
        for (key, value) in rows {
            let Some(id) = number(&key) else { continue };
            last = Some(id);
            let message = match Logged::read(&value) {
                Ok(Logged::Message { xml, .. }) => Stanza::parse(xml, Scope::client()).ok().flatten(),
                _ => None,
            };
            let Some(message) = message else {
                view.unreadable(id);
                continue;
            };
            if !self.matches(source, &message) {
                continue;
            }
            let message = view.shown(id, message);
            let bytes = message.bytes() + AROUND_BYTES + self.queryid.as_ref().map_or(0, String::len);
            if self.found.len() >= self.max || (!self.found.is_empty() && self.bytes + bytes > PAGE_BYTES) {
                self.done = true;
                return Ok(());
            }
            self.bytes += bytes;
            self.found.push((id, message));
        }
        // Those that were asked for by their ids and are gone meanwhile are read, too.
        let last = match &self.ids {
            Some(ids) if self.backwards => ids.get(ids.len().saturating_sub(STEP_IDS)).copied(),
            Some(ids) => ids.get(STEP_IDS.min(ids.len()).saturating_sub(1)).copied(),
            None => last,
        };
        match last {
            Some(0) if self.backwards => (self.complete, self.done) = (true, true),
            Some(last) if self.backwards => self.to = last - 1,
            Some(last) => self.from = last.saturating_add(1),
            None => (self.complete, self.done) = (true, true),
        }
        Ok(())
    }

    /// §4.1.1
    fn matches(&self, source: &Source, message: &Stanza) -> bool {
        let Some(with) = &self.with else { return true };
        let account = &source.jid;
        if source.with != With::Ends {
            let item = message.child(Ns::MUC_USER, "x").and_then(|x| x.child(Ns::MUC_USER, "item"));
            let sender = item.and_then(|item| Jid::parse(&item.attr("jid")?).ok());
            return sender.is_some_and(|sender| sender == *with || with.is_bare() && sender.bare() == *with);
        }
        let ends = [&message.from, &message.to].map(|jid| jid.as_ref().unwrap_or(account));
        if !with.is_bare() {
            return ends.contains(&with);
        }
        let with = with.as_str();
        if with == account.as_str() {
            ends.iter().all(|jid| jid.bare_str() == with)
        } else {
            ends.iter().any(|jid| jid.bare_str() == with)
        }
    }

    /// Sends the page (§4.2), and says what it was; and the numbers of the messages in it that came to the account, if their
    /// receiver does not acknowledge them.
    fn page(mut self, st: &mut State, source: &Source, to: &Jid) -> (String, Vec<u64>) {
        let (account, local) = (&source.jid, &*source.owner);
        if self.backwards != self.descending {
            self.found.reverse();
        }
        let uid = |st: &State, found: Option<&(u64, Stanza)>| found.map(|(id, _)| st.uid(local, *id));
        let ends = uid(st, self.found.first()).zip(uid(st, self.found.last()));
        if self.flipped {
            self.found.reverse();
        }
        let mut start = String::from("<result xmlns='urn:xmpp:mam:2'");
        if let Some(queryid) = &self.queryid {
            start.push_str(" queryid='");
            escape(queryid, &mut start);
            start.push('\'');
        }
        let sid = st.session_at(to);
        let managed = sid.and_then(|sid| st.session(sid)).is_some_and(|s| s.managed.is_some());
        let to_account = |message: &Stanza| message.to.as_ref().is_some_and(|to| to.bare_str() == account.as_str());
        if let Some(sid) = sid {
            st.has_read(sid, self.found.iter().filter(|(_, message)| to_account(message)).map(|(id, _)| *id));
        }
        let mut came = Vec::new();
        for (id, message) in &self.found {
            let (uid, stamp) = (st.uid(local, *id), stamp::format(st.stamp(*id)));
            let before = format!(
                "{start} id='{uid}'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='{stamp}'/>"
            );
            let mut result = Stanza::new(Kind::Message, Type::None).from(account.clone()).to(to.clone());
            result.wrap(&before, message, "</forwarded></result>");
            // Whoever has this has the message: if it waits, it need not (§6.1.1). Not while the message itself is on its way.
            if to_account(message) && !st.is_held(*id) {
                if managed {
                    result.mark = *id;
                } else {
                    came.push(*id);
                }
            }
            match sid {
                Some(sid) => st.send_to(sid, result),
                // Of a server elsewhere.
                None if st.local(to).is_none() => st.send(result),
                None => {}
            }
        }
        let complete = if self.complete { " complete='true'" } else { "" };
        let set = rsm::page(ends.as_ref().map(|(first, last)| (first.as_str(), last.as_str())));
        (format!("<fin xmlns='urn:xmpp:mam:2'{complete}>{set}</fin>"), came)
    }
}

/// How what is in an archive is shown.
pub(in crate::ext) trait View {
    /// An entry is not a message.
    fn unreadable(&mut self, id: u64);
    /// A message as the one who asks may see it.
    fn shown(&mut self, _id: u64, message: Stanza) -> Stanza {
        message
    }
}

impl Task {
    fn new(source: Source, iq: &Stanza, want: Want) -> Task {
        // What waits is short, whatever the request was.
        let mut head = Stanza::new(Kind::Iq, iq.ty).with_id(&iq.id().unwrap_or_default());
        (head.from, head.to) = (iq.from.clone(), iq.to.clone());
        Task { iq: head, source, want, whose: None }
    }

    /// A query for messages.
    pub(in crate::ext) fn page(st: &State, source: Source, iq: &Stanza, query: Node<'_>) -> Result<Task, StanzaError> {
        let search = Search::read(st, &source, iq, query)?;
        Ok(Task::new(source, iq, Want::Page(Box::new(search))))
    }

    /// A query for the first message and the last.
    pub(in crate::ext) fn ends(source: Source, iq: &Stanza) -> Task {
        Task::new(source, iq, Want::Ends { first: None, last: None })
    }

    fn whose(&self) -> &str {
        self.whose.as_deref().unwrap_or_default()
    }

    /// What is read.
    pub(in crate::ext) fn source(&self) -> &Source {
        &self.source
    }

    /// What is to be asked next; `None`: all is known.
    pub(in crate::ext) fn next(&mut self) -> Option<store::Query> {
        let backwards = match &mut self.want {
            Want::Page(search) => return search.next(&self.source),
            Want::Ends { first: None, .. } => false,
            Want::Ends { first: Some(Some(_)), last: None, .. } => true,
            Want::Ends { .. } => return None,
        };
        Some(self.source.end(backwards))
    }

    /// What was found.
    ///
    /// # Errors
    /// What the client is told instead.
    pub(in crate::ext) fn take(&mut self, rows: Rows, view: &mut impl View) -> Result<(), StanzaError> {
        match &mut self.want {
            Want::Page(search) => search.take(&self.source, rows, view),
            Want::Ends { first, last, .. } => {
                let id = end_of(&rows);
                match first {
                    None => *first = Some(id),
                    // It was there a moment ago.
                    Some(was) => *last = id.or(*was),
                }
                Ok(())
            }
        }
    }

    /// Answers. The numbers of messages that the client has when it answers something behind that.
    pub(in crate::ext) fn finish(self, st: &mut State) -> Vec<u64> {
        let Some(to) = self.iq.from.clone() else { return Vec::new() };
        let mut came = Vec::new();
        let payload = match self.want {
            Want::Page(search) => {
                let (fin, numbers) = search.page(st, &self.source, &to);
                came = numbers;
                fin
            }
            Want::Ends { first, last, .. } => {
                let ends = first.flatten().map(|first| (first, last.unwrap_or(first)));
                metadata(st, &self.source.owner, ends)
            }
        };
        let _ = st.reply(&self.iq, payload);
        came
    }
}

/// The requests of all clients: each one's are done one after the other.
#[derive(Debug)]
pub(in crate::ext) struct Queue<K> {
    tasks: BTreeMap<K, VecDeque<Task>>,
    /// Whose a job is.
    jobs: BTreeMap<Job, K>,
    /// How many somebody has.
    shares: Shares,
}

impl<K> Default for Queue<K> {
    fn default() -> Queue<K> {
        Queue { tasks: BTreeMap::new(), jobs: BTreeMap::new(), shares: Shares::default() }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// A request waits for its turn. Says whether that is now: then [`Queue::next`] is called.
    pub(in crate::ext) fn push(&mut self, st: &State, client: K, mut task: Task) -> Result<bool, StanzaError> {
        let whose = task.iq.from.as_ref().map_or("", |from| st.whose(from));
        let many = self.tasks.get(&client).is_some_and(|tasks| tasks.len() >= TASKS);
        if many || !self.shares.may(whose, 1, QUERIES) {
            let text = "too many of your queries wait; one after the other";
            return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
        }
        task.whose = Some(self.shares.add(whose, 1));
        let tasks = self.tasks.entry(client).or_default();
        tasks.push_back(task);
        Ok(tasks.len() == 1)
    }

    /// Asks what is to be known next for a client's first request; or returns it, if all is known.
    pub(in crate::ext) fn next(&mut self, st: &mut State, client: &K) -> Option<Task> {
        let tasks = self.tasks.get_mut(client)?;
        if let Some(query) = tasks.front_mut().and_then(Task::next) {
            self.jobs.insert(st.ask(query), client.clone());
            return None;
        }
        let task = tasks.pop_front();
        match &task {
            Some(task) => self.shares.take(task.whose(), 1),
            None => drop(self.tasks.remove(client)),
        }
        task
    }

    /// Whose request a job is for, with the request; `None`: none of these, or its client is gone.
    pub(in crate::ext) fn asked(&mut self, job: Job) -> Option<(K, &mut Task)> {
        let client = self.jobs.remove(&job)?;
        let task = self.tasks.get_mut(&client)?.front_mut()?;
        Some((client, task))
    }

    /// Answers what a client asked first with an error.
    pub(in crate::ext) fn refuse(&mut self, st: &mut State, client: &K, error: &StanzaError) {
        if let Some(task) = self.tasks.get_mut(client).and_then(VecDeque::pop_front) {
            self.shares.take(task.whose(), 1);
            st.refuse(&task.iq, error);
        }
    }

    /// A client is gone.
    pub(super) fn forget(&mut self, client: &K) {
        for task in self.tasks.remove(client).into_iter().flatten() {
            self.shares.take(task.whose(), 1);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(moment("1970-01-01T00:00:01.5Z").unwrap(), 1500);
        for early in ["0001-01-01T00:00:00Z", "1969-07-21T02:56:15Z", "1970-01-01T00:00:00+01:00"] {
            assert_eq!(moment(early).unwrap(), 0, "{early}");
        }
        for wrong in ["", "yesterday", "1969-13-01T00:00:00Z", "2026-05-01", "9999-12-31T23:59:59-00:01", "\u{661}970"]
        {
            assert_eq!(moment(wrong).unwrap_err().condition, Condition::BadRequest, "{wrong}");
        }
    }
}
