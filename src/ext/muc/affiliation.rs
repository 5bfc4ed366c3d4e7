//! Who may do what (XEP-0045 §5): affiliations last, roles end with the visit; and the tables of what they allow.
//!
//! Who administers the server (the setting `admins`) is an owner of every room, as it is with other servers: somebody must be able to go on
//! with a room whose owners are gone. They stand on no list, and are in no room before they enter; when they do, the others see an
//! owner. A password does not keep them out, and nobody bans them.

use super::room::Room;
use crate::store::record::stored;
use crate::wire::{Condition, Jid, StanzaError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The accounts that administer the server, by bare JID; shared by all rooms.
pub(super) type ServerAdmins = Arc<BTreeSet<Jid>>;

stored! {
    /// What somebody is to a room, by bare JID, whether or not they are there (§5.2). In order: who comes later may do more.
    #[derive(PartialOrd, Ord, Default)]
    pub(super) enum Affiliation {
        Outcast = 0, "outcast";
        #[default]
        None = 1, "none";
        Member = 2, "member";
        Admin = 3, "admin";
        Owner = 4, "owner";
    }

    /// What an occupant is in a room (§5.1). In order: who comes later may do more. In records there are sets of them: [`Roles`].
    #[derive(PartialOrd, Ord, Default)]
    pub(super) enum Role {
        /// Of whoever is not in the room.
        #[default]
        None = 0, "none";
        Visitor = 1, "visitor";
        Participant = 2, "participant";
        Moderator = 3, "moderator";
    }
}

/// A set of roles: of each the bit of its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Roles(pub(super) u8);

impl Roles {
    /// Visitors, participants and moderators.
    pub(super) const ALL: Roles = Roles(0b1110);

    pub(super) fn of(roles: impl IntoIterator<Item = Role>) -> Roles {
        Roles(roles.into_iter().fold(0, |set, role| set | 1 << role.number()))
    }

    /// Whether one is among them.
    pub(super) fn has(self, role: Role) -> bool {
        self.0 & (1 << role.number()) != 0
    }
}

/// Something that not everybody may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Privilege {
    /// To enter the room, by affiliation alone: there may be a password, and it may be full.
    Enter,
    /// To say something to all.
    Speak,
    Subject,
    /// To send messages to one occupant (§7.5).
    Private,
    Invite,
    /// To kick others; whom: [`Room::may_set_role`].
    Kick,
    /// To grant and revoke voice, to see who has it, and requests for it.
    Voice,
    /// To take back what others said.
    Moderate,
    /// To see who the occupants are.
    SeeJids,
    /// To read what was said.
    ReadArchive,
    /// To get the list of members, admins and owners.
    MemberList,
    /// To make and unmake members, outcasts and moderators, and to see who is banned.
    Administer,
    /// To configure or destroy the room, and to make and unmake admins and owners.
    Own,
}

impl Room {
    /// What a bare or full JID is to the room. Whoever is nobody special is what their domain is, if that is banned (§9.2).
    pub(super) fn affiliation(&self, jid: &Jid) -> Affiliation {
        if self.server_admins.contains(jid.bare_str()) {
            return Affiliation::Owner;
        }
        let of = |who: &str| self.affiliations.get(who).map_or(Affiliation::None, |known| known.affiliation);
        match of(jid.bare_str()) {
            Affiliation::None if of(jid.domain()) == Affiliation::Outcast => Affiliation::Outcast,
            own => own,
        }
    }

    /// The role of a full JID that is in the room; [`Role::None`] for one that is not.
    pub(super) fn role(&self, jid: &Jid) -> Role {
        self.occupant_of(jid).map_or(Role::None, |(_, occupant)| occupant.role)
    }

    /// The tables of §5.1.1 and §5.2.1: whether a JID may do something. What belongs to occupants is asked of a full JID.
    pub(super) fn may(&self, jid: &Jid, what: Privilege) -> bool {
        let (affiliation, role) = (self.affiliation(jid), self.role(jid));
        let config = &self.config;
        match what {
            Privilege::Enter => {
                let least = if config.members_only { Affiliation::Member } else { Affiliation::None };
                affiliation >= least
            }
            Privilege::Speak => role >= Role::Participant,
            Privilege::Subject => role >= if config.subject { Role::Participant } else { Role::Moderator },
            Privilege::Private => config.private.has(role),
            // Who is invited into a members-only room becomes a member.
            Privilege::Invite => {
                role >= Role::Moderator
                    || role >= Role::Visitor
                        && config.invites
                        && (!config.members_only || affiliation >= Affiliation::Member)
            }
            Privilege::Kick | Privilege::Voice | Privilege::Moderate => role >= Role::Moderator,
            Privilege::SeeJids => {
                affiliation >= Affiliation::Admin
                    || role >= Role::Moderator
                    || !config.semi_anonymous && self.may(jid, Privilege::Enter)
            }
            // XEP-0313 §6.1.2; of what a password protects, only those who gave it, or who are known anyway.
            Privilege::ReadArchive => {
                self.may(jid, Privilege::Enter)
                    && (config.password.is_none() || role > Role::None || affiliation >= Affiliation::Member)
            }
            Privilege::MemberList => {
                affiliation >= Affiliation::Admin
                    || !config.semi_anonymous
                        && affiliation >= Affiliation::Member
                        && (role == Role::None || config.member_list.has(role))
            }
            Privilege::Administer => affiliation >= Affiliation::Admin,
            Privilege::Own => affiliation == Affiliation::Owner,
        }
    }

