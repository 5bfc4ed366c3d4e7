//! Invitations: who may make an account, or set a new password, because they know a token (XEP-0401, XEP-0445). What is done with them is in
//! [`super::invite`].
//!
//! Of a token only its SHA-256 is kept, as of a [notifier](super::notifier)'s.

use super::ids::{StreamId, name_of};
use super::names::NameFault;
use super::notifier::{TokenDigest, token_digest};
use super::share::{Shared, limits};
use super::throttle::Pace;
use crate::store::StoreError;
use crate::store::record::{Broken, Reader, Writer, stored};
use crate::wire::Jid;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Invitations that are open at a time.
pub const INVITATIONS: usize = 1024;
/// Of those, so many are for the owner of the box alone.
const OWNER_INVITATIONS: usize = 256;
/// And so many for the owner and the administrators.
const ADMINS_INVITATIONS: usize = 256;
/// Open ones of one account.
pub const ACCOUNT_INVITATIONS: usize = 5;
/// Of one who was not invited from an app, and of all whom they have brought, one through the other: open ones, and accounts that were made
/// by them within a day.
pub const CHAIN_INVITATIONS: usize = 20;
/// Open ones of one administrator.
const ADMIN_INVITATIONS: usize = 100;
/// Open ones of all who have registered openly.
pub const STRANGERS_INVITATIONS: usize = 128;
/// How often one can be taken, at most.
pub const INVITATION_USES: u32 = 1000;
/// How long one can be taken, at most, in days.
pub const INVITATION_DAYS: u32 = 365;
/// Whose contact one becomes by one invitation.
pub const INVITATION_CONTACTS: usize = 8;
/// Attempts to take one at once, each of which tells whether a name is taken.
const AT_ONCE: u64 = 20;
/// After so long another, in milliseconds.
const ANOTHER_MS: u64 = 30_000;
/// A page that was opened in time may be sent for so long, in milliseconds.
const FORM_MS: u64 = 60 * 60_000;
/// Letters of a token, of 5 bits each.
const TOKEN_LETTERS: usize = 26;
/// Letters of what its owner calls one.
const ID_LETTERS: usize = 8;
/// A day, in milliseconds.
pub(super) const DAY_MS: u64 = 86_400_000;

/// For the table of what is shared.
pub(crate) const SHARED: Shared = Shared {
    what: "invitations that are open",
    whole: limits![
        INVITATIONS,
        OWNER_INVITATIONS,
        ADMINS_INVITATIONS,
        ADMIN_INVITATIONS,
        ACCOUNT_INVITATIONS,
        CHAIN_INVITATIONS,
        STRANGERS_INVITATIONS,
    ],
    share: "the owner of the box: the second number in any case, the administrators the third, one of them the fourth; an account: the fifth, and with all whom it has brought, one through the other, the sixth, also of accounts made within a day; all who have registered openly: the last",
    checked: "core/invitation.rs",
    told: "`resource-constraint`: when one is taken, or its time is over; of a chain: a day later",
};

/// What stands in place of the token in what a command tells of its invitation: only who has made it knows it.
pub const TOKEN_PLACE: &str = "TOKEN";

/// A token, of 32 unpredictable bytes: 130 bits, in letters and digits that nobody mistakes for another.
pub fn invitation_token(random: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    random.iter().take(TOKEN_LETTERS).map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect()
}

stored! {
    /// What a token is for.
    pub enum InvitationKind {
        /// A new account.
        Account = 1, "account";
        /// Another password for an account that is there.
        Reset = 2, "reset";
    }
}

/// What may be shown of an invitation to who knows its token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvitationView {
    /// What it is for.
    pub kind: InvitationKind,
    /// Whose contact one becomes; a bare JID.
    pub inviter: Option<Jid>,
    /// The localpart that is reserved for it, or that of the account that gets another password.
    pub name: Option<Box<str>>,
    /// The room that one becomes a member of.
    pub room: Option<Jid>,
    /// Whether one becomes an administrator.
    pub admin: bool,
    /// Until when it can be taken, in seconds since 1970.
    pub until: u64,
}

