//! The modern login, from the client's first byte to what is on the disk: SASL2 (XEP-0388), Bind 2 (XEP-0386), tokens (XEP-0484) and
//! upgrades (XEP-0480), in a whole server in memory.
#![allow(clippy::unwrap_used)]

mod common;
mod house;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::scram::Scram;
use house::{DOMAIN, Dice, House};
use inglenook::core::token::{CLIENTS, LIFE_MS, ROTATE_MS};
use inglenook::core::{Command, StreamId};
use inglenook::wire::scram::Credentials;
use inglenook::wire::{Jid, stamp};
use ring::{digest, hmac, pbkdf2};

const DEVICE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const OTHER_DEVICE: &str = "00000000-4d72-4749-b3d3-740edbf87770";
const BIND: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>Lute</tag></bind>";
const SM: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>Lute</tag><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>";
const TOKEN: &str = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>";
const FAST: &str = "<fast xmlns='urn:xmpp:fast:0'/>";

/// A connection whose header was answered.
fn open(house: &mut House, from: Option<&str>) -> StreamId {
    let sid = house.open();
    let from = from.map(|from| format!(" from='{from}'")).unwrap_or_default();
    house.send(
        sid,
        &format!(
            "<stream:stream to='{DOMAIN}'{from} version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        ),
    );
    sid
}

/// The same, with everything read.
fn opened(house: &mut House) -> StreamId {
    let sid = open(house, None);
    house.receive_all(sid);
    sid
}

fn agent(device: &str) -> String {
    format!("<user-agent id='{device}'><software>Lute</software><device>Verona</device></user-agent>")
}

fn authenticate(mechanism: &str, data: &[u8], inner: &str) -> String {
    format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'><initial-response>{}</initial-response>{inner}</authenticate>",
        STANDARD.encode(data)
    )
}

/// By password, of an account whose password is its name.
fn plain(name: &str, inner: &str) -> String {
    authenticate("PLAIN", format!("\0{name}\0{name}").as_bytes(), inner)
}

/// By token, over a channel with this data.
fn token(mechanism: &str, name: &str, token: &str, binding: &[u8], inner: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    let hash = hmac::sign(&key, &[b"Initiator", binding].concat());
    authenticate(mechanism, &[name.as_bytes(), b"\0", hash.as_ref()].concat(), inner)
}

fn by_token(name: &str, of: &str, inner: &str) -> String {
    token("HT-SHA-256-NONE", name, of, b"", inner)
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(inside, _)| inside)
}

/// Says something on a new stream; what comes back, together.
fn login(house: &mut House, said: &str) -> (StreamId, String) {
    let sid = opened(house);
    house.send(sid, said);
    let got = house.receive_all(sid).concat();
    (sid, got)
}

fn success(house: &mut House, said: &str) -> (StreamId, String) {
    let (sid, got) = login(house, said);
    assert!(got.starts_with("<success xmlns='urn:xmpp:sasl:2'>"), "{got}");
    (sid, got)
}

