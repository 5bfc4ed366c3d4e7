//! Client streams, both sides played in memory: logins with every mechanism, and all that can go wrong on the way.
#![allow(clippy::unwrap_used)]

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::scram::{SASL, Scram, data, response};
use inglenook::stream::c2s::C2s;
use inglenook::stream::framing::Framing;
use inglenook::stream::plain::Plain;
use inglenook::stream::sasl::{ATTEMPTS, Failure, MECHANISMS};
use inglenook::stream::*;
use inglenook::wire::login::{Begins, Begun};
use inglenook::wire::scram::Credentials;
use inglenook::wire::{Condition, Jid, Kind, Manage, Offer, Stanza, StanzaError, StreamCondition, StreamFeature, Type};
use ring::digest;
use std::sync::{Arc, LazyLock};

const HEADER: &str = "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";
const BIND: &str =
    "<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource></bind></iq>";
const PASSWORD: &str = "pencil";
const EXPORTER: [u8; 32] = [9; 32];
const END_POINT: [u8; 32] = [5; 32];

static CREDENTIALS: LazyLock<Credentials> =
    LazyLock::new(|| Credentials::derive(PASSWORD, b"0123456789abcdef", 64).unwrap());

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn terms() -> Terms {
    Terms {
        domain: jid("example.org"),
        plain: false,
        registration: false,
        features: vec![StreamFeature::new("<ver xmlns='urn:xmpp:features:rosterver'/>")],
        bind_features: vec!["urn:xmpp:carbons:2", "urn:xmpp:sm:3"],
        upgrades: 0,
    }
}

fn tls() -> Tls {
    Tls { exporter: Some(EXPORTER), end_point: END_POINT.into() }
}

/// A stream with a world around it that knows one user, `ann`.
struct Play {
    c2s: C2s,
    now: Mono,
    /// All that the server wrote since it was last asked for.
    out: String,
    /// What the stream told since the last question, as text.
    events: Vec<String>,
    stanzas: Vec<Stanza>,
    bound: bool,
    store_is_down: bool,
}

impl Play {
    fn new(terms: Terms, tls: Tls) -> Play {
        let c2s = C2s::new(Framing::Tcp, Arc::new(terms), tls, 0, [3; 32]);
        Play { c2s, now: 0, out: String::new(), events: vec![], stanzas: vec![], bound: false, store_is_down: false }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        while let Some(event) = self.c2s.next(self.now, &mut input, &mut self.out) {
            self.on(event);
        }
        assert!(input.is_empty(), "bytes are left");
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::StartTls => panic!("TLS inside TLS"),
            Event::Credentials(who) => {
                self.events.push(format!("credentials {who}"));
                let answer = match (self.store_is_down, who.as_str()) {
                    (true, _) => self.c2s.refuse(Failure::TemporaryAuthFailure, &mut self.out),
                    (_, "ann@example.org") => self.c2s.credentials(CREDENTIALS.clone(), &mut self.out),
                    (_, name) => self.c2s.credentials(Credentials::fake(&[1; 32], name, 64), &mut self.out),
                };
                if let Some(event) = answer {
                    self.on(event);
                }
            }
            Event::Authenticated(who) => self.events.push(format!("authenticated {who}")),
            Event::Failed(who) => self.events.push(format!("failed {}", who.map_or("?".into(), |who| who.to_string()))),
            Event::Begin(begin) => {
                self.events.push(format!("begin {}", begin.account));
                let begun = Begun { jid: begin.account, begins: Begins::Unbound, proof: None, elements: String::new() };
                self.c2s.begun(Ok(begun), &mut self.out);
            }
            Event::Bind { account, resource } => {
                assert_eq!(account, jid("ann@example.org"));
                self.events.push(format!("bind {resource:?}"));
                let answer = match resource.as_deref() {
                    Some("taken") => Err(Condition::Conflict.into()),
                    resource => jid("ann@example.org")
                        .with_resource(resource.unwrap_or("made"))
                        .map_err(|_| StanzaError::new(Condition::BadRequest)),
                };
                self.bound = answer.is_ok();
                self.c2s.bound(answer, &mut self.out);
            }
            Event::Stanza(stanza) => {
                assert!(self.bound, "a stanza before there is a resource");
                self.events.push(format!("stanza {}", stanza.to_xml()));
                self.stanzas.push(stanza);
            }
            Event::Register(stanza) => {
                assert!(!self.bound);
                self.events.push("register".into());
                let answer = Stanza::result_of(&stanza, "<query xmlns='jabber:iq:register'/>");
                self.c2s.send(&answer, &mut self.out);
            }
            Event::Enable { resume, max_s } => {
                self.events.push(format!("enable {resume} {max_s:?}"));
                let enabled = Manage::Enabled { id: Some("'id'".into()), max_s: 5, location: None };
                self.c2s.manage(&enabled, &mut self.out);
            }
            Event::Resume { account, id, h } => {
                assert_eq!(account, jid("ann@example.org"));
                self.events.push(format!("resume {id} {h}"));
                let answer = match id.as_str() {
                    "known" => Manage::Resumed { jid: jid("ann@example.org/old"), id, h: 7 },
                    _ => Manage::Failed { condition: Condition::ItemNotFound, handled: Some(3) },
                };
                self.bound |= matches!(answer, Manage::Resumed { .. });
                self.c2s.manage(&answer, &mut self.out);
            }
            Event::Acknowledged(h) => self.events.push(format!("acknowledged {h}")),
            Event::Acknowledge => {
                self.events.push("acknowledge".into());
                self.c2s.manage(&Manage::Ack(9), &mut self.out);
            }
            Event::Active(active) => self.events.push(format!("active {active}")),
            Event::Closing => {
                self.events.push("closing".into());
                self.c2s.close(None, &mut self.out);
            }
            Event::Closed { clean } => self.events.push(format!("closed {clean}")),
        }
    }

    /// What comes back, and what the stream told.
    fn say(&mut self, text: &str) -> String {
        self.events.clear();
        self.out.clear();
        self.feed(text.as_bytes());
        self.out.clone()
    }

    fn told(&self) -> Vec<&str> {
        self.events.iter().map(|event| event.as_str()).collect()
    }

    fn assert_ended(&mut self, condition: &str) {
        let end = "</stream:stream>";
        assert!(self.out.ends_with(end), "{}", self.out);
        assert_eq!(self.out.matches(end).count(), 1);
        assert!(
            self.out.contains(&format!("<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>")),
            "{condition}: {}",
            self.out
        );
        assert_eq!(self.told().last(), Some(&"closed false"));
        assert_eq!(self.out.matches("<stream:stream ").count(), usize::from(self.out.starts_with("<?xml")));
        assert_eq!(self.c2s.deadline(), Mono::MAX);
        assert_eq!(self.say("<message/></stream:stream><<<&"), "", "nothing is said or read behind the end");
        assert!(self.events.is_empty());
    }
}

/// The client's half of SCRAM for `ann`, on the channel of [`tls`].
fn scram(mechanism: &'static str, gs2: &str) -> Scram {
    let binding = match gs2 {
        gs2 if gs2.contains("tls-exporter") => EXPORTER.to_vec(),
        gs2 if gs2.contains("tls-server-end-point") => END_POINT.to_vec(),
        _ => vec![],
    };
    Scram::new(mechanism, gs2, binding, "ann", PASSWORD)
}

/// Logs in as `ann` in a stream that is open, and gives what the client said.
fn log_in(play: &mut Play, scram: &Scram) -> Vec<String> {
    let first = scram.first();
    let challenge = play.say(&first);
    assert_eq!(play.told(), ["credentials ann@example.org"]);
    let (unproven, proof, expected) = scram.last(&challenge);
    let last = Scram::response(&unproven, &proof);
    let success = play.say(&last);
    assert_eq!(play.told(), ["authenticated ann@example.org"], "{success}");
    assert_eq!(data(&success, "success"), expected);
    vec![first, last]
}

fn in_session() -> Play {
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    play.say(HEADER);
    play.say(BIND);
    assert!(play.bound);
    play
}

fn authenticated() -> Play {
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    play.say(HEADER);
    play
}

fn id(header: &str) -> &str {
    header.split_once(" id='").unwrap().1.split_once('\'').unwrap().0
}

#[test]
fn features_before_and_after() {
    let mut play = Play::new(terms(), tls());
    let first = play.say(HEADER);
    assert_eq!(
        first,
        format!(
            "<?xml version='1.0'?><stream:stream from='example.org' id='{}' version='1.0' xml:lang='en' \
             xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><stream:features>\
             <mechanisms {SASL}><mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism>\
             <mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism></mechanisms>\
             <authentication xmlns='urn:xmpp:sasl:2'>\
             <mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism>\
             <mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism><inline><bind xmlns='urn:xmpp:bind:0'>\
             <inline><feature var='urn:xmpp:carbons:2'/><feature var='urn:xmpp:sm:3'/></inline></bind><sm xmlns='urn:xmpp:sm:3'/>\
             <fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-EXPR</mechanism><mechanism>HT-SHA-256-ENDP</mechanism>\
             <mechanism>HT-SHA-256-NONE</mechanism></fast></inline></authentication>\
             <sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>\
             <channel-binding type='tls-server-end-point'/></sasl-channel-binding>\
             <register xmlns='urn:xmpp:ibr-token:0'/>\
             <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>12288</max-bytes><idle-seconds>30</idle-seconds></limits>\
             </stream:features>",
            id(&first)
        )
    );
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    let second = play.say(HEADER);
    assert!(second.ends_with(
        "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind>\
         <ver xmlns='urn:xmpp:features:rosterver'/>\
         <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes><idle-seconds>600</idle-seconds></limits>\
         </stream:features>"
    ), "{second}");
    assert_ne!(id(&first), id(&second));

    let out =
        Play::new(Terms { plain: true, registration: true, ..terms() }, Tls { exporter: None, ..tls() }).say(HEADER);
    assert!(out.contains("<mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms>"));
    assert!(out.contains("<register xmlns='http://jabber.org/features/iq-register'/>"));
    assert!(out.contains("'urn:xmpp:sasl-cb:0'><channel-binding type='tls-server-end-point'/></sasl"));
}

