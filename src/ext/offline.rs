//! XEP-0160: messages that nobody was there to take wait in storage.
//!
//! What is promised. A message that was accepted while nobody was there is handed to the first session that takes messages, in the
//! order of arrival, page by page, and deleted only when that session's client has confirmed it: by its acknowledgement (XEP-0198),
//! or, without stream management, by the answer to a ping sent behind the page. A message is never handed out again after that was
//! seen. A session that ends before confirmed nothing: its page goes to the next session, each message with the same stanza-id
//! (XEP-0359), so that a client that did see it knows it again; one that comes back with the id of its stream says what it has seen,
//! and does not get it again (`core/sm.rs`).
//!
//! What is on its way to a session that lost its connection is kept here, too, until that session comes back and has it, or ends.
//! Somebody else who comes meanwhile does not wait for that.
//!
//! While old messages are handed out, new ones wait behind them, marked as `live`: when their turn comes they go to every session
//! that takes messages, as any new message does, and the others with carbons get copies. Two exceptions, both better than
//! an error to the sender: chat states and what must not be stored go past, and so does everything while storage is full or failing.

use super::{chat_states, delay, hints};
use crate::core::logged::Counted;
use crate::core::share::{Ledger, Shared, limits, whose};
use crate::core::{About, Event, Extension, Flow, Handled, Inline, Job, Recovered, Sid, State, scan};
use crate::store::record::{Broken, Reader, Writer};
use crate::store::{BATCH_OPS, Batch, Engine, Page, Query, Rows, StoreError, Tree, VALUE_BYTES, key};
use crate::wire::{Condition, Kind, Ns, Scope, Stanza, StanzaError, StreamCondition, StreamError, Type};
use std::collections::{BTreeMap, BTreeSet};

/// Messages that wait for one account, whatever their size.
const MESSAGES: usize = 10_000;
/// What anybody may have there, in bytes, as long as there is room at all.
const SENDER_BYTES: usize = 1024;
/// Messages in one page: their deletion is one batch.
const PAGE_ROWS: usize = BATCH_OPS / 2;
/// Bytes of one page, about. With one message of the largest size on top it stays far below the limit of an outbox.
const PAGE_BYTES: usize = 64 * 1024;
/// Time to confirm a page by a ping, in milliseconds; and one more for each byte, for lines of 1 KB a second.
const CONFIRM_MS: u64 = 60_000;
/// Time after which storage that failed is asked again, in milliseconds.
const RETRY_MS: u64 = 5_000;

pub(super) const SHARED: Shared = Shared {
    what: "messages that wait for one account, up to the setting `offline_bytes`",
    whole: limits![MESSAGES],
    share: "a sender's account, or another domain: the rule, for messages and bytes",
    checked: "ext/offline.rs",
    told: "`service-unavailable`: too much of yours waits for them",
};

/// The waiting messages of all accounts.
#[derive(Default)]
pub(super) struct Offline {
    boxes: BTreeMap<Box<str>, Mailbox>,
    /// Whose a job is.
    jobs: BTreeMap<Job, Wanted>,
}

/// What a job is for.
enum Wanted {
    /// A page, its confirmation, or time to go on with this account's messages.
    Flush(Box<str>),
    /// A message that arrived, and is to be deleted if it is there.
    Row(Box<str>, u64),
}

/// What is known of one account's messages; they themselves are in [`Tree::Offline`], under their [`Stanza::mark`].
#[derive(Default)]
struct Mailbox {
    /// How many are stored.
    count: usize,
    /// Their bytes.
    bytes: usize,
    /// Who sent them.
    senders: Ledger<u64>,
    /// The sizes of those that were handed to a session, or that one had when they were stored.
    held: BTreeMap<u64, usize>,
    /// Stored still, but not to be handed out again: (number, bytes).
    done: BTreeMap<u64, usize>,
    /// They came while the account was online, were handed out, copies too, and not confirmed: one session gets them again.
    again: BTreeSet<u64>,
    /// Deletes them when storage works again.
    retry: Option<Job>,
    /// Somebody is getting them.
    flush: Option<Flush>,
    /// A client that reads the archive has begun: those between these numbers that are archived are not handed out any more.
    cleared: Option<(u64, u64)>,
    /// Somebody was, and lost the connection: the rest is still to come, before anything new.
    unfinished: bool,
}

