//! Between a stream and the core: what a stream says becomes an [`Input`], and what the core has for it is given to the stream. No socket
//! and no clock: the server in memory of the tests drives these very links.

use crate::core::{Effect, Input, StreamId};
use crate::stream::Event;
use crate::stream::Mono;
use crate::stream::c2s::C2s;
use crate::stream::component::{Component, Event as Said};
use crate::stream::s2s::{Event as Heard, S2s};
use crate::wire::login::{Begun, Refused};
use crate::wire::scram::Credentials;
use crate::wire::{DomainPair, Jid, Manage, Proof, Refusal, Stanza, StanzaError, StreamCondition, StreamError};
use std::net::IpAddr;

/// What the core has for a connection.
#[derive(Debug)]
pub enum Mail {
    /// What the user's password must prove. Answers [`Input::Login`].
    Credentials(Credentials),
    /// How the stream begins, or why not. Answers [`Input::Begin`].
    Begun(Result<Begun, Refused>),
    /// The full JID, or why not; a component's name. Answers [`Input::Bind`] and [`Input::Attach`].
    Bound(Result<Jid, StanzaError>),
    /// Answers [`Input::Register`].
    Registered(Stanza),
    /// A stanza for the peer.
    Send(Stanza),
    /// An element of stream management for the peer. [`Manage::Resumed`] and [`Manage::Failed`] answer [`Input::Resume`].
    Manage(Manage),
    /// Whether a server may speak for its domain. Answers [`Input::PeerProved`] and [`Input::PeerKey`].
    Judged(DomainPair, Result<Proof, Refusal>),
    /// The core ended the stream, and has forgotten it.
    Close(Option<StreamError>),
    /// More was waiting than may; what waited is gone.
    Overflow,
    /// The server stops.
    Shutdown,
}

impl Mail {
    /// What an effect is for a stream, and for which.
    ///
    /// # Errors
    /// The effect, if it is for somebody else.
    pub fn of(effect: Effect) -> Result<(StreamId, Mail), Effect> {
        Ok(match effect {
            Effect::Send(sid, stanza) => (sid, Mail::Send(stanza)),
            Effect::Manage(sid, element) => (sid, Mail::Manage(element)),
            Effect::Credentials(sid, credentials) => (sid, Mail::Credentials(credentials)),
            Effect::Begun(sid, answer) => (sid, Mail::Begun(answer)),
            Effect::Bound(sid, answer) => (sid, Mail::Bound(answer)),
            Effect::Registered(sid, stanza) => (sid, Mail::Registered(stanza)),
            Effect::Close(sid, error) => (sid, Mail::Close(error)),
            Effect::Judged(sid, pair, answer) => (sid, Mail::Judged(pair, answer)),
            Effect::Commit(..)
            | Effect::Ask(..)
            | Effect::Hash(..)
            | Effect::Slot(..)
            | Effect::RemoveFiles(_)
            | Effect::WakeAt(_)
            | Effect::Told(..)
            | Effect::Notified(..)
            | Effect::Taken(..)
            | Effect::Dial(_)
            | Effect::Verify { .. } => return Err(effect),
        })
    }
}

/// What is to be done because of what a stream was given.
#[derive(Debug)]
pub enum Step {
    /// The core is told.
    Tell(Input),
    /// The peer has proved who it is; then the core is told, if there is something to tell.
    Proved(Peer, Option<Input>),
    /// The core is told, and the stream is over.
    TellAndEnd(Input, End),
    /// The stream is over.
    End(End),
}

/// Who a peer has proved to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// An account, by its bare JID.
    Account(Jid),
    /// A component, by its name.
    Component(Jid),
    /// A server, by its domain.
    Server(Jid),
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The peer closed it.
    Clean,
    /// An error of theirs, or of ours.
    Unclean,
    /// The core ended it, and has forgotten it.
    Told,
    /// There is nobody to say goodbye to.
    Broken,
}

/// A stream, with what it asks of the core and is answered.
pub trait Link {
    /// Whose the connection is, in what is told to the peer.
    const WHOSE: &'static str;
    /// The peer, in the log.
    const PEER: &'static str;
    /// How loud the log tells that it does not read.
    const LEVEL: log::Level;

    /// What is said first, before anything was read.
    fn begin(&mut self, _out: &mut String) -> Option<Step> {
        None
    }

    /// What the core is still to be told when the connection is gone.
    fn left(&mut self) -> Option<Input> {
        None
    }

    /// Takes bytes from the front of `input`, appends what is to be written to `out`, up to the next step or the end of `input`. Call it
    /// until it gives `None`; not while it waits.
    fn next(&mut self, now: Mono, input: &mut &[u8], out: &mut String) -> Option<Step>;