#[test]
fn headers_are_answered_in_kind() {
    let header = HEADER.replace(" to=", " from='Ann@example.org/x' xml:lang='de' to=");
    let out = Play::new(terms(), tls()).say(&header);
    assert!(
        out.starts_with("<?xml version='1.0'?><stream:stream from='example.org' to='ann@example.org' id='"),
        "{out}"
    );
    assert!(out.contains(" version='1.0' xml:lang='de' xmlns='jabber:client' "));
}

#[test]
fn every_mechanism_logs_in() {
    for (mechanism, gs2) in [
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,"),
        ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,"),
        ("SCRAM-SHA-1-PLUS", "p=tls-exporter,,"),
        ("SCRAM-SHA-1-PLUS", "p=tls-server-end-point,a=ann@example.org,"),
        ("SCRAM-SHA-256", "n,,"),
        ("SCRAM-SHA-256", "n,a=ANN@example.org,"),
        ("SCRAM-SHA-1", "n,,"),
    ] {
        let mut play = Play::new(terms(), tls());
        play.say(HEADER);
        log_in(&mut play, &scram(mechanism, gs2));
        assert!(play.say(HEADER).contains("<bind "));
        assert_eq!(
            play.say(BIND),
            "<iq type='result' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>ann@example.org/x</jid></bind></iq>"
        );
        assert_eq!(play.told(), ["bind Some(\"x\")"]);
        play.say("<message to='bob@example.org'><body>hi</body></message>");
        assert_eq!(play.stanzas.len(), 1);
        assert_eq!((play.stanzas[0].kind, play.stanzas[0].to.clone()), (Kind::Message, Some(jid("bob@example.org"))));
    }
}

#[test]
fn without_an_initial_response() {
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    let scram = scram("SCRAM-SHA-256", "n,,");
    assert_eq!(play.say(&format!("<auth {SASL} mechanism='SCRAM-SHA-256'/>")), format!("<challenge {SASL}/>"));
    let challenge = play.say(&response("n,,n=ann,r=abcdefgh"));
    let (unproven, proof, _) = scram.last(&challenge);
    play.say(&Scram::response(&unproven, &proof));
    assert_eq!(play.told(), ["authenticated ann@example.org"]);
}

#[test]
fn a_name_with_a_comma_and_an_equals_sign() {
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    play.say(&Scram { bare: "n=A=2Cb=3Dc,r=x,z=whatever".into(), ..scram("SCRAM-SHA-256", "n,,") }.first());
    assert_eq!(play.told(), ["credentials a,b=c@example.org"]);
}

#[test]
fn the_offer_is_hashed_into_the_challenge() {
    for (mechanism, algorithm) in
        [("SCRAM-SHA-1", &digest::SHA1_FOR_LEGACY_USE_ONLY), ("SCRAM-SHA-256", &digest::SHA256)]
    {
        for (exporter, plain, text) in [
            (
                Some(EXPORTER),
                false,
                "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1eSCRAM-SHA-256\x1eSCRAM-SHA-256-PLUS\x1ftls-exporter\x1etls-server-end-point",
            ),
            (
                None,
                true,
                "PLAIN\x1eSCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1eSCRAM-SHA-256\x1eSCRAM-SHA-256-PLUS\x1ftls-server-end-point",
            ),
        ] {
            let mut play = Play::new(Terms { plain, ..terms() }, Tls { exporter, ..tls() });
            play.say(HEADER);
            let challenge = data(&play.say(&scram(mechanism, "n,,").first()), "challenge");
            let hash = STANDARD.encode(digest::digest(algorithm, text.as_bytes()));
            assert!(challenge.ends_with(&format!(",h={hash}")), "{challenge}");
        }
    }
}

#[test]
fn plain_where_it_is_allowed() {
    let auth = |text: &str| format!("<auth {SASL} mechanism='PLAIN'>{}</auth>", STANDARD.encode(text));
    let mut refused = Play::new(terms(), tls());
    refused.say(HEADER);
    assert_eq!(refused.say(&auth("\0ann\0pencil")), format!("<failure {SASL}><invalid-mechanism/></failure>"));

    for (text, out, told) in [
        ("\0ann\0pencil", "<success", &["credentials ann@example.org", "authenticated ann@example.org"][..]),
        ("ann@example.org\0ann\0pencil", "<success", &["credentials ann@example.org", "authenticated ann@example.org"]),
        ("\0ann\0pencils", "<not-authorized/>", &["credentials ann@example.org", "failed ann@example.org"]),
        ("\0bob\0pencil", "<not-authorized/>", &["credentials bob@example.org", "failed bob@example.org"]),
        ("bob@example.org\0ann\0pencil", "<invalid-authzid/>", &["failed ?"]),
        ("\0a@b\0pencil", "<not-authorized/>", &["failed ?"]),
        ("\0ann", "<malformed-request/>", &["failed ?"]),
        ("\0ann\0pen\0cil", "<malformed-request/>", &["failed ?"]),
        ("\0\0pencil", "<malformed-request/>", &["failed ?"]),
        ("\0ann\0", "<malformed-request/>", &["failed ?"]),
    ] {
        let mut play = Play::new(Terms { plain: true, ..terms() }, tls());
        play.say(HEADER);
        let answer = play.say(&auth(text));
        assert!(answer.contains(out), "{text:?}: {answer}");
        assert_eq!(play.told(), told, "{text:?}");
    }
    // Who the header says is a hint here (RFC 6120 §4.7.1); SASL says who it is.
    let mut play = Play::new(Terms { plain: true, ..terms() }, tls());
    play.say(&HEADER.replace(" to=", " from='bob@example.org' to="));
    assert!(play.say(&auth("\0ann\0pencil")).contains("<success"));
}

#[test]
fn first_messages_that_fail() {
    let auth =
        |mechanism: &str, text: &[u8]| format!("<auth {SASL} mechanism='{mechanism}'>{}</auth>", STANDARD.encode(text));
    let plain = |text: &str| auth("SCRAM-SHA-256", text.as_bytes());
    let plus = |text: &str| auth("SCRAM-SHA-256-PLUS", text.as_bytes());
    for (said, condition, failed) in [
        (format!("<auth {SASL}>eA==</auth>"), "malformed-request", "?"),
        (format!("<auth {SASL} mechanism=''>eA==</auth>"), "invalid-mechanism", "?"),
        (format!("<auth {SASL} mechanism='scram-sha-256'>eA==</auth>"), "invalid-mechanism", "?"),
        (format!("<auth {SASL} mechanism='EXTERNAL'>=</auth>"), "invalid-mechanism", "?"),
        (format!("<auth {SASL} mechanism='SCRAM-SHA-256'>=</auth>"), "malformed-request", "?"),
        (format!("<auth {SASL} mechanism='SCRAM-SHA-256'>biws</auth>"), "malformed-request", "?"),
        (format!("<auth {SASL} mechanism='SCRAM-SHA-256'>b iws</auth>"), "incorrect-encoding", "?"),
        (format!("<auth {SASL} mechanism='SCRAM-SHA-256'> biws</auth>"), "incorrect-encoding", "?"),
        (format!("<auth {SASL} mechanism='SCRAM-SHA-256'>biw</auth>"), "incorrect-encoding", "?"),
        (format!("<auth {SASL} mechanism='SCRAM-SHA-256'>eB==</auth>"), "incorrect-encoding", "?"),
        (format!("<auth {SASL} mechanism='SCRAM-SHA-256'>==</auth>"), "incorrect-encoding", "?"),
        (auth("SCRAM-SHA-256", b"n,,n=\xff,r=x"), "malformed-request", "?"),
        // Somebody took our offer of channel binding away.
        (plain("y,,n=ann,r=x"), "not-authorized", "?"),
        (plain("p=tls-exporter,,n=ann,r=x"), "malformed-request", "?"),
        (plus("n,,n=ann,r=x"), "malformed-request", "?"),
        (plus("y,,n=ann,r=x"), "malformed-request", "?"),
        (plus("p=tls-server-unique,,n=ann,r=x"), "malformed-request", "?"),
        (plus("p=,,n=ann,r=x"), "malformed-request", "?"),
        (plus("p,,n=ann,r=x"), "malformed-request", "?"),
        (plain("q,,n=ann,r=x"), "malformed-request", "?"),
        (plain("n,n=ann,r=x"), "malformed-request", "?"),
        (plain("n,b=ann,n=ann,r=x"), "malformed-request", "?"),
        (plain("n,a=,n=ann,r=x"), "malformed-request", "?"),
        (plain("n,a=bob@example.org,n=ann,r=x"), "invalid-authzid", "?"),
        (plain("n,a=ann,n=ann,r=x"), "invalid-authzid", "?"),
        (plain("n,a=ann@example.org/x,n=ann,r=x"), "invalid-authzid", "?"),
        (plain("n,a=@,n=ann,r=x"), "invalid-authzid", "?"),
        (plain("n,,m=x,n=ann,r=x"), "malformed-request", "?"),
        (plain("n,,n=ann,r=x,m=x"), "malformed-request", "?"),
        (plain("n,,n=ann,r=x,"), "malformed-request", "?"),
        (plain("n,,n=ann,r=x,7=x"), "malformed-request", "?"),
        (plain("n,,n=ann"), "malformed-request", "?"),
        (plain("n,,n=ann,r="), "malformed-request", "?"),
        (plain("n,,n=ann,r=a b"), "malformed-request", "?"),
        (plain("n,,n=ann,r=ä"), "malformed-request", "?"),
        (plain("n,,r=x,n=ann"), "malformed-request", "?"),
        (plain("n,,n=,r=x"), "malformed-request", "?"),
        (plain("n,,n=a=2cb,r=x"), "malformed-request", "?"),
        (plain("n,,n=a=,r=x"), "malformed-request", "?"),
        (plain("n,,n=a=3Db@c,r=x"), "not-authorized", "?"),
        (plain(&format!("n,,n={},r=x", "a".repeat(1024))), "not-authorized", "?"),
        (format!("<response {SASL}/>"), "malformed-request", "?"),
        (response("n,,n=ann,r=x"), "malformed-request", "?"),
        (format!("<abort {SASL}/>"), "aborted", "?"),
    ] {
        let mut play = Play::new(terms(), tls());
        play.say(HEADER);
        let out = play.say(&said);
        assert!(out.starts_with(&format!("<failure {SASL}><{condition}/>")), "{said}: {out}");
        assert!(out.ends_with("</failure>"));
        assert_eq!(play.told(), [format!("failed {failed}")], "{said}");
        // They may try again.
        log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    }
}