/// Messages on their way to a session.
struct Flush {
    sid: Sid,
    /// The last number that was read.
    after: Option<u64>,
    /// What of the page is not confirmed: whether it is live, and whether other sessions got it, too.
    sent: BTreeMap<u64, (bool, bool)>,
    /// The page, the answer to the ping, or the time to try again; none if the session acknowledges.
    waits: Option<Job>,
    /// When the client has been silent for too long.
    timeout: Option<Job>,
    /// They have arrived since the page was asked for.
    skip: BTreeSet<u64>,
    /// New ones were stored since then, which it may not show.
    more: bool,
    /// The page was asked for from the first message on.
    first: bool,
    /// Somebody left messages that may be before the place.
    restart: bool,
}

/// What becomes of a message that nobody is there to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Worth {
    Keep,
    /// Nobody misses it.
    Drop,
    /// The sender must know that nobody got it.
    Refuse,
}

/// XEP-0160 §3, XEP-0334 §4.2 and §4.4. The type was looked at by the table of rules.
fn worth(message: &Stanza) -> Worth {
    if hints::has(message, "no-store") {
        let spoken = message.child(Ns::CLIENT, "body").is_some();
        return if spoken { Worth::Refuse } else { Worth::Drop };
    }
    let keep = hints::has(message, "store") || !chat_states::standalone(message);
    if keep { Worth::Keep } else { Worth::Drop }
}

/// A row: whether it came while the account was online, how the streams that it was written to count it, and the message with
/// its note of delay.
fn record(live: bool, holders: &[Counted], message: &Stanza) -> Box<[u8]> {
    let w = Writer::new(2).u8(u8::from(live)).u32(holders.len() as u32);
    let w = holders.iter().fold(w, |w, c| w.u64(c.stream).u32(c.count));
    w.str(&message.to_xml()).done()
}

/// The front of a row; the message is what follows.
fn head<'a>(record: &'a [u8]) -> Result<(bool, Vec<Counted>, Reader<'a>), Broken> {
    let mut r = Reader::new(record)?;
    let live = r.u8()? == 1;
    let holders = match r.version {
        // Before stream management.
        1 => Vec::new(),
        2 => {
            let n = r.u32()?;
            (0..n).map(|_| Ok(Counted { stream: r.u64()?, count: r.u32()? })).collect::<Result<_, Broken>>()?
        }
        _ => return Err(Broken),
    };
    Ok((live, holders, r))
}

fn from_record(record: &[u8]) -> Option<(bool, Stanza)> {
    let (live, _, mut rest) = head(record).ok()?;
    let message = Stanza::parse(rest.str().ok()?, Scope::client()).ok()??;
    Some((live, message))
}

/// In whose share a message is.
fn sender<'a>(st: &State, message: &'a Stanza) -> &'a str {
    message.from.as_ref().map_or("", |from| whose(st, from))
}

/// Whether a message has its id in the account's archive.
fn is_archived(st: &State, local: &str, message: &Stanza) -> bool {
    let by = |account: &str| {
        let id = message.children().find(|c| c.is(Ns::SID, "stanza-id") && c.attr("by").as_deref() == Some(account))?;
        st.uid_mark(local, &id.attr("id")?)
    };
    st.accounts.get(local).is_some_and(|account| by(account.jid.as_str()).is_some())
}

/// Whether a session can be handed something now.
fn takes(st: &State, sid: Sid) -> bool {
    st.sessions.get(&sid).is_some_and(|s| s.receives() && s.stream.is_some())
}

