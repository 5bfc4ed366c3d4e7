//! XEP-0160: messages that nobody was there to take wait in storage.
//!
//! What is promised. A message that was accepted while nobody was there is handed to the first session that takes messages, in the
//! order of arrival, page by page, and deleted only after that session's client answered a ping sent behind the page: an answer
//! means that everything before it was read. A message is never handed out again after that answer was seen. A session that ends
//! before (also with an end tag, which the client may have sent before it saw the page) confirmed nothing: its page goes to the next
//! session, each message with the same stanza-id (XEP-0359), so that a client that did see it knows it again. The window in which
//! that can happen is from the page's sending to the deletion's commit; with the power on, it ends with the client's answer.
//!
//! While old messages are handed out, new ones wait behind them, marked as `live`: when their turn comes they go to every session
//! that takes messages, as any new message does, and the others with carbons get copies. Two exceptions, both better than
//! an error to the sender: chat states and what must not be stored go past, and so does everything while storage is full or failing.

use super::{chat_states, delay, hints, stanza_id};
use crate::core::{About, Event, Extension, Flow, Handled, Job, Sid, State, scan};
use crate::store::record::{Reader, Writer};
use crate::store::{BATCH_OPS, Engine, Query, Rows, StoreError, Tree, VALUE_BYTES, key};
use crate::wire::{Kind, Ns, Scope, Stanza, StreamCondition, StreamError, Type};
use std::collections::{BTreeMap, BTreeSet};

/// Messages that wait for one account, whatever their size.
const MESSAGES: usize = 10_000;
/// Messages in one page: their deletion is one batch.
const PAGE_ROWS: usize = BATCH_OPS / 2;
/// Bytes of one page, about. With one message of the largest size on top it stays far below the limit of an outbox.
const PAGE_BYTES: usize = 64 * 1024;
/// Time to confirm a page, in milliseconds; and one more for each byte, for lines of 1 KB a second.
const CONFIRM_MS: u64 = 60_000;
/// Time after which storage that failed is asked again, in milliseconds.
const RETRY_MS: u64 = 5_000;

/// The waiting messages of all accounts.
#[derive(Default)]
pub(super) struct Offline {
    boxes: BTreeMap<Box<str>, Mailbox>,
    /// Whose a job is.
    jobs: BTreeMap<Job, Box<str>>,
}

/// What is known of one account's messages; they themselves are in [`Tree::Offline`].
#[derive(Default)]
struct Mailbox {
    /// The number of the next one.
    next: u64,
    /// How many are stored.
    count: usize,
    /// Their bytes.
    bytes: usize,
    /// Stored still, but not to be handed out again: (number, bytes).
    done: BTreeMap<u64, usize>,
    /// They came while the account was online, were handed out, copies too, and not confirmed: one session gets them again.
    again: BTreeSet<u64>,
    /// Deletes them when storage works again.
    retry: Option<Job>,
    /// Somebody is getting them.
    flush: Option<Flush>,
}

/// Messages on their way to a session.
struct Flush {
    sid: Sid,
    /// The last number that was read.
    after: Option<u64>,
    /// The page that is not confirmed.
    sent: Vec<Sent>,
    /// The page, the answer to the ping, or the time to try again.
    waits: Job,
    /// When the client has been silent for too long.
    timeout: Option<Job>,
}

struct Sent {
    number: u64,
    bytes: usize,
    /// It came while the account was online.
    live: bool,
    /// Other sessions got it, too.
    elsewhere: bool,
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

/// A row: whether it came while the account was online, and the message with its note of delay.
fn record(live: bool, message: &Stanza) -> Box<[u8]> {
    Writer::new(1).u8(u8::from(live)).str(&message.to_xml()).done()
}

fn from_record(record: &[u8]) -> Option<(bool, Stanza)> {
    let mut r = Reader::new(record).ok().filter(|r| r.version == 1)?;
    let live = r.u8().ok()? == 1;
    let message = Stanza::parse(r.str().ok()?, Scope::client()).ok()??;
    Some((live, message))
}

fn takes(st: &State, sid: Sid) -> bool {
    st.sessions.get(&sid).is_some_and(|s| s.receives())
}

fn receivers(st: &State, local: &str) -> Vec<Sid> {
    let mut sids = st.sessions_of(local);
    sids.retain(|sid| takes(st, *sid));
    sids
}

impl Offline {
    /// Stores a message; `Pass` where it has no room.
    fn store(&mut self, st: &mut State, local: &str, message: &mut Stanza, live: bool) -> Handled {
        let Some(account) = st.accounts.get(local).map(|a| a.jid.clone()) else { return Ok(Flow::Pass) };
        let (count, bytes) = self.boxes.get(local).map_or((0, 0), |m| (m.count, m.bytes));
        let room = st.settings.offline_bytes.saturating_sub(bytes);
        if count >= MESSAGES || message.bytes() > room {
            return Ok(Flow::Pass);
        }
        st.write()?;
        let mut marked = message.clone();
        stanza_id::give(st, &account, &mut marked);
        let row = record(live, &marked.clone().with(delay::note(st)));
        if row.len() > room.min(VALUE_BYTES) {
            return Ok(Flow::Pass);
        }
        // Copies that go out now have the id, too.
        *message = marked;
        let mailbox = self.boxes.entry(local.into()).or_default();
        mailbox.count += 1;
        mailbox.bytes += row.len();
        let number = mailbox.next;
        mailbox.next += 1;
        st.write()?.put(Tree::Offline, key::numbered(local, number), row);
        Ok(Flow::Done)
    }