impl InvitationView {
    /// The `xmpp:` URI that an app opens (XEP-0401 §5.1 and §5.4); `None`: no app sets passwords by token. `domain`: of this server.
    pub fn uri(&self, domain: &Jid, token: &str) -> Option<String> {
        let name = |local: &str| percent_encoded(local);
        match (self.kind, &self.name, &self.inviter) {
            (InvitationKind::Reset, ..) => None,
            (_, Some(local), _) => Some(format!("xmpp:{}@{domain}?register;preauth={token}", name(local))),
            // Who has an account already does not become an administrator by it.
            (_, None, Some(inviter)) if !self.admin => {
                let local = name(inviter.local().unwrap_or_default());
                Some(format!("xmpp:{local}@{domain}?roster;preauth={token};ibr=y"))
            }
            (_, None, _) => Some(format!("xmpp:{domain}?register;preauth={token}")),
        }
    }
}

/// A localpart in a URI (RFC 5122 §2.2).
fn percent_encoded(local: &str) -> String {
    local.bytes().fold(String::new(), |mut out, b| {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            _ => drop(write!(out, "%{b:02X}")),
        }
        out
    })
}

/// An invitation as somebody wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedInvitation {
    /// Of its token.
    pub digest: TokenDigest,
    /// What it is for.
    pub kind: InvitationKind,
    /// The name that is reserved, or that of the account that gets another password; a bare JID of ours.
    pub name: Option<Jid>,
    /// Whose contact one becomes; bare JIDs of ours. The first is shown as who invites.
    pub contacts: Vec<Jid>,
    /// The room that one becomes a member of.
    pub room: Option<Jid>,
    /// How often it can be taken.
    pub uses: u32,
    /// For how many days.
    pub days: u32,
    /// Whether one becomes an administrator.
    pub admin: bool,
    /// Whether it is for the first account, and nobody's when there is one.
    pub first: bool,
}

impl WantedInvitation {
    /// One for one account, for a week.
    pub fn new(digest: TokenDigest) -> WantedInvitation {
        WantedInvitation {
            digest,
            kind: InvitationKind::Account,
            name: None,
            contacts: Vec::new(),
            room: None,
            uses: 1,
            days: 7,
            admin: false,
            first: false,
        }
    }
}

/// Why an invitation is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TakeRefusal {
    /// There is none with this token: there never was, it was used, or its time is over.
    Unknown,
    /// Another name must be chosen.
    Name(NameFault),
    /// Another password must be chosen: why, in plain words.
    Password(&'static str),
    /// Too often: again in so many milliseconds.
    Later(u64),
    /// It cannot be stored now: why.
    NotStored(String),
}

/// What can be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Invitation {
    pub(super) kind: InvitationKind,
    /// The account that has made it; `None`: the owner of the box.
    pub(super) by: Option<Jid>,
    pub(super) name: Option<Box<str>>,
    pub(super) contacts: Vec<Jid>,
    pub(super) room: Option<Jid>,
    pub(super) admin: bool,
    pub(super) first: bool,
    pub(super) uses: u32,
    /// Who has used it to become a contact: the beginnings of the SHA-256 of their bare JIDs. Nobody uses it up alone.
    used: BTreeSet<[u8; 8]>,
    /// A later one has a greater number.
    number: u64,
    /// Until when, in milliseconds since 1970.
    until: u64,
    /// The same by the clock that never jumps, if it was made in this run: a box without a battery learns the time later.
    ends: Option<u64>,
    /// When a page of it may last be sent, by that clock.
    formed: u64,
    pace: Pace,
}

/// A moment, by both clocks, in milliseconds: the one that never jumps, and since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) mono: u64,
    pub(super) wall: u64,
}

impl Invitation {
    pub(super) fn new(wanted: &WantedInvitation, by: Option<Jid>, number: u64, at: Moment) -> Invitation {
        let lasts = u64::from(wanted.days) * DAY_MS;
        Invitation {
            kind: wanted.kind,
            by,
            name: wanted.name.as_ref().and_then(Jid::local).map(Box::from),
            contacts: wanted.contacts.clone(),
            room: wanted.room.clone(),
            admin: wanted.admin,
            first: wanted.first,
            uses: wanted.uses,
            used: BTreeSet::new(),
            number,
            until: at.wall.saturating_add(lasts),
            ends: Some(at.mono.saturating_add(lasts)),
            formed: 0,
            pace: Pace::default(),
        }
    }

