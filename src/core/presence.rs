//! Presence (RFC 6121 §3 and §4): broadcast, probes, directed presence, subscriptions.

use super::account::Account;
use super::event::Event;
use super::ids::SessionId;
use super::impossible::impossible;
use super::notifier::TokenDigest;
use super::roster::{self, Item, REQUEST_BYTES};
use super::session::{DIRECTED_AROUND_BYTES, DIRECTED_BYTES, PRESENCE_BYTES, Session};
use super::state::State;
use super::subscription::SubscriptionState;
use super::work::Work;
use crate::wire::{Condition, Jid, Kind, Ns, Scope, Stanza, StanzaError, Type};

type Outcome = Result<(), StanzaError>;

/// A presence that a session of ours sends; the hooks have passed it.
pub(super) fn sent(st: &mut State, sid: SessionId, presence: Stanza) -> Outcome {
    match (presence.ty, &presence.to) {
        (Type::None, None) => available(st, sid, presence),
        (Type::Unavailable, None) => {
            let echo = presence.clone();
            if unavailable(st, sid, presence)
                && let Some(own) = st.here.session(sid).map(|s| s.jid.bare())
            {
                // Its own session sees it, too (RFC 6121 §4.5.2).
                st.send_to(sid, echo.to(own));
            }
            st.stay_behind(sid);
            Ok(())
        }
        (Type::None | Type::Unavailable, Some(_)) => directed(st, sid, presence),
        (Type::Subscribe | Type::Subscribed | Type::Unsubscribe | Type::Unsubscribed, Some(_)) => {
            subscription_sent(st, sid, presence)
        }
        (Type::Probe, Some(to)) => {
            // Here the server asks for its clients (RFC 6121 §4.3). The answer to anybody else would end a request that waits.
            let asks = |s: &Session| st.here.account(s.local()).is_some_and(|a| a.roster.state(&to.bare()).to);
            if st.local(to).is_none() || st.here.session(sid).is_some_and(asks) {
                st.send(presence);
            }
            Ok(())
        }
        (Type::Error, Some(_)) => {
            st.send(presence);
            Ok(())
        }
        (Type::Error | Type::Probe, None) => Ok(()),
        // RFC 6121 §4.7.1 and §3.1.1: no such type, or a subscription to nobody.
        _ => Err(Condition::BadRequest.into()),
    }
}

/// RFC 6121 §4.7.2.3
fn priority(presence: &Stanza) -> Result<i8, StanzaError> {
    let Some(priority) = presence.child(Ns::CLIENT, "priority") else { return Ok(0) };
    let bad = || StanzaError::new(Condition::BadRequest).text("the priority is a number from -128 to 127");
    priority.text().trim().parse().map_err(|_| bad())
}

/// Initial and later broadcast presence (RFC 6121 §4.2, §4.4).
fn available(st: &mut State, sid: SessionId, presence: Stanza) -> Outcome {
    let priority = priority(&presence)?;
    if presence.bytes() > PRESENCE_BYTES {
        let text = format!("a presence has at most {PRESENCE_BYTES} bytes");
        return Err(StanzaError::new(Condition::PolicyViolation).text(text));
    }
    let Some(session) = st.here.session_mut(sid) else { return Ok(()) };
    let initial = session.presence.is_none();
    let received = session.receives();
    session.priority = priority;
    session.presence = Some(presence.clone());
    let receives = session.receives();
    let me = session.jid.clone();
    let local: Box<str> = session.local().into();
    if initial {
        // RFC 6121 §4.3: in place of a probe to a contact of our own server, its answer; of others the network is asked.
        ask_around(st, sid, &me, &local);
    }
    broadcast(st, &local, &presence);
    if initial {
        pending_requests(st, sid, &local);
    }
    st.work.push_back(Work::Event(Event::Broadcast(sid)));
    if received && !receives {
        // It gets no older messages any more.
        st.stay_behind(sid);
    }
    if receives && !received {
        st.share(&local, sid);
        st.work.push_back(Work::Event(Event::Receives(sid)));
    }
    Ok(())
}

/// Broadcasts what a session has broadcast before, with something else in it that the server says.
pub(crate) fn again(st: &mut State, sid: SessionId, presence: Stanza) {
    let Some(session) = st.here.session_mut(sid).filter(|session| session.presence.is_some()) else { return };
    session.presence = Some(presence.clone());
    let local: Box<str> = session.local().into();
    broadcast(st, &local, &presence);
}