    /// The same, with the error that refuses it.
    pub(super) fn must(&self, jid: &Jid, what: Privilege) -> Result<(), StanzaError> {
        if self.may(jid, what) { Ok(()) } else { Err(Condition::Forbidden.into()) }
    }

    /// The role in which somebody enters (§5.1.2).
    pub(super) fn first_role(&self, affiliation: Affiliation) -> Role {
        match affiliation {
            Affiliation::Outcast => Role::None,
            Affiliation::None if self.config.members_only => Role::None,
            Affiliation::None if self.config.moderated => Role::Visitor,
            Affiliation::None | Affiliation::Member => Role::Participant,
            Affiliation::Admin | Affiliation::Owner => Role::Moderator,
        }
    }

    /// Whether `actor`, a full JID, may give the occupant called `nick` another role (§8.2 to §8.5, §9.6 to §9.8).
    ///
    /// # Errors
    /// `forbidden` for who may do nothing of the kind, `not-allowed` for a target above them, `item-not-found` if nobody is called so.
    pub(super) fn may_set_role(&self, actor: &Jid, nick: &str, role: Role) -> Result<(), StanzaError> {
        let target = self.occupants.get(nick).ok_or(Condition::ItemNotFound)?;
        let (own, theirs) = (self.affiliation(actor), self.affiliation(&target.bare));
        // An admin need not be in the room.
        let admin = own >= Affiliation::Admin;
        if !admin && self.role(actor) < Role::Moderator {
            return Err(Condition::Forbidden.into());
        }
        match role {
            // §8.2: nobody is kicked by somebody below them.
            Role::None if theirs > own => Err(Condition::NotAllowed.into()),
            Role::None => Ok(()),
            Role::Moderator if !admin => Err(Condition::Forbidden.into()),
            Role::Moderator => Ok(()),
            // §8.4, §9.7: nobody takes from admins and owners what comes with that, or from somebody above them; and only admins
            // unmake moderators.
            _ if theirs >= Affiliation::Admin || theirs > own || target.role == Role::Moderator && !admin => {
                Err(Condition::NotAllowed.into())
            }
            _ => Ok(()),
        }
    }

    /// Whether `actor` may make `target` (bare JIDs) something else (§9.1 to §9.5, §10.3 to §10.8).
    ///
    /// # Errors
    /// `forbidden` for who may do nothing of the kind, `not-allowed` for a target above them, `conflict` if no owner were left.
    pub(super) fn may_set_affiliation(
        &self,
        actor: &Jid,
        target: &Jid,
        affiliation: Affiliation,
    ) -> Result<(), StanzaError> {
        let (own, theirs) = (self.affiliation(actor), self.affiliation(target));
        if own < Affiliation::Admin {
            return Err(Condition::Forbidden.into());
        }
        // §9.1: nobody bans themselves.
        if affiliation == Affiliation::Outcast && target.bare_str() == actor.bare_str() {
            return Err(Condition::Conflict.into());
        }
        if affiliation == Affiliation::Outcast && self.server_admins.contains(target.bare_str()) {
            return Err(StanzaError::new(Condition::NotAllowed).text("who administers this server is not banned"));
        }
        let listed = self.known(target).affiliation;
        if listed == Affiliation::Owner && affiliation < Affiliation::Owner && own == Affiliation::Owner {
            let owners = self.affiliations.values().filter(|known| known.affiliation == Affiliation::Owner).count();
            if owners <= 1 {
                return Err(StanzaError::new(Condition::Conflict).text("a room has an owner"));
            }
        }
        if own < Affiliation::Owner && theirs.max(affiliation) >= Affiliation::Admin {
            // §9.1: an admin does not ban another; §10: only owners make admins and owners.
            let what = if theirs >= Affiliation::Admin { Condition::NotAllowed } else { Condition::Forbidden };
            return Err(what.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_on_disks() {
        use Affiliation::{Admin, Member, Outcast, Owner};
        assert_eq!(
            Affiliation::ALL.map(|value| (value, value.number())),
            [(Outcast, 0), (Affiliation::None, 1), (Member, 2), (Admin, 3), (Owner, 4)]
        );
        for role in Role::ALL {
            let bit = match role {
                Role::None => 0b0001,
                Role::Visitor => 0b0010,
                Role::Participant => 0b0100,
                Role::Moderator => 0b1000,
            };
            assert_eq!(Roles::of([role]), Roles(bit));
            assert!(Roles(bit).has(role) && !Roles(!bit).has(role));
        }
    }
}