/// What slixmpp before 1.9, and with it Poezio, does: it binds the channel as no TLS 1.3 can, and then says `y`.
#[test]
fn a_client_that_knows_only_an_old_channel_binding() {
    let unique = |mechanism, password| Scram {
        password,
        ..Scram::new(mechanism, "p=tls-unique,,", vec![7; 12], "ann", PASSWORD)
    };
    let unbound = format!("<failure {SASL}><malformed-request/>");
    let attempt = |play: &mut Play, scram: &Scram| {
        let challenge = play.say(&scram.first());
        let (unproven, proof, _) = scram.last(&challenge);
        play.say(&Scram::response(&unproven, &proof))
    };
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"] {
        assert!(attempt(&mut play, &unique(mechanism, PASSWORD)).starts_with(&unbound));
        assert_eq!(play.told(), ["failed ?"], "that is no guess");
    }
    // It is somebody else who has proved to know what is offered.
    let bob = Scram { bare: "n=bob,r=abcdefgh".into(), ..scram("SCRAM-SHA-256", "y,,") };
    assert!(play.say(&bob.first()).contains("<not-authorized/>"));
    play.told();
    log_in(&mut play, &scram("SCRAM-SHA-256", "y,,"));

    // Whoever does not know the password opens no way by that, as one would who stands between.
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    assert!(attempt(&mut play, &unique("SCRAM-SHA-256-PLUS", "pencils")).contains("<not-authorized/>"));
    assert_eq!(play.told(), ["failed ann@example.org"]);
    assert!(play.say(&scram("SCRAM-SHA-256", "y,,").first()).contains("<not-authorized/>"));
    // Nor does what somebody only begins.
    assert!(play.say(&unique("SCRAM-SHA-1-PLUS", PASSWORD).first()).starts_with("<challenge"));
    assert!(play.say(&format!("<abort {SASL}/>")).contains("<aborted/>"));
    assert!(play.say(&scram("SCRAM-SHA-1", "y,,").first()).contains("<not-authorized/>"));

    // Who has only that to say is heard long enough to go through all that there is.
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    for _ in 0..MECHANISMS {
        assert!(!play.told().iter().any(|told| told.starts_with("closed")));
        play.say(&scram("SCRAM-SHA-256", "y,,").first());
    }
    assert!(play.told().iter().any(|told| told.starts_with("closed")), "{:?}", play.told());
}

#[test]
fn an_exporter_that_is_not_there() {
    let mut play = Play::new(terms(), Tls { exporter: None, ..tls() });
    play.say(HEADER);
    let out = play.say(&scram("SCRAM-SHA-256-PLUS", "p=tls-exporter,,").first());
    assert!(out.contains("<malformed-request/>"), "{out}");
    log_in(&mut play, &scram("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,"));
}

#[test]
fn last_messages_that_fail() {
    type Last = fn(&str, &[u8]) -> String;
    let cases: [(&str, Last, &str); 17] = [
        ("wrong proof", |u, p| Scram::response(u, &p.iter().map(|b| b ^ 1).collect::<Vec<_>>()), "not-authorized"),
        ("proof of zeros", |u, p| Scram::response(u, &vec![0; p.len()]), "not-authorized"),
        ("short proof", |u, p| Scram::response(u, &p[1..]), "malformed-request"),
        ("long proof", |u, p| Scram::response(u, &[p, &[0]].concat()), "malformed-request"),
        ("empty proof", |u, _| Scram::response(u, b""), "malformed-request"),
        ("no proof", |u, _| response(u), "malformed-request"),
        ("proof that is no base64", |u, _| response(&format!("{u},p=*")), "malformed-request"),
        ("a nonce cut short", |u, p| Scram::response(&u[..u.len() - 1], p), "not-authorized"),
        ("another nonce", |u, p| Scram::response(&format!("{u}x"), p), "not-authorized"),
        ("another GS2 header", |u, p| Scram::response(&u.replace("c=biws", "c=eSws"), p), "not-authorized"),
        (
            "a channel that was not named",
            |u, p| Scram::response(&u.replace("c=biws", "c=biwsAAAA"), p),
            "not-authorized",
        ),
        ("no binding", |u, p| Scram::response(u.trim_start_matches("c=biws,"), p), "malformed-request"),
        ("binding that is no base64", |u, p| Scram::response(&u.replace("biws", "*"), p), "malformed-request"),
        ("an extension", |u, p| Scram::response(&format!("{u},m=x"), p), "malformed-request"),
        ("nothing", |_, _| format!("<response {SASL}/>"), "malformed-request"),
        ("not base64", |_, _| format!("<response {SASL}>*</response>"), "incorrect-encoding"),
        ("given up", |_, _| format!("<abort {SASL}/>"), "aborted"),
    ];
    for (what, last, condition) in cases {
        let mut play = Play::new(terms(), tls());
        play.say(HEADER);
        let scram = scram("SCRAM-SHA-256", "n,,");
        let (unproven, proof, _) = scram.last(&play.say(&scram.first()));
        let out = play.say(&last(&unproven, &proof));
        assert!(out.starts_with(&format!("<failure {SASL}><{condition}/>")), "{what}: {out}");
        // Only a wrong proof is a guess; who gives up or stumbles is not slowed down for it.
        let guessed = if condition == "not-authorized" { "failed ann@example.org" } else { "failed ?" };
        assert_eq!(play.told(), [guessed], "{what}");
        // The right one comes too late.
        let out = play.say(&Scram::response(&unproven, &proof));
        assert!(out.contains("<malformed-request/>"), "{what}: {out}");
        log_in(&mut play, &scram);
    }
}

#[test]
fn what_is_proven_counts() {
    type Change = fn(String) -> String;
    let cases: [(&str, Change, bool); 5] = [
        ("nothing changed", |u| u, true),
        ("an optional attribute", |u| u + ",x=y", true),
        ("another nonce", |u| u + "x", false),
        ("the client's nonce alone", |u| u[..u.find(",r=").unwrap() + 3].to_owned() + "abcdefgh", false),
        ("another binding", |u| u.replace("c=biws", "c=eSws"), false),
    ];
    for (what, change, good) in cases {
        let mut play = Play::new(terms(), tls());
        play.say(HEADER);
        let scram = scram("SCRAM-SHA-256", "n,,");
        let challenge = play.say(&scram.first());
        let (unproven, proof, _) = scram.last(&challenge);
        let changed = change(unproven.clone());
        let (proven, _) = scram.prove(&challenge, &changed);
        play.say(&Scram::response(&changed, &proven));
        assert_eq!(play.told() == ["authenticated ann@example.org"], good, "{what}");
        if changed != unproven {
            // The proof of something else.
            let mut play = Play::new(terms(), tls());
            play.say(HEADER);
            play.say(&scram.first());
            assert!(play.say(&Scram::response(&changed, &proof)).contains("<not-authorized/>"), "{what}");
        }
    }
}

#[test]
fn wrong_channel_binding() {
    for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"] {
        for gs2 in ["p=tls-exporter,,", "p=tls-server-end-point,,"] {
            for binding in [vec![], vec![1; 32], EXPORTER[..31].to_vec()] {
                let mut play = Play::new(terms(), tls());
                play.say(HEADER);
                let scram = Scram { binding, ..scram(mechanism, gs2) };
                let (unproven, proof, _) = scram.last(&play.say(&scram.first()));
                assert!(play.say(&Scram::response(&unproven, &proof)).contains("<not-authorized/>"));
            }
        }
    }
}

#[test]
fn a_login_cannot_be_replayed() {
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    let said = log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    let mut other = C2s::new(Framing::Tcp, Arc::new(terms()), tls(), 0, [4; 32]);
    let mut out = String::new();
    let all = format!("{HEADER}{}", said.concat());
    let mut input = all.as_bytes();
    assert!(matches!(other.next(0, &mut input, &mut out), Some(Event::Credentials(_))));
    assert!(other.next(0, &mut input, &mut out).is_none(), "the answer comes first");
    assert!(!input.is_empty());
    assert!(other.credentials(CREDENTIALS.clone(), &mut out).is_none());
    assert!(matches!(other.next(0, &mut input, &mut out), Some(Event::Failed(Some(_)))));
    assert!(out.contains("<not-authorized/>"));
}