    /// Whether the core has to answer first.
    fn waits(&self) -> bool;

    /// Gives the stream what there is for it.
    fn take(&mut self, mail: Mail, out: &mut String) -> Option<Step> {
        let (error, end) = match mail {
            Mail::Close(error) => (error, End::Told),
            Mail::Overflow => (Some(too_much("too much was waiting to be read")), End::Unclean),
            Mail::Shutdown => (Some(StreamCondition::SystemShutdown.into()), End::Unclean),
            mail => return self.give(mail, out),
        };
        self.close(error.as_ref(), out);
        Some(Step::End(end))
    }

    /// The same, of what does not end the stream.
    fn give(&mut self, mail: Mail, out: &mut String) -> Option<Step>;

    /// Ends the stream, with an error or without.
    fn close(&mut self, error: Option<&StreamError>, out: &mut String);

    /// Until when nothing happens unless something comes in.
    fn deadline(&self) -> Mono;

    /// That time has come.
    fn expired(&mut self, now: Mono, out: &mut String) -> Option<Step>;

    /// What it keeps of what came in, in bytes.
    fn held_bytes(&self) -> usize;
}

/// What is told to who has more waiting than may.
pub(super) fn too_much(text: impl Into<std::borrow::Cow<'static, str>>) -> StreamError {
    StreamError::new(StreamCondition::ResourceConstraint).text(text)
}

/// What a client's stream waits for before it reads on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waits {
    Credentials,
    Begun,
    Bound,
    Resumed,
    Registered,
}

/// A client's stream.
#[derive(Debug)]
pub struct ClientLink {
    sid: StreamId,
    ip: IpAddr,
    stream: C2s,
    waits: Option<Waits>,
}

impl ClientLink {
    /// Of a connection from this address.
    pub fn new(sid: StreamId, ip: IpAddr, stream: C2s) -> ClientLink {
        ClientLink { sid, ip, stream, waits: None }
    }

    fn ask(&mut self, waits: Waits, input: Input) -> Step {
        self.waits = Some(waits);
        Step::Tell(input)
    }

    fn step(&mut self, event: Event) -> Option<Step> {
        let (sid, ip) = (self.sid, self.ip);
        Some(match event {
            Event::Credentials(jid) => self.ask(Waits::Credentials, Input::Login(sid, jid, ip)),
            Event::Authenticated(jid) => {
                log::info!("{jid} logged in from {ip}");
                Step::Proved(Peer::Account(jid.clone()), Some(Input::LoginEnded(sid, jid, ip, true)))
            }
            Event::Failed(jid) => {
                let jid = jid?;
                log::info!("{jid} failed to log in from {ip}");
                Step::Tell(Input::LoginEnded(sid, jid, ip, false))
            }
            Event::Begin(begin) => self.ask(Waits::Begun, Input::Begin(sid, begin, ip)),
            Event::Bind { account, resource } => self.ask(Waits::Bound, Input::Bind(sid, account, resource)),
            Event::Resume { account, id, h } => self.ask(Waits::Resumed, Input::Resume(sid, account, id, h)),
            Event::Register(stanza) => self.ask(Waits::Registered, Input::Register(sid, ip, stanza)),
            Event::Enable { resume, max_s } => Step::Tell(Input::Enable(sid, resume, max_s)),
            Event::Acknowledged(h) => Step::Tell(Input::Acknowledged(sid, h)),
            Event::Acknowledge => Step::Tell(Input::Acknowledge(sid)),
            Event::Active(active) => Step::Tell(Input::Active(sid, active)),
            Event::Closing => Step::Tell(Input::Closing(sid)),
            Event::Stanza(stanza) => Step::Tell(Input::Stanza(sid, stanza)),
            Event::Closed { clean } => Step::End(if clean { End::Clean } else { End::Unclean }),
            // There is TLS already.
            Event::StartTls => Step::End(End::Broken),
        })
    }
}

impl Link for ClientLink {
    const WHOSE: &'static str = "this account or address";
    const PEER: &'static str = "the client";
    const LEVEL: log::Level = log::Level::Debug;

    fn next(&mut self, now: Mono, input: &mut &[u8], out: &mut String) -> Option<Step> {
        loop {
            let event = self.stream.next(now, input, out)?;
            if let Some(step) = self.step(event) {
                return Some(step);
            }
        }
    }

    fn waits(&self) -> bool {
        self.waits.is_some()
    }

