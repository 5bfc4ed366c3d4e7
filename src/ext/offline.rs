//! XEP-0160: messages that nobody was there to take wait in storage.
//!
//! What is promised. A message that was accepted while nobody was there is handed, in the order of arrival and page by page, to each
//! session that takes messages and comes before somebody has it; it is deleted when the first of these clients has confirmed it: by its
//! acknowledgement (XEP-0198), or, without stream management, by the answer to a ping sent behind the page. No session gets it twice,
//! and nobody gets it after that was seen. What a session that ends did not confirm goes to those that have not had it and to the next
//! one, each message with the same stanza-id (XEP-0359), so that a client that did see it knows it again; one that comes back with the
//! id of its stream says what it has seen, and does not get it again (`core/message/resume.rs`).
//!
//! Each session has its own place in what is stored, and waits for nobody. What comes for it while older messages are still to
//! come waits behind them (`core/message/progress.rs`): until the last page is written, not until it is confirmed. Other sessions get it at
//! once. It is stored, too, if nobody got it who is sure to read it.
//!
//! A client that answers nothing is ended once: most likely its line is dead. If the next one does not answer either, it is somebody who
//! never does. That one stays, and gets the rest, too, or it would come back for the same page for ever.

use super::{chat_states, delay, hints};
use crate::core::message::Counted;
use crate::core::share::{Ledger, Shared, Shares, is_elsewhere, limits};
use crate::core::unordered::ByName;
use crate::core::{About, Accepts, Event, Extension, Hold, Inline, Job, Recovered, SessionId, State, scan};
use crate::store::record::{Broken, Reader as Reading, Writer};
use crate::store::{BATCH_OPS, Batch, Engine, Page, Query, Rows, StoreError, Tree, VALUE_BYTES, key};
use crate::wire::{Condition, Ns, Scope, Stanza, StanzaError, StreamCondition, StreamError};
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
    boxes: ByName<Mailbox>,
    /// What a job is for.
    jobs: BTreeMap<Job, OfflineJob>,
}

/// What a job is for.
enum OfflineJob {
    /// A page for this session, the answer to a ping, or time to go on.
    Reader(Box<str>, SessionId),
    /// Time to delete what is done.
    Delete(Box<str>),
    /// A message that arrived, and is to be deleted if it is there.
    Row(Box<str>, u64),
}

/// What is known of one account's messages; they themselves are in [`Tree::Offline`], under their [`Stanza::mark`].
#[derive(Default)]
struct Mailbox {
    count: usize,
    bytes: usize,
    /// Who sent them.
    senders: Ledger<u64>,
    /// The sizes of those that were handed to a session, or that one had when they were stored.
    held: BTreeMap<u64, usize>,
    /// Stored still, but not to be handed out again: (number, bytes).
    done: BTreeMap<u64, usize>,
    /// Deletes them when storage works again.
    retry: Option<Job>,
    /// Who gets them.
    readers: BTreeMap<SessionId, Reader>,
    /// Clients that read the archive: those between these numbers that are archived are not handed to them.
    cleared: BTreeMap<SessionId, (u64, u64)>,
    /// A session was ended for its silence, and nobody has answered since.
    patient: bool,
}

/// A session on its way through them.
#[derive(Default)]
struct Reader {
    /// The last number that was read.
    after: Option<u64>,
    /// The last number that it is to get: later ones are written to it as they come.
    until: u64,
    /// What it was handed and nobody has confirmed.
    sent: BTreeSet<u64>,
    /// There is nothing left to read.
    through: bool,
    /// The page, or the time to try again.
    waits: Option<Job>,
    /// The question whether it has read what it got.
    ping: Option<Job>,
    /// When it has been silent for too long.
    timeout: Option<Job>,
    /// They have arrived since the page was asked for.
    skip: BTreeSet<u64>,
    /// Somebody has left messages since: they are read behind what came meanwhile.
    again: bool,
}

/// What becomes of a message that nobody is there to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Undelivered {
    Keep,
    /// Nobody misses it.
    Drop,
    /// The sender must know that nobody got it.
    Refuse,
}