#[test]
fn out_of_order() {
    let scram = scram("SCRAM-SHA-256", "n,,");
    // A second <auth/> ends the attempt that is under way.
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    let (unproven, proof, _) = scram.last(&play.say(&scram.first()));
    assert!(play.say(&scram.first()).contains("<malformed-request/>"));
    assert!(play.say(&Scram::response(&unproven, &proof)).contains("<malformed-request/>"));
    // Nothing of SASL is left after success.
    let mut play = authenticated();
    play.say(&scram.first());
    play.assert_ended("unsupported-stanza-type");
}

#[test]
fn unknown_users_look_like_known_ones() {
    let mut lengths = vec![];
    for name in ["ann", "bob"] {
        let mut play = Play::new(terms(), tls());
        play.say(HEADER);
        let scram = Scram { bare: format!("n={name},r=abcdefgh"), password: "wrong", ..scram("SCRAM-SHA-256", "n,,") };
        let challenge = play.say(&scram.first());
        let (unproven, proof, _) = scram.last(&challenge);
        let failure = play.say(&Scram::response(&unproven, &proof));
        assert_eq!(failure, format!("<failure {SASL}><not-authorized/></failure>"));
        assert_eq!(play.told(), [format!("failed {name}@example.org")]);
        lengths.push(challenge.len());
    }
    assert_eq!(lengths[0], lengths[1]);
}

#[test]
fn a_store_in_trouble() {
    let mut play = Play::new(terms(), tls());
    play.store_is_down = true;
    play.say(HEADER);
    let out = play.say(&scram("SCRAM-SHA-256", "n,,").first());
    assert_eq!(out, format!("<failure {SASL}><temporary-auth-failure/></failure>"));
    assert_eq!(play.told(), ["credentials ann@example.org", "failed ?"]);
    play.store_is_down = false;
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
}

#[test]
fn attempts_are_counted() {
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    let abort = format!("<abort {SASL}/>");
    for _ in 1..ATTEMPTS {
        play.say(&abort);
        assert_eq!(play.told(), ["failed ?"]);
    }
    let out = play.say(&abort);
    assert!(out.starts_with("<failure "));
    assert_eq!(play.told(), ["failed ?", "closed false"]);
    play.assert_ended("policy-violation");
}

