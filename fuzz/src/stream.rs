//! A connection against arbitrary bytes, before TLS and inside it, there also as messages of a WebSocket.

use inglenook::stream::c2s::C2s;
use inglenook::stream::framing::Framing;
use inglenook::stream::plain::Plain;
use inglenook::stream::{Event, Terms, Tls};
use inglenook::wire::login::{Begins, Begun};
use inglenook::wire::scram::Credentials;
use inglenook::wire::{Condition, Jid, Manage};
use std::sync::{Arc, LazyLock};

/// Those of everybody; few iterations, to be fast.
static CREDENTIALS: LazyLock<Credentials> =
    LazyLock::new(|| Credentials::derive("pencil", b"0123456789abcdef", 64).expect("it is a password"));

fn jid(text: &str) -> Jid {
    Jid::parse(text).expect("it is a JID")
}

/// What came out of a connection.
#[derive(PartialEq, Debug, Default)]
struct Seen {
    written: String,
    events: Vec<String>,
}

impl Seen {
    /// Checks what must hold for any peer.
    fn check(&self) {
        let ends = self.events.iter().filter(|event| event.starts_with("Clos")).count();
        assert!(ends <= 1);
        let closes = ["</stream:stream>", "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"];
        assert_eq!(closes.iter().map(|end| self.written.matches(end).count()).sum::<usize>(), ends);
        let closed = self.events.iter().position(|event| event.starts_with("Clos"));
        assert!(closed.is_none_or(|at| at + 1 == self.events.len()), "the end is the last that is told");
    }
}

/// A connection without TLS says that it wants TLS, or ends; and nothing else.
fn before_tls(chunks: &[&[u8]], terms: &Arc<Terms>) -> Seen {
    let mut plain = Plain::new(terms.clone(), 0, [3; 32]);
    let mut seen = Seen::default();
    for chunk in chunks {
        let mut input = *chunk;
        while let Some(event) = plain.next(0, &mut input, &mut seen.written) {
            assert!(matches!(event, Event::StartTls | Event::Closed { .. }), "{event:?}");
            seen.events.push(format!("{event:?}"));
        }
        assert!(input.is_empty(), "all is taken");
    }
    seen
}

/// A connection inside TLS: nobody gets in without a proof, no stanza before there is a resource.
fn inside_tls(framing: Framing, chunks: &[&[u8]], terms: &Arc<Terms>) -> Seen {
    let tls = Tls { exporter: Some([9; 32]), end_point: [5; 32].into() };
    let mut c2s = C2s::new(framing, terms.clone(), tls, 0, [3; 32]);
    let mut seen = Seen::default();
    let (mut account, mut bound) = (None, false);
    for chunk in chunks {
        let mut input = *chunk;
        while let Some(event) = c2s.next(0, &mut input, &mut seen.written) {
            let mut next = Some(event);
            while let Some(event) = next.take() {
                seen.events.push(match &event {
                    Event::Stanza(stanza) | Event::Register(stanza) => stanza.to_xml(),
                    other => format!("{other:?}"),
                });
                match event {
                    Event::StartTls => panic!("TLS inside TLS"),
                    Event::Credentials(_) => {
                        assert!(account.is_none());
                        next = c2s.credentials(CREDENTIALS.clone(), &mut seen.written);
                    }
                    Event::Authenticated(who) => {
                        assert!(account.is_none() && who.is_bare() && who.domain() == "example.org");
                        account = Some(who);
                    }
                    Event::Begin(begin) => {
                        assert_eq!(account.is_none(), begin.proof.is_some());
                        let begins = match begin.request.resume() {
                            Some(Ok((id, _))) if id == "known" => Begins::Resumed,
                            _ if begin.request.bind().is_some() => Begins::Bound { managed: true, inactive: false },
                            _ => Begins::Unbound,
                        };
                        bound = begins != Begins::Unbound;
                        let jid = if bound { begin.account.with_resource("made").unwrap() } else { begin.account };
                        let begun = Begun { jid, begins, proof: None, elements: String::new() };
                        next = c2s.begun(Ok(begun), &mut seen.written);
                    }
                    Event::Failed(_) | Event::Register(_) => assert!(account.is_none()),
                    Event::Bind { account: bound_to, resource } => {
                        let account = account.as_ref().expect("authentication comes first");
                        assert_eq!(bound_to, *account);
                        assert!(!bound);
                        let answer = account.with_resource(resource.as_deref().unwrap_or("made"));
                        bound = answer.is_ok();
                        c2s.bound(answer.map_err(|_| Condition::BadRequest.into()), &mut seen.written);
                    }
                    Event::Stanza(stanza) => {
                        assert!(bound && !stanza.bad_from);
                        let own = |from: Jid| Some(from.bare()) == account;
                        assert!(stanza.from.is_none_or(own), "somebody else's name");
                    }
                    Event::Resume { account: resumes, id, h } => {
                        assert_eq!(Some(&resumes), account.as_ref());
                        let jid = account.as_ref().expect("authentication comes first").with_resource("old").unwrap();
                        assert!(!bound);
                        let failed = Manage::Failed { condition: Condition::ItemNotFound, handled: Some(h) };
                        bound = id == "known";
                        let answer = if bound { Manage::Resumed { jid, id, h } } else { failed };
                        c2s.manage(&answer, &mut seen.written);
                    }
                    Event::Enable { .. } | Event::Acknowledged(_) | Event::Acknowledge | Event::Active(_) => {
                        assert!(bound);
                    }
                    Event::Closing => c2s.close(None, &mut seen.written),
                    Event::Closed { .. } => {}
                }
            }
        }
        assert!(input.is_empty(), "all is taken");
    }
    seen
}

/// What comes out of a connection that these chunks come into.
type Connection = fn(&[&[u8]], &Arc<Terms>) -> Seen;

/// What a connection says and tells does not depend on the chunking.
pub fn stream(bytes: &[u8]) {
    let terms = Arc::new(Terms { plain: true, registration: true, upgrades: 128, ..Terms::new(jid("example.org")) });
    let whole = [bytes];
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    let (at, behind) = bytes.split_at(bytes.len() / 2);
    let connections: [(Connection, &str); 3] = [
        (before_tls, "before TLS"),
        (|chunks, terms| inside_tls(Framing::Tcp, chunks, terms), "inside TLS"),
        (|chunks, terms| inside_tls(Framing::WebSocket, chunks, terms), "in messages"),
    ];
    for (connection, name) in connections {
        let seen = connection(&whole, &terms);
        seen.check();
        assert_eq!(connection(&single, &terms), seen, "{name}, by byte");
        assert_eq!(connection(&[at, behind], &terms), seen, "{name}, in halves");
    }
}