/// XEP-0160 §3, XEP-0334 §4.2 and §4.4. The type was looked at by the table of rules.
fn worth(message: &Stanza) -> Undelivered {
    if hints::has(message, "no-store") {
        let spoken = message.child(Ns::CLIENT, "body").is_some();
        return if spoken { Undelivered::Refuse } else { Undelivered::Drop };
    }
    let keep = hints::has(message, "store") || !chat_states::standalone(message);
    if keep { Undelivered::Keep } else { Undelivered::Drop }
}

/// Whether it is so little that somebody may have it in any case: of those elsewhere as long as it is less than half that all of them have.
fn is_little(shares: &Shares, sender: &str, more: usize, whole: usize) -> bool {
    let is_crowded = is_elsewhere(sender) && shares.elsewhere() + more > whole / 2;
    shares.of(sender) + more <= SENDER_BYTES && !is_crowded
}

/// A row: how the streams that the message was written to count it, and the message with its note of delay.
fn record(holders: &[Counted], message: &Stanza) -> Box<[u8]> {
    // The flag told which came behind older ones, while these waited in storage.
    let w = Writer::new(2).u8(0).u32(holders.len() as u32);
    let w = holders.iter().fold(w, |w, c| w.u64(c.stream).u32(c.count));
    w.str(&message.to_xml()).done()
}

/// The front of a row; the message is what follows.
fn head<'a>(record: &'a [u8]) -> Result<(Vec<Counted>, Reading<'a>), Broken> {
    let mut r = Reading::new(record)?;
    r.u8()?;
    let holders = match r.version {
        // Before stream management.
        1 => Vec::new(),
        2 => {
            let n = r.u32()?;
            (0..n).map(|_| Ok(Counted { stream: r.u64()?, count: r.u32()? })).collect::<Result<_, Broken>>()?
        }
        _ => return Err(Broken),
    };
    Ok((holders, r))
}

fn from_record(record: &[u8]) -> Option<Stanza> {
    let (_, mut rest) = head(record).ok()?;
    Stanza::parse(rest.str().ok()?, Scope::client()).ok()?
}

/// In whose share a message is.
fn sender<'a>(st: &State, message: &'a Stanza) -> &'a str {
    message.from.as_ref().map_or("", |from| st.whose(from))
}

/// Whether a message has its id in the account's archive.
fn is_archived(st: &State, local: &str, message: &Stanza) -> bool {
    let by = |account: &str| {
        let id = message.children().find(|c| c.is(Ns::SID, "stanza-id") && c.attr("by").as_deref() == Some(account))?;
        st.uid_mark(local, &id.attr("id")?)
    };
    st.account_of(local).is_some_and(|account| by(account.jid.as_str()).is_some())
}

/// Whether a session takes messages, also one that has lost its connection.
fn receives(st: &State, sid: SessionId) -> bool {
    st.session(sid).is_some_and(|s| s.receives())
}

fn connected(st: &State, sid: SessionId) -> bool {
    st.session(sid).is_some_and(|s| s.stream.is_some())
}

fn managed(st: &State, sid: SessionId) -> bool {
    st.session(sid).is_some_and(|s| s.managed.is_some())
}

impl Offline {
    /// Stores a message; false where it has no room. `held`: it is on its way to somebody.
    fn store(&mut self, st: &mut State, local: &str, message: &Stanza, held: bool) -> Result<bool, StanzaError> {
        if !st.accounts().contains_key(local) {
            return Ok(false);
        }
        let (count, bytes) = self.boxes.get(local).map_or((0, 0), |m| (m.count, m.bytes));
        let room = st.settings().offline_bytes.saturating_sub(bytes);
        if count >= MESSAGES || message.bytes() > room {
            return Ok(false);
        }
        let sender = sender(st, message);
        let senders = self.boxes.get(local).map(|m| (m.senders.shares(), m.senders.counts()));
        if let Some((bytes, counts)) = senders
            && !is_little(bytes, sender, message.bytes(), st.settings().offline_bytes)
            && !(bytes.may(sender, message.bytes(), st.settings().offline_bytes) && counts.may(sender, 1, MESSAGES))
        {
            let text = "too much of yours waits for them already";
            return Err(StanzaError::new(Condition::ServiceUnavailable).text(text));
        }
        let row = record(&st.holders(message.mark), &message.clone().with(delay::note(st, message.mark)));
        if row.len() > room.min(VALUE_BYTES) {
            return Ok(false);
        }
        st.write()?;
        let mailbox = self.boxes.or_default(local.into());
        mailbox.add(st, local, (message.mark, sender), row.len());
        if held {
            mailbox.held.insert(message.mark, row.len());
        }
        st.write()?.put(Tree::Offline, key::numbered(local, message.mark), row);
        Ok(true)
    }

