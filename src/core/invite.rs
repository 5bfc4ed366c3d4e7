//! What is done with [invitations](super::invitation): they are made, shown, and taken.
//!
//! An account that is made by one, its contacts, its rights and the invitation's use are one batch: stored together or not at all. So a
//! token is spent by a registration that succeeded, and by nothing else (XEP-0445 §4).

use super::admin::{self, words};
use super::effect::Now;
use super::event::Event;
use super::ids::{Job, StreamId};
use super::invitation::{
    CHAIN_INVITATIONS, INVITATION_CONTACTS, INVITATION_DAYS, INVITATION_USES, Invitation, InvitationKind,
    InvitationView, Moment, STRANGERS_INVITATIONS, TOKEN_PLACE, TakeRefusal, WantedInvitation, id,
};
use super::names::{NAME_BYTES, NameFault, TRUSTED, is_hidden, is_mixed, looks};
use super::notifier::{TokenDigest, token_digest};
use super::promise::Promise;
use super::roster;
use super::server::Core;
use super::state::State;
use super::subscription::SubscriptionState;
use super::work::Work;
use crate::store::Tree;
use crate::wire::scram::{CHOSEN_PASSWORD_BYTES, Credentials, PASSWORD_CHARS, is_blank, long_enough};
use crate::wire::{Jid, Kind, Ns, Stanza, StanzaError, Type, stamp};
use std::net::IpAddr;

/// Subscribed both ways.
pub(super) const BOTH: SubscriptionState =
    SubscriptionState { to: true, from: true, ask: false, pending: false, approved: false };

/// Whether a password may be chosen.
///
/// # Errors
/// Why not.
pub fn password_fault(password: &str) -> Result<(), TakeRefusal> {
    const _: () = assert!(PASSWORD_CHARS == 8 && CHOSEN_PASSWORD_BYTES == 1023);
    if is_blank(password) {
        return Err(TakeRefusal::Password("a password of spaces alone is none: put letters into it"));
    }
    if long_enough(password).is_err() {
        return Err(TakeRefusal::Password("a password has at least 8 characters"));
    }
    if password.len() > CHOSEN_PASSWORD_BYTES {
        return Err(TakeRefusal::Password("the password is too long: it has at most 1023 bytes"));
    }
    Ok(())
}

impl Core {
    /// What may be shown of the invitation with this token. One that is none counts against the network that it came from. `now`: the
    /// time, as with an input.
    ///
    /// # Errors
    /// [`TakeRefusal::Unknown`], or [`TakeRefusal::Later`].
    pub fn invitation(&mut self, now: Now, token: &str, peer: IpAddr) -> Result<InvitationView, TakeRefusal> {
        self.state.now = now;
        let (st, digest) = (&mut self.state, token_digest(token));
        st.shown_invitation(&digest, peer)
    }

    /// Whether an invitation can be taken like this, before the password is hashed. One that is for something else than `kind` is none. The same.
    ///
    /// # Errors
    /// Why not.
    pub fn may_take(
        &mut self,
        now: Now,
        token: &str,
        peer: IpAddr,
        kind: InvitationKind,
        (name, password): (&str, &str),
    ) -> Result<TokenDigest, TakeRefusal> {
        self.state.now = now;
        let (st, digest) = (&mut self.state, token_digest(token));
        if st.invitations.formed(&digest, st.moment()).is_none_or(|one| one.kind != kind) {
            return Err(st.unknown_invitation(peer));
        }
        st.count_take(&digest)?;
        st.taker(&digest, name)?;
        password_fault(password)?;
        st.write().map_err(|e| TakeRefusal::NotStored(words(e)))?;
        Ok(digest)
    }

    /// What URLs begin with from now on; `None`: there is no port for them.
    pub fn set_web_base(&mut self, base: Option<String>) {
        self.state.web_base = base;
    }
}

impl State {
    pub(super) fn moment(&self) -> Moment {
        Moment { mono: self.now.mono, wall: self.time() }
    }

    /// Where the page of an invitation is, if there is a port for browsers.
    pub fn invitation_url(&self, token: &str) -> Option<String> {
        self.web_base.as_ref().map(|base| format!("{base}/invite/{token}"))
    }

    /// A token is none.
    fn unknown_invitation(&mut self, peer: IpAddr) -> TakeRefusal {
        match self.throttle.unknown_token(self.now.mono, &self.secret, peer) {
            0 => TakeRefusal::Unknown,
            wait => TakeRefusal::Later(wait),
        }
    }

