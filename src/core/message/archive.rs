//! A message goes into the log: one entry for the archives of both sides, with how the streams of both count it.

use crate::core::state::State;
use crate::wire::{Jid, Stanza, StanzaError};

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

impl State {
    /// Puts a message, which has its [`Stanza::mark`], into the archive of `local`; `with` is the other side. What is to be read
    /// there is without its notes ([`Stanza::note`]). Both archives share an entry if both see the same message. The
    /// number in this archive is that of the message, unless one with a greater number was archived meanwhile.
    pub fn archive(&mut self, local: &str, with: &Jid, message: &Stanza, way: Way) -> Result<u64, StanzaError> {
        // Before it counts as logged.
        self.write()?;
        // Whoever's archive it is: a client that comes back after a power cut is told that this one arrived.
        let sender = self.heard.and_then(|sid| self.here.session_mut(sid));
        let sender = sender.filter(|s| way == Way::Room || message.from.as_ref() == Some(&s.jid));
        let sent = sender.and_then(|s| s.managed.as_mut()).map(|m| {
            m.is_logged();
            m.last_in()
        });
        let sent = sent.or_else(|| self.logged_of_peer(message, way));
        let mut received = if way == Way::Received { self.deliveries.log(message.mark) } else { Vec::new() };
        let copy = (local, with.bare_str());
        if self.changes.share_entry(message, copy, sent, &mut received) {
            self.logins.note_archived(local, message.mark);
            return Ok(message.mark);
        }
        // The other side's entry has the number: this one gets the next.
        let id = if self.numbers.logged < message.mark { message.mark } else { self.next_mark() };
        self.logged(id);
        self.changes.begin_entry(id, message, copy, sent, received);
        self.logins.note_archived(local, id);
        Ok(id)
    }

    /// Whether a message was just put into this archive.
    pub fn is_archived(&self, local: &str, mark: u64) -> bool {
        self.changes.is_archived(local, mark)
    }
}