    /// A session takes messages: it gets what waits. Or it gets what somebody has left, too.
    fn begin(&mut self, st: &mut State, local: &str, sid: SessionId) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        if let Some(reader) = mailbox.readers.get_mut(&sid).filter(|reader| !reader.through) {
            reader.again = true;
            if st.fall_behind(sid) {
                // It had stopped taking messages on the way. What came since, and what waited then, is not in the page that is asked for.
                reader.until = st.last_mark();
                if let Some(page) = reader.waits.take() {
                    self.jobs.remove(&page);
                }
            }
            return self.is_confirmed(st, local, sid);
        }
        if mailbox.count == mailbox.done.len() {
            return;
        }
        let reader = mailbox.readers.entry(sid).or_default();
        reader.rewind(st.last_mark());
        st.fall_behind(sid);
        st.await_reading(sid);
        self.read_on(st, local, sid);
    }

    fn begin_others(&mut self, st: &mut State, local: &str, without: SessionId) {
        for sid in st.sessions_of(local) {
            // Who has no connection begins when it has one.
            if sid != without && receives(st, sid) && connected(st, sid) {
                self.begin(st, local, sid);
            }
        }
    }

    /// Asks for the next page, if it is time for that.
    fn read_on(&mut self, st: &mut State, local: &str, sid: SessionId) {
        let Some(reader) = self.boxes.get_mut(local).and_then(|m| m.readers.get_mut(&sid)) else { return };
        if reader.waits.is_some() || reader.through || !connected(st, sid) || st.awaits_reading(sid) {
            return;
        }
        if !receives(st, sid) {
            st.stay_behind(sid);
            return self.through(st, local, sid);
        }
        reader.skip.clear();
        let after = reader.after.map(|number| key::numbered(local, number));
        let prefix = key::prefix(local);
        let waits = st.ask(Query::Scan { tree: Tree::Offline, prefix, after, rows: PAGE_ROWS, bytes: PAGE_BYTES });
        reader.waits = Some(waits);
        self.jobs.insert(waits, OfflineJob::Reader(local.into(), sid));
    }

    /// Hands out a page.
    fn page(&mut self, st: &mut State, local: &str, sid: SessionId, rows: Rows) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        let Some(reader) = mailbox.readers.get_mut(&sid) else { return };
        reader.waits = None;
        if !connected(st, sid) || !receives(st, sid) {
            return self.read_on(st, local, sid);
        }
        let bytes: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
        let mut last = rows.len() < PAGE_ROWS && bytes < PAGE_BYTES;
        let mut page = Vec::new();
        for (key, value) in rows {
            let Some(number) = key::number(&key) else { continue };
            let Some(reader) = mailbox.readers.get_mut(&sid) else { return };
            last |= number > reader.until;
            if last && number > reader.until {
                break;
            }
            reader.after = Some(number);
            let seen = mailbox.done.contains_key(&number)
                || reader.skip.contains(&number)
                || reader.sent.contains(&number)
                || st.is_on_its_way_to(sid, number);
            if seen {
                continue;
            }
            mailbox.held.insert(number, value.len());
            page.extend(mailbox.row(st, local, sid, number, &value));
        }
        if !page.is_empty() {
            st.hand_over(local, &page, sid);
        }
        if last {
            self.through(st, local, sid);
        } else if !page.is_empty() {
            self.time(st, local, sid);
        }
        self.ask(st, local, sid, bytes);
        self.is_confirmed(st, local, sid);
    }

    /// The session has all that was stored: what waited behind that follows.
    fn through(&mut self, st: &mut State, local: &str, sid: SessionId) {
        let Some(reader) = self.boxes.get_mut(local).and_then(|m| m.readers.get_mut(&sid)) else { return };
        reader.through = true;
        let again = std::mem::take(&mut reader.again);
        st.catch_up(sid);
        if again && receives(st, sid) {
            self.begin(st, local, sid);
        }
    }

    /// Asks a client whether it has read what it does not count.
    fn ask(&mut self, st: &mut State, local: &str, sid: SessionId, bytes: usize) {
        let Some(reader) = self.boxes.get_mut(local).and_then(|m| m.readers.get_mut(&sid)) else { return };
        if reader.ping.is_some() || !st.asks_now(sid) {
            return;
        }
        let ping = st.request(sid, "<ping xmlns='urn:xmpp:ping'/>");
        let timeout = st.after(CONFIRM_MS + bytes as u64);
        (reader.ping, reader.timeout) = (Some(ping), Some(timeout));
        self.jobs.insert(ping, OfflineJob::Reader(local.into(), sid));
        self.jobs.insert(timeout, OfflineJob::Reader(local.into(), sid));
    }

    /// Goes on, or is done, if nothing is waited for.
    fn is_confirmed(&mut self, st: &mut State, local: &str, sid: SessionId) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        let Some(reader) = mailbox.readers.get_mut(&sid) else { return };
        if reader.ping.is_some() || !reader.sent.is_empty() || !st.is_sure(sid) {
            return;
        }
        if reader.through {
            mailbox.readers.remove(&sid);
            st.end_progress(sid, true);
            return self.forget_empty(st, local);
        }
        if let Some(timeout) = reader.timeout.take() {
            self.jobs.remove(&timeout);
        }
        self.read_on(st, local, sid);
    }

    /// Deletes what is done.
    fn delete(&mut self, st: &mut State, local: &str) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        if st.erase().is_err() {
            if mailbox.retry.is_none() && !mailbox.done.is_empty() {
                let retry = st.after(RETRY_MS);
                mailbox.retry = Some(retry);
                self.jobs.insert(retry, OfflineJob::Delete(local.into()));
            }
            return;
        }
        for reader in mailbox.readers.values_mut().filter(|reader| reader.waits.is_some()) {
            reader.skip.extend(mailbox.done.keys());
        }
        for (number, bytes) in std::mem::take(&mut mailbox.done) {
            if let Ok(batch) = st.write() {
                batch.delete(Tree::Offline, key::numbered(local, number));
            }
            st.step();
            mailbox.senders.take(&number);
            mailbox.count = mailbox.count.saturating_sub(1);
            mailbox.bytes = mailbox.bytes.saturating_sub(bytes);
        }
        st.set_kept(local, mailbox.count);
        self.forget_empty(st, local);
    }

    fn forget_empty(&mut self, st: &mut State, local: &str) {
        if self.boxes.get(local).is_some_and(|m| m.count == 0 && m.readers.is_empty() && m.retry.is_none()) {
            self.boxes.remove(local);
            st.sessions_of(local).into_iter().for_each(|sid| st.end_progress(sid, false));
        }
    }

    /// A session is gone. What it has not confirmed goes to the others.
    fn ended(&mut self, st: &mut State, sid: SessionId, local: &str) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        mailbox.cleared.remove(&sid);
        if let Some(reader) = mailbox.readers.remove(&sid) {
            for job in [reader.waits, reader.ping, reader.timeout].into_iter().flatten() {
                self.jobs.remove(&job);
            }
        }
        self.begin_others(st, local, sid);
        self.forget_empty(st, local);
    }

    /// A session has lost its connection. What was written there and not counted is not known to have arrived, and comes again.
    fn parted(&mut self, st: &mut State, sid: SessionId, local: &str) {
        let lost = st.lose_given(sid);
        if let Some(reader) = self.boxes.get_mut(local).and_then(|m| m.readers.get_mut(&sid)) {
            for number in &lost {
                reader.sent.remove(number);
            }
            for job in [reader.ping.take(), reader.timeout.take()].into_iter().flatten() {
                self.jobs.remove(&job);
            }
            if !lost.is_empty() {
                // Before what comes now.
                let until = if reader.through { st.last_mark() } else { reader.until };
                reader.rewind(until);
                st.fall_behind(sid);
            }
        }
        self.begin_others(st, local, sid);
    }

    /// A client has not answered for too long.
    fn silent(&mut self, st: &mut State, local: &str, sid: SessionId) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        let Some(reader) = mailbox.readers.get_mut(&sid) else { return };
        reader.timeout = None;
        // One that counts is ended by its own silence (XEP-0198), and may come back.
        if !managed(st, sid) && !std::mem::replace(&mut mailbox.patient, true) {
            let silent = StreamError::new(StreamCondition::ConnectionTimeout).text("no answer to a ping");
            return st.close(sid, Some(silent));
        }
        if !reader.through {
            self.time(st, local, sid);
            self.read_on(st, local, sid);
        }
    }

    /// Goes on after some time even if nothing is confirmed.
    fn time(&mut self, st: &mut State, local: &str, sid: SessionId) {
        let Some(reader) = self.boxes.get_mut(local).and_then(|m| m.readers.get_mut(&sid)) else { return };
        let timeout = st.after(CONFIRM_MS + PAGE_BYTES as u64);
        reader.timeout = Some(timeout);
        self.jobs.insert(timeout, OfflineJob::Reader(local.into(), sid));
    }
}