/// That it fails with this condition, and the stream is as it was.
fn failure(house: &mut House, said: &str, condition: &str) {
    let (sid, got) = login(house, said);
    let begin = format!("<failure xmlns='urn:xmpp:sasl:2'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    assert!(got.starts_with(&begin), "{condition}: {got}");
    assert!(got.ends_with("</failure>"), "{got}");
    house.send(sid, &plain("romeo", ""));
    assert!(house.receive_all(sid)[0].starts_with("<success"), "nothing else has changed");
    house.cut(sid);
}

fn told_token(success: &str) -> Option<&str> {
    between(success, "<token xmlns='urn:xmpp:fast:0' token='", "'")
}

/// A house with Romeo, and a token of his device.
fn with_token() -> (House, String) {
    let mut house = House::new();
    house.account("romeo@house.test");
    let (sid, got) = success(&mut house, &plain("romeo", &(agent(DEVICE) + TOKEN)));
    house.cut(sid);
    let token = told_token(&got).unwrap().to_owned();
    (house, token)
}

fn identifier(success: &str) -> Jid {
    Jid::parse(between(success, "<authorization-identifier>", "</authorization-identifier>").unwrap()).unwrap()
}

#[test]
fn what_is_offered() {
    let mut house = House::new();
    let sid = open(&mut house, Some("romeo@house.test"));
    let features = house.receive_all(sid).concat();
    let all = "<mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism>\
               <mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism>";
    let bind = between(&features, "<bind xmlns='urn:xmpp:bind:0'><inline>", "</inline></bind>").unwrap();
    for feature in ["urn:xmpp:carbons:2", "urn:xmpp:sm:3"] {
        assert!(bind.contains(&format!("<feature var='{feature}'/>")), "{bind}");
    }
    let expected = format!(
        "<authentication xmlns='urn:xmpp:sasl:2'>{all}<inline><bind xmlns='urn:xmpp:bind:0'><inline>{bind}</inline></bind>\
         <sm xmlns='urn:xmpp:sm:3'/><fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-EXPR</mechanism>\
         <mechanism>HT-SHA-256-ENDP</mechanism><mechanism>HT-SHA-256-NONE</mechanism></fast></inline></authentication>\
         <sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>"
    );
    assert!(features.contains(&expected), "{features}");
    // Beside what RFC 6120 knows; no early data.
    assert!(features.contains(&format!("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{all}</mechanisms>")));
    assert!(!features.contains("0rtt"));
    // The same for one who is not there.
    let other = open(&mut house, Some("nobody@house.test"));
    assert_eq!(
        between(&house.receive_all(other).concat(), "<authentication", "</stream:features>"),
        between(&features, "<authentication", "</stream:features>")
    );
}

/// XEP-0388 §2.6.1, §5.1
#[test]
fn a_login_without_anything_inline() {
    let mut house = House::new();
    house.account("romeo@house.test");
    let (sid, got) = success(&mut house, &plain("romeo", ""));
    let (success, features) = got.split_once("<stream:features>").unwrap();
    assert_eq!(
        success,
        "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>romeo@house.test</authorization-identifier></success>"
    );
    assert!(features.starts_with("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind>"), "{features}");
    // No restart: binding goes on here, and then stanzas.
    house.send(
        sid,
        "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource></bind></iq>",
    );
    assert!(house.receive(sid).unwrap().contains("<jid>romeo@house.test/x</jid>"));
    house.send(sid, "<iq type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(house.receive(sid).unwrap().contains("type='result'"));
}

#[test]
fn scram_has_its_last_words_in_additional_data() {
    let mut house = House::new();
    house.account("romeo@house.test");
    for (mechanism, gs2, binding) in [
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", vec![9; 32]),
        ("SCRAM-SHA-1-PLUS", "p=tls-server-end-point,a=romeo@house.test,", vec![8; 32]),
        ("SCRAM-SHA-256", "n,,", vec![]),
    ] {
        for initial in [true, false] {
            let scram = Scram::new(mechanism, gs2, binding.clone(), "romeo", "romeo");
            let sid = open(&mut house, Some("romeo@house.test"));
            house.receive_all(sid);
            let first = format!("{}{}", scram.gs2, scram.bare);
            if initial {
                house.send(sid, &authenticate(mechanism, first.as_bytes(), &(agent(DEVICE) + BIND)));
            } else {
                house.send(
                    sid,
                    &format!("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'>{BIND}</authenticate>"),
                );
                assert_eq!(house.receive(sid).unwrap(), "<challenge xmlns='urn:xmpp:sasl:2'/>");
                house.send(sid, &response(first.as_bytes()));
            }
            let challenge = house.receive(sid).unwrap();
            let data = between(&challenge, "<challenge xmlns='urn:xmpp:sasl:2'>", "</challenge>").unwrap();
            // XEP-0474 §6.1: of this profile's offer.
            let message = String::from_utf8(STANDARD.decode(data).unwrap()).unwrap();
            let text = "PLAIN\x1eSCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1eSCRAM-SHA-256\x1eSCRAM-SHA-256-PLUS\x1ftls-exporter\x1etls-server-end-point";
            let algorithm =
                if mechanism.contains("SHA-1-") { &digest::SHA1_FOR_LEGACY_USE_ONLY } else { &digest::SHA256 };
            assert!(message.ends_with(&format!(",h={}", STANDARD.encode(digest::digest(algorithm, text.as_bytes())))));
            let (unproven, proof, server) =
                scram.last(&challenge.replace("urn:xmpp:sasl:2", "urn:ietf:params:xml:ns:xmpp-sasl"));
            house.send(sid, &response(format!("{unproven},p={}", STANDARD.encode(proof)).as_bytes()));
            let got = house.receive_all(sid).concat();
            let data = between(&got, "<additional-data>", "</additional-data>").unwrap();
            assert_eq!(STANDARD.decode(data).unwrap(), server.as_bytes());
            assert!(got.contains("<bound xmlns='urn:xmpp:bind:0'>"), "{got}");
        }
    }
}

fn response(data: &[u8]) -> String {
    format!("<response xmlns='urn:xmpp:sasl:2'>{}</response>", STANDARD.encode(data))
}

/// XEP-0386 §3.2: one answer, and the session has all from its first stanza on.
#[test]
fn bound_with_everything() {
    let mut house = House::new();
    house.account("romeo@house.test");
    let all = "<bind xmlns='urn:xmpp:bind:0'><tag>Lute</tag><enable xmlns='urn:xmpp:carbons:2'/>\
               <enable xmlns='urn:xmpp:sm:3' resume='true' max='60'/><unknown xmlns='urn:example'/></bind>";
    let (phone, got) = success(&mut house, &plain("romeo", &(agent(DEVICE) + all)));
    let jid = identifier(&got);
    assert!(jid.resource().unwrap().starts_with("Lute/") && !jid.as_str().contains("d4565fa7"), "{jid}");
    let bound = between(&got, "<bound xmlns='urn:xmpp:bind:0'>", "</bound>").unwrap();
    assert!(
        bound.contains("<enabled xmlns='urn:xmpp:sm:3' id='") && bound.contains(" resume='true' max='60'/>"),
        "{bound}"
    );
    assert!(bound.contains("<metadata xmlns='urn:xmpp:mam:2'/>"), "{bound}");
    let features = between(&got, "<stream:features>", "</stream:features>").unwrap();
    assert!(!features.contains("xmpp-bind"), "{features}");
    // Carbons, and stream management that counts from here.
    let other = house.login("romeo@house.test/other");
    house.send(other, "<message to='juliet@elsewhere.test' type='chat'><body>Hark</body></message>");
    let copied = house.receive_all(phone).concat();
    assert!(
        copied.contains("<sent xmlns='urn:xmpp:carbons:2'>") && copied.ends_with("<r xmlns='urn:xmpp:sm:3'/>"),
        "{copied}"
    );
    house.send(phone, "<a xmlns='urn:xmpp:sm:3' h='1'/><r xmlns='urn:xmpp:sm:3'/>");
    assert_eq!(house.receive_all(phone).concat(), "<a xmlns='urn:xmpp:sm:3' h='0'/>");
    // No second time.
    house.send(phone, "<enable xmlns='urn:xmpp:sm:3'/>");
    assert!(house.is_closed(phone));
}

#[test]
fn a_client_has_one_session_and_one_resource() {
    let mut house = House::new();
    house.account("romeo@house.test");
    let (first, got) = success(&mut house, &plain("romeo", &(agent(DEVICE) + SM)));
    let jid = identifier(&got);
    house.send(first, "<presence/>");
    house.cut(first);
    assert_eq!(house.state().sessions().len(), 1, "it waits");
    let (second, got) = success(&mut house, &plain("romeo", &(agent(&DEVICE.to_uppercase()) + SM)));
    assert_eq!(identifier(&got), jid, "the same for the same client and tag");
    assert_eq!(house.state().sessions().len(), 1, "the old one does not wait any more");
    let (third, got) = success(&mut house, &plain("romeo", &(agent(DEVICE) + &BIND.replace("Lute", "Harp"))));
    assert_ne!(
        identifier(&got).resource().unwrap().split_once('/').unwrap().1,
        jid.resource().unwrap().split_once('/').unwrap().1
    );
    assert!(house.is_closed(second), "also with another tag");
    assert!(house.receive_all(second).concat().contains("<conflict "));
    // Others are left alone: another client, another account, one without an id.
    let others = [
        success(&mut house, &plain("romeo", &(agent(OTHER_DEVICE) + BIND))),
        success(&mut house, &plain("romeo", BIND)),
        success(&mut house, &plain("romeo", BIND)),
        success(&mut house, &plain("romeo", &format!("<user-agent id='no-uuid'/>{BIND}"))),
    ];
    house.account("juliet@house.test");
    let (juliet, got) = success(&mut house, &plain("juliet", &(agent(DEVICE) + BIND)));
    assert_ne!(identifier(&got).resource(), jid.resource(), "nobody is known by it to others");
    for sid in others.iter().map(|(sid, _)| *sid).chain([third, juliet]) {
        assert!(!house.is_closed(sid));
    }
    let mut names: Vec<_> = others.iter().map(|(_, got)| identifier(got)).collect();
    names.dedup();
    assert_eq!(names.len(), 4);
}

#[test]
fn tags_that_cannot_be_in_a_resource() {
    let mut house = House::new();
    house.account("romeo@house.test");
    for tag in ["", "  ", "\u{7f}", &"x".repeat(129), &"x".repeat(5000)] {
        let (sid, got) = success(&mut house, &plain("romeo", &BIND.replace("Lute", tag)));
        let jid = identifier(&got);
        assert_eq!(jid.resource().unwrap().len(), 16, "{jid}");
        house.cut(sid);
    }
    let (_, got) = success(&mut house, &plain("romeo", &BIND.replace("Lute", "a&lt;/b&apos;&gt;")));
    assert!(got.contains("romeo@house.test/a&lt;/b"), "{got}");
}

/// XEP-0198 §9.2
#[test]
fn resumed_in_one_round_trip() {
    let mut house = House::new();
    house.account("romeo@house.test");
    let (first, got) = success(&mut house, &plain("romeo", &(agent(DEVICE) + SM + TOKEN)));
    let (id, jid) = (between(&got, "<enabled xmlns='urn:xmpp:sm:3' id='", "'").unwrap(), identifier(&got));
    let token = told_token(&got).unwrap();
    house.send(first, "<presence/>");
    house.cut(first);
    let juliet = house.login("juliet@house.test/balcony");
    house.send(juliet, &format!("<message to='{jid}' type='chat' id='m'><body>Hark</body></message>"));
    let resume = format!("{}<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>{SM}", agent(DEVICE));
    let (second, got) = success(&mut house, &by_token("romeo", token, &(resume.clone() + FAST)));
    // One element, no features; then what was missed.
    let (success_element, rest) = got.split_once("</success>").unwrap();
    assert!(success_element.contains("<authorization-identifier>romeo@house.test</authorization-identifier>"), "{got}");
    assert!(success_element.ends_with(&format!("<resumed xmlns='urn:xmpp:sm:3' h='1' previd='{id}'/>")), "{got}");
    assert!(!success_element.contains("<bound") && !got.contains("features"), "{got}");
    assert!(rest.contains("<body>Hark</body>") && rest.ends_with("<r xmlns='urn:xmpp:sm:3'/>"), "{rest}");
    house.send(
        second,
        &format!("<message from='{jid}' to='juliet@house.test'><body>Soft</body></message><r xmlns='urn:xmpp:sm:3'/>"),
    );
    assert!(house.receive_all(second).concat().contains("<a xmlns='urn:xmpp:sm:3' h='2'/>"));
    assert_eq!(house.jid(second), Some(jid.clone()));
    // Not somebody else's; then it is bound as asked.
    let (iago, got) = login_as(&mut house, "iago", &resume);
    assert!(got.contains("<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed><bound "), "{got}");
    assert!(identifier(&got).as_str().starts_with("iago@house.test/Lute/"));
    assert!(!house.is_closed(iago) && !house.is_closed(second));
    // Too late: what was handled is told, and there is a new session.
    house.cut(second);
    house.pass(3_600_000);
    let (third, got) = success(&mut house, &plain("romeo", &resume));
    assert!(got.contains("<failed xmlns='urn:xmpp:sm:3' h='2'><item-not-found "), "{got}");
    assert!(got.find("<failed ").unwrap() < got.find("<bound ").unwrap());
    assert!(got.contains("<enabled ") && got.contains("<stream:features>"));
    // XEP-0388 §2.6.1: those that apply. What was done is not offered: xmpp.js would ask for it again, and lose its stream.
    let features = between(&got, "<stream:features>", "</stream:features>").unwrap();
    assert!(!features.contains("urn:xmpp:sm:3") && !features.contains("xmpp-bind"), "{features}");
    assert!(features.contains("urn:xmpp:csi:0"), "{features}");
    house.cut(third);
    // Without a fallback the stream is authenticated, and goes on in the old way.
    let resume = "<resume xmlns='urn:xmpp:sm:3' previd='nonsense' h='0'/>";
    let (fourth, got) = success(&mut house, &plain("romeo", resume));
    assert!(got.contains("<failed ") && got.contains("xmpp-bind'><required/>"), "{got}");
    house.send(fourth, "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    assert!(house.receive(fourth).unwrap().contains("<jid>"));
    // What cannot be read.
    let (_, got) = success(&mut house, &plain("romeo", &format!("<resume xmlns='urn:xmpp:sm:3' h='x'/>{BIND}")));
    assert!(got.contains("<failed xmlns='urn:xmpp:sm:3'><bad-request ") && got.contains("<bound "), "{got}");
}

#[test]
fn of_two_connections_that_resume_the_later_one_does() {
    let mut house = House::new();
    house.account("romeo@house.test");
    let (first, got) = success(&mut house, &plain("romeo", &(agent(DEVICE) + SM)));
    let id = between(&got, "<enabled xmlns='urn:xmpp:sm:3' id='", "'").unwrap();
    house.hold = true;
    house.send(first, "<message to='romeo@house.test' type='chat'><body>Hark</body></message>");
    house.cut(first);
    let said = plain("romeo", &format!("{}<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>{SM}", agent(DEVICE)));
    let (second, got) = login(&mut house, &said);
    assert_eq!(got, "");
    let (third, _) = login(&mut house, &said);
    assert!(house.is_closed(second) && house.receive_all(second).concat().contains("<conflict "));
    house.release();
    assert!(
        house.receive_all(third).concat().contains(&format!("<resumed xmlns='urn:xmpp:sm:3' h='1' previd='{id}'/>"))
    );
    assert_eq!(house.state().sessions().len(), 1);
}

fn login_as(house: &mut House, name: &str, inner: &str) -> (StreamId, String) {
    house.account(&format!("{name}@house.test"));
    success(house, &plain(name, inner))
}

/// The state of the archive at the moment when the session begins, whatever happens while it is read.
#[test]
fn metadata_is_of_the_moment_of_binding() {
    let mut house = House::new();
    house.account("romeo@house.test");
    let juliet = house.login("juliet@house.test/balcony");
    let write = |house: &mut House, text: &str| {
        house.send(juliet, &format!("<message to='romeo@house.test' type='chat'><body>{text}</body></message>"));
    };
    let ends = |got: &str| {
        let end = |name: &str| Some(between(got, &format!("<{name} id='"), "'")?.to_owned());
        end("start").zip(end("end"))
    };
    let (sid, got) = success(&mut house, &plain("romeo", BIND));
    assert_eq!(ends(&got), None);
    house.cut(sid);
    write(&mut house, "one");
    let (sid, got) = success(&mut house, &plain("romeo", BIND));
    let (start, end) = ends(&got).unwrap();
    assert_eq!(start, end);
    house.cut(sid);
    // Storage waits: the ends are not known yet, and something comes.
    house.hold = true;
    let sid = opened(&mut house);
    house.send(sid, &plain("romeo", BIND));
    assert_eq!(house.receive(sid), None);
    write(&mut house, "two");
    house.send(juliet, "<message to='romeo@house.test' type='chat'><body>three</body></message>");
    assert_eq!(house.receive(sid), None);
    house.release();
    let got = house.receive_all(sid).concat();
    let (first, last) = ends(&got).unwrap();
    assert_eq!(first, start);
    house.send(sid, "<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>");
    assert_eq!(ends(&house.receive_all(sid).concat()), Some((first, last.clone())));
    assert_ne!(last, end);
}

/// XEP-0386 §3.2: what is in the archive is not sent again; what is not, is.
#[test]
fn offline_messages_are_read_in_the_archive() {
    let mut house = House::new();
    house.account("romeo@house.test");
    let juliet = house.login("juliet@house.test/balcony");
    house.send(juliet, "<message to='romeo@house.test' type='chat'><body>archived</body></message>");
    house.send(
        juliet,
        "<message to='romeo@house.test' type='chat'><body>fleeting</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>",
    );
    let (sid, _) = success(&mut house, &plain("romeo", BIND));
    house.send(juliet, "<message to='romeo@house.test' type='chat'><body>later</body></message>");
    house.send(sid, "<presence/>");
    let got = house.receive_all(sid).concat();
    assert!(!got.contains("archived") && got.contains("fleeting") && got.contains("later"), "{got}");
    // They are gone for good.
    house.send(sid, "<iq type='result' id='x'/>");
    house.cut(sid);
    let old = house.login("romeo@house.test/old");
    house.send(old, "<presence/>");
    assert!(!house.receive_all(old).concat().contains("archived"));
}

#[test]
fn tokens_of_every_mechanism() {
    for (mechanism, binding) in
        [("HT-SHA-256-NONE", &[][..]), ("HT-SHA-256-ENDP", &[8; 32]), ("HT-SHA-256-EXPR", &[9; 32])]
    {
        let mut house = House::new();
        house.account("romeo@house.test");
        let request = TOKEN.replace("HT-SHA-256-NONE", mechanism);
        let (_, got) = success(&mut house, &plain("romeo", &(agent(DEVICE) + BIND + &request)));
        let secret = told_token(&got).unwrap();
        assert_eq!(STANDARD.decode(secret).unwrap().len(), 32);
        let expiry = stamp::parse(between(&got, " expiry='", "'").unwrap()).unwrap();
        assert_eq!(expiry, house.now.wall + LIFE_MS);
        let inline = agent(DEVICE) + BIND + FAST;
        let (sid, got) = success(&mut house, &token(mechanism, "romeo", secret, binding, &inline));
        assert_eq!(identifier(&got).bare_str(), "romeo@house.test");
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let answer = STANDARD.encode(hmac::sign(&key, &[b"Responder", binding].concat()));
        assert_eq!(between(&got, "<additional-data>", "</additional-data>"), Some(&*answer));
        assert!(got.contains("<bound ") && told_token(&got).is_none(), "{got}");
        house.send(sid, "<iq type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>");
        assert!(house.receive(sid).unwrap().contains("type='result'"));
        // XEP-0484 §3.4: not with another mechanism, nor over another channel.
        for (other, data) in
            [("HT-SHA-256-NONE", &[][..]), ("HT-SHA-256-ENDP", &[8; 32]), ("HT-SHA-256-EXPR", &[9; 32])]
        {
            if other != mechanism {
                failure(&mut house, &token(other, "romeo", secret, data, &inline), "not-authorized");
                failure(&mut house, &token(other, "romeo", secret, binding, &inline), "not-authorized");
                house.pass(3_600_000);
            }
        }
    }
}

#[test]
fn tokens_that_are_refused() {
    let (mut house, secret) = with_token();
    let inline = agent(DEVICE) + FAST;
    house.account("iago@house.test");
    // Not of another account or another client, nor of nobody.
    failure(&mut house, &by_token("iago", &secret, &inline), "not-authorized");
    failure(&mut house, &by_token("nobody", &secret, &inline), "not-authorized");
    failure(&mut house, &by_token("romeo", &secret, &(agent(OTHER_DEVICE) + FAST)), "not-authorized");
    failure(&mut house, &by_token("romeo", "guess", &inline), "not-authorized");
    house.pass(3_600_000);
    // Without the element, or without an id, it is no such login.
    failure(&mut house, &by_token("romeo", &secret, &agent(DEVICE)), "invalid-mechanism");
    failure(&mut house, &by_token("romeo", &secret, FAST), "malformed-request");
    failure(&mut house, &authenticate("HT-SHA-256-NONE", b"romeo", &inline), "malformed-request");
    failure(&mut house, &authenticate("HT-SHA-256-UNIQ", b"romeo\0x", &inline), "invalid-mechanism");
    failure(
        &mut house,
        &by_token("romeo", &secret, &(agent(DEVICE) + "<fast xmlns='urn:xmpp:fast:0' count='x'/>")),
        "not-authorized",
    );
    // It is a way for SASL2 alone.
    let (_, got) =
        login(&mut house, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='HT-SHA-256-NONE'>eA==</auth>");
    assert!(got.contains("<invalid-mechanism/>"), "{got}");
    success(&mut house, &by_token("romeo", &secret, &inline));
}

#[test]
fn guessing_tokens_slows_down() {
    let (mut house, secret) = with_token();
    let stranger = "192.0.2.7".parse().unwrap();
    let try_it = |house: &mut House, secret: &str| {
        let sid = house.open_from(stranger);
        house.send(
            sid,
            &format!("<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"),
        );
        house.receive_all(sid);
        house.send(sid, &by_token("romeo", secret, &(agent(DEVICE) + FAST + BIND)));
        sid
    };
    for _ in 0..6 {
        let sid = try_it(&mut house, "guess");
        house.pass(20_000);
        house.cut(sid);
    }
    let sid = try_it(&mut house, &secret);
    assert_eq!(house.receive(sid), None, "it waits, also with the right one");
    // One that has gone meanwhile binds nothing.
    let gone = try_it(&mut house, &secret);
    house.cut(gone);
    house.pass(20_000);
    assert!(house.receive(sid).unwrap().starts_with("<success"));
    assert_eq!(house.state().sessions().len(), 1);
}

/// XEP-0484 §3.5, §5.1
#[test]
fn tokens_are_replaced() {
    let (mut house, first) = with_token();
    let inline = agent(DEVICE) + FAST;
    // Used at once, it stays.
    for _ in 0..3 {
        let (_, got) = success(&mut house, &by_token("romeo", &first, &inline));
        assert_eq!(told_token(&got), None);
    }
    house.pass(ROTATE_MS);
    let (_, got) = success(&mut house, &by_token("romeo", &first, &inline));
    let second = told_token(&got).unwrap().to_owned();
    assert_ne!(second, first);
    // The answer was lost: the old one is good still, and the one that nobody has used makes room.
    let (_, got) = success(&mut house, &by_token("romeo", &first, &inline));
    let third = told_token(&got).unwrap().to_owned();
    failure(&mut house, &by_token("romeo", &second, &inline), "not-authorized");
    // Used, it is the only one.
    let (_, got) = success(&mut house, &by_token("romeo", &third, &inline));
    assert_eq!(told_token(&got), None);
    failure(&mut house, &by_token("romeo", &first, &inline), "not-authorized");
    // All of that is stored.
    house.power_cut();
    success(&mut house, &by_token("romeo", &third, &inline));
    failure(&mut house, &by_token("romeo", &first, &inline), "not-authorized");
}

#[test]
fn tokens_expire() {
    let (mut house, secret) = with_token();
    let inline = agent(DEVICE) + FAST;
    let wall = house.now.wall;
    house.now.wall = wall + LIFE_MS - 1;
    success(&mut house, &by_token("romeo", &secret, &inline));
    house.now.wall = wall + LIFE_MS;
    failure(&mut house, &by_token("romeo", &secret, &inline), "credentials-expired");
    // A box without a clock goes by its newest message, and locks nobody out.
    house.restart();
    house.now.wall = 5_000;
    success(&mut house, &by_token("romeo", &secret, &inline));
    house.now.wall = wall;
    let juliet = house.login("juliet@house.test/balcony");
    house.send(juliet, "<message to='romeo@house.test' type='chat'><body>now</body></message>");
    house.restart();
    house.now.wall = 5_000;
    success(&mut house, &by_token("romeo", &secret, &inline));
    // Nor is a token believed that was made while the clock was wrong.
    house.now.wall = wall - 365 * 86_400_000;
    failure(&mut house, &by_token("romeo", &secret, &inline), "credentials-expired");
    // While nothing is known of the time, none is made.
    let mut house = House::new();
    house.account("romeo@house.test");
    house.now.wall = 5_000;
    let (_, got) = success(&mut house, &plain("romeo", &(agent(DEVICE) + TOKEN)));
    assert_eq!(told_token(&got), None);
}

/// Nobody is told of a token that the power can take away.
#[test]
fn a_token_that_was_told_is_stored() {
    let mut house = House::new();
    house.account("romeo@house.test");
    house.hold = true;
    let sid = opened(&mut house);
    house.send(sid, &plain("romeo", &(agent(DEVICE) + BIND + TOKEN)));
    assert_eq!(house.receive(sid), None);
    assert!(house.state().sessions().is_empty(), "nor is anything bound meanwhile");
    house.power_cut();
    let (_, got) = success(&mut house, &plain("romeo", &(agent(DEVICE) + BIND + TOKEN)));
    let secret = told_token(&got).unwrap().to_owned();
    house.power_cut();
    let inline = agent(DEVICE) + FAST;
    success(&mut house, &by_token("romeo", &secret, &inline));
    // A client that goes while it waits binds nothing.
    house.hold = true;
    let sid = opened(&mut house);
    house.send(sid, &plain("romeo", &(agent(DEVICE) + BIND + TOKEN)));
    house.cut(sid);
    house.release();
    assert!(house.state().sessions().is_empty());
}

#[test]
fn storage_that_takes_nothing_keeps_nobody_out() {
    let (mut house, secret) = with_token();
    house.set_full(true);
    let (_, got) = success(&mut house, &by_token("romeo", &secret, &(agent(DEVICE) + FAST + BIND)));
    assert!(got.contains("<bound "));
    let (_, got) = success(&mut house, &plain("romeo", &(agent(OTHER_DEVICE) + BIND + TOKEN)));
    assert!(got.contains("<bound ") && told_token(&got).is_none());
    // But nobody is told that a token is gone who cannot be sure of it.
    let invalidate = format!("{}<fast xmlns='urn:xmpp:fast:0' invalidate='true'/>", agent(DEVICE));
    failure(&mut house, &by_token("romeo", &secret, &invalidate), "temporary-auth-failure");
    house.set_full(false);
    // It fails while somebody waits for it.
    house.hold = true;
    let sid = opened(&mut house);
    house.send(sid, &plain("romeo", &(agent(OTHER_DEVICE) + TOKEN)));
    assert_eq!(house.receive(sid), None);
    house.set_full(true);
    let got = house.receive_all(sid).concat();
    assert!(got.starts_with("<success") && told_token(&got).is_none(), "{got}");
}

#[test]
fn a_count_is_used_once() {
    let (mut house, secret) = with_token();
    let count = |n: &str| format!("{}<fast xmlns='urn:xmpp:fast:0' count='{n}'/>", agent(DEVICE));
    success(&mut house, &by_token("romeo", &secret, &count("3")));
    for old in ["3", "2", "0"] {
        failure(&mut house, &by_token("romeo", &secret, &count(old)), "not-authorized");
    }
    house.pass(3_600_000);
    success(&mut house, &by_token("romeo", &secret, &count("4")));
    house.restart();
    failure(&mut house, &by_token("romeo", &secret, &count("4")), "not-authorized");
    success(&mut house, &by_token("romeo", &secret, &count("4294967295")));
}

/// XEP-0484 §3.6
#[test]
fn a_client_gives_its_token_back() {
    let (mut house, secret) = with_token();
    house.pass(ROTATE_MS);
    let inline = agent(DEVICE) + "<fast xmlns='urn:xmpp:fast:0' invalidate='1'/>";
    let (_, got) = success(&mut house, &by_token("romeo", &secret, &inline));
    assert_eq!(told_token(&got), None, "no other one unasked");
    house.power_cut();
    failure(&mut house, &by_token("romeo", &secret, &(agent(DEVICE) + FAST)), "not-authorized");
    let (_, got) = success(&mut house, &plain("romeo", &(agent(DEVICE) + TOKEN)));
    let secret = told_token(&got).unwrap().to_owned();
    let (_, got) = success(&mut house, &by_token("romeo", &secret, &(inline + TOKEN)));
    let new = told_token(&got).unwrap().to_owned();
    failure(&mut house, &by_token("romeo", &secret, &(agent(DEVICE) + FAST)), "not-authorized");
    success(&mut house, &by_token("romeo", &new, &(agent(DEVICE) + FAST)));
}

#[test]
fn tokens_end_with_the_password_and_the_account() {
    for removed in [false, true] {
        let (mut house, secret) = with_token();
        let romeo = Jid::parse("romeo@house.test").unwrap();
        let credentials = Credentials::derive("romeo", b"another salt", 4096).unwrap();
        if removed {
            house.command(Command::UserRemove(romeo.clone()));
            house.command(Command::UserAdd(romeo, credentials));
        } else {
            house.command(Command::UserPassword(romeo, credentials));
        }
        for restarts in [false, true] {
            failure(&mut house, &by_token("romeo", &secret, &(agent(DEVICE) + FAST)), "not-authorized");
            if !restarts {
                house.power_cut();
            }
        }
    }
}

#[test]
fn clients_with_tokens_are_limited() {
    let (mut house, first) = with_token();
    let device = |n: usize| format!("{n:08}-4d72-4749-b3d3-740edbf87770");
    let mut last = String::new();
    for n in 0..CLIENTS {
        house.pass(1000);
        let (_, got) = success(&mut house, &plain("romeo", &(agent(&device(n)) + TOKEN)));
        last = told_token(&got).unwrap().to_owned();
    }
    for _ in 0..2 {
        failure(&mut house, &by_token("romeo", &first, &(agent(DEVICE) + FAST)), "not-authorized");
        success(&mut house, &by_token("romeo", &last, &(agent(&device(CLIENTS - 1)) + FAST)));
        house.power_cut();
    }
}

/// XEP-0388 §2.3 to §2.6
#[test]
fn failures() {
    let mut house = House::new();
    house.account("romeo@house.test");
    failure(&mut house, &authenticate("PLAIN", b"\0romeo\0wrong", BIND), "not-authorized");
    failure(&mut house, &authenticate("MAGIC", b"x", BIND), "invalid-mechanism");
    failure(&mut house, "<authenticate xmlns='urn:xmpp:sasl:2'/>", "malformed-request");
    failure(&mut house, &plain("romeo", "").replace("<initial-response>", "<initial-response>~"), "incorrect-encoding");
    failure(
        &mut house,
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>=</initial-response></authenticate>",
        "incorrect-encoding",
    );
    failure(
        &mut house,
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response/></authenticate>",
        "malformed-request",
    );
    failure(&mut house, &authenticate("PLAIN", b"juliet@house.test\0romeo\0romeo", ""), "invalid-authzid");
    failure(&mut house, "<response xmlns='urn:xmpp:sasl:2'>eA==</response>", "malformed-request");
    failure(&mut house, "<abort xmlns='urn:xmpp:sasl:2'><text>no</text></abort>", "aborted");
    assert!(house.state().sessions().is_empty(), "nothing inline was done");
    // Who opens the stream is who logs in.
    let sid = open(&mut house, Some("juliet@house.test"));
    house.receive_all(sid);
    house.send(sid, &plain("romeo", BIND));
    assert!(house.receive(sid).unwrap().contains("<invalid-authzid "));
    let sid = open(&mut house, Some("romeo@elsewhere.test"));
    assert!(house.receive_all(sid).concat().contains("<invalid-from "));
    // White space around base64 is forgiven.
    success(&mut house, &plain("romeo", "").replace("<initial-response>", "<initial-response>\n  "));
}

#[test]
fn attempts_are_counted_in_both_profiles_together() {
    let mut house = House::new();
    let sid = opened(&mut house);
    for _ in 0..2 {
        house.send(sid, "<abort xmlns='urn:xmpp:sasl:2'/>");
        house.send(sid, "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    }
    assert!(house.is_closed(sid));
}

/// XEP-0388 §2.4, §4.8: nothing else may come between.
#[test]
fn whatever_comes_between_ends_the_stream() {
    let start = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256'><initial-response>biwsbj1yb21lbyxyPWFiYw==</initial-response></authenticate>";
    let mut house = House::new();
    house.account("romeo@house.test");
    for between in [
        " ",
        "\n",
        start,
        "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>",
        "<message/>",
        "<r xmlns='urn:xmpp:sm:3'/>",
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>eA==</auth>",
        "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>eA==</response>",
        "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-256'/>",
        "<task-data xmlns='urn:xmpp:sasl:2'/>",
        "<success xmlns='urn:xmpp:sasl:2'/>",
    ] {
        let (sid, got) = login(&mut house, start);
        assert!(got.starts_with("<challenge "), "{got}");
        house.send(sid, between);
        let got = house.receive_all(sid).concat();
        assert!(house.is_closed(sid) && got.starts_with("<stream:error>"), "{between}: {got}");
    }
    // What stands in an element is not between elements, wherever the network cuts it.
    let (sid, _) = login(&mut house, start);
    house.send(sid, "<abort");
    house.send(sid, " xmlns='urn:xmpp:sasl:2'>");
    house.send(sid, "\n</abort>");
    assert!(house.receive(sid).unwrap().contains("<aborted ") && !house.is_closed(sid));
    // To give up is allowed, and to begin again.
    let (sid, _) = login(&mut house, start);
    house.send(sid, "<abort xmlns='urn:xmpp:sasl:2'/>");
    assert!(house.receive(sid).unwrap().contains("<aborted "));
    house.send(sid, &plain("romeo", BIND));
    assert!(house.receive(sid).unwrap().starts_with("<success "));
    // Once is enough.
    house.receive_all(sid);
    house.send(sid, &plain("romeo", ""));
    assert!(house.receive_all(sid).concat().starts_with("<stream:error>"));
    // Nor does the other profile mix with this one.
    let (sid, _) = login(&mut house, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'/>");
    house.send(sid, "<response xmlns='urn:xmpp:sasl:2'>eA==</response>");
    assert!(house.is_closed(sid));
}

#[test]
fn hostile_requests() {
    let mut house = House::new();
    house.account("romeo@house.test");
    let huge = format!("<user-agent id='{DEVICE}'><software>{}</software></user-agent>", "x".repeat(20_000));
    let many = "<x xmlns='urn:example'/>".repeat(100);
    let deep = "<a>".repeat(20) + &"</a>".repeat(20);
    for inner in [huge, many.clone(), format!("<bind xmlns='urn:xmpp:bind:0'>{many}</bind>"), deep] {
        let (sid, got) = login(&mut house, &plain("romeo", &inner));
        assert!(house.is_closed(sid) && got.starts_with("<stream:error>"), "{got}");
    }
    // Of several of a kind the first counts.
    let (_, got) = success(
        &mut house,
        &plain("romeo", &format!("{0}{1}{BIND}{BIND}{TOKEN}{TOKEN}", agent(DEVICE), agent(OTHER_DEVICE))),
    );
    assert_eq!((got.matches("<bound ").count(), got.matches("<token ").count()), (1, 1));
    assert_eq!(house.state().sessions().len(), 1);
    // What stands behind the request waits for its answer, and is a stanza then.
    let sid = opened(&mut house);
    house.send(sid, &(plain("romeo", BIND) + "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"));
    let got = house.receive_all(sid).concat();
    assert!(got.starts_with("<success") && got.contains("id='p'"), "{got}");
}

#[test]
fn too_many_sessions() {
    let mut house = House::new();
    house.account("romeo@house.test");
    for _ in 0..inglenook::core::session::SESSIONS {
        success(&mut house, &plain("romeo", BIND));
    }
    let (sid, got) = success(&mut house, &plain("romeo", BIND));
    assert!(!got.contains("<bound") && got.contains("xmpp-bind'><required/>"), "{got}");
    house.send(sid, "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    assert!(house.receive(sid).unwrap().contains("<resource-constraint "));
}

/// What another implementation reads in what is written here.
#[test]
fn others_can_read_it() {
    use tokio_xmpp::minidom::Element;
    use tokio_xmpp::parsers::{bind2, fast, sasl2};
    let mut house = House::new();
    house.account("romeo@house.test");
    let sid = open(&mut house, None);
    let features = house.receive_all(sid).concat();
    let inside = between(&features, "<authentication ", "</authentication>").unwrap();
    let element: Element = format!("<authentication {inside}</authentication>").parse().unwrap();
    let offer = sasl2::Authentication::try_from(element).unwrap();
    assert_eq!(offer.mechanisms.len(), 5);
    let inline = offer.inline.unwrap();
    assert!(inline.sm.is_some() && inline.bind2.unwrap().inline_features.contains(&"urn:xmpp:sm:3".to_owned()));
    let fast = fast::FastQuery::try_from(inline.payloads[0].clone()).unwrap();
    assert_eq!((fast.tls_0rtt, fast.mechanisms.len()), (false, 3));
    house.send(sid, &plain("romeo", &(agent(DEVICE) + BIND + TOKEN)));
    let success: Element = house.receive(sid).unwrap().parse().unwrap();
    let success = sasl2::Success::try_from(success).unwrap();
    assert!(success.authorization_identifier.resource().is_some());
    let [bound, token] = &success.payloads[..] else { panic!("{success:?}") };
    assert!(bind2::Bound::try_from(bound.clone()).is_ok());
    assert!(fast::Token::try_from(token.clone()).is_ok());
    house.send(sid, "</stream:stream>");
    let (_, failed) = login(&mut house, &authenticate("PLAIN", b"\0romeo\0wrong", ""));
    let failed = sasl2::Failure::try_from(failed.parse::<Element>().unwrap()).unwrap();
    assert_eq!(failed.payloads[0].name(), "not-authorized");
}

/// The real binary over TLS: one write, one answer, each time.
#[cfg(target_os = "linux")]
#[test]
fn over_tls_in_one_round_trip() {
    use common::binary::{Dir, HEADER, Server, connect, ok, tls, until};
    use std::io::Write;
    const PASSWORD: &str = "a rose by any other name";
    let dir = Dir::begun("domain = \"example.org\"\nscram_iterations = 4096\nplain = true\n");
    let begin = |server: &Server, said: &dyn Fn(&[u8; 32]) -> String, end: &str| {
        let mut stream = tls(connect(server, "c2s_tls"), &dir.ca());
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        let exporter = stream.conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
        stream.write_all(format!("{HEADER}{}", said(&exporter)).as_bytes()).unwrap();
        let got = until(&mut stream, end);
        (stream, got)
    };
    let server = Server::start(&dir, &[]);
    ok(&dir, &["user", "add", "romeo@example.org", "--password-stdin"], &format!("{PASSWORD}\n"));
    let request = TOKEN.replace("NONE", "EXPR");
    let first = authenticate("PLAIN", format!("\0romeo\0{PASSWORD}").as_bytes(), &(agent(DEVICE) + SM + &request));
    let (stream, got) = begin(&server, &|_| first.clone(), "</success><stream:features>");
    let id = between(&got, "<enabled xmlns='urn:xmpp:sm:3' id='", "'").unwrap().to_owned();
    let secret = told_token(&got).unwrap().to_owned();
    assert!(got.contains("<authorization-identifier>romeo@example.org/Lute/"), "{got}");
    drop(stream);
    let resume = format!("{}{FAST}<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>{SM}", agent(DEVICE));
    let again = |exporter: &[u8; 32]| token("HT-SHA-256-EXPR", "romeo", &secret, exporter, &resume);
    let (mut stream, got) = begin(&server, &again, "</success>");
    assert!(got.contains("<resumed xmlns='urn:xmpp:sm:3' h='0'"), "{got}");
    stream.write_all(b"<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").unwrap();
    until(&mut stream, "id='p'");
    // What one connection has proven is worth nothing on another.
    let (_, got) = begin(&server, &|_| again(&[7; 32]), "</failure>");
    assert!(got.contains("<not-authorized "), "{got}");
    server.kill();
    let server = Server::start(&dir, &[]);
    let (_, got) = begin(&server, &again, "</success><stream:features>");
    assert!(got.contains("<failed xmlns='urn:xmpp:sm:3'") && got.contains("<bound "), "{got}");
    // Another password ends it.
    ok(&dir, &["user", "passwd", "romeo@example.org", "--password-stdin"], "another one\n");
    let (_, got) = begin(&server, &again, "</failure>");
    assert!(got.contains("<not-authorized "), "{got}");
    server.stop();
}

fn salted(algorithm: pbkdf2::Algorithm, len: usize, task: &str, password: &str) -> String {
    let salt = STANDARD.decode(between(task, "0'>", "</salt>").unwrap()).unwrap();
    let iterations: u32 = between(task, "iterations='", "'").unwrap().parse().unwrap();
    let mut out = vec![0; len];
    pbkdf2::derive(algorithm, iterations.try_into().unwrap(), &salt, password.as_bytes(), &mut out);
    let hash = STANDARD.encode(out);
    format!("<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>{hash}</hash></task-data>")
}

/// XEP-0480, for an account whose keys have fewer iterations than are set by now.
#[test]
fn keys_become_stronger() {
    // The accounts of these tests are made with 4096.
    let mut house = House::with(|settings| settings.iterations = 5000);
    house.account("romeo@house.test");
    // Who comes while the account is made is not offered it.
    house.restart();
    let sid = open(&mut house, None);
    assert!(house.receive_all(sid).concat().contains(
        "</inline><upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
         <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-1</upgrade></authentication>"
    ));
    let wanted = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
                  <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-1</upgrade>\
                  <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>";
    let proposes =
        |name: &str| format!("<continue xmlns='urn:xmpp:sasl:2'><tasks><task>{name}</task></tasks></continue>");
    let next = |name: &str| format!("<next xmlns='urn:xmpp:sasl:2' task='{name}'/>");
    // Given up, or wrong: nothing has changed.
    for wrong in [
        next("UPGR-SCRAM-SHA-1"),
        "<abort xmlns='urn:xmpp:sasl:2'/>".into(),
        next("UPGR-SCRAM-SHA-256") + "<task-data xmlns='urn:xmpp:sasl:2'/>",
        next("UPGR-SCRAM-SHA-256")
            + "<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>eA==</hash></task-data>",
        next("UPGR-SCRAM-SHA-256") + "<abort xmlns='urn:xmpp:sasl:2'/>",
    ] {
        let (sid, got) = login(&mut house, &plain("romeo", &format!("{wanted}{BIND}")));
        assert_eq!(got, proposes("UPGR-SCRAM-SHA-256"));
        house.send(sid, &wrong);
        assert!(house.receive_all(sid).concat().contains("<failure "), "{wrong}");
        assert!(house.state().sessions().is_empty());
    }
    let (sid, got) = login(&mut house, &plain("romeo", &format!("{wanted}{BIND}")));
    assert_eq!(got, proposes("UPGR-SCRAM-SHA-256"));
    house.send(sid, &next("UPGR-SCRAM-SHA-256"));
    let task = house.receive(sid).unwrap();
    assert!(task.contains("iterations='5000'"), "{task}");
    house.send(sid, &salted(pbkdf2::PBKDF2_HMAC_SHA256, 32, &task, "romeo"));
    assert_eq!(house.receive(sid).unwrap(), proposes("UPGR-SCRAM-SHA-1"));
    house.send(sid, &next("UPGR-SCRAM-SHA-1"));
    let task = house.receive(sid).unwrap();
    house.hold = true;
    house.send(sid, &salted(pbkdf2::PBKDF2_HMAC_SHA1, 20, &task, "romeo"));
    assert_eq!(house.receive(sid), None, "it is stored first");
    house.release();
    let got = house.receive_all(sid).concat();
    assert!(got.starts_with("<success ") && got.contains("<bound "), "{got}");
    house.power_cut();
    let romeo = Jid::parse("romeo@house.test").unwrap();
    let stored = house.state().account(&romeo).unwrap().credentials.clone();
    assert_eq!((stored.sha1.iterations, stored.sha256.iterations), (5000, 5000));
    assert!(stored.check("romeo"));
    let made = Credentials::derive("romeo", &stored.sha1.salt, 5000).unwrap();
    assert!(made.sha1 == stored.sha1);
    // There is nothing more to do.
    success(&mut house, &plain("romeo", &format!("{wanted}{BIND}")));
}

/// A client with a token under a random life: lines are cut before or after the answer, storage is slow, the power fails between any
/// two steps. The newest token that it was told lets it in, always, and it never has two sessions.
#[test]
fn a_token_lets_its_client_in_whatever_happens() {
    for seed in 0..150 {
        let mut dice = Dice::new(seed);
        let mut house = House::new();
        house.account("romeo@house.test");
        let (mut secret, mut stream): (Option<String>, Option<String>) = (None, None);
        let mut replaced = 0;
        for _ in 0..40 {
            house.hold = dice.roll(3) == 0;
            let mut inner = agent(DEVICE) + SM;
            if dice.roll(3) == 0 {
                inner += TOKEN;
            }
            if let Some(id) = stream.as_ref().filter(|_| dice.roll(2) == 0) {
                inner += &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>");
            }
            let sid = opened(&mut house);
            let said = match &secret {
                Some(secret) => by_token("romeo", secret, &(inner + FAST)),
                None => plain("romeo", &(inner + TOKEN)),
            };
            house.send(sid, &said);
            if dice.roll(2) == 0 {
                house.store_one();
            }
            match dice.roll(5) {
                0 => house.power_cut(),
                1 => house.cut(sid),
                _ => house.release(),
            }
            if house.is_closed(sid) {
                // The answer was on its way.
                house.release();
                continue;
            }
            let got = house.receive_all(sid).concat();
            assert!(got.starts_with("<success "), "seed {seed}: {got}");
            assert_eq!(house.state().sessions().len(), 1, "seed {seed}");
            if let Some(new) = told_token(&got) {
                secret = Some(new.to_owned());
                replaced += 1;
            }
            if let Some(id) = between(&got, "<enabled xmlns='urn:xmpp:sm:3' id='", "'") {
                stream = Some(id.to_owned());
            }
            house.pass(dice.roll(3) as u64 * ROTATE_MS / 2);
            match dice.roll(4) {
                0 => house.power_cut(),
                1 => house.cut(sid),
                _ => {}
            }
        }
        assert!(replaced > 3, "seed {seed}: nothing happened");
    }
}

/// The password was changed while a client made keys of the old one.
#[test]
fn an_upgrade_does_not_bring_an_old_password_back() {
    let mut house = House::with(|settings| settings.iterations = 5000);
    house.account("romeo@house.test");
    house.restart();
    let wanted = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>";
    let (sid, _) = login(&mut house, &plain("romeo", wanted));
    house.send(sid, "<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-256'/>");
    let task = house.receive(sid).unwrap();
    let romeo = Jid::parse("romeo@house.test").unwrap();
    let other = Credentials::derive("other", b"another salt", 4096).unwrap();
    house.command(Command::UserPassword(romeo.clone(), other.clone()));
    house.send(sid, &salted(pbkdf2::PBKDF2_HMAC_SHA256, 32, &task, "romeo"));
    house.receive_all(sid);
    assert!(house.state().account(&romeo).unwrap().credentials == other);
}