    /// One that is for the owner's first account is nobody's once somebody administers the server.
    fn is_dead(&self, one: &Invitation) -> bool {
        let missing = one.kind == InvitationKind::Reset
            && !one.name.as_deref().is_some_and(|local| self.here.accounts().contains_key(local));
        missing || one.first && self.is_administered()
    }

    fn shown_invitation(&mut self, digest: &TokenDigest, peer: IpAddr) -> Result<InvitationView, TakeRefusal> {
        let at = self.moment();
        match self.invitations.open(digest, at) {
            Some(one) if !self.is_dead(one) => {}
            _ => return Err(self.unknown_invitation(peer)),
        }
        self.invitations.show(digest, at).map(|one| one.view(at)).ok_or(TakeRefusal::Unknown)
    }

    /// A stream that is not authenticated shows a token; until it ends, it may make an account with it, whatever the clock says
    /// (XEP-0445 §4).
    ///
    /// # Errors
    /// When that is none of an account that can be made.
    pub fn preauth(&mut self, stream: StreamId, peer: IpAddr, token: &str) -> Result<(), TakeRefusal> {
        let digest = token_digest(token);
        if self.shown_invitation(&digest, peer)?.kind != InvitationKind::Account {
            return Err(TakeRefusal::Unknown);
        }
        self.invitations.hold(stream, digest);
        Ok(())
    }

    /// The invitation that a stream has shown the token of, though somebody else may have taken it meanwhile, and the name that is kept
    /// for it.
    pub fn preauthenticated(&self, stream: StreamId) -> Option<(TokenDigest, Option<&str>)> {
        let digest = self.invitations.held(stream)?;
        Some((digest, self.invitations.get(&digest).and_then(|one| one.name.as_deref())))
    }

    /// Somebody tries to take an invitation.
    ///
    /// # Errors
    /// When it was tried too often.
    pub fn count_take(&mut self, digest: &TokenDigest) -> Result<(), TakeRefusal> {
        match self.invitations.count(digest, self.now.mono) {
            0 => Ok(()),
            wait => Err(TakeRefusal::Later(wait)),
        }
    }

    /// Whose account it is that an invitation makes or changes, if it is taken with this name. Its time is not looked at.
    ///
    /// # Errors
    /// When it is gone, or the name cannot be taken.
    pub fn taker(&self, digest: &TokenDigest, name: &str) -> Result<Jid, TakeRefusal> {
        let one = self.invitations.get(digest).filter(|one| !self.is_dead(one)).ok_or(TakeRefusal::Unknown)?;
        let fault = TakeRefusal::Name;
        let jid = match &one.name {
            Some(kept) => self.named(kept).map_err(fault)?,
            None => self.named(name).map_err(fault)?,
        };
        match (one.kind, &one.name) {
            (InvitationKind::Reset, _) => return Ok(jid),
            (_, Some(_)) if !name.is_empty() && self.named(name).as_ref() != Ok(&jid) => {
                return Err(fault(NameFault::Reserved));
            }
            (_, Some(_)) if self.account(&jid).is_some() => return Err(fault(NameFault::Taken)),
            // Whoever kept the name has chosen it.
            (_, Some(_)) => return Ok(jid),
            (_, None) => {}
        }
        if self.invitations.reserves(jid.local().unwrap_or_default(), Some(digest), self.moment()).is_some() {
            return Err(fault(NameFault::Reserved));
        }
        match self.may_choose(&jid) {
            // The settings may name whoever is the first.
            Err(NameFault::Reserved) if one.first || one.admin && !self.administers(&jid) => Ok(jid),
            chosen => chosen.map_err(fault).map(|()| jid),
        }
    }

    /// An invitation is taken with this name and these keys. Gives whose account it is.
    ///
    /// # Errors
    /// Why not; then nothing is changed.
    pub fn take(&mut self, digest: &TokenDigest, name: &str, keys: Credentials) -> Result<Jid, TakeRefusal> {
        let jid = self.taker(digest, name)?;
        let not_stored = |why: String| TakeRefusal::NotStored(why);
        self.write().map_err(|e| not_stored(words(e)))?;
        let Some((one, is_spent)) = self.invitations.spend(digest) else { return Err(TakeRefusal::Unknown) };
        match is_spent {
            true => self.changes.add().delete(Tree::Invitation, *digest),
            false => self.store_invitation(digest),
        }
        if one.kind == InvitationKind::Reset {
            admin::set_credentials(self, &jid, keys, None).map_err(not_stored)?;
            return Ok(jid);
        }
        let origin = self.origin(one.by.as_ref(), false);
        admin::add_with(self, &jid, keys, origin).map_err(not_stored)?;
        if one.admin {
            self.make_admin(&jid);
        }
        for contact in &one.contacts {
            if let Err(e) = self.befriend(contact, &jid) {
                log::warn!("{jid} is no contact of {contact}, who has invited them: {}", words(e));
            }
        }
        if let Some(room) = one.room {
            let local = jid.local().unwrap_or_default().into();
            self.announce(Event::Invited { local, room });
        }
        Ok(jid)
    }