    pub(super) fn record(&self) -> Box<[u8]> {
        let flags = [(1, self.admin), (2, self.first)];
        let version = if self.used.is_empty() { 1 } else { 2 };
        let w =
            Writer::new(version).u8(self.kind.number()).flags(&flags).u32(self.uses).u64(self.number).u64(self.until);
        let w = w.opt_str(self.by.as_ref().map(Jid::as_str)).opt_str(self.name.as_deref());
        let w = w.opt_str(self.room.as_ref().map(Jid::as_str)).u32(self.contacts.len() as u32);
        let w = self.contacts.iter().fold(w, |w, contact| w.str(contact.as_str()));
        match version {
            1 => w.done(),
            _ => w.bytes(&self.used.iter().copied().flatten().collect::<Vec<u8>>()).done(),
        }
    }

    fn from_record(record: &[u8]) -> Result<Invitation, Broken> {
        let mut r = Reader::new(record)?;
        if !matches!(r.version, 1 | 2) {
            return Err(Broken);
        }
        let jid = |text: &str| Jid::parse(text).map_err(|_| Broken);
        let kind = InvitationKind::of_number(r.u8()?)?;
        let flags = r.u8()?;
        let (uses, number, until) = (r.u32()?, r.u64()?, r.u64()?);
        let by = r.opt_str()?.map(jid).transpose()?;
        let name = r.opt_str()?.map(Box::from);
        let room = r.opt_str()?.map(jid).transpose()?;
        let contacts = (0..r.u32()?).map(|_| jid(r.str()?)).collect::<Result<_, _>>()?;
        let used = if r.version == 2 { r.bytes()? } else { &[] };
        Ok(Invitation {
            kind,
            by,
            name,
            room,
            contacts,
            used: used.as_chunks().0.iter().copied().collect(),
            admin: flags & 1 != 0,
            first: flags & 2 != 0,
            uses,
            number,
            until,
            ends: None,
            formed: 0,
            pace: Pace::default(),
        })
    }

    fn is_over(&self, at: Moment) -> bool {
        self.ends.map_or(at.wall >= self.until, |ends| at.mono >= ends)
    }

    /// Until when, in milliseconds since 1970, as far as the time is known by now.
    pub(super) fn until(&self, at: Moment) -> u64 {
        self.ends.map_or(self.until, |ends| at.wall.saturating_add(ends.saturating_sub(at.mono)))
    }

    pub(super) fn view(&self, at: Moment) -> InvitationView {
        InvitationView {
            kind: self.kind,
            inviter: self.contacts.first().cloned(),
            name: self.name.clone(),
            room: self.room.clone(),
            admin: self.admin,
            until: self.until(at) / 1000,
        }
    }
}

/// All of them, by the digests of their tokens.
#[derive(Default, Debug)]
pub(super) struct Invitations {
    all: BTreeMap<TokenDigest, Invitation>,
    /// Streams that have shown a token, and may make an account with it until they end (XEP-0445 §4).
    held: BTreeMap<StreamId, TokenDigest>,
}

/// What the owner calls the invitation of a token.
pub(super) fn id(digest: &TokenDigest) -> String {
    name_of(digest)[..ID_LETTERS].to_owned()
}

