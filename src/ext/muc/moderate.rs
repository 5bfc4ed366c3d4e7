//! Taking back what others said (XEP-0425). The log is only ever added to: that something was taken back is remembered with the
//! room, and whoever reads its archive or its history gets a tombstone instead.

use super::affiliation::Privilege;
use super::message::is_subject;
use super::room::{AROUND_BYTES, REASON_BYTES, Room};
use super::{Muc, admin};
use crate::core::message::Logged;
use crate::core::share::{Shared, limits, may_have};
use crate::core::{About, Flow, Handled, Job, State};
use crate::store::record::{Broken, Reader, Writer};
use crate::store::{Query, Rows, StoreError};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Kind, Ns, Scope, Stanza, StanzaError, Type, stamp};

/// Messages of a room that can be taken back, as long as the archive keeps them.
const RETRACTIONS: usize = 500;

pub(in crate::ext) const SHARED: Shared = Shared {
    what: "messages of one room that were taken back",
    whole: limits![RETRACTIONS],
    share: "its admins: all; a moderator besides: the rule",
    checked: "ext/muc/moderate.rs",
    told: "`resource-constraint`: ask an admin",
};
/// What is kept of the reason, in bytes.
const KEPT_BYTES: usize = 256;
/// How the names of their rows begin; the number follows.
const ROW: &str = "r ";

pub(super) const FEATURES: &[&str] = &["urn:xmpp:message-moderate:1"];

/// XEP-0425: done by rooms.
pub(super) const MODERATION: About = About::new("XEP-0425", "Moderated Message Retraction", "0.3.0", "");

/// How a message was taken back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Retracted {
    /// The nickname of who did it.
    by: Box<str>,
    /// Their name in `occupant-id`.
    id: Box<str>,
    /// When, in milliseconds since 1970.
    at: u64,
    reason: Option<Box<str>>,
}

impl Retracted {
    /// What it takes in memory, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        AROUND_BYTES + self.by.len() + self.id.len() + self.reason.as_deref().map_or(0, str::len)
    }

    pub(super) fn record(&self) -> Box<[u8]> {
        Writer::new(1).str(&self.by).str(&self.id).u64(self.at).opt_str(self.reason.as_deref()).done()
    }

    pub(super) fn from_record(record: &[u8]) -> Result<Retracted, Broken> {
        let mut r = Reader::new(record)?;
        if r.version != 1 {
            return Err(Broken);
        }
        Ok(Retracted { by: r.str()?.into(), id: r.str()?.into(), at: r.u64()?, reason: r.opt_str()?.map(Box::from) })
    }

    /// The elements in which it is told by whom and why.
    fn inside(&self, room: &Room) -> String {
        let by = room.jid.with_resource(&self.by).map(|by| format!(" by='{}'", escaped(by.as_str())));
        let id = escaped(&self.id);
        let reason = self.reason.as_deref().map(|reason| format!("<reason>{}</reason>", escaped(reason)));
        format!(
            "<moderated xmlns='urn:xmpp:message-moderate:1'{}><occupant-id xmlns='urn:xmpp:occupant-id:0' id='{id}'/></moderated>{}",
            by.unwrap_or_default(),
            reason.unwrap_or_default()
        )
    }
}

/// A row of a room that is read at the start.
pub(super) fn load(room: &mut Room, what: &str, value: &[u8]) -> Result<(), StoreError> {
    let Some(number) = what.strip_prefix(ROW) else { return Ok(()) };
    let number = u64::from_str_radix(number, 16);
    let number = number.map_err(|_| StoreError::Damaged("a row of a room in the database is not readable".into()))?;
    room.take_back(number, Retracted::from_record(value)?);
    Ok(())
}

pub(super) fn store(room: &Room, st: &mut State) -> Result<(), StanzaError> {
    for (number, retracted) in &room.features.retracted {
        room.put(st, &row(*number), retracted.record())?;
        st.step();
    }
    Ok(())
}

/// The name of the row of a message.
fn row(number: u64) -> String {
    format!("{ROW}{number:016x}")
}

/// A request that waits for the message that it is about.
#[derive(Debug)]
pub(super) struct Moderation {
    local: Box<str>,
    number: u64,
    iq: Stanza,
}

fn not_found() -> StanzaError {
    StanzaError::new(Condition::ItemNotFound).text("there is no such message")
}

/// A request to a room.
pub(super) fn iq(muc: &mut Muc, st: &mut State, local: &str, iq: &Stanza) -> Handled {
    let Some(from) = iq.from.clone() else { return Ok(Flow::Pass) };
    let bad = |text: &'static str| StanzaError::new(Condition::BadRequest).text(text);
    let room = muc.room(local, &from)?;
    room.must(&from, Privilege::Moderate)?;
    let moderate = iq.child(Ns::MODERATE, "moderate").filter(|_| iq.ty == Type::Set);
    let moderate = moderate.ok_or_else(|| bad("no such request"))?;
    let id = moderate.attr("id").ok_or_else(|| bad("which message?"))?;
    if moderate.child(Ns::RETRACT, "retract").is_none() {
        return Err(StanzaError::new(Condition::FeatureNotImplemented).text("messages are only retracted"));
    }
    let number = st.uid_mark(&room.owner, &id).ok_or_else(not_found)?;
    if room.features.retracted.contains_key(&number) {
        return st.confirm(iq, "");
    }
    if room.config.archive {
        let job = st.ask(Query::Entries { owner: room.owner.clone().into(), ids: [number].into() });
        muc.moderations.insert(job, Moderation { local: local.into(), number, iq: iq.clone() });
        return Ok(Flow::Done);
    }
    if !room.past.iter().any(|message| message.mark == number && is_said(message)) {
        return Err(not_found());
    }
    retract(muc, st, local, number, iq)
}