impl Reader {
    fn rewind(&mut self, until: u64) {
        (self.after, self.until, self.through) = (None, until, false);
    }
}

impl Mailbox {
    fn add(&mut self, st: &mut State, local: &str, (number, sender): (u64, &str), bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
        self.senders.put(number, sender, bytes);
        st.set_kept(local, self.count);
    }

    /// Hands a row to a session; or returns it, if that counts what it gets.
    fn row(&mut self, st: &mut State, local: &str, sid: SessionId, number: u64, value: &[u8]) -> Option<Stanza> {
        let reader = self.readers.get_mut(&sid)?;
        // A row that cannot be read, or of somebody who is blocked by now (XEP-0191 §3.3), or that is read elsewhere, is done.
        let readable = from_record(value).filter(|message| {
            let from = message.from.as_ref();
            let blocks = |from| st.account_of(local).is_none_or(|account| account.blocks(from));
            let cleared = self.cleared.get(&sid).is_some_and(|(first, last)| (*first..=*last).contains(&number));
            !(from.is_some_and(blocks) || cleared && is_archived(st, local, message))
        });
        let Some(mut message) = readable else {
            st.has(local, number);
            return None;
        };
        message.mark = number;
        if number == 0 {
            // From before messages had such numbers; it cannot be acknowledged.
            st.send_old(sid, message);
            st.has(local, number);
            return None;
        }
        let counts = managed(st, sid);
        if st.knows(sid, number) {
            // It does not need it, but may not have it for sure. If it counts, what it read in the archive tells that.
            if !counts {
                reader.sent.insert(number);
                st.unsure(sid, number);
            }
            return None;
        }
        reader.sent.insert(number);
        if counts {
            return Some(message);
        }
        st.hand_old(sid, message);
        None
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
        let from = st.archived(local).map_or(0, |archived| archived.begins);
        let (owner, to) = (local.into(), u64::MAX);
        let first = Page { owner, with: None, from, to, backwards: false, rows: 1, bytes: 1 };
        if self.boxes.contains_key(local) { vec![Query::Archive(first)] } else { Vec::new() }
    }