impl Invitations {
    /// One row of [`crate::store::Tree::Invitation`].
    pub(super) fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let digest = key.try_into().map_err(|_| Broken)?;
        self.all.insert(digest, Invitation::from_record(value)?);
        Ok(())
    }

    /// Whether there is room for one more of an account, or of the owner of the box.
    ///
    /// # Errors
    /// When there is none, in words.
    pub(super) fn has_room(&self, by: Option<&Jid>, is_admin: bool) -> Result<(), String> {
        let (of_one, of_all) = match by {
            None => (INVITATIONS, INVITATIONS),
            Some(_) if is_admin => (ADMIN_INVITATIONS, INVITATIONS - OWNER_INVITATIONS),
            Some(_) => (ACCOUNT_INVITATIONS, INVITATIONS - OWNER_INVITATIONS - ADMINS_INVITATIONS),
        };
        let own = self.all.values().filter(|one| one.by.as_ref() == by).count();
        if by.is_some() && own >= of_one {
            return Err(format!(
                "{own} invitations of yours are open: one must be taken, or its time be over, before the next"
            ));
        }
        if self.all.len() >= of_all {
            return Err(format!("{} invitations are open, and more there cannot be now", self.all.len()));
        }
        Ok(())
    }

    /// How many accounts can be made by those that some accounts have made.
    pub(super) fn open_of(&self, are_theirs: impl Fn(&Jid) -> bool) -> usize {
        let theirs = self.all.values().filter(|one| one.by.as_ref().is_some_and(&are_theirs));
        theirs.fold(0, |sum, one| sum.saturating_add(one.uses as usize))
    }

    pub(super) fn insert(&mut self, digest: TokenDigest, invitation: Invitation) {
        self.all.insert(digest, invitation);
    }

    pub(super) fn remove(&mut self, digest: &TokenDigest) -> Option<Invitation> {
        self.all.remove(digest)
    }

    /// It is taken once more. Gives it as it was; and whether it is gone.
    pub(super) fn spend(&mut self, digest: &TokenDigest) -> Option<(Invitation, bool)> {
        let invitation = self.all.get_mut(digest)?;
        let before = invitation.clone();
        invitation.uses = invitation.uses.saturating_sub(1);
        // Many may come by one at the same time.
        invitation.pace.forgive(ANOTHER_MS);
        let is_spent = invitation.uses == 0;
        if is_spent {
            self.all.remove(digest);
        }
        Some((before, is_spent))
    }

    /// Somebody has used it to become a contact. Whether they had not before.
    pub(super) fn used_by(&mut self, digest: &TokenDigest, contact: &Jid) -> bool {
        let who = token_digest(contact.bare_str());
        let begins = who.first_chunk().copied().unwrap_or_default();
        self.all.get_mut(digest).is_some_and(|one| one.used.insert(begins))
    }

    pub(super) fn get(&self, digest: &TokenDigest) -> Option<&Invitation> {
        self.all.get(digest)
    }

    /// One whose time is not over.
    pub(super) fn open(&self, digest: &TokenDigest, at: Moment) -> Option<&Invitation> {
        self.all.get(digest).filter(|one| !one.is_over(at))
    }

    /// The same; a page of it is shown.
    pub(super) fn show(&mut self, digest: &TokenDigest, at: Moment) -> Option<&Invitation> {
        let one = self.all.get_mut(digest).filter(|one| !one.is_over(at))?;
        one.formed = at.mono.saturating_add(FORM_MS);
        Some(one)
    }

    /// One whose time is not over, or was not when its page was shown.
    pub(super) fn formed(&self, digest: &TokenDigest, at: Moment) -> Option<&Invitation> {
        self.all.get(digest).filter(|one| !one.is_over(at) || at.mono < one.formed)
    }

    /// Somebody tries to take it; in how many milliseconds they may, if it was tried too often.
    pub(super) fn count(&mut self, digest: &TokenDigest, now: u64) -> u64 {
        self.all.get_mut(digest).map_or(0, |one| one.pace.count(now, AT_ONCE, ANOTHER_MS))
    }

    /// A stream has shown the token in time.
    pub(super) fn hold(&mut self, stream: StreamId, digest: TokenDigest) {
        self.held.insert(stream, digest);
    }

    pub(super) fn held(&self, stream: StreamId) -> Option<TokenDigest> {
        self.held.get(&stream).copied()
    }

    pub(super) fn release(&mut self, stream: StreamId) {
        self.held.remove(&stream);
    }

    /// Those whose time is over, also for those who have shown their tokens in time.
    pub(super) fn over(&self, at: Moment) -> Vec<TokenDigest> {
        let held = |digest: &TokenDigest| self.held.values().any(|held| held == digest);
        let over = self.all.iter().filter(|(_, one)| one.is_over(at) && at.mono >= one.formed);
        over.map(|(digest, _)| *digest).filter(|digest| !held(digest)).collect()
    }

    /// Whether a name is kept for who is invited by another token than this.
    pub(super) fn reserves(&self, local: &str, but: Option<&TokenDigest>, at: Moment) -> Option<TokenDigest> {
        let keeps = |one: &Invitation| one.kind == InvitationKind::Account && one.name.as_deref() == Some(local);
        let mut all = self.all.iter().filter(|(digest, _)| Some(*digest) != but);
        all.find(|(_, one)| keeps(one) && !one.is_over(at)).map(|(digest, _)| *digest)
    }

    /// Those that `which` is about.
    pub(super) fn matching(&self, which: impl Fn(&Invitation) -> bool) -> Vec<TokenDigest> {
        self.all.iter().filter(|(_, one)| which(one)).map(|(digest, _)| *digest).collect()
    }

    /// What the owner calls by this.
    pub(super) fn named(&self, name: &str) -> Option<TokenDigest> {
        self.all.keys().find(|digest| id(digest) == name).copied()
    }

    /// The newest that the owner of the box has made, and can be taken.
    pub(super) fn newest(&self, at: Moment) -> Option<TokenDigest> {
        let own = self.all.iter().filter(|(_, one)| one.by.is_none() && one.kind == InvitationKind::Account);
        own.filter(|(_, one)| !one.is_over(at)).max_by_key(|(_, one)| one.number).map(|(digest, _)| *digest)
    }

    /// Whether an account has made one that can be taken.
    pub(super) fn has_open(&self, by: &Jid, at: Moment) -> bool {
        self.all.values().any(|one| one.by.as_ref() == Some(by) && !one.is_over(at))
    }

    /// All that can be taken, the first that was made first.
    pub(super) fn listed(&self, at: Moment) -> Vec<(&TokenDigest, &Invitation)> {
        let mut all: Vec<_> = self.all.iter().filter(|(_, one)| !one.is_over(at)).collect();
        all.sort_unstable_by_key(|(_, one)| one.number);
        all
    }

    /// A room is gone, or an account: nobody is invited into it, or by it, any more. Gives those that have changed, and those that are
    /// gone with it.
    pub(super) fn lose(&mut self, jid: &Jid) -> (Vec<TokenDigest>, Vec<TokenDigest>) {
        let is_theirs = |one: &Invitation| {
            let reset = one.kind == InvitationKind::Reset && one.name.as_deref() == jid.local();
            one.by.as_ref() == Some(jid) || reset
        };
        let gone = self.matching(is_theirs);
        gone.iter().for_each(|digest| drop(self.all.remove(digest)));
        let mut changed = Vec::new();
        for (digest, one) in &mut self.all {
            if one.room.as_ref() == Some(jid) || one.contacts.contains(jid) {
                one.room.take_if(|room| room == jid);
                one.contacts.retain(|contact| contact != jid);
                changed.push(*digest);
            }
        }
        (changed, gone)
    }

    /// The rooms of a domain that somebody is invited into.
    pub(super) fn rooms_at(&self, domain: &str) -> Vec<Jid> {
        self.all.values().filter_map(|one| one.room.clone()).filter(|room| room.domain() == domain).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    const NOW: Moment = Moment { mono: 5_000, wall: 1_000_000 };

    fn wanted() -> WantedInvitation {
        WantedInvitation {
            name: Some(jid("juliet@house.test")),
            contacts: vec![jid("romeo@house.test"), jid("nurse@house.test")],
            room: Some(jid("garden@conference.house.test")),
            admin: true,
            ..WantedInvitation::new([7; 32])
        }
    }

    /// As `Invitations::load` has it in another run.
    fn stored(one: Invitation) -> Invitation {
        Invitation { ends: None, ..one }
    }

    #[test]
    fn rows_come_back_and_are_those_on_disks() {
        let by = Some(jid("romeo@house.test"));
        let plain = WantedInvitation { kind: InvitationKind::Reset, first: true, ..WantedInvitation::new([1; 32]) };
        let used = BTreeSet::from([[7; 8], [9; 8]]);
        for (wanted, by, used) in
            [(wanted(), by.clone(), BTreeSet::new()), (plain, None, BTreeSet::new()), (wanted(), by, used)]
        {
            let one = Invitation { used, ..Invitation::new(&wanted, by, 9, NOW) };
            let record = one.record();
            assert_eq!(Invitation::from_record(&record), Ok(stored(one)));
            for end in 0..record.len() {
                assert_eq!(Invitation::from_record(&record[..end]), Err(Broken), "{end}");
            }
        }
        let short = WantedInvitation { days: 1, uses: 3, ..WantedInvitation::new([1; 32]) };
        let until = (1_000_000 + DAY_MS).to_le_bytes();
        let bytes = [&[1, 1, 0][..], &[3, 0, 0, 0], &[9, 0, 0, 0, 0, 0, 0, 0], &until, &[0, 0, 0], &[0; 4]].concat();
        assert_eq!(*Invitation::new(&short, None, 9, NOW).record(), bytes);
        let mut all = Invitations::default();
        assert!(all.load(&[7; 31], &bytes).is_err());
        assert!(all.load(&[7; 32], &[3, 1]).is_err(), "of a newer version");
        all.load(&[7; 32], &bytes).unwrap();
    }

    #[test]
    fn an_app_is_told_what_to_open() {
        let view = |wanted: WantedInvitation| Invitation::new(&wanted, None, 1, NOW).view(NOW);
        let uri = |wanted| view(wanted).uri(&jid("house.test"), "abc");
        assert_eq!(uri(wanted()).as_deref(), Some("xmpp:juliet@house.test?register;preauth=abc"));
        let contacts = vec![jid("müller+1@house.test")];
        let friend = WantedInvitation { contacts: contacts.clone(), ..WantedInvitation::new([1; 32]) };
        assert_eq!(uri(friend).as_deref(), Some("xmpp:m%C3%BCller%2B1@house.test?roster;preauth=abc;ibr=y"));
        let anybody = WantedInvitation::new([1; 32]);
        let admin = WantedInvitation { contacts, admin: true, ..anybody.clone() };
        assert_eq!(uri(admin), uri(anybody.clone()));
        assert_eq!(uri(anybody.clone()).as_deref(), Some("xmpp:house.test?register;preauth=abc"));
        assert_eq!(uri(WantedInvitation { kind: InvitationKind::Reset, ..wanted() }), None);
        assert_eq!(view(anybody).until, (1_000_000 + 7 * DAY_MS) / 1000);
    }

    #[test]
    fn a_token_has_130_bits() {
        let token = invitation_token(&[255; 32]);
        assert_eq!(token.len(), TOKEN_LETTERS);
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric()) && token != invitation_token(&[254; 32]));
    }

    #[test]
    fn each_has_its_share() {
        let (mut all, mut n) = (Invitations::default(), 0_u64);
        let mut add = |all: &mut Invitations, by: Option<&Jid>, is_admin| {
            all.has_room(by, is_admin)?;
            n += 1;
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            all.insert(digest, Invitation::new(&WantedInvitation::new(digest), by.cloned(), n, NOW));
            Ok::<(), String>(())
        };
        let (romeo, juliet) = (jid("romeo@house.test"), jid("juliet@house.test"));
        let most = |all: &mut Invitations, add: &mut dyn FnMut(&mut Invitations) -> Result<(), String>| {
            (0..).take_while(|_| add(all).is_ok()).count()
        };
        assert_eq!(most(&mut all, &mut |all| add(all, Some(&romeo), false)), ACCOUNT_INVITATIONS);
        assert_eq!(most(&mut all, &mut |all| add(all, Some(&juliet), true)), ADMIN_INVITATIONS);
        let mut person = 0;
        let others = most(&mut all, &mut |all| {
            person += 1;
            add(all, Some(&jid(&format!("p{person}@house.test"))), false)
        });
        let of_all = ACCOUNT_INVITATIONS + ADMIN_INVITATIONS;
        assert_eq!(others, INVITATIONS - OWNER_INVITATIONS - ADMINS_INVITATIONS - of_all);
        let mut admin = 0;
        let admins = most(&mut all, &mut |all| {
            admin += 1;
            add(all, Some(&jid(&format!("a{admin}@house.test"))), true)
        });
        assert_eq!(admins, ADMINS_INVITATIONS);
        assert_eq!(most(&mut all, &mut |all| add(all, None, false)), OWNER_INVITATIONS);
    }

    #[test]
    fn what_streams_hold_is_kept_though_its_time_is_over() {
        let mut all = Invitations::default();
        for token in [1, 2] {
            all.insert([token; 32], Invitation::new(&WantedInvitation::new([token; 32]), None, 1, NOW));
        }
        all.hold(StreamId(5), [1; 32]);
        let later = Moment { mono: NOW.mono + 7 * DAY_MS, ..NOW };
        assert_eq!(all.over(NOW), Vec::<TokenDigest>::new());
        assert_eq!(all.over(later), [[2; 32]]);
        assert!(all.open(&[1; 32], later).is_none() && all.get(&[1; 32]).is_some());
        all.release(StreamId(5));
        assert_eq!(all.over(later), [[1; 32], [2; 32]]);
    }
}
