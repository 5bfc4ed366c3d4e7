//! The archive of a room (XEP-0313 §6.1.2): asked for at its bare JID, by whoever may enter. What is kept stands in [`history`].

use super::affiliation::Privilege;
use super::room::Room;
use super::{Muc, history};
use crate::core::{Flow, Handled, Job, State};
use crate::ext::archive::Unreadable;
use crate::ext::archive::query::{FORM, Source, Task, View, With};
use crate::store::Rows;
use crate::wire::{Condition, Jid, Stanza, StanzaError, Type};

/// How a room's archive is shown to somebody.
struct Shown<'a> {
    st: &'a State,
    room: &'a Room,
    client: &'a Jid,
    unreadable: &'a mut Unreadable,
}

impl View for Shown<'_> {
    fn unreadable(&mut self, id: u64) {
        self.unreadable.unreadable(id);
    }

    fn shown(&mut self, id: u64, message: Stanza) -> Stanza {
        history::shown(self.st, self.room, id, message, self.room.shows_sender(self.client, id))
    }
}

impl Muc {
    /// A request to the archive.
    pub(super) fn query(&mut self, st: &mut State, local: &str, iq: &Stanza) -> Handled {
        let Some(from) = iq.from.clone() else { return Ok(Flow::Pass) };
        let room = self.room(local, &from)?;
        if !room.config.archive {
            return Err(StanzaError::new(Condition::ServiceUnavailable).text("this room has no archive"));
        }
        room.must(&from, Privilege::ReadArchive)?;
        let with = if room.shows_sender(&from, room.begins) { With::Sender } else { With::Hidden };
        let source = Source { owner: room.owner.clone(), jid: room.jid.clone(), begins: room.reads_from(&from), with };
        let Some(request) = iq.children().next() else { return Ok(Flow::Pass) };
        let task = match (request.name(), iq.ty) {
            ("query", Type::Get) => return st.reply(iq, FORM),
            ("query", _) => Task::page(st, source, iq, request)?,
            ("metadata", Type::Get) => Task::ends(source, iq),
            ("prefs", _) => return Err(Condition::FeatureNotImplemented.into()),
            _ => return Err(StanzaError::new(Condition::BadRequest).text("no such request")),
        };
        if self.queries.push(st, from.clone(), task)? {
            self.run(st, &from);
        }
        Ok(Flow::Done)
    }

    fn run(&mut self, st: &mut State, client: &Jid) {
        while let Some(task) = self.queries.next(st, client) {
            task.finish(st);
        }
    }

    /// Something of an archive was read.
    pub(super) fn queried(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        let Some((client, task)) = self.queries.asked(job) else { return };
        let local = task.source().jid.local().unwrap_or_default();
        // It may have been destroyed meanwhile, and another may have its name; or they may not read it any more.
        let begins = task.source().begins;
        let may = |room: &&Room| room.reads_from(&client) == begins && room.may(&client, Privilege::ReadArchive);
        let room = self.rooms.get(local).filter(may);
        let taken = match (room, rows) {
            (None, _) => Err(Condition::ItemNotFound.into()),
            (_, None) => Err(Condition::InternalServerError.into()),
            (Some(room), Some(rows)) => {
                task.take(rows, &mut Shown { st, room, client: &client, unreadable: &mut self.unreadable })
            }
        };
        if let Err(error) = taken {
            self.queries.refuse(st, &client, &error);
        }
        self.run(st, &client);
    }
}