    /// XEP-0386 §3.2: such a client reads the archive. What is not in there, or not any more, it gets as others do.
    fn bind_inline(&mut self, st: &mut State, sid: SessionId, inline: &Inline<'_>, _bound: &mut String) {
        let Some(mailbox) = st.session(sid).and_then(|session| self.boxes.get_mut(session.local())) else {
            return;
        };
        let [Some(rows)] = inline.rows else { return };
        let first = rows.first().and_then(|(key, _)| Some(u64::from_be_bytes((**key).try_into().ok()?)));
        if let Some(first) = first.or(inline.archived.map(|(first, _)| first)) {
            mailbox.cleared.insert(sid, (first, st.last_mark()));
        }
    }

    fn load(&mut self, st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        let mut stored = BTreeMap::new();
        scan(engine, Tree::Offline, &[], |key, value| {
            let (Some((local, _)), Some(number)) = (key::split(key), key::number(key)) else {
                return Err(StoreError::Damaged("an offline message's key in the database is not readable".into()));
            };
            if st.accounts().contains_key(local) {
                st.seen_mark(number);
                stored.insert((Box::<str>::from(local), number), value.len());
                let mailbox = self.boxes.or_default(local.into());
                let message = from_record(value);
                let sender = message.as_ref().map_or("", |message| sender(st, message));
                mailbox.add(st, local, (number, sender), value.len());
                // One that cannot be read is dropped when it is its turn.
                let holders = head(value).map(|(holders, _)| holders).unwrap_or_default();
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
            for (message, holders) in lost.iter().filter(|(message, _)| worth(message) == Undelivered::Keep) {
                let Some(local) = message.to.as_ref().and_then(|to| st.local(to)).map(Box::<str>::from) else {
                    continue;
                };
                if st.accounts().contains_key(&local) && !stored.contains_key(&(local.clone(), message.mark)) {
                    let row = record(holders, &message.clone().with(delay::note(st, message.mark)));
                    let mailbox = self.boxes.or_default(local.clone());
                    mailbox.add(st, &local, (message.mark, sender(st, message)), row.len());
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

    fn offline(&mut self, st: &mut State, local: &str, message: &mut Stanza) -> Result<Accepts, StanzaError> {
        match worth(message) {
            Undelivered::Keep if self.store(st, local, message, false)? => Ok(Accepts::Accepted),
            Undelivered::Drop => Ok(Accepts::Accepted),
            Undelivered::Keep | Undelivered::Refuse => Ok(Accepts::Pass),
        }
    }

    fn hold(&mut self, st: &mut State, local: &str, message: &mut Stanza) -> Result<Hold, StanzaError> {
        match worth(message) {
            Undelivered::Keep if self.store(st, local, message, true)? => Ok(Hold::Kept),
            Undelivered::Drop => Ok(Hold::NotMissed),
            Undelivered::Keep | Undelivered::Refuse => Ok(Hold::Pass),
        }
    }

    fn had(&mut self, st: &mut State, local: &str, mark: u64) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        let mut confirmed = Vec::new();
        for (sid, reader) in &mut mailbox.readers {
            if reader.waits.is_some() {
                reader.skip.insert(mark);
            }
            if reader.sent.remove(&mark) {
                confirmed.push(*sid);
            }
        }
        match mailbox.held.remove(&mark) {
            Some(bytes) => {
                mailbox.done.insert(mark, bytes);
            }
            None if mailbox.done.contains_key(&mark) => {}
            // Another has told the same: it must not count twice.
            None if self.jobs.values().any(|w| matches!(w, OfflineJob::Row(l, m) if **l == *local && *m == mark)) => {
                return;
            }
            None => {
                let job = st.ask(Query::Get(Tree::Offline, key::numbered(local, mark)));
                self.jobs.insert(job, OfflineJob::Row(local.into(), mark));
                return;
            }
        }
        self.delete(st, local);
        for sid in confirmed {
            self.is_confirmed(st, local, sid);
        }
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        let local = |st: &State, sid: &SessionId| st.session(*sid).map(|s| Box::<str>::from(s.local()));
        match event {
            Event::Receives(sid) | Event::Resumed(sid) => {
                if let Some(local) = local(st, sid).filter(|_| receives(st, *sid)) {
                    self.begin(st, &local, *sid);
                }
            }
            Event::Parted(sid) => {
                if let Some(local) = local(st, sid) {
                    self.parted(st, *sid, &local);
                }
            }
            Event::Read(sid) => {
                if let Some(local) = local(st, sid) {
                    self.read_on(st, &local, *sid);
                }
            }
            Event::Closed { sid, local, .. } => self.ended(st, *sid, local),
            Event::Removed(local) => {
                self.boxes.remove(local);
                self.jobs.retain(|_, wanted| match wanted {
                    OfflineJob::Reader(whose, _) | OfflineJob::Delete(whose) | OfflineJob::Row(whose, _) => {
                        whose != local
                    }
                });
            }
            Event::Bound(_) | Event::Broadcast(_) | Event::ComponentGone(_) => {}
            Event::Arrived(_)
            | Event::Invited { .. }
            | Event::Enrolled { .. }
            | Event::HouseEnded(_)
            | Event::Configured => {}
            Event::Published { .. } | Event::Retracted { .. } => {}
        }
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        match (self.jobs.remove(&job), rows) {
            (Some(OfflineJob::Row(local, mark)), Some(rows)) => {
                if let (Some((_, row)), Some(mailbox)) = (rows.first(), self.boxes.get_mut(&local)) {
                    mailbox.done.insert(mark, row.len());
                    self.delete(st, &local);
                }
            }
            (Some(OfflineJob::Reader(local, sid)), Some(rows)) => self.page(st, &local, sid, rows),
            (Some(OfflineJob::Reader(local, sid)), None) => {
                let Some(reader) = self.boxes.get_mut(&local).and_then(|m| m.readers.get_mut(&sid)) else { return };
                let retry = st.after(RETRY_MS);
                reader.waits = Some(retry);
                self.jobs.insert(retry, OfflineJob::Reader(local, sid));
                // Nobody knows when storage can be read again: what is new does not wait for that.
                st.catch_up(sid);
            }
            // It will be handed out once more.
            (Some(OfflineJob::Row(..) | OfflineJob::Delete(_)), _) | (None, _) => {}
        }
    }

    /// The page was read.
    fn replied(&mut self, st: &mut State, sid: SessionId, job: Job, _reply: &Stanza) {
        let Some(OfflineJob::Reader(local, _)) = self.jobs.remove(&job) else { return };
        let Some(mailbox) = self.boxes.get_mut(&local) else { return };
        let Some(reader) = mailbox.readers.get_mut(&sid).filter(|reader| reader.ping == Some(job)) else { return };
        (reader.ping, reader.timeout) = (None, None);
        mailbox.patient = false;
        for number in st.answered(sid, |number| !reader.sent.contains(&number)) {
            reader.sent.remove(&number);
            // What others have is not stored any more.
            if mailbox.held.contains_key(&number) || st.is_held(number) {
                st.has(&local, number);
            }
        }
        self.ask(st, &local, sid, 0);
        self.is_confirmed(st, &local, sid);
    }

    fn timer(&mut self, st: &mut State, job: Job) {
        match self.jobs.remove(&job) {
            Some(OfflineJob::Delete(local)) => {
                if let Some(mailbox) = self.boxes.get_mut(&local) {
                    mailbox.retry = None;
                }
                self.delete(st, &local);
            }
            Some(OfflineJob::Reader(local, sid)) => {
                let Some(reader) = self.boxes.get_mut(&local).and_then(|m| m.readers.get_mut(&sid)) else { return };
                if reader.waits == Some(job) {
                    reader.waits = None;
                    self.read_on(st, &local, sid);
                } else if reader.timeout == Some(job) {
                    self.silent(st, &local, sid);
                }
            }
            Some(OfflineJob::Row(..)) | None => {}
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
        assert_eq!(of("<body>Hark</body>"), Undelivered::Keep);
        assert_eq!(of("<received xmlns='urn:xmpp:receipts' id='1'/>"), Undelivered::Keep);
        assert_eq!(of(state), Undelivered::Drop);
        assert_eq!(of(&format!("{state}{}", hint("store"))), Undelivered::Keep);
        assert_eq!(of(&format!("<body>Hark</body>{}", hint("no-store"))), Undelivered::Refuse);
        assert_eq!(of(&format!("<received xmlns='urn:xmpp:receipts' id='1'/>{}", hint("no-store"))), Undelivered::Drop);
        assert_eq!(of(&format!("<body>Hark</body>{}", hint("no-permanent-store"))), Undelivered::Keep);
    }

    #[test]
    fn a_row_comes_back() {
        let kept = message(
            "<message from='romeo@house.test/orchard' to='juliet@house.test' id='1'><body>Hark</body></message>",
        );
        let back = from_record(&record(&[Counted { stream: 1, count: 2 }], &kept)).unwrap();
        assert_eq!(back.to_xml(), kept.to_xml());
        assert!(from_record(b"").is_none());
        assert!(from_record(&[2, 0]).is_none());
    }
}