    fn give(&mut self, mail: Mail, out: &mut String) -> Option<Step> {
        let (answers, event) = match mail {
            Mail::Credentials(credentials) => (Waits::Credentials, self.stream.credentials(credentials, out)),
            Mail::Begun(answer) => (Waits::Begun, self.stream.begun(answer, out)),
            Mail::Bound(answer) => {
                self.stream.bound(answer, out);
                (Waits::Bound, None)
            }
            Mail::Registered(stanza) => {
                self.stream.send(&stanza, out);
                (Waits::Registered, None)
            }
            Mail::Manage(element) => {
                self.stream.manage(&element, out);
                if !matches!(element, Manage::Resumed { .. } | Manage::Failed { .. }) {
                    return None;
                }
                (Waits::Resumed, None)
            }
            Mail::Send(stanza) => {
                self.stream.send(&stanza, out);
                return None;
            }
            // For servers; and these end it: see `take`.
            Mail::Judged(..) | Mail::Close(_) | Mail::Overflow | Mail::Shutdown => return None,
        };
        if self.waits == Some(answers) {
            self.waits = None;
        }
        event.and_then(|event| self.step(event))
    }

    fn close(&mut self, error: Option<&StreamError>, out: &mut String) {
        self.stream.close(error, out);
    }

    fn deadline(&self) -> Mono {
        self.stream.deadline()
    }

    fn expired(&mut self, now: Mono, out: &mut String) -> Option<Step> {
        let event = self.stream.expired(now, out)?;
        self.step(event)
    }

    fn held_bytes(&self) -> usize {
        self.stream.held_bytes()
    }
}

/// A component's stream.
#[derive(Debug)]
pub struct ComponentLink {
    sid: StreamId,
    stream: Component,
    /// The handshake waits for its answer.
    waits: bool,
}

impl ComponentLink {
    /// Of a connection.
    pub fn new(sid: StreamId, stream: Component) -> ComponentLink {
        ComponentLink { sid, stream, waits: false }
    }

    fn step(&mut self, event: Said) -> Step {
        match event {
            Said::Proved(name, secret) => {
                self.waits = true;
                Step::Tell(Input::Attach(self.sid, name, secret))
            }
            Said::Stanza(stanza) => Step::Tell(Input::Stanza(self.sid, stanza)),
            Said::Closed => Step::End(End::Unclean),
        }
    }
}

impl Link for ComponentLink {
    const WHOSE: &'static str = "this component";
    const PEER: &'static str = "the component";
    const LEVEL: log::Level = log::Level::Info;

    fn next(&mut self, _now: Mono, input: &mut &[u8], out: &mut String) -> Option<Step> {
        let event = self.stream.next(input, out)?;
        Some(self.step(event))
    }

    fn waits(&self) -> bool {
        self.waits
    }

    fn give(&mut self, mail: Mail, out: &mut String) -> Option<Step> {
        match mail {
            Mail::Send(stanza) => {
                self.stream.send(&stanza, out);
                None
            }
            Mail::Bound(Ok(name)) => {
                self.stream.attached(out);
                self.waits = false;
                Some(Step::Proved(Peer::Component(name), None))
            }
            // The others are for clients.
            _ => None,
        }
    }

    fn close(&mut self, error: Option<&StreamError>, out: &mut String) {
        self.stream.close(error, out);
    }

    fn deadline(&self) -> Mono {
        self.stream.deadline()
    }

    fn expired(&mut self, now: Mono, out: &mut String) -> Option<Step> {
        self.stream.expired(now, out).map(|event| self.step(event))
    }

    fn held_bytes(&self) -> usize {
        self.stream.held_bytes()
    }
}

/// What a stream between servers is for, besides what its peer wants.
#[derive(Debug)]
enum Wanted {
    /// Nothing: they have dialled us.
    Nothing,
    /// It answers [`Effect::Dial`].
    Stanzas(DomainPair),
    /// It answers [`Effect::Verify`], about the key that was shown on this stream.
    Verified(StreamId, DomainPair),
    /// That is answered.
    Answered,
}

/// A stream between servers.
#[derive(Debug)]
pub struct ServerLink {
    sid: StreamId,
    stream: S2s,
    wanted: Wanted,
    /// When something was last read or due: what is sent in between is at about that time.
    now: Mono,
}

impl ServerLink {
    /// Of a connection that somebody has made to us.
    pub fn incoming(sid: StreamId, stream: S2s, now: Mono) -> ServerLink {
        ServerLink { sid, stream, wanted: Wanted::Nothing, now }
    }

    /// Of one that we have made, to say something.
    pub fn outgoing(sid: StreamId, stream: S2s, pair: DomainPair, now: Mono) -> ServerLink {
        ServerLink { sid, stream, wanted: Wanted::Stanzas(pair), now }
    }