    /// Asks for the next page, for whoever gets them; or for somebody else, if that one takes none any more.
    fn go_on(&mut self, st: &mut State, local: &str) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        let (sid, after) = match mailbox.flush.take() {
            Some(flush) if takes(st, flush.sid) => (flush.sid, flush.after),
            _ => match receivers(st, local).first() {
                Some(sid) => (*sid, None),
                None => return,
            },
        };
        if mailbox.count == mailbox.done.len() {
            return self.forget_empty(local);
        }
        let after_key = after.map(|number| key::numbered(local, number));
        let prefix = key::prefix(local);
        let waits =
            st.ask(Query::Scan { tree: Tree::Offline, prefix, after: after_key, rows: PAGE_ROWS, bytes: PAGE_BYTES });
        self.jobs.insert(waits, local.into());
        mailbox.flush = Some(Flush { sid, after, sent: Vec::new(), waits, timeout: None });
    }

    /// Sends a page.
    fn page(&mut self, st: &mut State, local: &str, rows: Rows) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        let Some(flush) = mailbox.flush.as_mut().filter(|f| takes(st, f.sid)) else { return self.go_on(st, local) };
        if rows.is_empty() {
            // Storage has fewer than were counted: it knows better.
            mailbox.count = mailbox.done.len();
            mailbox.bytes = mailbox.done.values().sum();
        }
        let mut bytes = 0_usize;
        for (key, value) in rows {
            let Some(number) = key::number(&key) else { continue };
            if mailbox.done.contains_key(&number) {
                flush.after = Some(number);
                continue;
            }
            let row = from_record(&value);
            // New ones go to others, too: not before the old ones have arrived.
            let is_live = row.as_ref().is_some_and(|(live, _)| *live) && !mailbox.again.contains(&number);
            if is_live && flush.sent.iter().any(|s| !s.live) {
                break;
            }
            flush.after = Some(number);
            let mut sent = Sent { number, bytes: value.len(), live: is_live, elsewhere: false };
            bytes += value.len();
            // A row that cannot be read, or of somebody who is blocked by now (XEP-0191 §3.3), goes with the page unseen.
            if let Some((_, message)) = row
                && let Some(account) = st.accounts.get(local)
                && !message.from.as_ref().is_some_and(|from| account.blocks(from))
            {
                if is_live {
                    let targets = receivers(st, local);
                    sent.elsewhere = targets.len() > 1;
                    st.deliver(local, message, targets);
                } else {
                    st.send_to(flush.sid, message);
                }
            }
            flush.sent.push(sent);
        }
        if flush.sent.is_empty() {
            return self.go_on(st, local);
        }
        flush.waits = st.request(flush.sid, "<ping xmlns='urn:xmpp:ping'/>");
        let timeout = st.after(CONFIRM_MS + bytes as u64);
        flush.timeout = Some(timeout);
        self.jobs.insert(flush.waits, local.into());
        self.jobs.insert(timeout, local.into());
    }

    /// Deletes what is done.
    fn delete(&mut self, st: &mut State, local: &str) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        if st.write().is_err() {
            if mailbox.retry.is_none() && !mailbox.done.is_empty() {
                let retry = st.after(RETRY_MS);
                mailbox.retry = Some(retry);
                self.jobs.insert(retry, local.into());
            }
            return;
        }
        for (number, bytes) in std::mem::take(&mut mailbox.done) {
            if let Ok(batch) = st.write() {
                batch.delete(Tree::Offline, key::numbered(local, number));
            }
            st.step();
            mailbox.again.remove(&number);
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

    /// The session that was getting them is gone.
    fn ended(&mut self, st: &mut State, sid: Sid, local: &str) {
        let Some(mailbox) = self.boxes.get_mut(local) else { return };
        let Some(flush) = mailbox.flush.take_if(|f| f.sid == sid) else { return };
        self.jobs.remove(&flush.waits);
        // New ones that others got: that one session missed them, as it would have without the ones before.
        mailbox.done.extend(flush.sent.iter().filter(|s| s.elsewhere).map(|s| (s.number, s.bytes)));
        mailbox.again.extend(flush.sent.iter().filter(|s| s.live && !s.elsewhere).map(|s| s.number));
        self.delete(st, local);
        self.go_on(st, local);
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

    fn load(&mut self, st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        scan(engine, Tree::Offline, &[], |key, value| {
            let (Some((local, _)), Some(number)) = (key::split(key), key::number(key)) else {
                return Err(StoreError::Damaged("an offline message's key in the database is not readable".into()));
            };
            if st.accounts.contains_key(local) {
                let mailbox = self.boxes.entry(local.into()).or_default();
                mailbox.next = mailbox.next.max(number.saturating_add(1));
                mailbox.count += 1;
                mailbox.bytes += value.len();
            }
            Ok(())
        })
    }

    /// New messages wait behind the old ones.
    fn arrive(&mut self, st: &mut State, local: &str, stanza: &mut Stanza) -> Handled {
        let chat = stanza.ty == Type::Chat;
        let waits = stanza.kind == Kind::Message
            && self.boxes.get(local).is_some_and(|m| m.flush.is_some())
            && (chat || matches!(stanza.ty, Type::None | Type::Normal | Type::Unknown))
            // To a session that is there, or to one that is not and nobody else (RFC 6121 §8.5.3).
            && stanza.to.as_ref().is_some_and(|to| to.is_bare() || (chat && st.session_at(to).is_none()))
            && worth(stanza) == Worth::Keep;
        if !waits {
            return Ok(Flow::Pass);
        }
        Ok(self.store(st, local, stanza, true).unwrap_or(Flow::Pass))
    }

    fn offline(&mut self, st: &mut State, local: &str, message: &mut Stanza) -> Handled {
        match worth(message) {
            Worth::Keep => self.store(st, local, message, false),
            Worth::Drop => Ok(Flow::Done),
            Worth::Refuse => Ok(Flow::Pass),
        }
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        match event {
            Event::Receives(sid) => {
                let Some(local) = st.sessions.get(sid).map(|s| Box::<str>::from(s.local())) else { return };
                if self.boxes.get(&local).is_some_and(|m| m.flush.is_none()) {
                    self.go_on(st, &local);
                }
            }
            Event::Closed { sid, local, .. } => self.ended(st, *sid, local),
            Event::Removed(local) => {
                self.boxes.remove(local);
                self.jobs.retain(|_, whose| whose != local);
            }
            _ => {}
        }
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        let Some(local) = self.jobs.remove(&job) else { return };
        let Some(flush) = self.boxes.get_mut(&local).and_then(|m| m.flush.as_mut()) else { return };
        match rows {
            _ if flush.waits != job => {}
            Some(rows) => self.page(st, &local, rows),
            None => {
                flush.waits = st.after(RETRY_MS);
                self.jobs.insert(flush.waits, local);
            }
        }
    }

    /// The page was read.
    fn replied(&mut self, st: &mut State, _sid: Sid, job: Job, _reply: &Stanza) {
        let Some(local) = self.jobs.remove(&job) else { return };
        let Some(mailbox) = self.boxes.get_mut(&local) else { return };
        let Some(flush) = mailbox.flush.as_mut().filter(|f| f.waits == job) else { return };
        mailbox.done.extend(flush.sent.drain(..).map(|s| (s.number, s.bytes)));
        self.delete(st, &local);
        self.go_on(st, &local);
    }

    fn timer(&mut self, st: &mut State, job: Job) {
        let Some(local) = self.jobs.remove(&job) else { return };
        let Some(mailbox) = self.boxes.get_mut(&local) else { return };
        if mailbox.retry == Some(job) {
            mailbox.retry = None;
            return self.delete(st, &local);
        }
        match &mailbox.flush {
            Some(flush) if flush.waits == job => self.go_on(st, &local),
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
        let (live, back) = from_record(&record(true, &kept)).unwrap();
        assert!(live);
        assert_eq!(back.to_xml(), kept.to_xml());
        assert!(from_record(b"").is_none());
        assert!(from_record(&[2, 0]).is_none());
    }
}
