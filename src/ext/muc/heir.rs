//! What becomes of a room when an account goes that was something there: whoever has the name next is somebody else, and inherits
//! nothing. Of a room that had no other owner somebody else is made one, so that there is always somebody who may let people in, remove
//! them, and end it: the admin who has been one for longest, else the member. Is there neither, then nobody but who administers the
//! server ([`super::affiliation`]) can go on with it: as long as people are in it, it is there for them; a room that nobody is in, and
//! that belongs to nobody, goes. The room of the house ([`super::house`]) needs no owner, and stays.

use super::affiliation::{Affiliation, Role};
use super::presence::{Notice, gone};
use super::room::{Affiliated, Room};
use super::{admin, hats};
use crate::core::State;
use crate::wire::Jid;
use std::cmp::Reverse;

/// What the others are told of who has become an owner.
const REASON: &str = "The last owner has no account any more.";

impl Room {
    /// An account is gone: it is nothing to the room any more.
    pub(super) fn lose(&mut self, st: &mut State, gone: &Jid) {
        if *self.payer == *gone.as_str() {
            // Nobody else asked for it.
            let service: Box<str> = self.jid.domain().into();
            let _ = self.set_payer(st, &service);
        }
        if self.features.hats.has(gone) {
            let mut hats = self.features.hats.clone();
            hats.forget(gone);
            let _ = hats::store(self, st, &hats);
            self.set_hats(hats);
        }
        self.forget_bringer(st, gone);
        let _ = self.set_affiliation(st, gone, Affiliation::None, &Notice::default());
        if self.of_house || self.has_owner(st) {
            return;
        }
        let at = &self.jid;
        let Some(heir) = self.heir(st) else {
            st.outcome(match self.is_left_by_all() {
                true => format!("{at} is gone with all that was said: nobody else was in it"),
                false => format!(
                    "{at} has no owner any more: `inglenook room owner {} NAME` makes somebody one",
                    self.local()
                ),
            });
            return;
        };
        let told = format!("{at} is owned by {heir} now");
        let notice = Notice { reason: Some(REASON), ..Notice::default() };
        // Storage was asked when the account was removed.
        if admin::change_affiliation(self, st, &heir, Affiliation::Owner, None, &notice).is_ok() {
            st.outcome(told);
        }
    }

    /// Whoever was brought in by an account that is gone, whoever has its name next did not do it.
    fn forget_bringer(&mut self, st: &mut State, gone: &Jid) {
        let brought = self.affiliations.iter().filter(|(_, known)| known.by.as_deref() == Some(gone.as_str()));
        let brought: Vec<(Jid, Affiliated)> = brought.map(|(jid, known)| (jid.clone(), known.clone())).collect();
        for (jid, known) in brought {
            let _ = self.put_known(st, &jid, Affiliated { by: None, ..known });
            st.step();
        }
    }

    /// Whether somebody is on the list of its owners who can act as one.
    pub(super) fn has_owner(&self, st: &State) -> bool {
        self.affiliations.iter().any(|(jid, known)| known.affiliation == Affiliation::Owner && st.can_act(jid))
    }

    /// Who is to own it when nobody does any more. Of admins, and of members, those with an account here go first: the others may be
    /// somebody's gateway.
    fn heir(&self, st: &State) -> Option<Jid> {
        let belongs = |jid: &Jid, known: &Affiliated| known.affiliation >= Affiliation::Member && st.can_act(jid);
        let all = self.affiliations.iter().filter(|(jid, known)| belongs(jid, known));
        let rank = |jid: &Jid, known: &Affiliated| (Reverse(known.affiliation), st.local(jid).is_none(), known.given);
        all.min_by_key(|(jid, known)| rank(jid, known)).map(|(jid, _)| jid.clone())
    }

    /// Whether nobody is in it, and it belongs to nobody.
    pub(super) fn is_left_by_all(&self) -> bool {
        !self.of_house
            && self.sessions.is_empty()
            && self.affiliations.values().all(|known| known.affiliation <= Affiliation::None)
    }

    /// A room that was read, and that lost its owner before there were heirs: makes somebody one. Gives the row that says so.
    pub(super) fn settle_owner(&mut self, st: &State) -> Option<(crate::store::Bytes, Box<[u8]>)> {
        // Since heirs have been made, whoever is left could not be one then: an account that was made later is of anybody.
        if self.of_house {
            return None;
        }
        let is_newer = |known: &Affiliated| known.affiliation == Affiliation::Owner || known.given > 0;
        if self.affiliations.values().any(is_newer) {
            return None;
        }
        let heir = self.heir(st)?;
        let owner = Affiliated { affiliation: Affiliation::Owner, by: None, ..self.known(&heir) };
        log::info!("{} had no owner; it belongs to {heir} from now on", self.jid);
        let row = self.row_of(&heir, &owner);
        self.keep(heir, owner);
        Some(row)
    }

    /// Somebody has begun or ended to administer the server: they are something else in the room, if they are there.
    pub(super) fn reconsider(&mut self, st: &mut State, jid: &Jid) {
        if self.known(jid).affiliation == Affiliation::Owner {
            return;
        }
        let affiliation = self.affiliation(jid);
        let first = self.first_role(affiliation);
        for nick in self.nicks_of(jid) {
            if first == Role::None {
                let code = if affiliation == Affiliation::Outcast { 301 } else { 321 };
                self.remove(st, &nick, &gone(), &Notice { codes: &[code], ..Notice::default() });
            } else if let Some(occupant) = self.occupants.get_mut(&nick) {
                let was = std::mem::replace(&mut occupant.role, first);
                self.show_change(st, &nick, was, &Notice::default());
            }
        }
    }
}