    /// Of one that we have made to ask whether a key is theirs that was shown on that stream.
    pub fn asking(sid: StreamId, stream: S2s, shown_on: StreamId, pair: DomainPair, now: Mono) -> ServerLink {
        ServerLink { sid, stream, wanted: Wanted::Verified(shown_on, pair), now }
    }

    /// Answers what the stream was made for.
    fn answer(&mut self, refusal: Refusal) -> Option<Input> {
        match std::mem::replace(&mut self.wanted, Wanted::Answered) {
            Wanted::Stanzas(pair) => Some(Input::PeerRefused(pair, refusal)),
            Wanted::Verified(stream, pair) => Some(Input::PeerVerified(stream, pair, Err(refusal))),
            Wanted::Nothing => {
                self.wanted = Wanted::Nothing;
                None
            }
            Wanted::Answered => None,
        }
    }

    fn step(&mut self, event: Heard) -> Step {
        let stream = self.sid;
        match event {
            Heard::Proved(pair, proof) => Step::Tell(Input::PeerProved(stream, pair, proof)),
            Heard::Key { pair, id, key } => Step::Tell(Input::PeerKey { stream, pair, id, key }),
            Heard::Open { pair, proof, both, manages } => {
                let dialled = !matches!(self.wanted, Wanted::Nothing);
                if dialled {
                    self.wanted = Wanted::Answered;
                }
                let peer = Peer::Server(pair.theirs.clone());
                let sends = dialled || both;
                Step::Proved(peer, Some(Input::PeerOpen { stream, pair, proof, sends, dialled, manages }))
            }
            Heard::Enable { resume, max_s } => Step::Tell(Input::Enable(stream, resume, max_s)),
            Heard::Resume { id, h } => Step::Tell(Input::PeerResume(stream, id, h)),
            Heard::Managed(answer) => Step::Tell(Input::PeerManaged(stream, answer)),
            Heard::Acknowledge => Step::Tell(Input::Acknowledge(stream)),
            Heard::Acknowledged(h) => Step::Tell(Input::Acknowledged(stream, h)),
            Heard::Stanza(stanza) => Step::Tell(Input::Stanza(stream, stanza)),
            Heard::Verified(valid) => match std::mem::replace(&mut self.wanted, Wanted::Answered) {
                Wanted::Verified(stream, pair) => {
                    Step::TellAndEnd(Input::PeerVerified(stream, pair, Ok(valid)), End::Unclean)
                }
                _ => Step::End(End::Unclean),
            },
            Heard::Refused(refusal) => match self.answer(refusal) {
                Some(input) => Step::TellAndEnd(input, End::Unclean),
                None => Step::End(End::Unclean),
            },
            // There is TLS already.
            Heard::StartTls => Step::End(End::Broken),
            Heard::Closed => Step::End(End::Unclean),
        }
    }
}

impl Link for ServerLink {
    const WHOSE: &'static str = "this server or address";
    const PEER: &'static str = "the server";
    const LEVEL: log::Level = log::Level::Info;

    fn begin(&mut self, out: &mut String) -> Option<Step> {
        self.stream.begin(out).map(|event| self.step(event))
    }

    fn left(&mut self) -> Option<Input> {
        self.answer(Refusal::wait("the connection to it broke off before it was of any use"))
    }

    fn next(&mut self, now: Mono, input: &mut &[u8], out: &mut String) -> Option<Step> {
        self.now = now;
        let event = self.stream.next(now, input, out)?;
        Some(self.step(event))
    }

    fn waits(&self) -> bool {
        self.stream.waits()
    }

    fn give(&mut self, mail: Mail, out: &mut String) -> Option<Step> {
        match mail {
            Mail::Send(stanza) => {
                self.stream.send(self.now, &stanza, out);
                None
            }
            Mail::Manage(element) => {
                self.stream.manage(self.now, &element, out);
                None
            }
            Mail::Judged(pair, answer) => self.stream.judged(&pair, answer, out).map(|event| self.step(event)),
            // The others are for clients and components.
            _ => None,
        }
    }

    fn close(&mut self, error: Option<&StreamError>, out: &mut String) {
        self.stream.close(error, out);
    }

    fn deadline(&self) -> Mono {
        self.stream.deadline()
    }

    fn expired(&mut self, now: Mono, out: &mut String) -> Option<Step> {
        self.now = now;
        self.stream.expired(now, out).map(|event| self.step(event))
    }

    fn held_bytes(&self) -> usize {
        self.stream.held_bytes()
    }
}
