//! Two ends of a stream between servers, and what a hostile peer may try at each step.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::wire::{Condition, DomainPair, Jid, Manage, Proof, Refusal, StreamError};
use std::collections::BTreeSet;
use std::sync::Arc;

const NS: &str =
    "xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams'";

/// A certificate for these domains; of others it says nothing.
#[derive(Debug, Clone)]
struct Names(&'static [&'static str]);

impl Evidence for Names {
    fn proves(&self, domain: &Jid) -> Result<Proof, String> {
        match self.0.contains(&domain.as_str()) {
            true => Ok(Proof::Certificate),
            false => Err("its certificate is for somebody else".into()),
        }
    }
}

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn pair(ours: &str, theirs: &str) -> DomainPair {
    DomainPair { ours: jid(ours), theirs: jid(theirs) }
}

fn terms(domains: &[&str], seed: u8) -> Arc<ServerTerms> {
    let domains = domains.iter().map(|domain| jid(domain)).collect::<BTreeSet<_>>();
    Arc::new(ServerTerms { domains, secret: DialbackSecret::new([seed; 32]) })
}

/// One end, with all that it has said and told.
struct Side {
    stream: S2s,
    out: String,
    told: Vec<String>,
    /// What the core says of who has proved to be somebody.
    may: Result<Proof, Refusal>,
}

impl Side {
    fn of(stream: S2s) -> Side {
        Side { stream, out: String::new(), told: Vec::new(), may: Ok(Proof::Certificate) }
    }

    fn incoming(names: &'static [&'static str]) -> Side {
        let terms = terms(&["montague.example", "rooms.montague.example"], 2);
        Side::of(S2s::incoming(terms, Some(Box::new(Names(names))), 0, [3; 32]))
    }

    fn outgoing(names: &'static [&'static str], purpose: Purpose) -> Side {
        let mut side =
            Side::of(S2s::outgoing(terms(&["capulet.example"], 1), Some(Box::new(Names(names))), 0, [4; 32], purpose));
        let event = side.stream.begin(&mut side.out);
        side.note(event);
        side
    }

    fn note(&mut self, event: Option<Event>) {
        let Some(event) = event else { return };
        let answer = match &event {
            Event::Proved(pair, _) => Some(pair.clone()),
            _ => None,
        };
        self.told.push(match event {
            Event::StartTls => "tls".into(),
            Event::Proved(pair, proof) => format!("proved {pair} by {proof}"),
            Event::Key { pair, id, key } => format!("key {pair} {id} {key}"),
            Event::Open { pair, both, manages, .. } => {
                let (both, manages) = (if both { " both" } else { "" }, if manages { " managed" } else { "" });
                format!("open {pair}{both}{manages}")
            }
            Event::Enable { resume, max_s } => format!("enable {resume} {max_s:?}"),
            Event::Resume { id, h } => format!("resume {id} {h}"),
            Event::Managed(answer) => format!("{answer:?}"),
            Event::Acknowledge => "r".into(),
            Event::Acknowledged(h) => format!("a {h}"),
            Event::Verified(valid) => format!("verified {valid}"),
            Event::Stanza(stanza) => stanza.to_xml(),
            Event::Refused(refusal) => format!("refused {} {}", refusal.condition.as_str(), refusal.text),
            Event::Closed => "closed".into(),
        });
        if let Some(pair) = answer {
            let may = self.may.clone();
            self.judge(&pair, may);
        }
    }

    fn judge(&mut self, pair: &DomainPair, may: Result<Proof, Refusal>) {
        let event = self.stream.judged(pair, may, &mut self.out);
        self.note(event);
    }

    fn hear(&mut self, bytes: &str) {
        let mut input = bytes.as_bytes();
        while let Some(event) = self.stream.next(1, &mut input, &mut self.out) {
            self.note(Some(event));
        }
        assert!(input.is_empty() || self.stream.waits());
    }

    /// What it says to this.
    fn say(&mut self, bytes: &str) -> String {
        self.out.clear();
        self.hear(bytes);
        std::mem::take(&mut self.out)
    }
}

/// Carries what both say until both are silent.
fn talk(a: &mut Side, b: &mut Side) {
    while !a.out.is_empty() || !b.out.is_empty() {
        let said = std::mem::take(&mut a.out);
        b.hear(&said);
        let said = std::mem::take(&mut b.out);
        a.hear(&said);
    }
}

