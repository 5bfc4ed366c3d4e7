//! A stream between servers against arbitrary bytes, at both ends, before TLS and behind it.

use inglenook::stream::s2s::{DialbackSecret, Event, Evidence, Purpose, S2s, ServerTerms};
use inglenook::wire::{Condition, DomainPair, Jid, Manage, ManageAnswer, Proof, Refusal};
use std::sync::Arc;

/// Proves one domain, and no other.
#[derive(Debug)]
struct Only(&'static str);

impl Evidence for Only {
    fn proves(&self, domain: &Jid) -> Result<Proof, String> {
        if domain.as_str() == self.0 { Ok(Proof::Certificate) } else { Err("somebody else".into()) }
    }
}

fn jid(text: &str) -> Jid {
    Jid::parse(text).expect("it is a JID")
}

/// Who is there, as TLS knows it.
const THEIRS: &str = "capulet.example";
const OURS: &str = "montague.example";

fn terms() -> Arc<ServerTerms> {
    let domains = [jid(OURS), jid("rooms.montague.example")].into();
    Arc::new(ServerTerms { domains, secret: DialbackSecret::new([2; 32]) })
}

/// What came out of a stream.
#[derive(PartialEq, Debug, Default)]
struct Seen {
    written: String,
    events: Vec<String>,
}

/// Feeds it, and checks what must hold whatever the peer says.
fn feed(mut stream: S2s, tls: bool, chunks: &[&[u8]]) -> Seen {
    let mut seen = Seen::default();
    let mut pairs: Vec<DomainPair> = Vec::new();
    let mut over = false;
    let mut managed = false;
    let first = stream.begin(&mut seen.written);
    let first_said = !seen.written.is_empty();
    let mut waiting: Vec<u8> = Vec::new();
    for chunk in [&[][..]].iter().chain(chunks) {
        waiting.extend_from_slice(chunk);
        let mut input = &waiting[..];
        let mut event = if chunk.is_empty() { first.as_ref().map(|_| Event::Closed) } else { None };
        loop {
            event = match event.take() {
                Some(event) => {
                    assert!(!over, "the end is the last that is told");
                    seen.events.push(format!("{event:?}"));
                    assert!(tls || matches!(event, Event::StartTls | Event::Refused(_) | Event::Closed), "{event:?}");
                    match event {
                        Event::Proved(pair, proof) => {
                            assert_eq!(pair.theirs.as_str(), THEIRS);
                            stream.judged(&pair, Ok(proof), &mut seen.written)
                        }
                        Event::Key { pair, .. } => {
                            assert_ne!(pair.theirs.as_str(), THEIRS, "who has a certificate needs no key");
                            let refusal = Refusal { condition: Condition::NotAuthorized, text: "no".into() };
                            stream.judged(&pair, Err(refusal), &mut seen.written)
                        }
                        Event::Open { pair, manages, .. } => {
                            pairs.push(pair);
                            // The end that was dialled is asked.
                            if manages && first_said {
                                stream.manage(0, &Manage::Enable, &mut seen.written);
                            }
                            None
                        }
                        Event::Enable { .. } => {
                            assert!(pairs.len() == 1 && !std::mem::replace(&mut managed, true));
                            let enabled = Manage::Enabled { id: None, max_s: 0, location: None };
                            stream.manage(0, &enabled, &mut seen.written);
                            None
                        }
                        Event::Resume { h, id } => {
                            assert!(pairs.len() == 1 && !managed && stream.waits());
                            let failed = Manage::Failed { condition: Condition::ItemNotFound, handled: Some(h) };
                            let resumed = Manage::Resumed { jid: jid(THEIRS), id, h };
                            managed = h % 2 == 0;
                            stream.manage(0, if managed { &resumed } else { &failed }, &mut seen.written);
                            None
                        }
                        Event::Managed(answer) => {
                            managed = !matches!(answer, ManageAnswer::Failed(_));
                            None
                        }
                        Event::Acknowledge | Event::Acknowledged(_) => {
                            assert!(managed, "nothing is counted");
                            None
                        }
                        Event::Stanza(stanza) => {
                            let (from, to) = (stanza.from.expect("it has one"), stanza.to.expect("it has one"));
                            let of = |pair: &DomainPair| {
                                pair.theirs.domain() == from.domain() && pair.ours.domain() == to.domain()
                            };
                            assert!(pairs.iter().any(of), "{from} to {to}");
                            None
                        }
                        Event::StartTls | Event::Refused(_) | Event::Closed => {
                            over = true;
                            None
                        }
                        Event::Verified(_) => None,
                    }
                }
                None => match stream.next(0, &mut input, &mut seen.written) {
                    None => break,
                    event => event,
                },
            };
        }
        assert!(input.is_empty(), "all is taken");
        waiting.clear();
    }
    let ends = seen.written.matches("</stream:stream>").count();
    assert!(ends <= 1 && (ends == 0 || seen.written.ends_with("</stream:stream>")), "{}", seen.written);
    seen
}

/// Whatever the chunks, the same comes of it.
pub fn servers(bytes: &[u8]) {
    let evidence = |tls: bool| tls.then(|| Box::new(Only(THEIRS)) as Box<dyn Evidence>);
    let pair = DomainPair { ours: jid(OURS), theirs: jid(THEIRS) };
    let make = |which: u8, tls: bool| match which {
        0 => S2s::incoming(terms(), evidence(tls), 0, [3; 32]),
        1 => S2s::outgoing(terms(), evidence(tls), 0, [3; 32], Purpose::Stanzas { pair: pair.clone(), keep: false }),
        _ => {
            let purpose = Purpose::Verify { pair: pair.clone(), id: "a".into(), key: "b".into() };
            S2s::outgoing(terms(), evidence(tls), 0, [3; 32], purpose)
        }
    };
    for which in 0..3 {
        for tls in [false, true] {
            let whole = feed(make(which, tls), tls, &[bytes]);
            let each: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(feed(make(which, tls), tls, &each), whole);
            let some: Vec<&[u8]> = bytes.chunks(7).collect();
            assert_eq!(feed(make(which, tls), tls, &some), whole);
        }
    }
}