    /// The same, for a page; the answer waits until all of it is stored.
    pub(super) fn take_for(&mut self, job: Job, digest: &TokenDigest, name: &str, keys: Credentials, peer: IpAddr) {
        // Its time was looked at before the keys were made.
        let taken = self.take(digest, name, keys);
        if let Ok(jid) = &taken {
            self.log_stored(format!("{jid} has taken an invitation from {peer}"));
        }
        self.work.push_back(Work::Promise(Promise::Taken(job, taken)));
    }

    /// An account administers the server from now on, whatever the settings say.
    pub(super) fn make_admin(&mut self, jid: &Jid) {
        self.granted.insert(jid.clone());
        self.changes.add().put(Tree::Admin, jid.local().unwrap_or_default().as_bytes(), [1]);
        self.announce(Event::Configured);
    }

    /// Makes two accounts of ours each other's contacts, subscribed both ways, and tells those who are there.
    pub(super) fn befriend(&mut self, one: &Jid, other: &Jid) -> Result<(), StanzaError> {
        let pairs = [(one, other), (other, one)];
        let item = |st: &State, own: &Jid, contact: &Jid| {
            let before = st.account(own)?.roster.items.get(contact).cloned().unwrap_or_default();
            Some((before.state.from, st.acquaintance(own, contact, before)))
        };
        for (own, contact) in pairs {
            let (Some(account), Some((_, item))) = (self.account(own), item(self, own, contact)) else { return Ok(()) };
            account.roster.has_room(contact, &item)?;
        }
        self.write()?;
        for (own, contact) in pairs {
            let (Some(local), Some((shown, item))) = (self.local(own).map(Box::<str>::from), item(self, own, contact))
            else {
                continue;
            };
            if self.here.account(&local).is_some_and(|account| account.roster.items.get(contact) == Some(&item)) {
                continue;
            }
            roster::put(self, &local, contact, item, true)?;
            if !shown {
                self.show(&local, contact);
            }
        }
        Ok(())
    }

    // --- names ---

    /// The address of somebody who chooses this name.
    ///
    /// # Errors
    /// What cannot be, whoever has it.
    pub(super) fn named(&self, name: &str) -> Result<Jid, NameFault> {
        match name.len() {
            0 => return Err(NameFault::Missing),
            n if n > NAME_BYTES => return Err(NameFault::TooLong),
            _ => {}
        }
        let jid = Jid::new(Some(name), self.domain().domain(), None).map_err(|_| NameFault::NotAllowed)?;
        match jid.local() {
            Some(local) if local.len() <= NAME_BYTES => Ok(jid),
            Some(_) => Err(NameFault::TooLong),
            None => Err(NameFault::NotAllowed),
        }
    }

    /// Whether somebody may choose this address who will not administer the server: nobody has it, nobody is believed for it, and it
    /// does not look like somebody's, nor like what it is not.
    ///
    /// # Errors
    /// Why not.
    pub fn may_choose(&self, jid: &Jid) -> Result<(), NameFault> {
        let local = jid.local().unwrap_or_default();
        if self.account(jid).is_some() {
            return Err(NameFault::Taken);
        }
        // Who has the name of an administrator is one, whether it has an account yet, no more, or still.
        if self.administers(jid) || TRUSTED.contains(&local) {
            return Err(NameFault::Reserved);
        }
        if is_hidden(local) {
            return Err(NameFault::Unseen);
        }
        if is_mixed(local) {
            return Err(NameFault::Mixed);
        }
        let looks_like = looks(local);
        let alike = |other: &str| looks(other) == looks_like;
        match self.accounts().any(|account| alike(account.jid.local().unwrap_or_default()))
            || TRUSTED.into_iter().any(alike)
        {
            true => Err(NameFault::LookAlike),
            false => Ok(()),
        }
    }

    // --- by whom they are made ---