#[test]
fn what_does_not_belong_ends_the_stream() {
    let ping = "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>";
    let register = "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>";
    let auth = format!("<auth {SASL} mechanism='SCRAM-SHA-256'/>");
    let huge = format!("<message><body>{}</body></message>", "x".repeat(STANZA_BYTES));
    let deep = "<a>".repeat(STANZA_DEPTH + 1);
    let many = format!("<message>{}</message>", "<a/>".repeat(STANZA_ELEMENTS));
    let attributes = |n: usize| (0..n).map(|n| format!(" a{n}=''")).collect::<String>();
    let wide = format!("<message><a{}/></message>", attributes(ELEMENT_ATTRIBUTES + 1));
    let few = format!("<abort {SASL}>{}</abort>", "<a/>".repeat(64));
    let narrow = format!("<abort {SASL}{}/>", attributes(32));
    type Row<'a> = (&'a str, fn() -> Play, &'a [(&'a str, &'a str)]);
    let rows: [Row; 4] = [
        (
            "before a header",
            || Play::new(terms(), tls()),
            &[
                (ping, "invalid-namespace"),
                ("<stream:stream>", "not-well-formed"),
                ("x", "not-well-formed"),
                ("\u{16}\u{3}\u{1}", "not-well-formed"),
                ("<!DOCTYPE x>", "restricted-xml"),
                ("<!-- x -->", "restricted-xml"),
            ],
        ),
        (
            "before authentication",
            || {
                let mut play = Play::new(terms(), tls());
                play.say(HEADER);
                play
            },
            &[
                ("<message/>", "not-authorized"),
                ("<presence/>", "not-authorized"),
                (ping, "not-authorized"),
                (register, "not-authorized"),
                (BIND, "not-authorized"),
                ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "unsupported-stanza-type"),
                ("<foo/>", "unsupported-stanza-type"),
                ("<iq xmlns='jabber:server'/>", "unsupported-stanza-type"),
                ("<auth xmlns='urn:xmpp:sasl:2'/>", "unsupported-stanza-type"),
                ("<message>", ""),
                ("<a><a><a><a><a><a><a><a><a>", "policy-violation"),
                (&few, "policy-violation"),
                (&narrow, "policy-violation"),
                ("<message></iq>", "not-well-formed"),
                ("<x:message/>", "not-well-formed"),
                ("text", "not-well-formed"),
                ("<?php ?>", "restricted-xml"),
            ],
        ),
        (
            "before a resource",
            authenticated,
            &[
                ("<message/>", "not-authorized"),
                ("<presence/>", "not-authorized"),
                (ping, "not-authorized"),
                (register, "not-authorized"),
                ("<iq type='get' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "not-authorized"),
                ("<iq type='result' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "not-authorized"),
                (
                    "<iq type='set' id='1' to='bob@example.org'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
                    "not-authorized",
                ),
                (
                    "<iq type='set' id='1' from='bob@example.org'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
                    "invalid-from",
                ),
                (&auth, "unsupported-stanza-type"),
                ("<foo/>", "unsupported-stanza-type"),
            ],
        ),
        (
            "in a session",
            in_session,
            &[
                (&auth, "unsupported-stanza-type"),
                ("<foo/>", "unsupported-stanza-type"),
                ("<foo xmlns='urn:xmpp:sm:3'/>", "unsupported-stanza-type"),
                ("<message xmlns='jabber:server'/>", "unsupported-stanza-type"),
                ("<message from='bob@example.org'/>", "invalid-from"),
                ("<message from='ann@example.org/y'/>", "invalid-from"),
                ("<message from='example.org'/>", "invalid-from"),
                ("<message from=''/>", "invalid-from"),
                ("<message from='@'/>", "invalid-from"),
                ("<x:message xmlns:x='jabber:client'/>", "bad-namespace-prefix"),
                ("<message><!-- --></message>", "restricted-xml"),
                ("<message><body>&foo;</body></message>", "restricted-xml"),
                ("<message id='&foo;'/>", "restricted-xml"),
                ("<message a='1' a='2'/>", "not-well-formed"),
                (&huge, "policy-violation"),
                (&deep, "policy-violation"),
                (&many, "policy-violation"),
                (&wide, "policy-violation"),
            ],
        ),
    ];
    for (state, make, cases) in rows {
        for (said, condition) in cases {
            let mut play = make();
            play.say(said);
            let short: String = said.chars().take(60).collect();
            if condition.is_empty() {
                assert!(play.told().is_empty(), "{state}: {short}");
                continue;
            }
            assert!(play.out.contains(&format!("<{condition} ")), "{state}: {short}: {condition}: {}", play.out);
            play.assert_ended(condition);
        }
    }
}

/// What no stanza may hold, in place of `*` (RFC 6120 §4.9.3.13, §4.9.3.18, §11.1), with the error it gets.
const BAD_XML: &[(&[u8], &str)] = &[
    (b"<m><!-- c --></m>", "restricted-xml"),
    (b"<m><?php x?></m>", "restricted-xml"),
    (b"<?xml version='1.0'?>", "restricted-xml"),
    (b"<!DOCTYPE m [<!ENTITY e 'x'>]>", "restricted-xml"),
    (b"<m><!ELEMENT a ANY></m>", "restricted-xml"),
    (b"<m>&e;</m>", "restricted-xml"),
    (b"<m a='&e;'/>", "restricted-xml"),
    (b"<m>&amp</m>", "not-well-formed"),
    (b"<m>&</m>", "not-well-formed"),
    (b"<m>&#0;</m>", "not-well-formed"),
    (b"<m a='&#x0;'/>", "not-well-formed"),
    (b"<m>&#xD800;</m>", "not-well-formed"),
    (b"<m>&#xFFFE;</m>", "not-well-formed"),
    (b"<m>&#x110000;</m>", "not-well-formed"),
    (b"<m>\x00</m>", "not-well-formed"),
    (b"<m>\x1b</m>", "not-well-formed"),
    (b"<m>\xef\xbf\xbf</m>", "not-well-formed"),
    (b"<m>\xff</m>", "unsupported-encoding"),
    (b"<m>\xc0\x80</m>", "unsupported-encoding"),
    (b"<m>\xed\xa0\x80</m>", "unsupported-encoding"),
    (b"<m>\xe2\x82</m>", "unsupported-encoding"),
    (b"<m a='1' a='2'/>", "not-well-formed"),
    (b"<m xmlns:p='u' xmlns:q='u' p:a='1' q:a='2'/>", "not-well-formed"),
    (b"<m xmlns:p='u' xmlns:p='v'/>", "not-well-formed"),
    (b"<p:m/>", "not-well-formed"),
    (b"<m p:a='1'/>", "not-well-formed"),
    (b"<m xmlns:p=''/>", "not-well-formed"),
    (b"<m xmlns:xml='u'/>", "not-well-formed"),
    (b"<m xmlns:xmlns='u'/>", "not-well-formed"),
    (b"<m><a></b></m>", "not-well-formed"),
    (b"<m><a></m></a>", "not-well-formed"),
    (b"<m></ m>", "not-well-formed"),
    (b"<m a=1/>", "not-well-formed"),
    (b"<m a/>", "not-well-formed"),
    (b"<m a='<'/>", "not-well-formed"),
    (b"<m a='1'b='2'/>", "not-well-formed"),
    (b"<m>]]></m>", "not-well-formed"),
    (b"<m><a<b/></m>", "not-well-formed"),
    (b"<1/>", "not-well-formed"),
    (b"< m/>", "not-well-formed"),
    (b"<m / >", "not-well-formed"),
    (b"x", "not-well-formed"),
    (b"&amp;", "not-well-formed"),
    (b"<![CDATA[x]]>", "not-well-formed"),
    (b"</other>", "not-well-formed"),
];

/// Not well-formed or restricted XML in every form, whole and cut at any byte: before and after authentication, before a
/// resource is bound, and before TLS. The message behind it is never heard of.
#[test]
fn bad_xml_ends_the_stream_wherever_it_is_cut() {
    let opened = || {
        let mut play = Play::new(terms(), tls());
        play.say(HEADER);
        play
    };
    let behind = format!("<message/>{BIND}</stream:stream>");
    for (bad, condition) in BAD_XML {
        let said = [bad, behind.as_bytes()].concat();
        let shown = String::from_utf8_lossy(bad);
        for make in [opened as fn() -> Play, authenticated, in_session] {
            for cut in 0..=bad.len() {
                let mut play = make();
                play.events.clear();
                play.out.clear();
                play.feed(&said[..cut]);
                play.feed(&said[cut..]);
                let end = format!("<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
                assert!(play.out.contains(&end), "{shown} at {cut}: {}", play.out);
                assert_eq!(play.told(), ["closed false"], "{shown} at {cut}");
                play.assert_ended(condition);
            }
        }
        for cut in 0..=bad.len() {
            let mut plain = Plain::new(Arc::new(terms()), 0, [1; 32]);
            let mut out = String::new();
            assert!(plain.next(0, &mut HEADER.as_bytes(), &mut out).is_none());
            let first = plain.next(0, &mut &said[..cut], &mut out);
            let event = first.or_else(|| plain.next(0, &mut &said[cut..], &mut out));
            assert!(matches!(event, Some(Event::Closed { clean: false })), "{shown} at {cut}: {event:?}");
            assert!(out.contains(&format!("<stream:error><{condition} ")), "{shown} at {cut}: {out}");
        }
    }
}

#[test]
fn bad_headers() {
    for (header, condition) in [
        (HEADER.replace("example.org", "example.com"), "host-unknown"),
        (HEADER.replace("to='example.org' ", ""), "improper-addressing"),
        (HEADER.replace(" version='1.0' ", " "), "unsupported-version"),
        (HEADER.replace("jabber:client", "jabber:server"), "invalid-namespace"),
        (HEADER.replace("etherx", "other"), "invalid-namespace"),
        (HEADER.replace("?>", " encoding='latin-1'?>"), "unsupported-encoding"),
    ] {
        // Our header comes before the error, with an id; also on the stream after authentication.
        let mut play = Play::new(terms(), tls());
        let out = play.say(&header);
        assert!(out.starts_with("<?xml version='1.0'?><stream:stream from='example.org' id='"), "{out}");
        assert_eq!(id(&out).len(), 24);
        play.assert_ended(condition);

        let mut play = Play::new(terms(), tls());
        play.say(HEADER);
        log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
        let out = play.say(&header);
        assert_eq!(id(&out).len(), 24);
        play.assert_ended(condition);
    }
}

#[test]
fn a_header_in_the_other_style() {
    let header = "<stream to='example.org' version='1.0' xmlns='http://etherx.jabber.org/streams'>";
    let mut play = Play::new(terms(), tls());
    play.say(header);
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    play.say(header);
    play.say(&BIND.replace("<iq ", "<iq xmlns='jabber:client' "));
    play.say("<message xmlns='jabber:client'><body>hi</body></message>");
    assert_eq!(play.told(), ["stanza <message xmlns='jabber:client'><body>hi</body></message>"]);
    play.say("</stream>");
    assert_eq!(play.told(), ["closed true"]);
}

#[test]
fn prefixes_of_the_header_travel_with_the_stanza() {
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    play.say(&HEADER.replace(" to=", " xmlns:x='urn:x' to="));
    play.say(BIND);
    play.say("<message><x:y/></message>");
    assert_eq!(play.stanzas[0].children().next().unwrap().ns_uri(), "urn:x");
    assert!(play.stanzas[0].to_xml().contains("'urn:x'"));
    // Those of the first stream are forgotten.
    let mut play = Play::new(terms(), tls());
    play.say(&HEADER.replace(" to=", " xmlns:x='urn:x' to="));
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    play.say(HEADER);
    play.say(BIND);
    play.say("<message><x:y/></message>");
    play.assert_ended("not-well-formed");
}

#[test]
fn binding() {
    let bind = |inside: &str| {
        format!("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{inside}</bind></iq>")
    };
    for (inside, told) in [
        ("", "bind None"),
        ("<resource/>", "bind None"),
        ("<resource></resource>", "bind None"),
        ("<resource>a&amp;b</resource>", "bind Some(\"a&b\")"),
    ] {
        let mut play = authenticated();
        let out = play.say(&bind(inside));
        assert_eq!(play.told(), [told]);
        assert!(out.contains("<jid>ann@example.org/"), "{out}");
    }
    // An error leaves the stream as it is, for another try.
    let mut play = authenticated();
    let out = play.say(&bind("<resource>taken</resource>"));
    assert_eq!(
        out,
        "<iq type='error' id='1'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    );
    assert!(play.say(&bind("<resource>&#x200f;</resource>")).contains("<bad-request "), "{}", play.out);
    assert!(!play.bound);
    assert!(play.say(BIND).contains("<jid>ann@example.org/x</jid>"));
    // A second one is a stanza like any other.
    assert_eq!((play.say(BIND).as_str(), play.told().len(), play.stanzas.len()), ("", 1, 1));
    // A client may say who it is already.
    let mut play = authenticated();
    play.say(&BIND.replace("<iq ", "<iq from='ann@example.org' to='example.org' "));
    assert!(play.bound);
}

#[test]
fn what_follows_a_question_waits_for_its_answer() {
    let mut play = authenticated();
    let (mut out, said) = (String::new(), format!("{BIND}<message/>"));
    let mut input = said.as_bytes();
    assert!(matches!(play.c2s.next(0, &mut input, &mut out), Some(Event::Bind { .. })));
    assert!(play.c2s.next(0, &mut input, &mut out).is_none());
    assert_eq!(input, b"<message/>");
    play.c2s.bound(Ok(jid("ann@example.org/x")), &mut out);
    assert!(matches!(play.c2s.next(0, &mut input, &mut out), Some(Event::Stanza(_))));
}

#[test]
fn a_client_may_name_itself() {
    let mut play = in_session();
    play.say("<message from='ann@example.org'/><message from='ANN@example.org/x'/><message/>");
    assert_eq!(play.stanzas.len(), 3);
}

#[test]
fn the_language_of_the_stream_is_that_of_its_stanzas() {
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    play.say(&HEADER.replace(" to=", " xml:lang='de-CH' to="));
    play.say(BIND);
    play.say("<message/><message xml:lang='fr'/><message xml:lang=''/>");
    let langs: Vec<_> = play.stanzas.iter().map(|stanza| stanza.lang().unwrap().into_owned()).collect();
    assert_eq!(langs, ["de-CH", "fr", ""]);
    assert_eq!(play.told()[0], "stanza <message xmlns='jabber:client' xml:lang='de-CH'/>");
    let mut play = in_session();
    play.say("<message/>");
    assert_eq!(play.stanzas[0].lang(), None);
}

#[test]
fn registration_where_it_is_offered() {
    let register = "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>";
    let offered = || {
        let mut play = Play::new(Terms { registration: true, ..terms() }, tls());
        play.say(HEADER);
        play
    };
    let mut play = offered();
    assert_eq!(play.say(register), "<iq type='result' id='1'><query xmlns='jabber:iq:register'/></iq>");
    assert_eq!(play.told(), ["register"]);
    play.say(&register.replace("get", "set").replace("<iq ", "<iq to='example.org' "));
    assert_eq!(play.told(), ["register"]);
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    for other in [
        register.replace("get", "result"),
        register.replace("jabber:iq:register", "jabber:iq:roster"),
        register.replace("<iq ", "<iq to='bob@example.org' "),
        register.replace("iq ", "message ").replace("/iq", "/message"),
    ] {
        let mut play = offered();
        play.say(&other);
        play.assert_ended("not-authorized");
    }
    // Not while somebody logs in.
    let mut play = offered();
    play.say(&scram("SCRAM-SHA-256", "n,,").first());
    play.say(register);
    play.assert_ended("not-authorized");
}

#[test]
fn closing() {
    for make in [authenticated as fn() -> Play, in_session] {
        let mut play = make();
        assert_eq!(play.say("</stream:stream>"), "</stream:stream>");
        assert_eq!(play.told(), ["closed true"]);
        assert_eq!(play.say("<message/>"), "");
        let mut out = String::new();
        play.c2s.close(Some(&StreamCondition::SystemShutdown.into()), &mut out);
        play.c2s.send(&Stanza::new(Kind::Message, Type::None), &mut out);
        assert!(play.c2s.expired(Mono::MAX - 1, &mut out).is_none());
        assert_eq!(out, "");

        let mut play = make();
        let error =
            "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>";
        assert_eq!(play.say(error), "</stream:stream>");
        assert_eq!(play.told(), ["closed false"]);

        let mut play = make();
        play.out.clear();
        play.c2s.close(Some(&StreamCondition::SystemShutdown.into()), &mut play.out);
        play.c2s.close(None, &mut play.out);
        assert_eq!(
            play.out,
            "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
        );
        play.say("<message/></stream:stream>");
        assert!(play.told().is_empty() && play.out.is_empty());
    }
    // Before a header, and without an error.
    let mut play = Play::new(terms(), tls());
    play.c2s.close(None, &mut play.out);
    assert!(play.out.starts_with("<?xml") && play.out.ends_with("'http://etherx.jabber.org/streams'></stream:stream>"));
}

#[test]
fn bytes_before_authentication_are_limited() {
    // In one element, in many, and in white space.
    let comment = format!("<abort {SASL} a='{}'/>", "x".repeat(16 * 1024));
    let many = "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>".repeat(300);
    for said in [comment, many, " ".repeat(16 * 1024)] {
        for chunk in [said.len(), 1000, 1] {
            let mut play = Play::new(Terms { registration: true, ..terms() }, tls());
            play.say(HEADER);
            let mut taken = HEADER.len();
            play.events.clear();
            play.out.clear();
            for chunk in said.as_bytes().chunks(chunk) {
                play.feed(chunk);
                taken += chunk.len();
                if play.told().last() == Some(&"closed false") {
                    break;
                }
            }
            assert!(taken <= UNAUTHENTICATED_BYTES || chunk == said.len());
            play.assert_ended("policy-violation");
        }
    }
    // After it they are not.
    let mut play = in_session();
    for _ in 0..100 {
        play.say(&format!("<message><body>{}</body></message>", "x".repeat(10_000)));
        assert_eq!(play.told().len(), 1);
    }
    // The header of the second stream still is.
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    play.say(&HEADER.replace(" to=", &format!(" a='{}' to=", "x".repeat(UNAUTHENTICATED_BYTES))));
    play.assert_ended("policy-violation");
}

#[test]
fn time_before_authentication_is_limited() {
    let mut play = Play::new(terms(), tls());
    play.now = UNAUTHENTICATED_MS - 1;
    play.say(HEADER);
    play.out.clear();
    assert_eq!(play.c2s.deadline(), UNAUTHENTICATED_MS, "whatever they send");
    assert!(play.c2s.expired(play.now, &mut play.out).is_none());
    let event = play.c2s.expired(UNAUTHENTICATED_MS, &mut play.out).unwrap();
    play.on(event);
    assert!(!play.out.starts_with("<?xml"));
    play.assert_ended("connection-timeout");
    // It counts from when the connection was accepted.
    assert_eq!(C2s::new(Framing::Tcp, Arc::new(terms()), tls(), 5, [0; 32]).deadline(), 5 + UNAUTHENTICATED_MS);
}

#[test]
fn silent_peers_are_asked() {
    let ping = |n: u32| format!("<iq from='example.org' type='get' id='idle-{n}'><ping xmlns='urn:xmpp:ping'/></iq>");
    let mut play = in_session();
    assert_eq!(play.c2s.deadline(), IDLE_MS);
    play.now = 1000;
    play.say(" ");
    assert_eq!(play.c2s.deadline(), 1000 + IDLE_MS, "white space keeps it alive");
    play.out.clear();
    assert!(play.c2s.expired(999 + IDLE_MS, &mut play.out).is_none());
    assert_eq!(play.out, "");
    assert!(play.c2s.expired(1000 + IDLE_MS, &mut play.out).is_none());
    assert_eq!(play.out, ping(1));
    assert_eq!(play.c2s.deadline(), 1000 + IDLE_MS + IDLE_ANSWER_MS);
    // The answer is a stanza: with stream management it counts.
    play.now = 2000 + IDLE_MS;
    play.say("<iq type='result' id='idle-1' to='example.org'/>");
    assert_eq!(play.told(), ["stanza <iq xmlns='jabber:client' to='example.org' type='result' id='idle-1'/>"]);
    assert_eq!(play.c2s.deadline(), 2000 + 2 * IDLE_MS);
    // No answer.
    play.out.clear();
    assert!(play.c2s.expired(play.c2s.deadline(), &mut play.out).is_none());
    assert_eq!(play.out, ping(2));
    play.events.clear();
    play.out.clear();
    let event = play.c2s.expired(play.c2s.deadline(), &mut play.out).unwrap();
    play.on(event);
    play.assert_ended("connection-timeout");
    // Without a resource there is nobody to ask.
    let mut play = authenticated();
    play.events.clear();
    play.out.clear();
    let event = play.c2s.expired(IDLE_MS, &mut play.out).unwrap();
    play.on(event);
    play.assert_ended("connection-timeout");
}

// --- stream management (XEP-0198) ---

const SM: &str = "xmlns='urn:xmpp:sm:3'";
const ENABLED: &str = "<enabled xmlns='urn:xmpp:sm:3' id='&apos;id&apos;' resume='true' max='5'/>";

fn failed(condition: &str) -> String {
    format!("<failed {SM}><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
}

fn managed() -> Play {
    let mut play = in_session();
    assert_eq!(play.say(&format!("<enable {SM}/>")), ENABLED);
    play
}

/// §3, §5, §10: what is said too early or too late is refused, and the stream goes on as if it had not been said.
#[test]
fn managing_in_the_wrong_order() {
    let all = [
        format!("<enable {SM} resume='true'/>"),
        format!("<resume {SM} previd='known' h='0'/>"),
        format!("<r {SM}/>"),
        format!("<a {SM} h='0'/>"),
    ];
    let before = || {
        let mut play = Play::new(terms(), tls());
        play.say(HEADER);
        play
    };
    let refused = failed("unexpected-request");
    for (state, said) in [
        (before as fn() -> Play, vec![&all[0], &all[1], &all[2], &all[3]]),
        (authenticated, vec![&all[0], &all[2], &all[3]]),
        (in_session, vec![&all[1], &all[2], &all[3]]),
        (managed, vec![&all[1]]),
    ] {
        for said in said {
            let mut play = state();
            assert_eq!(play.say(said), refused, "{said}");
            assert!(play.told().is_empty(), "{said}");
            assert_eq!(play.say(said), refused, "{said}");
        }
    }
    let mut play = before();
    all.iter().for_each(|said| drop(play.say(said)));
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    play.say(HEADER);
    play.say(&all[0]);
    assert!(play.say(BIND).contains("<jid>ann@example.org/x</jid>"));
    play.say(&all[2]);
    assert_eq!(play.say(&all[0]), ENABLED);
    // Not even before the header that follows authentication.
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    play.say(&all[1]);
    assert!(play.out.contains("<stream:error>") && play.told() == ["closed false"], "{}", play.out);
}

/// §2: it is offered when it can be had.
#[test]
fn managing_is_offered_behind_the_login() {
    let mut play = Play::new(
        Terms { features: vec![StreamFeature::new(format!("<sm {SM}/>")).offered(Offer::Unmanaged)], ..terms() },
        tls(),
    );
    // But for those who log in in the other way.
    let features = play.say(HEADER);
    let (before, rest) = features.split_once("<authentication ").unwrap();
    assert!(!before.contains("urn:xmpp:sm:3"));
    assert!(!rest.split_once("</authentication>").unwrap().1.contains("urn:xmpp:sm:3"));
    log_in(&mut play, &scram("SCRAM-SHA-256", "n,,"));
    let features = play.say(HEADER);
    assert_eq!(features.matches(&format!("<sm {SM}/>")).count(), 1, "{features}");
}

/// XEP-0388 §2.6.1: what was enabled with the login is not there to be asked for again.
#[test]
fn managing_is_not_offered_once_more() {
    for managed in [false, true] {
        let sm = StreamFeature::new(format!("<sm {SM}/>")).offered(Offer::Unmanaged);
        let mut play = Play::new(Terms { plain: true, features: vec![sm], ..terms() }, tls());
        play.say(HEADER);
        let plain = STANDARD.encode("\0ann\0pencil");
        let said = format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>{plain}</initial-response>\
             <bind xmlns='urn:xmpp:bind:0'/></authenticate>"
        );
        let (mut input, mut out) = (said.as_bytes(), String::new());
        while let Some(event) = play.c2s.next(0, &mut input, &mut out) {
            match event {
                Event::Credentials(_) => {
                    let event = play.c2s.credentials(CREDENTIALS.clone(), &mut out);
                    assert!(matches!(event, Some(Event::Authenticated(_))), "{event:?}");
                }
                Event::Begin(_) => {
                    let begins = Begins::Bound { managed, inactive: false };
                    let jid = jid("ann@example.org/x");
                    play.c2s.begun(Ok(Begun { jid, begins, proof: None, elements: String::new() }), &mut out);
                }
                other => panic!("{other:?}"),
            }
        }
        let (_, features) = out.split_once("<stream:features>").unwrap();
        assert_eq!(features.contains(&format!("<sm {SM}/>")), !managed, "{features}");
    }
}

/// §3: the attributes of `<enable/>`.
#[test]
fn what_a_client_wants_enabled() {
    for (attributes, told) in [
        ("", "enable false None"),
        ("resume='true'", "enable true None"),
        ("resume='1'", "enable true None"),
        ("resume=' true '", "enable true None"),
        ("resume='false'", "enable false None"),
        ("resume='0'", "enable false None"),
        ("resume='TRUE'", "enable false None"),
        ("resume=''", "enable false None"),
        ("x:resume='true' xmlns:x='u'", "enable false None"),
        ("resume='true' max='30'", "enable true Some(30)"),
        ("max='4294967295'", "enable false Some(4294967295)"),
        ("max='4294967296'", "enable false None"),
        ("max='99999999999999999999999999'", "enable false None"),
        ("max='0'", "enable false Some(0)"),
        ("max='-1'", "enable false None"),
        ("max='1.5'", "enable false None"),
        ("max=''", "enable false None"),
        ("max='ten'", "enable false None"),
    ] {
        let mut play = in_session();
        assert_eq!(play.say(&format!("<enable {SM} {attributes}/>")), ENABLED, "{attributes}");
        assert_eq!(play.told(), [told], "{attributes}");
    }
    // What is inside does not matter.
    let mut play = in_session();
    assert_eq!(play.say(&format!("<enable {SM}> <x xmlns='u'>y</x></enable>")), ENABLED);
}

/// §3: at most one attempt.
#[test]
fn managing_twice_ends_the_stream() {
    for state in [managed as fn() -> Play, resumed] {
        let mut play = state();
        play.say(&format!("<enable {SM}/>"));
        let refused = failed("unexpected-request");
        assert!(play.out.starts_with(&format!("{refused}<stream:error>")), "{}", play.out);
        play.assert_ended("policy-violation");
    }
}

/// §4: `<r/>` and `<a/>`.
#[test]
fn requests_and_acks() {
    let mut play = managed();
    assert_eq!(play.say(&format!("<r {SM}/>")), format!("<a {SM} h='9'/>"));
    assert_eq!(play.told(), ["acknowledge"]);
    for (h, told) in [("0", "acknowledged 0"), ("4294967295", "acknowledged 4294967295"), (" 7 ", "acknowledged 7")] {
        assert_eq!(play.say(&format!("<a {SM} h='{h}'/>")), "");
        assert_eq!(play.told(), [told]);
    }
    for bad in ["", "h=''", "h='x'", "h='-1'", "h='4294967296'", "h='1.0'", "h='1 2'", "h='99999999999999999999'"] {
        assert_eq!(play.say(&format!("<a {SM} {bad}/>")), failed("bad-request"), "{bad}");
        assert!(play.told().is_empty(), "{bad}");
    }
    assert_eq!(play.say("<message/>"), "");
    assert_eq!(play.told().len(), 1);
    // What only a server says is nothing that a client can say.
    for said in ["<enabled", "<resumed h='0' previd='known'", "<failed", "<sm", "<x"] {
        let mut play = managed();
        play.say(&format!("{said} {SM}/>"));
        play.assert_ended("unsupported-stanza-type");
    }
}

fn resumed() -> Play {
    let mut play = authenticated();
    assert_eq!(
        play.say(&format!("<resume {SM} previd='known' h='4294967295'/>")),
        format!("<resumed {SM} h='7' previd='known'/>")
    );
    assert_eq!(play.told(), ["resume known 4294967295"]);
    play
}

/// §5: `<resume/>`, well and badly.
#[test]
fn resuming() {
    let long = format!("previd='{}' h='0'", "x".repeat(257));
    for (attributes, condition) in [
        ("h='0'", "bad-request"),
        ("previd='known'", "bad-request"),
        ("previd='known' h=''", "bad-request"),
        ("previd='known' h='x'", "bad-request"),
        ("previd='known' h='-1'", "bad-request"),
        ("previd='known' h='4294967296'", "bad-request"),
        (&long, "item-not-found"),
    ] {
        let mut play = authenticated();
        assert_eq!(play.say(&format!("<resume {SM} {attributes}/>")), failed(condition), "{attributes}");
        assert!(play.told().is_empty());
        assert!(play.say(BIND).contains("<jid>ann@example.org/x</jid>"));
    }
    // It may bind then, or ask for another one.
    let unknown = format!("<resume {SM} previd='&lt;&apos;&amp;' h='3'/>");
    let mut play = authenticated();
    for _ in 0..2 {
        assert_eq!(play.say(&unknown), failed("item-not-found").replace("'><", "' h='3'><"));
        assert_eq!(play.told(), ["resume <'& 3"]);
    }
    assert!(play.say(BIND).contains("<jid>ann@example.org/x</jid>"));
    play.say("<message/>");
    assert_eq!(play.stanzas.len(), 1);
    // Or after a bind that failed.
    let mut play = authenticated();
    play.say(&BIND.replace(">x<", ">taken<"));
    assert!(play.say(&format!("<resume {SM} previd='known' h='0'/>")).starts_with("<resumed "));
}

/// §5: a stream that was resumed is the session's: its name, its limits, and no second resource.
#[test]
fn a_resumed_stream_is_a_session() {
    let mut play = resumed();
    play.say("<message from='ann@example.org/old'/><presence/>");
    assert_eq!(play.told().len(), 2);
    assert_eq!(play.say(BIND), "", "the core answers");
    assert_eq!(play.say(&format!("<r {SM}/>")), format!("<a {SM} h='9'/>"));
    let body = |bytes: usize| format!("<message><body>{}</body></message>", "x".repeat(bytes));
    play.say(&body(STANZA_BYTES - 100));
    assert_eq!(play.told().len(), 1);
    play.say(&body(STANZA_BYTES));
    play.assert_ended("policy-violation");
    let mut play = resumed();
    play.say("<message from='ann@example.org/x'/>");
    play.assert_ended("invalid-from");
}

/// What follows `<resume/>` is read when the answer is there, however it came in.
#[test]
fn what_follows_a_resumption_waits_for_its_answer() {
    let said = format!("<resume {SM} previd='known' h='1'/><message/><r {SM}/>");
    for size in 1..=said.len() {
        let (mut play, mut out) = (authenticated(), String::new());
        let mut events = 0;
        for chunk in said.as_bytes()[..said.len() - 7].chunks(size) {
            let mut input = chunk;
            while let Some(event) = play.c2s.next(5, &mut input, &mut out) {
                assert!(matches!(event, Event::Resume { h: 1, .. }), "{event:?}");
                events += 1;
            }
            if !input.is_empty() {
                assert!(events == 1 && b"<message/>".starts_with(&input[..1]), "{size}");
                break;
            }
        }
        assert_eq!((events, out.as_str()), (1, ""), "{size}");
        let answer = Manage::Resumed { jid: jid("ann@example.org/old"), id: "known".into(), h: 2 };
        play.c2s.manage(&answer, &mut out);
        // What waits for the session comes right behind.
        play.c2s.send(&Stanza::new(Kind::Message, Type::Chat), &mut out);
        assert_eq!(out, format!("<resumed {SM} h='2' previd='known'/><message type='chat'/>"));
        let mut input = &b"<message/>"[..];
        assert!(matches!(play.c2s.next(5, &mut input, &mut out), Some(Event::Stanza(_))), "{size}");
    }
}

/// §1: `<r/>` in place of a ping asks whether a silent client is there.
#[test]
fn silent_clients_are_asked_for_an_ack() {
    for state in [managed as fn() -> Play, resumed] {
        let mut play = state();
        play.out.clear();
        assert!(play.c2s.expired(IDLE_MS, &mut play.out).is_none());
        assert_eq!(play.out, format!("<r {SM}/>"));
        assert_eq!(play.c2s.deadline(), IDLE_MS + IDLE_ANSWER_MS);
        play.now = IDLE_MS + 1;
        play.say(&format!("<a {SM} h='0'/>"));
        assert_eq!(play.told(), ["acknowledged 0"]);
        assert_eq!(play.c2s.deadline(), 2 * IDLE_MS + 1);
        assert!(play.c2s.expired(play.c2s.deadline(), &mut play.out).is_none());
        play.events.clear();
        let event = play.c2s.expired(play.c2s.deadline(), &mut play.out).unwrap();
        play.on(event);
        play.assert_ended("connection-timeout");
    }
    // One that asked for nothing yet is not asked for acks.
    let mut play = in_session();
    play.out.clear();
    assert!(play.c2s.expired(IDLE_MS, &mut play.out).is_none());
    assert!(play.out.starts_with("<iq "), "{}", play.out);
}

/// XEP-0352 §4.2: only a bound stream has a state; there is no answer.
#[test]
fn the_state_of_a_client() {
    const CSI: &str = "xmlns='urn:xmpp:csi:0'";
    let both = [format!("<inactive {CSI}/>"), format!("<active {CSI}/>")];
    for state in [in_session as fn() -> Play, managed, resumed] {
        let mut play = state();
        assert_eq!(play.say(&both.concat()), "");
        assert_eq!(play.told(), ["active false", "active true"]);
    }
    // It is bound later: until then every stream is active.
    let mut play = authenticated();
    assert_eq!(play.say(&both.concat()), "");
    assert!(play.told().is_empty());
    let mut play = Play::new(terms(), tls());
    play.say(HEADER);
    play.say(&both[0]);
    play.assert_ended("unsupported-stanza-type");
    let mut play = in_session();
    play.say(&format!("<asleep {CSI}/>"));
    play.assert_ended("unsupported-stanza-type");
}

/// An inactive client is not woken to be asked whether it is there, if what it misses will be noticed.
#[test]
fn inactive_clients_are_left_alone() {
    let inactive = "<inactive xmlns='urn:xmpp:csi:0'/>";
    for (state, idle) in [(in_session as fn() -> Play, IDLE_MS), (managed, INACTIVE_IDLE_MS)] {
        let mut play = state();
        play.say(inactive);
        assert_eq!(play.c2s.deadline(), idle);
        play.say("<active xmlns='urn:xmpp:csi:0'/>");
        assert_eq!(play.c2s.deadline(), IDLE_MS);
    }
}

/// Nothing of it is written behind the end.
#[test]
fn nothing_is_managed_behind_the_end() {
    let mut play = managed();
    play.say("</stream:stream>");
    play.out.clear();
    for element in [Manage::Ack(1), Manage::Request] {
        play.c2s.manage(&element, &mut play.out);
    }
    assert_eq!(play.out, "");
    let mut play = authenticated();
    let mut input = b"<resume xmlns='urn:xmpp:sm:3' previd='known' h='1'/>".as_slice();
    assert!(play.c2s.next(0, &mut input, &mut play.out).is_some());
    play.c2s.close(None, &mut play.out);
    play.out.clear();
    play.c2s.manage(&Manage::Resumed { jid: jid("ann@example.org/old"), id: "known".into(), h: 2 }, &mut play.out);
    assert_eq!((play.out.as_str(), play.c2s.deadline()), ("", Mono::MAX));
}

/// All that a client says from its header to its end, as it fits to the server's random seed.
fn conversation(terms: &Terms) -> String {
    let mut play = Play::new(terms.clone(), tls());
    let mut said = vec![HEADER.to_owned()];
    play.say(HEADER);
    said.extend(log_in(&mut play, &scram("SCRAM-SHA-256-PLUS", "p=tls-exporter,,")));
    said.push(format!("\n{}", HEADER.replace(" to=", " xml:lang='de' to=")));
    said.push(BIND.into());
    said.push(
        "<presence/> \n<message to='bob@example.org'><body>a &lt; ä<![CDATA[<]]></body></message></stream:stream>"
            .into(),
    );
    said.concat()
}

#[test]
fn chunks_make_no_difference() {
    let all = conversation(&terms());
    let mut whole = Play::new(terms(), tls());
    whole.feed(all.as_bytes());
    assert_eq!(whole.told().len(), 6, "{:?}", whole.events);
    assert_eq!(whole.told().last(), Some(&"closed true"));
    let same = |play: &Play, what: usize| {
        assert_eq!(play.out, whole.out, "{what}");
        assert_eq!(play.events, whole.events, "{what}");
    };
    for at in 0..=all.len() {
        let mut play = Play::new(terms(), tls());
        play.feed(&all.as_bytes()[..at]);
        play.feed(&all.as_bytes()[at..]);
        same(&play, at);
    }
    for size in 1..20 {
        let mut play = Play::new(terms(), tls());
        all.as_bytes().chunks(size).for_each(|chunk| play.feed(chunk));
        same(&play, size);
    }
}

/// The fuzzer's best start is a login that succeeds: the file has to follow the code.
#[test]
fn the_corpus_has_a_login() {
    let terms = Terms { plain: true, registration: true, features: vec![], ..terms() };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/stream/scram");
    assert_eq!(std::fs::read_to_string(file).unwrap(), conversation(&terms));
}

#[test]
fn all_at_once_with_plain() {
    let auth = STANDARD.encode("\0ann\0pencil");
    let all = format!("{HEADER}<auth {SASL} mechanism='PLAIN'>{auth}</auth>{HEADER}{BIND}<message/>");
    let mut play = Play::new(Terms { plain: true, ..terms() }, tls());
    play.say(&all);
    assert_eq!(play.told().len(), 4);
    assert_eq!(play.stanzas.len(), 1);
}

/// A small generator of numbers, the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// Changes a conversation at a few places.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    const BITS: [&[u8]; 14] = [
        b"<",
        b">",
        b"'",
        b"/",
        b"&",
        b"\0",
        b"\xff",
        b"<message/>",
        b"</stream:stream>",
        b"<![CDATA[",
        b"xmlns='x'",
        b"=",
        b"<iq>",
        b"<abort/>",
    ];
    for _ in 0..=dice.below(2) {
        let at = dice.below(bytes.len());
        let end = (at + dice.below(60)).min(bytes.len());
        match dice.below(5) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let part = bytes[at..end].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, part);
            }
            3 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at, BITS[dice.below(BITS.len())].iter().copied())),
        }
    }
}

