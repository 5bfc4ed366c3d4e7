//! RFC 7395: a client's stream in messages, without what carries them.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use inglenook::stream::c2s::C2s;
use inglenook::stream::framing::Framing;
use inglenook::stream::{Event, STANZA_BYTES, Terms, Tls};
use inglenook::wire::framer::END;
use inglenook::wire::scram::Credentials;
use inglenook::wire::{Condition, Jid, Kind, Manage, Ns, Raw, Stanza, StreamCondition, Type};
use std::sync::Arc;

const OPEN: &str = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0'/>";
const CLOSE: &str = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>";
const BIND: &str = "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";

/// A stream, and a world that knows one user.
struct Client {
    c2s: C2s,
    stanzas: Vec<Stanza>,
    /// How it ended.
    clean: Option<bool>,
}

fn plain(password: &str) -> String {
    let proof = STANDARD.encode(format!("\0ann\0{password}"));
    format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>")
}

impl Client {
    fn new() -> Client {
        let terms = Terms { plain: true, ..Terms::new(Jid::parse("example.org").unwrap()) };
        let tls = Tls { exporter: None, end_point: [5; 32].into() };
        let c2s = C2s::new(Framing::WebSocket, Arc::new(terms), tls, 0, [3; 32]);
        Client { c2s, stanzas: Vec::new(), clean: None }
    }

    /// With a session.
    fn bound() -> Client {
        let mut client = Client::new();
        client.say(&[OPEN]);
        assert!(client.say(&[&plain("pencil")])[0].starts_with("<success "));
        client.say(&[OPEN]);
        assert!(client.say(&[BIND])[0].contains("ann@example.org/x"));
        client
    }

    /// Says these messages. What the server says.
    fn say(&mut self, messages: &[&str]) -> Vec<String> {
        let said: String = messages.iter().map(|message| format!("{message}{}", char::from(END))).collect();
        let (mut input, mut out) = (said.as_bytes(), String::new());
        while let Some(event) = self.c2s.next(0, &mut input, &mut out) {
            match event {
                Event::Credentials(_) => {
                    let credentials = Credentials::derive("pencil", b"0123456789abcdef", 1).unwrap();
                    self.c2s.credentials(credentials, &mut out);
                }
                Event::Bind { account, .. } => self.c2s.bound(Ok(account.with_resource("x").unwrap()), &mut out),
                Event::Stanza(stanza) => self.stanzas.push(stanza),
                Event::Enable { .. } => {
                    self.c2s.manage(&Manage::Enabled { id: None, max_s: 0, location: None }, &mut out);
                }
                Event::Closing => self.c2s.close(None, &mut out),
                Event::Closed { clean } => self.clean = Some(clean),
                other => panic!("{other:?}"),
            }
        }
        heard(&out)
    }
}

/// Messages: each is a document of its own, and begins with its element (RFC 7395 §3.3.3).
fn heard(out: &str) -> Vec<String> {
    let all = if out.is_empty() { "" } else { out.strip_suffix(char::from(END)).expect("the last message has an end") };
    let all: Vec<String> = all.split_terminator(char::from(END)).map(str::to_owned).collect();
    for message in &all {
        assert!(message.starts_with('<') && !message.starts_with("<?"), "{message}");
        Raw::document(message).unwrap_or_else(|e| panic!("{e}: {message}"));
    }
    all
}

/// Whether these messages are a stream error and the end (§3.5, §3.6).
fn is_end(messages: &[String], condition: StreamCondition) -> bool {
    let [error, end] = messages else { return false };
    let raw = Raw::document(error).unwrap();
    let told = error.contains(&format!("><{} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>", condition.as_str()));
    raw.root().ns() == Ns::STREAM && raw.root().name() == "error" && told && end == CLOSE
}

/// §3.4: `<open/>` is answered with `<open/>`, and features follow in a message of their own.
#[test]
fn a_stream_opens() {
    let mut client = Client::new();
    let open = OPEN.replace(" to=", " xml:lang='de' from='Ann@example.org/y' to=");
    let all = client.say(&[&open]);
    let [opened, features] = &all[..] else { panic!("{all:?}") };
    let raw = Raw::document(opened).unwrap();
    assert_eq!((raw.root().ns(), raw.root().name()), (Ns::FRAMING, "open"));
    for (name, value) in [("from", "example.org"), ("to", "ann@example.org"), ("version", "1.0")] {
        assert_eq!(raw.root().attr(name).as_deref(), Some(value), "{opened}");
    }
    assert_eq!(raw.root().lang().as_deref(), Some("de"));
    assert!(raw.root().attr("id").is_some_and(|id| id.len() >= 16), "{opened}");
    let raw = Raw::document(features).unwrap();
    assert_eq!((raw.root().ns(), raw.root().name()), (Ns::STREAM, "features"));
    // §3.9: TLS is below.
    assert!(features.contains("<mechanisms ") && !features.contains("starttls"), "{features}");
}