fn stanzas() -> Purpose {
    Purpose::Stanzas { pair: pair("capulet.example", "montague.example"), keep: false }
}

fn header(from: &str, to: &str) -> String {
    format!("<?xml version='1.0'?><stream:stream from='{from}' to='{to}' version='1.0' {NS}>")
}

/// Of an incoming stream that has proved that it is capulet.example.
fn proved() -> Side {
    let mut b = Side::incoming(&["capulet.example"]);
    b.hear(&header("capulet.example", "montague.example"));
    b.hear("<bidi xmlns='urn:xmpp:bidi'/><auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
    b.hear(&header("capulet.example", "montague.example"));
    assert_eq!(b.told.last().unwrap(), "open montague.example and capulet.example both managed");
    b.told.clear();
    b
}

#[test]
fn two_servers_know_each_other_by_certificates() {
    let mut a = Side::outgoing(&["montague.example"], stanzas());
    let mut b = Side::incoming(&["capulet.example"]);
    talk(&mut a, &mut b);
    assert_eq!(a.told, ["open capulet.example and montague.example both managed"]);
    assert_eq!(
        b.told,
        [
            "proved montague.example and capulet.example by its certificate",
            "open montague.example and capulet.example both managed"
        ]
    );
    // Both may speak, and what is said is in `jabber:client` for those it is for.
    let hello = crate::wire::Stanza::parse(
        "<message to='romeo@montague.example' from='juliet@capulet.example/balcony'><body>hi</body></message>",
        crate::wire::Scope::client(),
    );
    a.stream.send(1, &hello.unwrap().unwrap(), &mut a.out);
    talk(&mut a, &mut b);
    assert!(b.told[2].contains("<body>hi</body>"), "{:?}", b.told);
    b.hear("<iq type='result' id='1' from='juliet@capulet.example' to='rooms.montague.example'/>");
    assert_eq!(b.told.last().unwrap(), "closed", "the rooms were not asked for: {}", b.out);
}

#[test]
fn who_is_dialled_must_be_who_it_should_be() {
    let mut a = Side::outgoing(&["evil.example"], stanzas());
    assert_eq!(a.out, "", "nothing is said to somebody else");
    assert_eq!(
        a.told,
        [
            "refused remote-server-timeout montague.example is not who it should be: its certificate is for somebody else"
        ]
    );
    a.hear("<x/>");
}

#[test]
fn who_has_no_certificate_shows_a_key() {
    let mut a = Side::outgoing(&["montague.example"], stanzas());
    let mut b = Side::incoming(&[]);
    talk(&mut a, &mut b);
    let told = b.told.pop().unwrap();
    let [_, ours, _, theirs, id, key] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
    assert_eq!((ours, theirs), ("montague.example", "capulet.example"));
    // The domain's own server is asked, on another connection.
    let ask = |key: &str| {
        let pair = pair("montague.example", "capulet.example");
        let purpose = Purpose::Verify { pair, id: id.into(), key: key.into() };
        let terms = terms(&["montague.example"], 2);
        let evidence = Some(Box::new(Names(&["capulet.example"])) as Box<dyn Evidence>);
        let mut asking = Side::of(S2s::outgoing(terms, evidence, 0, [5; 32], purpose));
        let event = asking.stream.begin(&mut asking.out);
        asking.note(event);
        let evidence = Some(Box::new(Names(&[])) as Box<dyn Evidence>);
        let mut asked = Side::of(S2s::incoming(super::tests::terms(&["capulet.example"], 1), evidence, 0, [6; 32]));
        talk(&mut asking, &mut asked);
        asking.told
    };
    assert_eq!(ask(key), ["verified true"]);
    assert_eq!(ask(&key.replace(['0', '1', '2', '3'], "f")), ["verified false"]);
    b.judge(&pair(ours, theirs), Ok(Proof::Dialback));
    talk(&mut a, &mut b);
    assert_eq!(a.told, ["open capulet.example and montague.example both"]);
    assert_eq!(b.told, ["open montague.example and capulet.example both"]);
}

#[test]
fn a_key_that_is_not_theirs_ends_the_stream() {
    let mut b = Side::incoming(&[]);
    b.hear(&header("capulet.example", "montague.example"));
    b.out.clear();
    b.hear("<db:result from='capulet.example' to='montague.example'>0815</db:result>");
    let refusal = |condition, text: &str| Err(Refusal { condition, text: text.into() });
    b.judge(&pair("montague.example", "capulet.example"), refusal(Condition::Forbidden, "not theirs"));
    assert_eq!(b.out, "<db:result from='montague.example' to='capulet.example' type='invalid'/></stream:stream>");
    assert_eq!(b.told.last().unwrap(), "closed");
}

#[test]
fn who_is_not_wanted_is_told_so_and_may_not_speak() {
    let mut b = Side::incoming(&["capulet.example"]);
    b.may = Err(Refusal { condition: Condition::NotAllowed, text: "this server talks to listed domains only".into() });
    b.hear(&header("capulet.example", "montague.example"));
    let said = b.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>");
    assert!(said.contains("<not-authorized/>") && said.contains("listed domains only"), "{said}");
    let said = b.say("<db:result from='capulet.example' to='montague.example'>0815</db:result>");
    assert!(said.contains("type='error'") && said.contains("<not-allowed "), "{said}");
    b.say("<message from='a@capulet.example' to='b@montague.example'/>");
    assert_eq!(b.told.last().unwrap(), "closed");
}

#[test]
fn before_tls_there_is_nothing_but_starttls() {
    let fresh = || Side::of(S2s::incoming(terms(&["montague.example"], 2), None, 0, [3; 32]));
    let mut b = fresh();
    let said = b.say(&header("capulet.example", "montague.example"));
    assert!(
        said.contains("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>")
    );
    assert!(!said.contains("EXTERNAL") && !said.contains("<dialback"));
    assert_eq!(
        b.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><message/>"),
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    );
    assert_eq!(b.told, ["tls"]);
    for (early, condition) in [
        ("<message from='a@capulet.example' to='b@montague.example'/>", "not-authorized"),
        ("<db:result from='capulet.example' to='montague.example'>1</db:result>", "policy-violation"),
        ("<db:verify from='capulet.example' to='montague.example' id='1'>1</db:verify>", "policy-violation"),
        ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>", "policy-violation"),
        ("<bidi xmlns='urn:xmpp:bidi'/>", "unsupported-stanza-type"),
    ] {
        let mut b = fresh();
        b.hear(&header("capulet.example", "montague.example"));
        let said = b.say(early);
        assert!(said.contains(condition), "{early}: {said}");
        assert_eq!(b.told, ["closed"], "{early}");
    }
}

#[test]
fn who_dials_speaks_only_behind_tls() {
    let mut a = Side::of(S2s::outgoing(terms(&["capulet.example"], 1), None, 0, [4; 32], stanzas()));
    let event = a.stream.begin(&mut a.out);
    a.note(event);
    a.hear(&header("montague.example", "capulet.example"));
    let said = a.say("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><bidi xmlns='urn:xmpp:features:bidi'/></stream:features>");
    assert_eq!(said, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    a.hear("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><injected/>");
    assert_eq!(a.told, ["tls"]);
    // A relay that takes STARTTLS out of the way learns nothing.
    let mut a = Side::of(S2s::outgoing(terms(&["capulet.example"], 1), None, 0, [4; 32], stanzas()));
    a.stream.begin(&mut a.out);
    a.hear(&header("montague.example", "capulet.example"));
    let said = a.say("<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>");
    assert_eq!(said, "</stream:stream>");
    assert_eq!(a.told, ["refused remote-server-timeout montague.example offers no TLS, and nothing is sent without"]);
}

#[test]
fn external_is_offered_only_where_it_will_succeed() {
    for (names, from, offered) in [
        (&["capulet.example"][..], "capulet.example", true),
        (&["capulet.example"][..], "CAPULET.example", true),
        (&["capulet.example"][..], "rooms.capulet.example", false),
        (&[][..], "capulet.example", false),
    ] {
        let mut b = Side::incoming(names);
        let said = b.say(&header(from, "montague.example"));
        assert_eq!(said.contains("EXTERNAL"), offered, "{names:?} {from}: {said}");
        assert!(said.contains("<bidi xmlns='urn:xmpp:features:bidi'/>"));
        assert!(said.contains("<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"));
        let said = b.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
        assert_eq!(said.contains("<success"), offered, "{said}");
    }
}

#[test]
fn another_name_than_that_of_the_header_is_refused() {
    use base64::Engine;
    let mut b = Side::incoming(&["capulet.example", "other.example"]);
    b.hear(&header("capulet.example", "montague.example"));
    let auth = |name: &str| {
        let name = base64::engine::general_purpose::STANDARD.encode(name);
        format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>{name}</auth>")
    };
    assert!(b.say(&auth("other.example")).contains("invalid-authzid"));
    assert!(
        b.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>%%</auth>")
            .contains("incorrect-encoding")
    );
    assert!(
        b.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>=</auth>")
            .contains("invalid-mechanism")
    );
    assert!(b.say(&auth("Capulet.example")).contains("<success"));
    // The stream begins anew, and for nobody else.
    let said = b.say(&header("other.example", "montague.example"));
    assert!(said.contains("invalid-from"), "{said}");
    assert_eq!(b.told.last().unwrap(), "closed");
}

#[test]
fn a_stream_that_begins_anew_is_for_the_same_domain_of_ours() {
    let mut b = Side::incoming(&["capulet.example"]);
    b.hear(&header("capulet.example", "montague.example"));
    assert!(b.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>").contains("<success"));
    let said = b.say(&header("capulet.example", "rooms.montague.example"));
    assert!(said.contains("invalid-from"), "{said}");
    assert_eq!(b.told.last().unwrap(), "closed");
}

#[test]
fn both_ways_are_asked_for_before_the_proof() {
    for (bidi_first, opens) in [(true, "open montague.example and capulet.example both"), (false, "closed")] {
        let mut b = Side::incoming(&["capulet.example"]);
        b.hear(&header("capulet.example", "montague.example"));
        if bidi_first {
            b.hear("<bidi xmlns='urn:xmpp:bidi'/>");
        }
        b.hear("<db:result from='capulet.example' to='montague.example'>1</db:result>");
        if !bidi_first {
            let said = b.say("<bidi xmlns='urn:xmpp:bidi'/>");
            assert!(said.contains("unsupported-stanza-type"), "{said}");
        }
        assert_eq!(b.told.last().unwrap(), opens);
    }
}

#[test]
fn headers_that_are_none() {
    for (open, condition) in [
        (header("capulet.example", "verona.example"), "host-unknown"),
        (header("montague.example", "montague.example"), "invalid-from"),
        (header("juliet@capulet.example", "montague.example"), "invalid-from"),
        (header("capulet.example", "romeo@montague.example"), "host-unknown"),
        (format!("<stream:stream from='capulet.example' version='1.0' {NS}>"), "improper-addressing"),
        (format!("<stream:stream from='capulet.example' to='montague.example' {NS}>"), "unsupported-version"),
        (
            header("capulet.example", "montague.example").replace("jabber:server'", "jabber:client'"),
            "invalid-namespace",
        ),
    ] {
        let mut b = Side::incoming(&["capulet.example"]);
        let said = b.say(&open);
        assert!(said.contains(condition), "{open}: {said}");
        assert!(
            said.starts_with("<?xml version='1.0'?><stream:stream ") && said.ends_with("</stream:stream>"),
            "{said}"
        );
        assert_eq!(b.told, ["closed"]);
    }
}

#[test]
fn a_stanza_is_from_the_domain_that_was_proved_to_one_that_is_ours() {
    for (stanza, condition) in [
        ("<message from='a@evil.example' to='b@montague.example'/>", "invalid-from"),
        ("<message from='a@montague.example' to='b@montague.example'/>", "invalid-from"),
        ("<message from='a@rooms.capulet.example' to='b@montague.example'/>", "invalid-from"),
        ("<message from='@' to='b@montague.example'/>", "invalid-from"),
        ("<message to='b@montague.example'/>", "improper-addressing"),
        ("<message from='a@capulet.example'/>", "improper-addressing"),
        ("<message from='a@capulet.example' to='b@evil.example'/>", "improper-addressing"),
        ("<message from='a@capulet.example' to='b@capulet.example'/>", "improper-addressing"),
        ("<x/>", "unsupported-stanza-type"),
        (
            "<message xmlns='jabber:client' from='a@capulet.example' to='b@montague.example'/>",
            "unsupported-stanza-type",
        ),
    ] {
        let mut b = proved();
        let said = b.say(stanza);
        assert!(said.contains(condition), "{stanza}: {said}");
        assert_eq!(b.told, ["closed"], "{stanza}");
    }
    // Whom it is for may be written wrongly by a user: that costs the stanza.
    let mut b = proved();
    let said = b.say("<message id='7' from='a@capulet.example' to='b@@montague.example'/>");
    assert!(said.contains("<jid-malformed ") && said.contains("to='a@capulet.example'"), "{said}");
    // Capitals and A-labels are the same name.
    b.hear("<message from='a@CAPULET.example' to='b@Montague.EXAMPLE'/>");
    assert_eq!(b.told.len(), 1);
}

#[test]
fn namespaces_survive_from_server_to_client() {
    let mut b = proved();
    b.hear(
        "<message from='a@capulet.example' to='b@montague.example'><body>x</body><db:x/>\
         <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>y</body></message></forwarded></message>",
    );
    let told = &b.told[0];
    assert!(
        told.contains("<body>x</body>") && told.contains("<message xmlns='jabber:client'><body>y</body>"),
        "{told}"
    );
    assert!(told.contains("xmlns:db='jabber:server:dialback'") && !told.contains("jabber:server'"), "{told}");
}

#[test]
fn more_domains_on_one_stream() {
    let mut b = proved();
    let said = b.say("<db:result from='capulet.example' to='rooms.montague.example'>1</db:result>");
    assert_eq!(
        said, "<db:result from='rooms.montague.example' to='capulet.example' type='valid'/>",
        "the certificate proves it"
    );
    assert_eq!(b.told.last().unwrap(), "open rooms.montague.example and capulet.example both");
    let said = b.say("<db:result from='capulet.example' to='verona.example'>1</db:result>");
    assert!(said.contains("type='error'") && said.contains("<item-not-found "), "{said}");
    let said = b.say("<db:result from='montague.example' to='montague.example'>1</db:result>");
    assert!(said.contains("<not-acceptable "), "{said}");
    // A third domain has to show its key, which is verified where its own DNS says.
    b.told.clear();
    assert_eq!(b.say("<db:result from='third.example' to='montague.example'>1</db:result>"), "");
    assert!(b.told[0].starts_with("key montague.example and third.example "), "{:?}", b.told);
    let said = b.say("<db:result from='third.example' to='montague.example'>2</db:result>");
    assert!(said.contains("<unexpected-request "), "{said}");
    assert_eq!(b.say("<message from='x@third.example' to='b@montague.example'/>").matches("invalid-from").count(), 1);
}

#[test]
fn pairs_of_one_stream_have_a_limit() {
    let mut b = proved();
    let more = |n: usize| format!("<db:result from='d{n}.example' to='montague.example'>1</db:result>");
    for n in 0..STREAM_PAIRS - 1 {
        assert_eq!(b.say(&more(n)), "", "{n}");
    }
    assert!(b.say(&more(99)).contains("<resource-constraint "));
}

#[test]
fn questions_about_keys_need_no_memory() {
    let mut b = Side::incoming(&[]);
    b.hear(&header("capulet.example", "montague.example"));
    let key = DialbackSecret::new([2; 32]).key("capulet.example", "montague.example", "A&B");
    let ask = |to: &str, id: &str, key: &str| {
        format!("<db:verify from='capulet.example' to='{to}' id='{id}'> {key}\n</db:verify>")
    };
    let valid = "<db:verify from='montague.example' to='capulet.example' id='A&amp;B' type='valid'/>";
    assert_eq!(b.say(&ask("montague.example", "A&amp;B", &key)), valid);
    assert!(b.say(&ask("montague.example", "other", &key)).contains("type='invalid'"));
    assert!(b.say(&ask("rooms.montague.example", "A&amp;B", &key)).contains("type='invalid'"));
    assert!(b.say(&ask("verona.example", "A&amp;B", &key)).contains("<item-not-found "));
    assert!(b.told.is_empty());
}

#[test]
fn a_stream_that_we_have_dialled_is_not_for_more_domains_of_theirs() {
    let mut a = Side::outgoing(&["montague.example"], stanzas());
    let mut b = Side::incoming(&["capulet.example"]);
    talk(&mut a, &mut b);
    let said = a.say("<db:result from='rooms.montague.example' to='capulet.example'>1</db:result>");
    assert!(said.starts_with("<db:result from='capulet.example' to='rooms.montague.example' type='error'>"), "{said}");
    assert_eq!(a.told.len(), 1, "the stream goes on");
}

#[test]
fn answers_that_were_not_asked_for_are_nothing() {
    let mut a = Side::outgoing(&["montague.example"], stanzas());
    a.hear(&header("montague.example", "capulet.example"));
    a.hear("<db:result from='montague.example' to='capulet.example' type='valid'/>");
    a.hear("<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>");
    assert!(a.out.contains("<db:result "), "{}", a.out);
    a.hear("<db:result from='third.example' to='capulet.example' type='valid'/>");
    a.hear("<db:result from='montague.example' to='verona.example' type='valid'/>");
    a.hear("<db:verify from='montague.example' to='capulet.example' id='' type='valid'/>");
    assert!(a.told.is_empty());
    a.hear("<db:result from='montague.example' to='capulet.example' type='error'><error type='auth'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>");
    assert_eq!(
        a.told,
        [
            "refused remote-server-timeout montague.example does not know that we are capulet.example (dialback: not-authorized)"
        ]
    );
}

#[test]
fn what_the_others_end_a_stream_with_is_told_in_words() {
    let begun = || {
        let mut a = Side::outgoing(&["montague.example"], stanzas());
        a.hear(&header("montague.example", "capulet.example"));
        a
    };
    let error = |condition: &str| {
        format!(
            "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>why</text></stream:error>"
        )
    };
    let mut a = begun();
    a.hear(&error("host-unknown"));
    assert_eq!(a.told, ["refused remote-server-not-found montague.example ended the stream: host-unknown (why)"]);
    let mut a = begun();
    a.hear(&error("policy-violation"));
    assert_eq!(a.told, ["refused remote-server-timeout montague.example ended the stream: policy-violation (why)"]);
    let mut a = begun();
    a.hear("</stream:stream>");
    assert_eq!(a.told, ["refused remote-server-timeout montague.example ended the stream"]);
    let mut a = begun();
    a.hear("<stream:features><x></y></stream:features>");
    assert!(
        a.told[0].starts_with("refused remote-server-timeout montague.example says what is no stream"),
        "{:?}",
        a.told
    );
}

#[test]
fn a_refused_certificate_is_followed_by_a_key() {
    let mut a = Side::outgoing(&["montague.example"], stanzas());
    a.hear(&header("montague.example", "capulet.example"));
    let said = a.say("<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms></stream:features>");
    assert!(said.contains("mechanism='EXTERNAL'>Y2FwdWxldC5leGFtcGxl</auth>"), "{said}");
    let said = a.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>");
    assert!(said.starts_with("<db:result from='capulet.example' to='montague.example'>"), "{said}");
}

#[test]
fn who_stalls_is_left_at_each_step() {
    let late = |side: &mut Side, at| {
        assert!(side.stream.deadline() <= at, "{}", side.stream.deadline());
        let event = side.stream.expired(at, &mut side.out);
        side.note(event);
        side.told.last().unwrap().clone()
    };
    let mut b = Side::incoming(&["capulet.example"]);
    assert_eq!(late(&mut b, SERVER_UNPROVED_MS), "closed");
    let mut b = Side::incoming(&["capulet.example"]);
    b.hear(&header("capulet.example", "montague.example"));
    b.hear("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
    assert_eq!(late(&mut b, SERVER_UNPROVED_MS), "closed", "success is no session yet");
    let steps = [
        "",
        "<?xml version='1.0'?><stream:stream version='1.0' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>",
        "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms></stream:features>",
        "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    ];
    for n in 0..steps.len() {
        let mut a = Side::outgoing(&["montague.example"], stanzas());
        steps[..=n].iter().for_each(|step| a.hear(step));
        assert!(late(&mut a, SERVER_UNPROVED_MS).starts_with("refused remote-server-timeout "), "{n}");
    }
}

#[test]
fn idle_streams_end_and_those_that_are_kept_do_not() {
    for (keep, end) in [(false, "</stream:stream>"), (true, " ")] {
        let purpose = Purpose::Stanzas { pair: pair("capulet.example", "montague.example"), keep };
        let mut a = Side::outgoing(&["montague.example"], purpose);
        let mut b = Side::incoming(&["capulet.example"]);
        talk(&mut a, &mut b);
        let at = a.stream.deadline();
        a.stream.expired(at, &mut a.out);
        assert_eq!(a.out, end);
    }
}

#[test]
fn what_comes_before_a_proof_has_a_limit() {
    let mut b = Side::incoming(&["capulet.example"]);
    b.hear(&header("capulet.example", "montague.example"));
    let flood =
        "<db:verify from='a.example' to='montague.example' id='1'>1</db:verify>".repeat(SERVER_UNPROVED_BYTES / 64);
    b.hear(&flood);
    assert!(b.out.contains("policy-violation"));
    assert_eq!(b.told, ["closed"]);
    let mut a = Side::outgoing(&["montague.example"], stanzas());
    a.hear(&header("montague.example", "capulet.example"));
    a.hear(&format!("<stream:features>{}", "<x xmlns='y'>z</x>".repeat(5000)));
    assert!(a.told[0].starts_with("refused remote-server-timeout"), "{:?}", a.told);
    let mut b = proved();
    b.hear(&format!(
        "<message from='a@capulet.example' to='b@montague.example'><body>{}</body></message>",
        "x".repeat(300_000)
    ));
    assert_eq!(b.told.len(), 1, "another server's users may say more than ours");
    b.hear(&format!(
        "<message from='a@capulet.example' to='b@montague.example'><body>{}",
        "x".repeat(SERVER_STANZA_BYTES)
    ));
    assert_eq!(b.told.last().unwrap(), "closed");
}

#[test]
fn a_stream_that_was_not_asked_to_takes_no_stanza() {
    let mut a = Side::outgoing(&["montague.example"], stanzas());
    a.hear(&header("montague.example", "capulet.example"));
    a.hear("<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>");
    a.hear("<db:result from='montague.example' to='capulet.example' type='valid'/>");
    assert_eq!(a.told, ["open capulet.example and montague.example"]);
    a.hear("<message from='a@montague.example' to='b@capulet.example'/>");
    assert_eq!(a.told.last().unwrap(), "closed");
    assert!(a.out.contains("not-authorized"));
    let mut b = Side::incoming(&["capulet.example"]);
    b.hear(&header("capulet.example", "montague.example"));
    b.hear("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
    b.hear(&header("capulet.example", "montague.example"));
    b.out.clear();
    let hello = crate::wire::Stanza::new(crate::wire::Kind::Message, crate::wire::Type::Chat);
    b.stream.send(1, &hello, &mut b.out);
    assert_eq!(b.out, "", "XEP-0288 was not asked for");
    b.stream.close(Some(&StreamError::from(crate::wire::StreamCondition::SystemShutdown)), &mut b.out);
    assert!(b.out.contains("system-shutdown") && b.out.ends_with("</stream:stream>"));
}

/// Both ends of a stream that is open, and has no stream management yet.
fn open() -> (Side, Side) {
    let mut a = Side::outgoing(&["montague.example"], stanzas());
    let mut b = Side::incoming(&["capulet.example"]);
    talk(&mut a, &mut b);
    a.told.clear();
    b.told.clear();
    (a, b)
}

fn enabled() -> Manage {
    Manage::Enabled { id: Some("x".into()), max_s: 300, location: None }
}

const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";

#[test]
fn whoever_dialled_asks_for_stream_management() {
    let (mut a, mut b) = open();
    a.stream.manage(1, &Manage::Enable, &mut a.out);
    talk(&mut a, &mut b);
    assert_eq!(b.told, ["enable true None"]);
    b.stream.manage(1, &enabled(), &mut b.out);
    a.stream.manage(1, &Manage::Request, &mut a.out);
    talk(&mut a, &mut b);
    assert_eq!((&a.told[..], &b.told[1..]), (&["Enabled(Some(\"x\"))".to_owned()][..], &["r".to_owned()][..]));
    b.stream.manage(1, &Manage::Ack(7), &mut b.out);
    a.stream.manage(1, &Manage::Ack(u32::MAX), &mut a.out);
    talk(&mut a, &mut b);
    assert_eq!((a.told.last().unwrap().as_str(), b.told.last().unwrap().as_str()), ("a 7", "a 4294967295"));
}

#[test]
fn nothing_is_read_until_it_is_known_whether_another_stream_is_carried_on() {
    for resumes in [true, false] {
        let (mut a, mut b) = open();
        a.stream.manage(1, &Manage::Resume { id: "x".into(), h: 5 }, &mut a.out);
        let asked = std::mem::take(&mut a.out);
        b.hear(&(asked + "<r xmlns='urn:xmpp:sm:3'/>"));
        assert_eq!(b.told, ["resume x 5"]);
        let answer = match resumes {
            true => Manage::Resumed { jid: jid("capulet.example"), id: "x".into(), h: 3 },
            false => Manage::Failed { condition: Condition::ItemNotFound, handled: Some(3) },
        };
        b.stream.manage(1, &answer, &mut b.out);
        let said = std::mem::take(&mut b.out);
        a.hear(&said);
        assert_eq!(a.told, [if resumes { "Resumed(3)" } else { "Failed(Some(3))" }]);
        let said = b.say("<r xmlns='urn:xmpp:sm:3'/>");
        assert_eq!((b.told.last().unwrap() == "r", said.contains("<unexpected-request")), (resumes, !resumes));
        // After a failure it can be enabled, else it is.
        let said = b.say(ENABLE);
        assert_eq!(said.contains("<policy-violation"), resumes, "{said}");
        assert_eq!(b.told.last().unwrap(), if resumes { "closed" } else { "enable true None" });
    }
}

#[test]
fn stream_management_at_a_wrong_time_is_refused() {
    let refused =
        "<failed xmlns='urn:xmpp:sm:3'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
    let mut b = Side::incoming(&["capulet.example"]);
    b.hear(&header("capulet.example", "montague.example"));
    assert!(!b.out.contains("urn:xmpp:sm:3"), "it is offered to somebody");
    assert!(b.say(ENABLE).contains("<unsupported-stanza-type"), "of somebody nothing is counted");
    let mut b = proved();
    assert_eq!(b.say("<a xmlns='urn:xmpp:sm:3' h='0'/>"), refused);
    assert!(b.say("<resume xmlns='urn:xmpp:sm:3' previd='x'/>").contains("<bad-request"));
    assert!(b.say("<enabled xmlns='urn:xmpp:sm:3'/>").contains("<unsupported-stanza-type"), "that is what we say");
}

#[test]
fn what_is_counted_is_for_one_pair_of_domains() {
    let rooms =
        "<db:result xmlns:db='jabber:server:dialback' from='capulet.example' to='rooms.montague.example'>k</db:result>";
    let mut b = proved();
    assert!(b.say(rooms).contains("type='valid'"));
    assert!(b.say(ENABLE).contains("<unexpected-request"), "it is for two already");
    let mut b = proved();
    b.hear(ENABLE);
    assert!(b.say(rooms).contains("<resource-constraint"), "{}", b.out);
    assert_eq!(b.told, ["enable true None"]);
}

#[test]
fn what_was_not_asked_for_is_no_answer() {
    let (mut a, _) = open();
    for said in ["<enabled xmlns='urn:xmpp:sm:3' id='x' resume='1'/>", "<failed xmlns='urn:xmpp:sm:3'/>"] {
        assert_eq!(a.say(said), "", "an error for an error would never end");
    }
    for said in
        ["<r xmlns='urn:xmpp:sm:3'/>", "<enable xmlns='urn:xmpp:sm:3'/>", "<resumed xmlns='urn:xmpp:sm:3' h='0'/>"]
    {
        assert_eq!(a.say(said), "");
    }
    assert_eq!(a.told, [""; 0]);
    a.stream.manage(1, &Manage::Enable, &mut a.out);
    let long = "x".repeat(300);
    a.hear(&format!("<enabled xmlns='urn:xmpp:sm:3' id='{long}' resume='true'/>"));
    assert_eq!(a.told, ["Enabled(None)"], "what cannot be kept cannot be resumed");
}

#[test]
fn who_never_answers_what_is_wanted_of_stream_management_is_left() {
    let (mut a, _) = open();
    a.stream.manage(10, &Manage::Enable, &mut a.out);
    assert_eq!(a.stream.deadline(), 10 + SERVER_MANAGED_MS);
    a.out.clear();
    let event = a.stream.expired(10 + SERVER_MANAGED_MS, &mut a.out);
    a.note(event);
    assert!(a.told == ["closed"] && a.out.contains("<connection-timeout"), "{}", a.out);
}