#[test]
fn damaged_conversations_harm_nobody() {
    let terms = Terms { registration: true, plain: true, ..terms() };
    let good = conversation(&terms);
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let (mut closed, mut logins) = (0, 0);
    for round in 0..6000 {
        let mut bytes = good.clone().into_bytes();
        mutate(&mut bytes, &mut dice);
        let (mut play, mut plain) = (Play::new(terms.clone(), tls()), Plain::new(Arc::new(terms.clone()), 0, [1; 32]));
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(dice.below(rest.len()) + 1);
            rest = behind;
            play.feed(chunk);
            let (mut input, mut out) = (chunk, String::new());
            while let Some(event) = plain.next(0, &mut input, &mut out) {
                assert!(matches!(event, Event::StartTls | Event::Closed { .. }), "{event:?}");
            }
        }
        let ends = play.told().iter().filter(|event| event.starts_with("closed")).count();
        assert!(ends <= 1, "round {round}");
        assert_eq!(ends, play.out.matches("</stream:stream>").count(), "round {round}: {}", play.out);
        closed += ends;
        logins += usize::from(play.bound);
    }
    assert!(closed > 1000 && logins > 500, "{closed} {logins}: the mutations are too wild or too tame");
}

#[test]
fn a_session_is_small() {
    assert!(size_of::<C2s>() <= 224, "{}", size_of::<C2s>());
}