/// §3.7: a stream that begins anew is opened, and not closed before; it has another id.
#[test]
fn a_stream_begins_anew() {
    let mut client = Client::new();
    let first = client.say(&[OPEN]);
    let all = client.say(&[&plain("pencil"), OPEN, BIND]);
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all[0].starts_with("<success "));
    let id = |open: &str| Raw::document(open).unwrap().root().attr("id").map(|id| id.into_owned());
    assert!(id(&all[1]).is_some() && id(&all[1]) != id(&first[0]));
    assert!(all[2].contains("<bind "), "{}", all[2]);
    // Nothing but that comes behind the proof.
    let mut client = Client::new();
    client.say(&[OPEN, &plain("pencil")]);
    let all = client.say(&[BIND]);
    assert!(all[0].starts_with("<open ") && is_end(&all[1..], StreamCondition::InvalidNamespace), "{all:?}");
}

/// §3.3.2, §3.4: what comes first is `<open/>` in its namespace; §3.5: an error stands behind our own `<open/>`.
#[test]
fn a_stream_is_opened_with_open() {
    use StreamCondition::*;
    let tcp = "<stream:stream to='example.org' version='1.0' xmlns:stream='http://etherx.jabber.org/streams'";
    for (first, condition) in [
        (OPEN.replace("xmpp-framing", "xmpp-frames"), InvalidNamespace),
        (OPEN.replace("xmlns='urn:ietf:params:xml:ns:xmpp-framing' ", ""), InvalidNamespace),
        ("<message xmlns='jabber:client'/>".into(), InvalidNamespace),
        (format!("{tcp}/>"), InvalidNamespace),
        (format!("{tcp}>"), NotWellFormed),
        (OPEN.replace("<open", "<opens"), BadFormat),
        (OPEN.replace("to='example.org'", ""), ImproperAddressing),
        (OPEN.replace("example.org", "example.com"), HostUnknown),
        (OPEN.replace("version='1.0'", ""), UnsupportedVersion),
        (format!(" {OPEN}"), NotWellFormed),
        (format!("{OPEN}{OPEN}"), NotWellFormed),
        (format!("<?xml version='1.0' encoding='utf-16'?>{OPEN}"), UnsupportedEncoding),
        (String::new(), NotWellFormed),
    ] {
        let mut client = Client::new();
        let all = client.say(&[&first]);
        assert!(all[0].starts_with("<open ") && is_end(&all[1..], condition), "{first}: {all:?}");
        assert_eq!(client.clean, Some(false));
        assert!(client.say(&[OPEN]).is_empty(), "nothing is heard behind the end");
    }
    // An XML declaration is not recommended, and no error (§3.3.3).
    let mut client = Client::new();
    assert_eq!(client.say(&[&format!("<?xml version=\"1.0\" encoding='UTF-8'?>\n{OPEN}\n")]).len(), 2);
    // Once on a stream.
    assert!(is_end(&client.say(&[OPEN]), BadFormat));
}

/// §3.6: `<close/>` is answered with `<close/>`, before a stream is open and behind it.
#[test]
fn a_stream_closes() {
    let mut client = Client::bound();
    assert_eq!(client.say(&[CLOSE, "<presence xmlns='jabber:client'/>"]), [CLOSE]);
    assert!(client.clean == Some(true) && client.stanzas.is_empty());

    let mut client = Client::new();
    let all = client.say(&[CLOSE]);
    assert!(all.len() == 2 && all[0].starts_with("<open ") && all[1] == CLOSE, "{all:?}");

    // With stream management it is told first.
    let mut client = Client::bound();
    assert_eq!(client.say(&["<enable xmlns='urn:xmpp:sm:3'/>"]), ["<enabled xmlns='urn:xmpp:sm:3'/>"]);
    assert_eq!(client.say(&[CLOSE]), [CLOSE]);

    let mut out = String::new();
    let mut client = Client::bound();
    client.c2s.close(Some(&StreamCondition::SystemShutdown.into()), &mut out);
    assert!(is_end(&heard(&out), StreamCondition::SystemShutdown), "{out}");
}