/// Sends a presence to all who are subscribed and to the account's own available sessions (RFC 6121 §4.2.2).
fn broadcast(st: &mut State, local: &str, presence: &Stanza) {
    let Some(account) = st.here.account(local) else { return impossible("a session has no account") };
    let subscribers: Vec<Jid> = account.roster.subscribers().filter(|jid| !account.blocks(jid)).cloned().collect();
    let own = account.jid.clone();
    for jid in subscribers {
        st.send(presence.clone().to(jid));
    }
    for other in st.available(local) {
        st.send_to(other, presence.clone().to(own.clone()));
    }
}

/// The presence of the account's other sessions and of the contacts whose presence it gets, to a session that has come.
fn ask_around(st: &mut State, sid: SessionId, me: &Jid, local: &str) {
    let Some(account) = st.here.account(local) else { return impossible("a session has no account") };
    let subscriptions: Vec<Jid> = account.roster.subscriptions().filter(|jid| !account.blocks(jid)).cloned().collect();
    for other in st.available(local) {
        if other != sid
            && let Some(presence) = st.here.session(other).and_then(|s| s.presence.clone())
        {
            st.send_to(sid, presence.to(me.clone()));
        }
    }
    for contact in subscriptions {
        let probe = Stanza::new(Kind::Presence, Type::Probe).from(me.clone()).to(contact);
        st.send(probe);
    }
}

/// Requests that were made while nobody was there to see them (RFC 6121 §3.1.3).
fn pending_requests(st: &mut State, sid: SessionId, local: &str) {
    let Some(account) = st.here.account(local) else { return impossible("a session has no account") };
    let me = account.jid.clone();
    let requests: Vec<Stanza> = account
        .roster
        .items
        .iter()
        .filter(|(jid, item)| item.state.pending && !account.blocks(jid))
        .map(|(jid, item)| {
            let kept = item.request.as_deref().and_then(|xml| Stanza::parse(xml, Scope::client()).ok().flatten());
            let request = kept.unwrap_or_else(|| Stanza::new(Kind::Presence, Type::Subscribe));
            request.from(jid.clone()).to(me.clone())
        })
        .collect();
    for request in requests {
        st.send_to(sid, request);
    }
}

