//! Between a stream and the core: what a stream says becomes an [`Input`], and what the core has for it is given to the stream. No socket
//! and no clock: the server in memory of the tests drives these very links.

use crate::core::{Effect, Input, StreamId};
use crate::stream::Event;
use crate::stream::Mono;
use crate::stream::c2s::C2s;
use crate::stream::component::{Component, Event as Said};
use crate::wire::login::{Begun, Refused};
use crate::wire::scram::Credentials;
use crate::wire::{Jid, Manage, Stanza, StanzaError, StreamCondition, StreamError};
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
            Effect::Commit(..) | Effect::Ask(..) | Effect::Hash(..) | Effect::WakeAt(_) | Effect::Told(..) => {
                return Err(effect);
            }
        })
    }
}

/// What is to be done because of what a stream was given.
#[derive(Debug)]
pub enum Step {
    /// The core is told.
    Tell(Input),
    /// The peer has proved to be this account or component; then the core is told, if there is something to tell.
    Proved(Jid, Option<Input>),
    /// The stream is over.
    End(End),
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
                Step::Proved(jid.clone(), Some(Input::LoginEnded(sid, jid, ip, true)))
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
            // These end it: see `take`.
            Mail::Close(_) | Mail::Overflow | Mail::Shutdown => return None,
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
                Some(Step::Proved(name, None))
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
