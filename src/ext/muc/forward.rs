//! Requests from one occupant to another (XEP-0045 §17.4), and XEP-0410: whether one is still there.
//!
//! Neither side learns the other's real JID: the request gets an id of the room's own, under which it is remembered until it is
//! answered.

use super::Muc;
use crate::core::share::{Ledger, Shared, limits};
use crate::core::{About, Flow, Handled, State};
use crate::wire::{Condition, Jid, Ns, Stanza, StanzaError, Type};
use std::collections::BTreeMap;

/// Requests that wait for an answer, at most.
const FORWARDS: usize = 1024;
/// Those of one session.
const FORWARDS_OF_ONE: usize = 64;
/// The longest id of a request, in bytes.
const ID_BYTES: usize = 1024;

/// XEP-0410: done by rooms.
pub(super) const SELF_PING: About = About::new("XEP-0410", "MUC Self-Ping (Schrödinger's Chat)", "1.1.0", "");

/// Requests that are on their way.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    /// By the order in which they came.
    waiting: BTreeMap<u64, Forward>,
    /// By whom each was sent.
    owed: Ledger<u64>,
    last: u64,
}

#[derive(Debug)]
struct Forward {
    /// What it is called now.
    id: String,
    /// Whom it was sent to.
    asked: Jid,
    /// Who sent it, what they called it, and whom they asked.
    from: Jid,
    was: String,
    to: Jid,
}

pub(in crate::ext) const SHARED: Shared = Shared {
    what: "requests between occupants that wait for an answer",
    whole: limits![FORWARDS, FORWARDS_OF_ONE],
    share: "a session: that number; else an account or a component: who has most loses first",
    checked: "ext/muc/forward.rs",
    told: "its oldest is forgotten: the answer does not arrive",
};

impl Forwards {
    fn add(&mut self, whose: &str, forward: Forward) {
        let mut own = self.waiting.iter().filter(|(_, other)| other.from == forward.from).map(|(n, _)| *n);
        let oldest_own = own.next();
        let many = own.count() + 1 >= FORWARDS_OF_ONE;
        let surplus = if many { oldest_own } else { None };
        if let Some(n) = surplus.or_else(|| self.owed.surplus().filter(|_| self.waiting.len() >= FORWARDS)) {
            self.remove(n);
        }
        self.last += 1;
        self.owed.put(self.last, whose, 1);
        self.waiting.insert(self.last, forward);
    }

    fn remove(&mut self, n: u64) -> Option<Forward> {
        self.owed.take(&n);
        self.waiting.remove(&n)
    }

    /// What an answer is for. From the full JID that was asked, or in its name.
    fn take(&mut self, id: &str, from: &Jid) -> Option<Forward> {
        let fits = |forward: &Forward| forward.id == id && forward.asked == *from;
        let n = self.waiting.iter().find(|(_, forward)| fits(forward)).map(|(n, _)| *n)?;
        self.remove(n)
    }
}

impl Muc {
    /// An IQ to an occupant.
    pub(super) fn forward(&mut self, st: &mut State, local: &str, iq: &Stanza) -> Handled {
        let (Some(from), Some(to)) = (iq.from.clone(), iq.to.clone()) else { return Ok(Flow::Done) };
        let id = iq.id().unwrap_or_default().into_owned();
        if !matches!(iq.ty, Type::Get | Type::Set) {
            if let Some(forward) = self.forwards.take(&id, &from) {
                // Who asked may have another session there now, or none: it is still theirs.
                st.send(iq.clone().with_id(&forward.was).from(forward.to).to(forward.from));
            }
            self.bounced_iq(st, local, iq);
            return Ok(Flow::Done);
        }
        let ns = iq.children().next().map_or(Ns::OTHER, |payload| payload.ns());
        let occupant = self.rooms.get(local).and_then(|room| Some((room, room.occupant_of(&from)?)));
        let Some((room, (nick, _))) = occupant else {
            // §6.6
            let disco = matches!(ns, Ns::DISCO_INFO | Ns::DISCO_ITEMS);
            let text = "you are not in the room";
            let condition = if disco { Condition::BadRequest } else { Condition::NotAcceptable };
            return Err(StanzaError::new(condition).ty(crate::wire::ErrorType::Cancel).text(text));
        };
        let asked = to.resource().unwrap_or_default();
        if asked == nick && ns == Ns::PING && iq.ty == Type::Get {
            return st.reply(iq, "");
        }
        let Some(target) = room.occupants.get(asked) else { return Err(Condition::ItemNotFound.into()) };
        if id.len() > ID_BYTES {
            return Err(StanzaError::new(Condition::BadRequest).text(format!("an id has at most {ID_BYTES} bytes")));
        }
        // What the account answers, it need not be there for.
        let account = iq.ty == Type::Get && matches!(ns, Ns::VCARD | Ns::PUBSUB);
        let asked = match target.shown() {
            Some(_) if account => target.bare.clone(),
            Some((jid, _)) => jid.clone(),
            None => return Err(Condition::ItemNotFound.into()),
        };
        let Ok(sender) = room.jid.with_resource(nick) else { return Ok(Flow::Pass) };
        let token = st.token();
        st.send(iq.clone().with_id(&token).from(sender).to(asked.clone()));
        self.forwards.add(st.whose(&from), Forward { id: token, asked, from: from.clone(), was: id, to });
        Ok(Flow::Done)
    }

    /// An error from an address where nobody is.
    fn bounced_iq(&mut self, st: &mut State, local: &str, iq: &Stanza) {
        // A client may answer with an error that it cannot do what it was asked; only of our own sessions it is known.
        let ours = iq.from.as_ref().is_some_and(|from| st.local(from).is_some() && !from.is_bare());
        if iq.ty == Type::Error && ours {
            self.bounced(st, local, iq);
        }
    }
}