/// The message that is to be taken back was read; `None`: it could not be.
pub(super) fn answer(muc: &mut Muc, st: &mut State, job: Job, rows: Option<Rows>) {
    let Some(Moderation { local, number, iq }) = muc.moderations.remove(&job) else { return };
    muc.lend(&local);
    let done = match rows {
        None => Err(Condition::InternalServerError.into()),
        Some(rows) => {
            let message = rows.first().and_then(|(_, value)| match Logged::read(value) {
                Ok(Logged::Message { xml, .. }) => Stanza::parse(xml, Scope::client()).ok().flatten(),
                _ => None,
            });
            if message.is_some_and(|message| is_said(&message)) {
                retract(muc, st, &local, number, &iq)
            } else {
                Err(not_found())
            }
        }
    };
    if let Err(error) = done {
        st.refuse(&iq, &error);
    }
    muc.settle(st, &local);
}

/// Whether it is something that an occupant said (§5).
fn is_said(message: &Stanza) -> bool {
    let occupant = message.from.as_ref().is_some_and(|from| !from.is_bare());
    occupant && !is_subject(message)
}

fn retract(muc: &mut Muc, st: &mut State, local: &str, number: u64, iq: &Stanza) -> Handled {
    let Some(from) = iq.from.clone() else { return Ok(Flow::Done) };
    let room = muc.room(local, &from)?;
    room.must(&from, Privilege::Moderate)?;
    let (nick, occupant) = room.occupant_of(&from).ok_or(Condition::Forbidden)?;
    if number < room.begins {
        return Err(not_found());
    }
    let own = room.features.retracted.values().filter(|other| other.id == occupant.id).count();
    let admin = room.may(&from, Privilege::Administer);
    let share = admin || may_have(own, 1, room.features.retracted.len(), RETRACTIONS);
    let full = !share || room.features.retracted.len() >= RETRACTIONS;
    let reason = iq.child(Ns::MODERATE, "moderate").and_then(admin::reason);
    let kept = |reason: &String| reason[..reason.floor_char_boundary(KEPT_BYTES.min(REASON_BYTES))].into();
    let mut retracted =
        Retracted { by: nick.into(), id: occupant.id.clone(), at: st.time(), reason: reason.as_ref().map(kept) };
    room.fits(retracted.bytes())?;
    st.write()?;
    if full {
        // What is too old to be in the archive needs no tombstone.
        let gone =
            room.features.retracted.first_key_value().map(|(number, _)| *number).filter(|n| st.is_surely_old(*n));
        let Some(gone) = gone else {
            let text =
                if share { "too many messages were retracted" } else { "you have retracted your share; ask an admin" };
            return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
        };
        room.delete(st, &row(gone))?;
        let gone = room.features.retracted.remove(&gone).map_or(0, |gone| gone.bytes());
        room.count(0, gone);
    }
    room.put(st, &row(number), retracted.record())?;
    room.take_back(number, retracted.clone());
    retracted.reason = reason.map(Box::from);
    let (id, jid) = (st.uid(&room.owner, number), room.jid.clone());
    let xml = format!("<retract xmlns='urn:xmpp:message-retract:1' id='{id}'>{}</retract>", retracted.inside(room));
    let said = Stanza::new(Kind::Message, Type::Groupchat).from(jid.clone()).with(xml).with_id(&st.token());
    muc.publish(st, local, &jid, said)?;
    st.confirm(iq, "")
}

impl Room {
    /// Remembers that a message was taken back.
    pub(super) fn take_back(&mut self, number: u64, retracted: Retracted) {
        self.count(retracted.bytes(), 0);
        self.features.retracted.insert(number, retracted);
    }
}

/// Changes a message from the archive that was taken back: `id` is its number. Nothing is left of it but who said it and when.
pub(super) fn apply(room: &Room, id: u64, message: &mut Stanza) {
    let Some(retracted) = room.features.retracted.get(&id) else { return };
    let mut stone = Stanza::new(Kind::Message, Type::Groupchat);
    (stone.from, stone.to, stone.mark) = (message.from.clone(), message.to.clone(), message.mark);
    if let Some(id) = message.id() {
        stone = stone.with_id(&id);
    }
    if let Some(x) = message.child(Ns::MUC_USER, "x") {
        stone.push(x.copy());
    }
    let at = stamp::format(retracted.at);
    let inside = retracted.inside(room);
    stone.push(format!("<retracted xmlns='urn:xmpp:message-retract:1' stamp='{at}'>{inside}</retracted>"));
    if let Some(id) = message.child(Ns::OCCUPANT_ID, "occupant-id").and_then(|occupant| occupant.attr("id")) {
        stone.note(Ns::OCCUPANT_ID, "occupant-id", &[("id", &id)]);
    }
    *message = stone;
}