    /// One more invitation, of an account (XEP-0401) or of the owner of the box.
    ///
    /// # Errors
    /// What of it cannot be, in words.
    pub fn invite(&mut self, wanted: &WantedInvitation, by: Option<&Jid>) -> Result<InvitationView, String> {
        let at = self.moment();
        let dead: Vec<TokenDigest> = self.invitations.matching(|_| true);
        let dead = dead.into_iter().filter(|d| self.invitations.get(d).is_some_and(|one| self.is_dead(one)));
        for digest in &dead.chain(self.invitations.over(at)).collect::<Vec<_>>() {
            self.erase().map_err(words)?.delete(Tree::Invitation, *digest);
            self.invitations.remove(digest);
        }
        if !(1..=INVITATION_USES).contains(&wanted.uses) {
            return Err(format!("an invitation can be taken from 1 to {INVITATION_USES} times"));
        }
        if !(1..=INVITATION_DAYS).contains(&wanted.days) {
            return Err(format!("an invitation lasts from 1 to {INVITATION_DAYS} days"));
        }
        if wanted.contacts.len() > INVITATION_CONTACTS {
            return Err(format!("at most {INVITATION_CONTACTS} people become contacts by one invitation"));
        }
        if let Some(missing) = wanted.contacts.iter().find(|jid| self.account(jid).is_none()) {
            return Err(format!("there is no {missing}; `inglenook user list` tells the accounts that there are"));
        }
        if let Some(name) = &wanted.name {
            self.can_keep(name, wanted)?;
        }
        if wanted.first && self.is_administered() {
            return Err("somebody administers the server already".into());
        }
        self.invitations.has_room(by, by.is_some_and(|by| self.administers(by)))?;
        by.map_or(Ok(()), |by| self.chain_has_room(by))?;
        self.write().map_err(words)?;
        // Another one for the same is in place of the one before.
        let same = |one: &Invitation| {
            let reset = one.kind == InvitationKind::Reset && wanted.kind == one.kind;
            wanted.first && one.first || reset && one.name.as_deref() == wanted.name.as_ref().and_then(Jid::local)
        };
        for digest in self.invitations.matching(same) {
            self.forget_invitation(&digest)?;
        }
        let number = self.next_mark();
        let invitation = Invitation::new(wanted, by.cloned(), number, at);
        let view = invitation.view(at);
        self.invitations.insert(wanted.digest, invitation);
        self.store_invitation(&wanted.digest);
        Ok(view)
    }

    /// Whether an account may invite one more, in the chain that it belongs to. Administrators may.
    fn chain_has_room(&self, by: &Jid) -> Result<(), String> {
        let Some(local) = self.local(by).filter(|_| !self.administers(by)) else { return Ok(()) };
        let strangers = |by: &Jid| self.local(by).is_some_and(|local| self.residents.is_stranger(local));
        if strangers(by) && self.invitations.open_of(strangers) >= STRANGERS_INVITATIONS {
            return Err(
                "too many invitations of people who have registered by themselves are open: try again tomorrow".into(),
            );
        }
        let root = self.residents.root(local);
        let in_chain = |jid: &Jid| self.local(jid).is_some_and(|local| self.residents.root(local) == root);
        let open = self.invitations.open_of(|by| in_chain(by) && !self.administers(by));
        match open.saturating_add(self.residents.made_today(root, self.time())) {
            n if n >= CHAIN_INVITATIONS => Err(format!(
                "{n} people were invited within a day by you, by who has brought you, and by whom you have brought: again tomorrow; an \
                 administrator may invite more"
            )),
            _ => Ok(()),
        }
    }

    /// Whether a name can be kept for who is invited, or be that of an account that gets another password.
    fn can_keep(&self, name: &Jid, wanted: &WantedInvitation) -> Result<(), String> {
        let local = self.local(name).ok_or_else(|| format!("{name} is not an address of {}", self.domain()))?;
        let there = self.account(name).is_some();
        match wanted.kind {
            InvitationKind::Reset if there => return Ok(()),
            InvitationKind::Reset => return Err(format!("there is no {name}")),
            InvitationKind::Account => {}
        }
        if there {
            return Err(format!("{name} is there already"));
        }
        self.named(local).map_err(|fault| format!("{local}: {}", fault.words()))?;
        if wanted.uses > 1 {
            return Err("a name is kept for one person: such an invitation is taken once".into());
        }
        match self.invitations.reserves(local, None, self.moment()) {
            Some(other) => Err(kept(name, &other)),
            None => Ok(()),
        }
    }