/// The sessions that take messages, also those that have lost their connection.
fn receivers(st: &State, local: &str) -> Vec<Sid> {
    let mut sids = st.sessions_of(local);
    sids.retain(|sid| st.sessions.get(sid).is_some_and(|s| s.receives()));
    sids
}

fn managed(st: &State, sid: Sid) -> bool {
    st.sessions.get(&sid).is_some_and(|s| s.managed.is_some())
}

impl Offline {
    /// Stores a message; `Pass` where it has no room.
    fn store(&mut self, st: &mut State, local: &str, message: &Stanza, live: bool, held: bool) -> Handled {
        if !st.accounts.contains_key(local) {
            return Ok(Flow::Pass);
        }
        let (count, bytes) = self.boxes.get(local).map_or((0, 0), |m| (m.count, m.bytes));
        let room = st.settings.offline_bytes.saturating_sub(bytes);
        if count >= MESSAGES || message.bytes() > room {
            return Ok(Flow::Pass);
        }
        let sender = sender(st, message);
        let senders = self.boxes.get(local).map(|m| (m.senders.shares(), m.senders.counts()));
        if let Some((bytes, counts)) = senders
            && bytes.of(sender) + message.bytes() > SENDER_BYTES
            && !(bytes.may(sender, message.bytes(), st.settings.offline_bytes) && counts.may(sender, 1, MESSAGES))
        {
            let text = "too much of yours waits for them already";
            return Err(StanzaError::new(Condition::ServiceUnavailable).text(text));
        }
        let row = record(live, &st.holders(message.mark), &message.clone().with(delay::note(st, message.mark)));
        if row.len() > room.min(VALUE_BYTES) {
            return Ok(Flow::Pass);
        }
        st.write()?;
        let mailbox = self.boxes.entry(local.into()).or_default();
        mailbox.add(message.mark, sender, row.len());
        if let Some(flush) = &mut mailbox.flush {
            flush.more = true;
        }
        if held {
            mailbox.held.insert(message.mark, row.len());
        }
        st.write()?.put(Tree::Offline, key::numbered(local, message.mark), row);
        Ok(Flow::Done)
    }