mod before_tls {
    use super::*;

    const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

    /// What a fresh connection answers, and what it told, split at `at`.
    fn say(text: &str, at: usize) -> (String, Vec<String>) {
        let mut plain = Plain::new(Arc::new(terms()), 0, [7; 32]);
        let (mut out, mut events) = (String::new(), vec![]);
        let at = at.min(text.len());
        for chunk in [&text.as_bytes()[..at], &text.as_bytes()[at..]] {
            let mut input = chunk;
            while let Some(event) = plain.next(0, &mut input, &mut out) {
                events.push(format!("{event:?}"));
            }
            assert!(input.is_empty());
        }
        (out, events)
    }

    #[test]
    fn starttls_and_nothing_else() {
        let (out, events) = say(&format!("{HEADER}{STARTTLS}"), 0);
        assert_eq!(
            out,
            format!(
                "<?xml version='1.0'?><stream:stream from='example.org' id='{}' version='1.0' xml:lang='en' \
                 xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><stream:features>\
                 <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>\
                 <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
                id(&out)
            )
        );
        assert_eq!(events, ["StartTls"]);
    }

    #[test]
    fn what_follows_starttls_is_never_read() {
        let behind =
            format!("{HEADER}<auth {SASL} mechanism='PLAIN'>AGFubgBwZW5jaWw=</auth><message/></stream:stream><<&");
        let all = format!("{HEADER}{STARTTLS}{behind}");
        let expected = say(&format!("{HEADER}{STARTTLS}"), 0);
        for at in 0..=all.len() {
            assert_eq!(say(&all, at), expected);
        }
    }