    /// Whether a name is kept for somebody who is invited.
    ///
    /// # Errors
    /// Then: why nobody else gets it, in words for the owner.
    pub fn is_kept(&self, jid: &Jid) -> Result<(), String> {
        match self.invitations.reserves(jid.local().unwrap_or_default(), None, self.moment()) {
            Some(digest) => Err(kept(jid, &digest)),
            None => Ok(()),
        }
    }

    /// What the owner gets told of an invitation that they have made. What stands in place of the token is [`TOKEN_PLACE`].
    pub(super) fn invited(&mut self, wanted: &WantedInvitation) -> Result<Vec<String>, String> {
        let mut wanted = wanted.clone();
        if wanted.kind == InvitationKind::Account && wanted.contacts.is_empty() {
            // Nobody comes into an empty room: who runs the house knows them.
            let known = self.administrators().filter(|jid| self.account(jid).is_some());
            wanted.contacts = known.take(INVITATION_CONTACTS).cloned().collect();
        }
        let view = self.invite(&wanted, None)?;
        Ok(self.told_of(&wanted.digest, &view))
    }

    fn told_of(&self, digest: &TokenDigest, view: &InvitationView) -> Vec<String> {
        let until = second(view.until);
        let mut lines = vec![match view.kind {
            InvitationKind::Reset => format!("made the link {} to another password, until {until}", id(digest)),
            InvitationKind::Account => format!("made invitation {}, until {until}", id(digest)),
        }];
        lines.extend(view.uri(self.domain(), TOKEN_PLACE).map(|uri| format!("uri          {uri}")));
        lines
    }

    /// The newest that the owner has made gets another token in place of its own, of which nobody knows more than its digest.
    pub(super) fn renew_invitation(&mut self, digest: TokenDigest) -> Result<Vec<String>, String> {
        let at = self.moment();
        let newest =
            self.invitations.newest(at).filter(|d| self.invitations.get(d).is_some_and(|one| !self.is_dead(one)));
        let Some(before) = newest else {
            return Err("there is no open invitation of yours; `inglenook invite` makes one".into());
        };
        if let Some(uses) = self.invitations.get(&before).map(|one| one.uses).filter(|uses| *uses > 1) {
            return Err(format!(
                "the newest invitation, {}, is for {uses} people, whom a new link in place of it would lock out; `inglenook invite` makes another",
                id(&before)
            ));
        }
        self.write().map_err(words)?;
        let Some(one) = self.invitations.remove(&before) else { return Ok(Vec::new()) };
        self.changes.add().delete(Tree::Invitation, before);
        let view = one.view(at);
        self.invitations.insert(digest, one);
        self.store_invitation(&digest);
        let mut lines = self.told_of(&digest, &view);
        lines.push(format!("the link of {} is good for nothing any more", id(&before)));
        Ok(lines)
    }

    /// A line for a person about each.
    pub(super) fn invitation_lines(&self) -> Vec<String> {
        self.lines_of(|one| !self.is_dead(one))
    }

    fn lines_of(&self, which: impl Fn(&Invitation) -> bool) -> Vec<String> {
        let at = self.moment();
        let all = self.invitations.listed(at).into_iter().filter(|(_, one)| which(one));
        all.map(|(digest, one)| line(digest, one, one.until(at))).collect()
    }

    /// The same of those that an account has made; the first word names it.
    pub fn invitations_of(&self, by: &Jid) -> Vec<String> {
        self.lines_of(|one| one.by.as_ref() == Some(by))
    }

    /// Whether there are any of those.
    pub fn has_invited(&self, by: &Jid) -> bool {
        self.invitations.has_open(by, self.moment())
    }

    /// Nobody can take one any more that an account has made.
    ///
    /// # Errors
    /// When it has made none of that name; when that cannot be stored.
    pub fn withdraw_invitation(&mut self, by: &Jid, name: &str) -> Result<(), String> {
        let is_own = |digest: &TokenDigest| self.invitations.get(digest).is_some_and(|one| one.by.as_ref() == Some(by));
        match self.invitations.named(name).filter(is_own) {
            Some(_) => self.revoke_invitation(name).map(drop),
            None => Err(format!("there is no open invitation {name} of yours")),
        }
    }

    /// Nobody can take it any more.
    pub(super) fn revoke_invitation(&mut self, name: &str) -> Result<Vec<String>, String> {
        let Some(digest) = self.invitations.named(name) else {
            return Err(format!("there is no invitation {name}; `inglenook invite --list` tells those that there are"));
        };
        self.erase().map_err(words)?;
        self.forget_invitation(&digest)?;
        Ok(vec![format!("revoked {name}: its link is good for nothing any more")])
    }