/// A session goes offline but stays connected, or is about to be gone (RFC 6121 §4.5). Says whether it was available.
fn unavailable(st: &mut State, sid: SessionId, presence: Stanza) -> bool {
    let Some(session) = st.here.session_mut(sid) else { return false };
    let was_available = session.presence.take().is_some();
    let directed = std::mem::take(&mut session.directed);
    let local: Box<str> = session.local().into();
    if was_available {
        broadcast(st, &local, &presence);
    }
    for jid in directed {
        // Subscribers and the own sessions were told already (RFC 6121 §4.6.3).
        let told = |a: &Account| a.roster.state(&jid.bare()).from || jid.bare_str() == a.jid.as_str();
        if !(was_available && st.here.account(&local).is_some_and(told)) {
            st.send(presence.clone().to(jid));
        }
    }
    if was_available && st.available(&local).is_empty() {
        let status = presence.child(Ns::CLIENT, "status").map(|s| s.text().into_owned()).unwrap_or_default();
        let now = st.time();
        if let Some(account) = st.here.account_mut(&local) {
            account.last_seen = Some((now, cut(&status, roster::NAME_BYTES).into()));
        }
        // A full disk costs the time last seen, nothing else.
        let _ = st.write_account(&local);
    }
    was_available
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

impl State {
    /// A session is gone: takes it out of all tables and tells who must know.
    pub(super) fn gone(&mut self, sid: SessionId, clean: bool) {
        let Some(session) = self.here.session(sid) else { return };
        let me = session.jid.clone();
        let local: Box<str> = session.local().into();
        unavailable(self, sid, Stanza::new(Kind::Presence, Type::Unavailable).from(me.clone()));
        self.lose_given(sid);
        let left = self.here.leave(sid);
        if let Some(session) = &left {
            if let Some(managed) = &session.managed {
                self.ended(&local, managed);
                // Its client may forget the stream: better noted at once.
                self.note_settled();
            }
            self.work.extend(session.undelivered().cloned().map(|stanza| Work::Left(sid, stanza)));
        }
        if let Some(stream) = left.and_then(|session| session.stream) {
            self.streams.carries.remove(&stream);
        }
        self.questions.left(sid);
        self.work.push_back(Work::Event(Event::Closed { sid, local, clean }));
    }

    /// Sends the presence of all available sessions to one who may see it now (RFC 6121 §3.1.5).
    pub fn show(&mut self, local: &str, contact: &Jid) {
        for sid in self.available(local) {
            if let Some(presence) = self.here.session(sid).and_then(|s| s.presence.clone()) {
                self.send(presence.to(contact.clone()));
            }
        }
    }

    /// Sends `unavailable` from all available sessions to one who may see them no longer (RFC 6121 §3.2.2, §3.3.3).
    pub fn withdraw(&mut self, local: &str, contact: &Jid) {
        for sid in self.available(local) {
            if let Some(session) = self.here.session(sid) {
                let gone = Stanza::new(Kind::Presence, Type::Unavailable).from(session.jid.clone()).to(contact.clone());
                self.send(gone);
            }
        }
    }
}

/// Directed presence (RFC 6121 §4.6). Nobody gets it who could not be told of its end.
fn directed(st: &mut State, sid: SessionId, presence: Stanza) -> Outcome {
    let (Some(to), Some(session)) = (&presence.to, st.here.session_mut(sid)) else { return Ok(()) };
    if presence.ty == Type::Unavailable {
        session.directed.remove(to);
    } else if !session.directed.contains(to) {
        let bytes: usize =
            session.directed.iter().chain([to]).map(|jid| DIRECTED_AROUND_BYTES + jid.as_str().len()).sum();
        if bytes > DIRECTED_BYTES {
            let text = "too many addresses were sent presence; take some back";
            return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
        }
        session.directed.insert(to.clone());
    }
    st.send(presence);
    Ok(())
}

/// The session's account asks for, gives or takes back a subscription (RFC 6121 §3, §A.2).
fn subscription_sent(st: &mut State, sid: SessionId, presence: Stanza) -> Outcome {
    let (Some(session), Some(contact)) = (st.here.session(sid), presence.to.as_ref().map(Jid::bare)) else {
        return Ok(());
    };
    let local: Box<str> = session.local().into();
    st.write()?;
    let Some(account) = st.here.account(&local) else {
        impossible("a session has no account");
        return Ok(());
    };
    if contact == account.jid {
        // Everybody is subscribed to themselves.
        return Ok(());
    }
    let own = account.jid.clone();
    let before = account.roster.items.get(&contact).cloned().unwrap_or_default();
    let verdict = before.state.outbound(presence.ty);
    let mut item = Item { state: verdict.state, ..before.clone() };
    if !item.state.pending {
        item.request = None;
    }
    // RFC 6121 §3.1.2 and §3.1.5: asking or approving puts the contact into the roster.
    let puts_it_there = presence.ty == Type::Subscribe || item.state.from || item.state.approved;
    item.listed |= puts_it_there && matches!(presence.ty, Type::Subscribe | Type::Subscribed);
    if !before.listed && item.listed {
        account.roster.has_room(&contact, &item)?;
    }
    let seen = item.listed && (!before.listed || before.state != item.state);
    if item != before {
        roster::put(st, &local, &contact, item.clone(), seen)?;
    }
    if before.state.from && !item.state.from {
        st.withdraw(&local, &contact);
    }
    if verdict.pass {
        // RFC 6121 §3.1.2: from and to the bare JIDs.
        st.send(presence.from(own).to(contact.clone()));
    }
    if !before.state.from && item.state.from {
        st.show(&local, &contact);
    }
    Ok(())
}

/// A subscription stanza reaches an account of ours (RFC 6121 §3, §A.3).
pub(super) fn subscription_arrives(st: &mut State, local: &str, presence: Stanza) -> Outcome {
    let Some(contact) = presence.from.as_ref().map(Jid::bare) else { return Ok(()) };
    let Some(account) = st.here.account(local) else {
        impossible("a subscription comes to an account that is gone");
        return Ok(());
    };
    let own = account.jid.clone();
    let before = account.roster.items.get(&contact).cloned().unwrap_or_default();
    if !before.state.from
        && let Some(digest) = st.invites(&own, &presence)
    {
        return invited_arrives(st, &own, &contact, &before, &digest);
    }
    let verdict = before.state.inbound(presence.ty);
    if verdict.state != before.state {
        st.write()?;
    }
    let Some(account) = st.here.account(local) else {
        impossible("an account is gone while a subscription comes to it");
        return Ok(());
    };
    let mut item = Item { state: verdict.state, ..before.clone() };
    if item.state.pending && !before.state.pending {
        let request = presence.clone().from(contact.clone()).to(own.clone()).to_xml();
        let kept = if request.len() <= REQUEST_BYTES { request.len() } else { 0 };
        if !account.roster.takes_request(&contact, kept, |jid| st.whose(jid)) {
            let text = "too many requests from there wait for an answer";
            return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
        }
        item.request = (request.len() <= REQUEST_BYTES).then(|| request.into());
    }
    if !item.state.pending {
        item.request = None;
    }
    let stanza = presence.clone().from(contact.clone()).to(own.clone());
    if verdict.pass {
        // RFC 6121 §3.1.3: a request is for who is available. §3.1.6, §3.2.3, §3.3.3: the rest is for who knows the roster, before
        // the push that it explains; also for one that does not, but is there.
        let request = presence.ty == Type::Subscribe;
        for sid in st.sessions_of(local) {
            if st.here.session(sid).is_some_and(|s| s.presence.is_some() || (s.interested && !request)) {
                st.send_to(sid, stanza.clone());
            }
        }
    }
    if item != before {
        let shown = |i: &Item| (i.listed, i.state.to, i.state.from, i.state.ask, i.state.approved);
        let push = item.listed && shown(&item) != shown(&before);
        roster::put(st, local, &contact, item.clone(), push)?;
    }
    if verdict.answer {
        st.send(Stanza::new(Kind::Presence, Type::Subscribed).from(own).to(contact.clone()));
    }
    if before.state.from && !item.state.from {
        st.withdraw(local, &contact);
    }
    if !before.state.from && item.state.from {
        st.show(local, &contact);
    }
    Ok(())
}

/// Somebody asks for a subscription with a token of the account: it is given, and asked for in return (XEP-0379 §3.5).
fn invited_arrives(st: &mut State, own: &Jid, contact: &Jid, before: &Item, digest: &TokenDigest) -> Outcome {
    st.write()?;
    if st.account(contact).is_some() {
        st.accept_invited(own, contact)?;
        st.spend_on_contact(digest, contact);
        return Ok(());
    }
    let Some((account, local)) = st.account(own).zip(st.local(own).map(Box::<str>::from)) else { return Ok(()) };
    let asks = !before.state.to;
    let state = SubscriptionState { from: true, pending: false, approved: false, ask: asks, ..before.state };
    let item = Item { listed: true, request: None, state, ..before.clone() };
    account.roster.has_room(contact, &item)?;
    roster::put(st, &local, contact, item, true)?;
    st.spend_on_contact(digest, contact);
    for ty in std::iter::once(Type::Subscribed).chain(asks.then_some(Type::Subscribe)) {
        st.send(Stanza::new(Kind::Presence, ty).from(own.clone()).to(contact.clone()));
    }
    st.show(&local, contact);
    Ok(())
}

/// A probe reaches an account of ours, or one that is not there (RFC 6121 §4.3.2).
pub(super) fn probed(st: &mut State, probe: &Stanza) {
    let (Some(from), Some(to)) = (probe.from.clone(), probe.to.as_ref().map(Jid::bare)) else { return };
    let account = st.account(&to);
    let own_session = from.bare() == to;
    let allowed = account.is_some_and(|a| a.shows_presence_to(&from) || (own_session && !a.blocks(&from)));
    if !allowed {
        st.send(Stanza::new(Kind::Presence, Type::Unsubscribed).from(to).to(from));
        return;
    }
    let local: Box<str> = to.local().unwrap_or_default().into();
    let sids = st.available(&local);
    if sids.is_empty() && !own_session {
        st.send(Stanza::new(Kind::Presence, Type::Unavailable).from(to).to(from));
        return;
    }
    for sid in sids {
        if let Some(presence) = st.here.session(sid).and_then(|s| s.presence.clone()) {
            st.send(presence.to(from.clone()));
        }
    }
}