    #[test]
    fn anything_else_ends_the_stream() {
        let long = format!("<starttls a='{}", "x".repeat(UNAUTHENTICATED_BYTES));
        let blank = " ".repeat(UNAUTHENTICATED_BYTES);
        for (said, condition) in [
            ("<message/>", "not-authorized"),
            ("<presence/>", "not-authorized"),
            ("<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>", "not-authorized"),
            (BIND, "not-authorized"),
            (
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGFubgBwZW5jaWw=</auth>",
                "policy-violation",
            ),
            ("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "unsupported-stanza-type"),
            ("<starttls/>", "unsupported-stanza-type"),
            ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'></message>", "not-well-formed"),
            ("<a><b><c><d><e><f><g><h><i>", "policy-violation"),
            ("x", "not-well-formed"),
            ("<!-- x -->", "restricted-xml"),
            (&long, "policy-violation"),
            (&blank, "policy-violation"),
        ] {
            let all = format!("{HEADER}{said}<message/>{STARTTLS}");
            let expected = say(&all, 0);
            assert!(expected.0.ends_with("</stream:stream>"));
            assert!(expected.0.contains(&format!("<stream:error><{condition} ")), "{said}: {}", expected.0);
            assert_eq!(
                expected.0.contains(&format!("<failure {SASL}><encryption-required/></failure>")),
                said.contains("PLAIN")
            );
            assert_eq!(expected.1, ["Closed { clean: false }"]);
            for at in 0..200 {
                assert_eq!(say(&all, at), expected, "{said} at {at}");
            }
        }
    }

    #[test]
    fn bad_headers_get_ours_and_the_error() {
        for (header, condition) in [
            (HEADER.replace("example.org", "example.com"), "host-unknown"),
            (HEADER.replace(" version='1.0' ", " "), "unsupported-version"),
            ("\u{16}\u{3}\u{1}\u{2}".into(), "not-well-formed"),
            ("GET / HTTP/1.1\r\n\r\n".into(), "not-well-formed"),
        ] {
            let (out, events) = say(&header, 3);
            assert!(out.starts_with("<?xml version='1.0'?><stream:stream from='example.org' id='"), "{out}");
            assert!(out.contains(&format!("><stream:error><{condition} ")), "{out}");
            assert_eq!(events, ["Closed { clean: false }"]);
        }
    }

    #[test]
    fn ends() {
        let (out, events) = say(&format!("{HEADER}</stream:stream>{STARTTLS}"), 0);
        assert!(out.ends_with("</stream:features></stream:stream>"));
        assert_eq!(events, ["Closed { clean: true }"]);
        let error = "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
        assert_eq!(say(&format!("{HEADER}{error}{STARTTLS}"), 0).1, ["Closed { clean: false }"]);

        let mut plain = Plain::new(Arc::new(terms()), 10, [7; 32]);
        let mut out = String::new();
        assert_eq!(plain.deadline(), 10 + UNAUTHENTICATED_MS);
        assert!(plain.expired(9 + UNAUTHENTICATED_MS, &mut out).is_none());
        assert!(matches!(plain.expired(10 + UNAUTHENTICATED_MS, &mut out), Some(Event::Closed { clean: false })));
        assert!(out.starts_with("<?xml") && out.contains("<connection-timeout ") && out.ends_with("</stream:stream>"));
        out.clear();
        plain.close(&StreamCondition::SystemShutdown.into(), &mut out);
        assert!(plain.expired(Mono::MAX - 1, &mut out).is_none());
        assert!(plain.next(0, &mut HEADER.as_bytes(), &mut out).is_none());
        assert_eq!(out, "");

        let mut plain = Plain::new(Arc::new(terms()), 0, [7; 32]);
        plain.close(&StreamCondition::SystemShutdown.into(), &mut out);
        assert!(out.contains("><stream:error><system-shutdown "));
    }
}