    fn forget_invitation(&mut self, digest: &TokenDigest) -> Result<(), String> {
        self.write().map_err(words)?.delete(Tree::Invitation, *digest);
        self.invitations.remove(digest);
        Ok(())
    }

    fn store_invitation(&mut self, digest: &TokenDigest) {
        if let Some(record) = self.invitations.get(digest).map(Invitation::record) {
            self.changes.add().put(Tree::Invitation, *digest, record);
        }
    }

    /// A room or an account is removed: nobody is invited by it any more, nor to it. Asked with the removal, storage has taken that.
    pub fn lose_invitations(&mut self, jid: &Jid) {
        let (changed, gone) = self.invitations.lose(jid);
        changed.iter().for_each(|digest| self.store_invitation(digest));
        gone.iter().for_each(|digest| self.changes.add().delete(Tree::Invitation, *digest));
    }

    /// The rooms of a domain that somebody is invited into.
    pub fn invited_at(&self, domain: &str) -> Vec<Jid> {
        self.invitations.rooms_at(domain)
    }

    // --- subscriptions (XEP-0379) ---

    /// The invitation whose token stands in a request for a subscription, if it is one of this account of ours, and of no account that
    /// is to be made.
    pub(super) fn invites(&self, own: &Jid, request: &Stanza) -> Option<TokenDigest> {
        let preauth = request.child(Ns::PARS, "preauth").filter(|_| request.ty == Type::Subscribe)?;
        let digest = token_digest(&preauth.attr("token")?);
        let one = self.invitations.open(&digest, self.moment())?;
        let fits = one.kind == InvitationKind::Account && one.name.is_none() && !one.admin && !self.is_dead(one);
        (fits && one.contacts.contains(own)).then_some(digest)
    }

    /// It was used for a subscription: once less for anybody else (XEP-0379 §5.2). Who comes again has it still.
    pub(super) fn spend_on_contact(&mut self, digest: &TokenDigest, contact: &Jid) {
        if !self.invitations.used_by(digest, contact) {
            return;
        }
        match self.invitations.spend(digest) {
            Some((_, true)) => self.changes.add().delete(Tree::Invitation, *digest),
            Some((_, false)) => self.store_invitation(digest),
            None => {}
        }
    }

    /// Two accounts of ours, one of whom has asked the other with a token, are each other's contacts from now on; who has asked is told as
    /// by the other's client (XEP-0379 §3.5).
    pub(super) fn accept_invited(&mut self, own: &Jid, contact: &Jid) -> Result<(), StanzaError> {
        let told = Stanza::new(Kind::Presence, Type::Subscribed).from(own.clone()).to(contact.clone());
        for sid in self.available(contact.local().unwrap_or_default()) {
            self.send_to(sid, told.clone());
        }
        self.befriend(own, contact)
    }
}

/// Why nobody else gets a name.
fn kept(name: &Jid, digest: &TokenDigest) -> String {
    let id = id(digest);
    format!("{name} is kept for who takes the invitation {id}; `inglenook invite --revoke {id}` takes it back")
}

/// A time in seconds since 1970, for a person.
fn second(time: u64) -> String {
    stamp::format(time.saturating_mul(1000)).replace(".000Z", "Z")
}

/// An invitation, for a person.
fn line(digest: &TokenDigest, one: &Invitation, until: u64) -> String {
    let mut what = match (one.kind, &one.name) {
        (InvitationKind::Reset, Some(name)) => vec![format!("a new password for {name}")],
        (_, Some(name)) => vec![format!("the account {name}")],
        (_, None) if one.uses == 1 => vec!["an account".to_owned()],
        (_, None) => vec![format!("{} accounts", one.uses)],
    };
    what.extend(one.admin.then(|| "administrator".to_owned()));
    what.extend((!one.contacts.is_empty()).then(|| {
        let all: Vec<&str> = one.contacts.iter().map(Jid::as_str).collect();
        format!("contact of {}", all.join(" and "))
    }));
    what.extend(one.room.as_ref().map(|room| format!("member of {room}")));
    what.extend(one.by.as_ref().filter(|by| one.contacts.first() != Some(by)).map(|by| format!("made by {by}")));
    format!("{}  until {}  {}", id(digest), second(until / 1000), what.join(", "))
}
