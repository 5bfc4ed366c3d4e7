//! A message goes into the log: one entry for the archives of both sides, with how the streams of both count it.

use super::logged::{Counted, Logged};
use crate::core::state::State;
use crate::store::{Copies, Entry, Op};
use crate::wire::{Jid, Stanza, StanzaError};

/// Memory for writing an entry that stays, in bytes.
const TEXT_BYTES: usize = 4096;

/// Room for the lengths of names, and for a domain that is not in the first archive of an entry, in bytes.
const COPIES_BYTES: usize = 24;

/// Which side's archive a message is put into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// That of its sender.
    Sent,
    /// That of its receiver; it was delivered or kept already.
    Received,
    /// That of a room, while its hook handles the message of a session: it is from the sender's name in the room.
    Room,
}

/// A message whose entry in the log is not written yet: the other side may see it, too.
#[derive(Debug)]
pub(in crate::core) struct Draft {
    /// The entry's place in the batch.
    at: usize,
    /// How its sender's stream counts it.
    sent: Option<Counted>,
    /// How its receivers' streams count it, if that must be stored.
    received: Vec<Counted>,
    message: Stanza,
}

impl State {
    /// Puts a message, which has its [`Stanza::mark`], into the archive of `local`; `with` is the other side. What is to be read
    /// there is without its notes ([`Stanza::note`]). Both archives share an entry if both see the same message. The
    /// number in this archive is that of the message, unless one with a greater number was archived meanwhile.
    pub fn archive(&mut self, local: &str, with: &Jid, message: &Stanza, way: Way) -> Result<u64, StanzaError> {
        // Before it counts as logged.
        self.write()?;
        // Whoever's archive it is: a client that comes back after a power cut is told that this one arrived.
        let sender = self.heard.and_then(|sid| self.sessions.get_mut(&sid));
        let sender = sender.filter(|s| way == Way::Room || message.from.as_ref() == Some(&s.jid));
        let sent = sender.and_then(|s| s.managed.as_mut()).map(|m| {
            m.is_logged();
            m.last_in()
        });
        let mut received = if way == Way::Received { self.on_its_way(message.mark) } else { Vec::new() };
        if let Some(draft) = self.draft.as_mut().filter(|draft| draft.message.same(message))
            && let Some(Op::Append(entry)) = self.batch.ops.get_mut(draft.at)
            && entry.id == message.mark
        {
            draft.sent = sent.or(draft.sent);
            draft.received.append(&mut received);
            entry.copies.push(local, with.bare_str());
            self.note_archived(local, message.mark);
            return Ok(message.mark);
        }
        self.finish_entry();
        // The other side's entry has the number: this one gets the next.
        let id = if self.numbers.logged < message.mark { message.mark } else { self.next_mark() };
        self.logged(id);
        self.draft = Some(Draft { at: self.batch.ops.len(), sent, received, message: message.clone() });
        // The other side is likely to follow: what is `with` here has a part that is the owner there.
        let mut copies = Copies::with_room(2 * (local.len() + with.bare_str().len()) + COPIES_BYTES);
        copies.push(local, with.bare_str());
        self.write()?.append(Entry { id, copies, value: Box::default() });
        self.note_archived(local, id);
        Ok(id)
    }

    /// Tells the logins that have read of this archive what they did not see.
    fn note_archived(&mut self, local: &str, number: u64) {
        for login in self.logins.values_mut().filter(|login| login.local() == local) {
            let (first, _) = *login.archived.get_or_insert((number, number));
            login.archived = Some((first, number));
        }
    }

    /// Writes the entry of the message that was archived last: all that is to be told with it is known.
    pub(in crate::core) fn finish_entry(&mut self) {
        let Some(Draft { at, sent, received, message }) = self.draft.take() else { return };
        let Some(Op::Append(entry)) = self.batch.ops.get_mut(at) else { return };
        self.text.clear();
        message.write_bare(&mut self.text);
        entry.value = Logged::Message { sent, received, xml: &self.text }.record();
        self.text.shrink_to(TEXT_BYTES);
    }

    /// Whether a message was just put into this archive.
    pub fn is_archived(&self, local: &str, mark: u64) -> bool {
        let last =
            self.batch.ops.iter().rev().find_map(|op| if let Op::Append(entry) = op { Some(entry) } else { None });
        last.is_some_and(|entry| entry.id == mark && entry.copies.has(local, None))
    }
}