    /// Asks for the next page, for whoever gets them; or for somebody else, if that one takes none any more.
    fn go_on(&mut self, st: &mut State, local: &str) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        let (sid, after) = match mailbox.flush.take() {
            Some(flush) if takes(st, flush.sid) => (flush.sid, flush.after.filter(|_| !flush.restart)),
            _ => match receivers(st, local).into_iter().find(|sid| takes(st, *sid)) {
                Some(sid) => (sid, None),
                None => {
                    mailbox.unfinished = true;
                    return;
                }
            },
        };
        if mailbox.count == mailbox.done.len() {
            return self.forget_empty(local);
        }
        let after_key = after.map(|number| key::numbered(local, number));
        let prefix = key::prefix(local);
        let waits =
            st.ask(Query::Scan { tree: Tree::Offline, prefix, after: after_key, rows: PAGE_ROWS, bytes: PAGE_BYTES });
        self.jobs.insert(waits, Wanted::Flush(local.into()));
        mailbox.unfinished = false;
        mailbox.flush = Some(Flush {
            sid,
            after,
            sent: BTreeMap::new(),
            waits: Some(waits),
            timeout: None,
            skip: BTreeSet::new(),
            more: false,
            first: after.is_none(),
            restart: false,
        });
    }

    /// Sends a page.
    fn page(&mut self, st: &mut State, local: &str, rows: Rows) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        let Some(flush) = mailbox.flush.as_mut().filter(|f| takes(st, f.sid)) else { return self.go_on(st, local) };
        flush.waits = None;
        let (sid, acknowledges) = (flush.sid, managed(st, flush.sid));
        let (none, mut bytes, mut page) = (rows.is_empty(), 0_usize, Vec::new());
        if none && flush.first && !flush.more {
            // Storage has fewer than were counted: it knows better.
            mailbox.count = mailbox.done.len();
            mailbox.bytes = mailbox.done.values().sum();
            mailbox.senders = Ledger::default();
        }
        for (key, value) in rows {
            let Some(number) = key::number(&key) else { continue };
            // A connected session that will have it is no reason to hand it out twice.
            if mailbox.done.contains_key(&number) || flush.skip.contains(&number) || st.is_arriving(number) {
                flush.after = Some(number);
                continue;
            }
            let row = from_record(&value);
            // New ones go to others, too: not before the old ones have arrived.
            let is_live = row.as_ref().is_some_and(|(live, _)| *live) && !mailbox.again.contains(&number);
            if is_live && flush.sent.values().any(|(live, _)| !live) {
                break;
            }
            flush.after = Some(number);
            bytes += value.len();
            mailbox.held.insert(number, value.len());
            let mut elsewhere = false;
            // A row that cannot be read, or of somebody who is blocked by now (XEP-0191 §3.3), or that is read elsewhere, goes with
            // the page unseen.
            let readable = row.filter(|(_, message)| {
                let from = message.from.as_ref();
                let blocks = |from| st.accounts.get(local).is_none_or(|account| account.blocks(from));
                let cleared = mailbox.cleared.is_some_and(|(first, last)| (first..=last).contains(&number));
                !(from.is_some_and(blocks) || cleared && is_archived(st, local, message))
            });
            let Some((_, mut message)) = readable else {
                st.has(local, number);
                continue;
            };
            message.mark = number;
            if number == 0 {
                // From before messages had such numbers; it cannot be acknowledged.
                st.send_to(sid, message);
                st.has(local, number);
                continue;
            }
            if is_live {
                let targets = receivers(st, local);
                elsewhere = targets.len() > 1 && !acknowledges;
                st.deliver_kept(local, message, targets, acknowledges);
            } else if acknowledges {
                page.push(message);
            } else {
                st.send_to(sid, message);
            }
            flush.sent.insert(number, (is_live, elsewhere));
        }
        flush.skip.clear();
        if !page.is_empty() {
            st.hand_over(local, &page, sid);
        }
        if none && !flush.more && !flush.restart {
            mailbox.flush = None;
            return self.forget_empty(local);
        }
        if flush.sent.is_empty() {
            // Nothing was there for this one: it is on its way, or gone.
            return self.go_on(st, local);
        }
        if acknowledges {
            return;
        }
        let waits = st.request(sid, "<ping xmlns='urn:xmpp:ping'/>");
        let timeout = st.after(CONFIRM_MS + bytes as u64);
        (flush.waits, flush.timeout) = (Some(waits), Some(timeout));
        self.jobs.insert(waits, Wanted::Flush(local.into()));
        self.jobs.insert(timeout, Wanted::Flush(local.into()));
    }

    /// Deletes what is done.
    fn delete(&mut self, st: &mut State, local: &str) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        if st.write().is_err() {
            if mailbox.retry.is_none() && !mailbox.done.is_empty() {
                let retry = st.after(RETRY_MS);
                mailbox.retry = Some(retry);
                self.jobs.insert(retry, Wanted::Flush(local.into()));
            }
            return;
        }
        if let Some(flush) = &mut mailbox.flush {
            flush.skip.extend(mailbox.done.keys());
        }
        for (number, bytes) in std::mem::take(&mut mailbox.done) {
            if let Ok(batch) = st.write() {
                batch.delete(Tree::Offline, key::numbered(local, number));
            }
            st.step();
            mailbox.again.remove(&number);
            mailbox.senders.take(&number);
            mailbox.count = mailbox.count.saturating_sub(1);
            mailbox.bytes = mailbox.bytes.saturating_sub(bytes);
        }
        self.forget_empty(local);
    }

    fn forget_empty(&mut self, local: &str) {
        if self.boxes.get(local).is_some_and(|m| m.count == 0 && m.flush.is_none() && m.retry.is_none()) {
            self.boxes.remove(local);
        }
    }

    /// The session that was getting them gets no more for now.
    fn ended(&mut self, st: &mut State, sid: Sid, local: &str) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        if let Some(flush) = mailbox.flush.take_if(|f| f.sid == sid) {
            if let Some(waits) = flush.waits {
                self.jobs.remove(&waits);
            }
            for (number, (live, elsewhere)) in flush.sent {
                // New ones that others got: that one session missed them, as it would have without the ones before.
                if elsewhere {
                    st.has(local, number);
                } else if live && !st.is_held(number) {
                    mailbox.again.insert(number);
                }
            }
        }
        match &mut mailbox.flush {
            None => self.go_on(st, local),
            Some(flush) => flush.restart = true,
        }
    }
}