/// §3.3.3: each message declares all that it needs, of theirs and of ours.
#[test]
fn messages_stand_alone() {
    let mut client = Client::bound();
    client.say(&[
        "<message xmlns='jabber:client' to='bob@example.org'><body>a</body></message>",
        "<message xmlns='jabber:client' xmlns:c='urn:c'><body>a</body><c:c><c:d/></c:c></message>",
    ]);
    assert_eq!(client.stanzas.len(), 2);
    let mut out = String::new();
    for stanza in std::mem::take(&mut client.stanzas) {
        assert!(stanza.child(Ns::CLIENT, "body").is_some());
        client.c2s.send(&stanza, &mut out);
    }
    client.c2s.manage(&Manage::Request, &mut out);
    client.c2s.send(&Stanza::new(Kind::Presence, Type::Unavailable), &mut out);
    let all = heard(&out);
    assert_eq!(all.len(), 4, "{all:?}");
    for message in all.iter().filter(|message| !message.starts_with("<r ")) {
        assert_eq!(Raw::document(message).unwrap().root().ns(), Ns::CLIENT, "{message}");
    }
    // What nobody declares there is not declared.
    let all = client.say(&["<message to='bob@example.org'><body>a</body></message>"]);
    assert!(is_end(&all, StreamCondition::UnsupportedStanzaType), "{all:?}");
    let mut client = Client::bound();
    assert!(is_end(&client.say(&["<message xmlns='jabber:client'><x:x/></message>"]), StreamCondition::NotWellFormed));
}

/// §3.8: white space between messages is no message; a silent client is asked with one.
#[test]
fn nobody_sends_white_space() {
    for space in [" ", "\n", ""] {
        let mut client = Client::bound();
        assert!(is_end(&client.say(&[space]), StreamCondition::NotWellFormed), "{space:?}");
    }
    let mut client = Client::bound();
    let mut out = String::new();
    let due = client.c2s.deadline();
    assert!(client.c2s.expired(due, &mut out).is_none());
    assert!(heard(&out).len() == 1 && out.starts_with("<iq xmlns='jabber:client' "), "{out}");
}

/// The limits of TCP, before authentication and behind it.
#[test]
fn messages_have_limits() {
    let long = |bytes: usize| format!("<message xmlns='jabber:client'><body>{}</body></message>", "x".repeat(bytes));
    let mut client = Client::new();
    client.say(&[OPEN]);
    assert!(is_end(&client.say(&[&long(20_000)]), StreamCondition::PolicyViolation));
    let mut client = Client::bound();
    assert!(client.say(&[&long(STANZA_BYTES - 100)]).is_empty());
    assert_eq!(client.stanzas.len(), 1);
    assert!(is_end(&client.say(&[&long(STANZA_BYTES)]), StreamCondition::PolicyViolation));
    // Also of one that has no end.
    let mut client = Client::bound();
    let said = long(2 * STANZA_BYTES);
    let mut out = String::new();
    let mut ended = false;
    for chunk in said.as_bytes().chunks(1000) {
        let mut input = chunk;
        while let Some(event) = client.c2s.next(0, &mut input, &mut out) {
            ended |= matches!(event, Event::Closed { clean: false });
        }
        assert!(client.c2s.held_bytes() <= STANZA_BYTES);
    }
    assert!(ended && is_end(&heard(&out), StreamCondition::PolicyViolation), "{out}");
}

/// What is refused costs one message, and the stream goes on; the last refusal of a login is followed by the end.
#[test]
fn refusals_are_messages() {
    let mut client = Client::bound();
    let all = client.say(&["<r xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='1'/>"]);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|message| message.contains(Condition::UnexpectedRequest.as_str())), "{all:?}");
    let mut client = Client::new();
    client.say(&[OPEN]);
    let mut all = Vec::new();
    while client.clean.is_none() {
        all = client.say(&[&plain("wrong")]);
        assert!(all[0].starts_with("<failure "), "{all:?}");
    }
    assert!(is_end(&all[1..], StreamCondition::PolicyViolation), "{all:?}");
}