impl Mailbox {
    fn add(&mut self, number: u64, sender: &str, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
        self.senders.put(number, sender, bytes);
    }
}

impl Extension for Offline {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0160",
            name: "Best Practices for Handling Offline Messages",
            version: "1.0.1",
            missing: "",
            server: &["msgoffline"],
            account: &[],
            iq: &[],
        }
    }

    fn before_bind(&mut self, st: &mut State, local: &str) -> Vec<Query> {
        let from = st.archives.get(local).map_or(0, |archived| archived.begins);
        let (owner, to) = (local.into(), u64::MAX);
        let first = Page { owner, with: None, from, to, backwards: false, rows: 1, bytes: 1 };
        if self.boxes.contains_key(local) { vec![Query::Archive(first)] } else { Vec::new() }
    }

    /// XEP-0386 §3.2: such a client reads the archive. What is not in there, or not any more, it gets as others do.
    fn bind_inline(&mut self, st: &mut State, sid: Sid, inline: &Inline<'_>, _bound: &mut String) {
        let Some(mailbox) = st.sessions.get(&sid).and_then(|session| self.boxes.get_mut(session.local())) else {
            return;
        };
        let [Some(rows)] = inline.rows else { return };
        let first = rows.first().and_then(|(key, _)| Some(u64::from_be_bytes((**key).try_into().ok()?)));
        mailbox.cleared = first.or(inline.archived.map(|(first, _)| first)).map(|first| (first, st.last_mark()));
    }

    fn load(&mut self, st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        let mut stored = BTreeMap::new();
        scan(engine, Tree::Offline, &[], |key, value| {
            let (Some((local, _)), Some(number)) = (key::split(key), key::number(key)) else {
                return Err(StoreError::Damaged("an offline message's key in the database is not readable".into()));
            };
            if st.accounts.contains_key(local) {
                st.seen_mark(number);
                stored.insert((Box::<str>::from(local), number), value.len());
                let mailbox = self.boxes.entry(local.into()).or_default();
                let message = from_record(value).map(|(_, message)| message);
                mailbox.add(number, message.as_ref().map_or("", |message| sender(st, message)), value.len());
                // One that cannot be read is dropped when it is its turn.
                let holders = head(value).map(|(_, holders, _)| holders).unwrap_or_default();
                if !holders.is_empty() {
                    mailbox.held.insert(number, value.len());
                    st.was_written(local, number, &holders);
                }
            }
            Ok(())
        })?;
        // What was on its way when the power failed is kept from here on, and the log is told.
        let Recovered { lost, handed } = st.recover(engine)?;
        for (local, mark) in handed {
            if let (Some(bytes), Some(mailbox)) = (stored.get(&(local.clone(), mark)), self.boxes.get_mut(&local)) {
                mailbox.held.insert(mark, *bytes);
            }
        }
        for lost in lost.chunks(PAGE_ROWS) {
            let mut batch = Batch::default();
            for (message, holders) in lost.iter().filter(|(message, _)| worth(message) == Worth::Keep) {
                let Some(local) = message.to.as_ref().and_then(|to| st.local(to)).map(Box::<str>::from) else {
                    continue;
                };
                if st.accounts.contains_key(&local) && !stored.contains_key(&(local.clone(), message.mark)) {
                    let row = record(false, holders, &message.clone().with(delay::note(st, message.mark)));
                    let mailbox = self.boxes.entry(local.clone()).or_default();
                    mailbox.add(message.mark, sender(st, message), row.len());
                    mailbox.held.insert(message.mark, row.len());
                    batch.put(Tree::Offline, key::numbered(&local, message.mark), row);
                    st.was_written(&local, message.mark, holders);
                }
            }
            st.recovered(lost.iter().map(|(message, _)| message.mark).collect(), &mut batch);
            engine.commit(&[batch])?;
        }
        Ok(())
    }

    /// New messages wait behind the old ones.
    fn arrive(&mut self, st: &mut State, local: &str, stanza: &mut Stanza) -> Handled {
        let chat = stanza.ty == Type::Chat;
        let waits = stanza.kind == Kind::Message
            && self.boxes.get(local).is_some_and(|m| m.flush.is_some() || m.unfinished)
            && (chat || matches!(stanza.ty, Type::None | Type::Normal | Type::Unknown))
            // To a session that is there, or to one that is not and nobody else (RFC 6121 §8.5.3).
            && stanza.to.as_ref().is_some_and(|to| to.is_bare() || (chat && st.session_at(to).is_none()))
            && worth(stanza) == Worth::Keep;
        match waits.then(|| self.store(st, local, stanza, true, false)) {
            Some(Ok(Flow::Done)) => Ok(Flow::Kept),
            _ => Ok(Flow::Pass),
        }
    }

    fn offline(&mut self, st: &mut State, local: &str, message: &mut Stanza) -> Handled {
        match worth(message) {
            Worth::Keep => self.store(st, local, message, false, false),
            Worth::Drop => Ok(Flow::Done),
            Worth::Refuse => Ok(Flow::Pass),
        }
    }

    fn hold(&mut self, st: &mut State, local: &str, message: &mut Stanza) -> Handled {
        match worth(message) {
            Worth::Keep if self.store(st, local, message, false, true)? == Flow::Done => Ok(Flow::Kept),
            Worth::Drop => Ok(Flow::Done),
            Worth::Keep | Worth::Refuse => Ok(Flow::Pass),
        }
    }

    fn had(&mut self, st: &mut State, local: &str, mark: u64) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        match mailbox.held.remove(&mark) {
            Some(bytes) => {
                mailbox.done.insert(mark, bytes);
            }
            None if mailbox.done.contains_key(&mark) => {}
            None => {
                if let Some(flush) = &mut mailbox.flush {
                    flush.skip.insert(mark);
                }
                let job = st.ask(Query::Get(Tree::Offline, key::numbered(local, mark)));
                self.jobs.insert(job, Wanted::Row(local.into(), mark));
                return;
            }
        }
        let confirmed = mailbox
            .flush
            .as_mut()
            .is_some_and(|flush| flush.sent.remove(&mark).is_some() && flush.sent.is_empty() && flush.waits.is_none());
        self.delete(st, local);
        if confirmed {
            self.go_on(st, local);
        }
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        match event {
            Event::Receives(sid) | Event::Resumed(sid) => {
                let Some(local) = st.sessions.get(sid).map(|s| Box::<str>::from(s.local())) else { return };
                if self.boxes.get(&local).is_some_and(|m| m.flush.is_none()) {
                    self.go_on(st, &local);
                }
            }
            Event::Parted(sid) => {
                let Some(local) = st.sessions.get(sid).map(|s| Box::<str>::from(s.local())) else { return };
                self.ended(st, *sid, &local);
            }
            Event::Closed { sid, local, .. } => self.ended(st, *sid, local),
            Event::Removed(local) => {
                self.boxes.remove(local);
                self.jobs.retain(|_, wanted| match wanted {
                    Wanted::Flush(whose) | Wanted::Row(whose, _) => whose != local,
                });
            }
            Event::Bound(_) | Event::Broadcast(_) | Event::Published { .. } | Event::Retracted { .. } => {}
        }
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        match (self.jobs.remove(&job), rows) {
            (Some(Wanted::Row(local, mark)), Some(rows)) => {
                if let (Some((_, row)), Some(mailbox)) = (rows.first(), self.boxes.get_mut(&local)) {
                    mailbox.done.insert(mark, row.len());
                    self.delete(st, &local);
                }
            }
            // It will be handed out once more.
            (Some(Wanted::Row(..)), None) | (None, _) => {}
            (Some(Wanted::Flush(local)), rows) => {
                let Some(flush) = self.boxes.get_mut(&local).and_then(|m| m.flush.as_mut()) else { return };
                match rows {
                    _ if flush.waits != Some(job) => {}
                    Some(rows) => self.page(st, &local, rows),
                    None => {
                        let retry = st.after(RETRY_MS);
                        flush.waits = Some(retry);
                        self.jobs.insert(retry, Wanted::Flush(local));
                    }
                }
            }
        }
    }

    /// The page was read.
    fn replied(&mut self, st: &mut State, _sid: Sid, job: Job, _reply: &Stanza) {
        let Some(Wanted::Flush(local)) = self.jobs.remove(&job) else { return };
        let Some(mailbox) = self.boxes.get_mut(&local) else { return };
        let Some(flush) = mailbox.flush.as_mut().filter(|f| f.waits == Some(job)) else { return };
        flush.waits = None;
        for number in flush.sent.keys() {
            st.has(&local, *number);
        }
    }

    fn timer(&mut self, st: &mut State, job: Job) {
        let Some(Wanted::Flush(local)) = self.jobs.remove(&job) else { return };
        let Some(mailbox) = self.boxes.get_mut(&local) else { return };
        if mailbox.retry == Some(job) {
            mailbox.retry = None;
            return self.delete(st, &local);
        }
        match &mailbox.flush {
            Some(flush) if flush.waits == Some(job) => self.go_on(st, &local),
            // Most likely its line is dead, and messages that are sent there are lost.
            Some(flush) if flush.timeout == Some(job) => {
                let silent = StreamError::new(StreamCondition::ConnectionTimeout).text("no answer to a ping");
                st.close(flush.sid, Some(silent));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(xml: &str) -> Stanza {
        Stanza::parse(xml, Scope::client()).unwrap().unwrap()
    }

    #[test]
    fn what_is_worth_keeping() {
        let of = |body: &str| worth(&message(&format!("<message type='chat'>{body}</message>")));
        let state = "<active xmlns='http://jabber.org/protocol/chatstates'/>";
        let hint = |name: &str| format!("<{name} xmlns='urn:xmpp:hints'/>");
        assert_eq!(of("<body>Hark</body>"), Worth::Keep);
        assert_eq!(of("<received xmlns='urn:xmpp:receipts' id='1'/>"), Worth::Keep);
        assert_eq!(of(state), Worth::Drop);
        assert_eq!(of(&format!("{state}{}", hint("store"))), Worth::Keep);
        assert_eq!(of(&format!("<body>Hark</body>{}", hint("no-store"))), Worth::Refuse);
        assert_eq!(of(&format!("<received xmlns='urn:xmpp:receipts' id='1'/>{}", hint("no-store"))), Worth::Drop);
        assert_eq!(of(&format!("<body>Hark</body>{}", hint("no-permanent-store"))), Worth::Keep);
    }

    #[test]
    fn a_row_comes_back() {
        let kept = message(
            "<message from='romeo@house.test/orchard' to='juliet@house.test' id='1'><body>Hark</body></message>",
        );
        let (live, back) = from_record(&record(true, &[Counted { stream: 1, count: 2 }], &kept)).unwrap();
        assert!(live);
        assert_eq!(back.to_xml(), kept.to_xml());
        assert!(from_record(b"").is_none());
        assert!(from_record(&[2, 0]).is_none());
    }
}
