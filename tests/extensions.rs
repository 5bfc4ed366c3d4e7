//! What plays cannot say of extensions: lists that grow with every extension, and limits in bytes.
#![allow(clippy::unwrap_used)]

mod house;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use house::{DOMAIN, House};
use inglenook::core::{Command, StreamId};
use inglenook::wire::Jid;
use minidom::Element;
use ring::digest;
use std::collections::BTreeMap;

const FORM: &str = "jabber:x:data";
const INFO: &str = "http://jabber.org/protocol/disco#info";
const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// Sends an IQ and takes the answer.
fn ask(house: &mut House, sid: StreamId, ty: &str, to: Option<&str>, payload: &str) -> Element {
    let to = to.map(|to| format!(" to='{to}'")).unwrap_or_default();
    house.send(sid, &format!("<iq type='{ty}' id='1'{to}>{payload}</iq>"));
    let answer = house.receive(sid).expect("an answer");
    assert_eq!(house.receive(sid), None);
    Element::from_reader_with_prefixes(answer.as_bytes(), "jabber:client".to_owned()).unwrap()
}

fn info(house: &mut House, sid: StreamId, to: Option<&str>) -> Element {
    let answer = ask(house, sid, "get", to, &format!("<query xmlns='{INFO}'/>"));
    answer.get_child("query", INFO).unwrap().clone()
}

fn attr<'a>(element: &'a Element, name: &'a str) -> &'a str {
    element.attr(name).unwrap_or_default()
}

fn features(info: &Element) -> Vec<&str> {
    info.children().filter(|c| c.name() == "feature").map(|c| attr(c, "var")).collect()
}

fn values(field: &Element) -> Vec<String> {
    field.children().map(Element::text).collect()
}

/// The condition of an error; `None` for a result.
fn condition(answer: &Element) -> Option<String> {
    let error = answer.get_child("error", "jabber:client")?;
    Some(error.children().find(|c| c.ns() == STANZAS)?.name().to_owned())
}

/// XEP-0115 §5.1 as a client does it, from what it received.
fn verification_string(info: &Element) -> String {
    let mut parts: Vec<String> = info
        .children()
        .filter(|c| c.name() == "identity")
        .map(|i| format!("{}/{}/{}/{}", attr(i, "category"), attr(i, "type"), attr(i, "xml:lang"), attr(i, "name")))
        .collect();
    parts.sort();
    let mut all = features(info);
    all.sort();
    parts.extend(all.into_iter().map(String::from));
    let mut forms = Vec::new();
    for form in info.children().filter(|c| c.ns() == FORM) {
        let (types, fields): (Vec<_>, Vec<_>) = form.children().partition(|f| attr(f, "var") == "FORM_TYPE");
        assert_eq!(attr(types[0], "type"), "hidden");
        let mut fields: Vec<_> = fields
            .into_iter()
            .map(|field| {
                let mut values = values(field);
                values.sort();
                (attr(field, "var").to_owned(), values)
            })
            .collect();
        fields.sort();
        forms.push((values(types[0])[0].clone(), fields));
    }
    forms.sort();
    for (ty, fields) in forms {
        parts.push(ty);
        for (var, values) in fields {
            parts.push(var);
            parts.extend(values);
        }
    }
    let s: String = parts.into_iter().map(|part| part + "<").collect();
    BASE64.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, s.as_bytes()))
}

/// The capabilities in the stream features after the login.
fn advertised(house: &mut House) -> String {
    house.account("juliet@house.test");
    let sid = house.open();
    let header = "<stream:stream to='house.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
    let plain = BASE64.encode("\0juliet\0juliet");
    house.send(sid, header);
    house.send(sid, &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"));
    house.receive_all(sid);
    house.send(sid, header);
    let features = house.receive_all(sid).pop().unwrap();
    let stream = BTreeMap::from([(Some("stream".to_owned()), "http://etherx.jabber.org/streams".to_owned())]);
    let features = Element::from_reader_with_prefixes(features.as_bytes(), stream).unwrap();
    let caps = features.get_child("c", "http://jabber.org/protocol/caps").unwrap();
    assert_eq!(caps.attr("hash"), Some("sha-1"));
    attr(caps, "ver").to_owned()
}

fn with_contacts() -> House {
    let contacts = [
        ("abuse", "mailto:abuse@house.test"),
        ("admin", "xmpp:romeo@house.test"),
        ("abuse", "https://house.test/abuse?a=1&b='<2"),
    ];
    House::with(|s| s.contacts = contacts.map(|(kind, uri)| (kind.into(), uri.into())).into())
}

#[test]
fn the_server_tells_every_feature_of_every_extension_once() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let abouts = house.state().abouts().to_vec();
    type Pick = fn(&inglenook::core::About) -> &'static [&'static str];
    let cases: [(Option<&str>, Pick); 2] = [(Some(DOMAIN), |about| about.server), (None, |about| about.account)];
    for (to, pick) in cases {
        let info = info(&mut house, romeo, to);
        let told = features(&info);
        assert!(told.windows(2).all(|two| two[0] < two[1]), "not sorted, or twice: {told:?}");
        let mut expected: Vec<_> = abouts.iter().flat_map(|about| pick(about)).copied().collect();
        expected.sort();
        expected.dedup();
        assert_eq!(told, expected);
        // XEP-0030 §3.1: every entity supports at least this.
        assert!(told.contains(&INFO));
    }
}

#[test]
fn the_servers_capabilities_are_what_a_client_computes() {
    for mut house in [House::new(), with_contacts()] {
        let romeo = house.login("romeo@house.test/orchard");
        let info = info(&mut house, romeo, Some(DOMAIN));
        assert_eq!(verification_string(&info), advertised(&mut house));
    }
}

/// XEP-0157 §3
#[test]
fn contact_addresses_are_a_form() {
    let mut house = with_contacts();
    let romeo = house.login("romeo@house.test/orchard");
    let info = info(&mut house, romeo, Some(DOMAIN));
    let form = info.get_child("x", FORM).unwrap();
    assert_eq!(form.attr("type"), Some("result"));
    let fields: Vec<_> = form.children().map(|field| (attr(field, "var"), values(field))).collect();
    let expected: [(&str, &[&str]); 3] = [
        ("FORM_TYPE", &["http://jabber.org/network/serverinfo"]),
        ("abuse-addresses", &["https://house.test/abuse?a=1&b='<2", "mailto:abuse@house.test"]),
        ("admin-addresses", &["xmpp:romeo@house.test"]),
    ];
    assert_eq!(fields, expected.map(|(var, values)| (var, values.iter().map(|v| v.to_string()).collect())));

    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    assert!(self::info(&mut house, romeo, Some(DOMAIN)).get_child("x", FORM).is_none(), "no addresses, no form");
}

#[test]
fn a_vcard_has_a_limit_in_bytes() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let vcard = |bytes: usize| {
        let empty = "<vCard xmlns='vcard-temp'><FN></FN></vCard>";
        empty.replacen("></", &format!(">{}</", "x".repeat(bytes - empty.len())), 1)
    };
    let most = vcard(128 * 1024);
    assert_eq!(condition(&ask(&mut house, romeo, "set", None, &most)), None);
    let answer = ask(&mut house, romeo, "set", None, &vcard(128 * 1024 + 1));
    assert_eq!(condition(&answer).as_deref(), Some("not-acceptable"));
    let kept = ask(&mut house, romeo, "get", None, "<vCard xmlns='vcard-temp'/>");
    assert_eq!(kept.get_child("vCard", "vcard-temp").unwrap().children().next().unwrap().text().len(), most.len() - 43);
}

/// A private element of this name with so many bytes.
fn private(name: &str, bytes: usize) -> String {
    let empty = format!("<{name} xmlns='urn:x'></{name}>");
    let element = empty.replace("></", &format!(">{}</", "x".repeat(bytes - empty.len())));
    format!("<query xmlns='jabber:iq:private'>{element}</query>")
}

#[test]
fn private_data_has_limits_in_bytes() {
    let mut house = House::new();
    let mut romeo = house.login("romeo@house.test/orchard");
    let set = |house: &mut House, sid, payload: &str| condition(&ask(house, sid, "set", None, payload));
    let too_much = Some("not-acceptable".to_owned());
    let full = Some("resource-constraint".to_owned());

    assert_eq!(set(&mut house, romeo, &private("a", 128 * 1024 + 1)), too_much);
    // A name of 512 bytes: the namespace, a separator, `e`.
    let long = private("e", 2000).replace("urn:x", &"n".repeat(510));
    assert_eq!(set(&mut house, romeo, &long.replacen("nnn", "nnnn", 1)), too_much);
    assert_eq!(set(&mut house, romeo, &long), None);

    // The rest of a mebibyte, but for the names and one byte too many.
    for n in 0..7 {
        assert_eq!(set(&mut house, romeo, &private(&format!("e{n}"), 128 * 1024)), None);
    }
    let left = 1024 * 1024 - 7 * (128 * 1024 + 8) - (2000 + 505 + 512) - 8;
    assert_eq!(set(&mut house, romeo, &private("e7", left + 1)), full);
    assert_eq!(set(&mut house, romeo, &private("e7", left)), None);
    assert_eq!(set(&mut house, romeo, &private("e8", 100)), full);

    // It is counted again from what is stored, and what is replaced makes room.
    house.restart();
    romeo = house.login("romeo@house.test/orchard");
    assert_eq!(set(&mut house, romeo, &private("e8", 100)), full);
    assert_eq!(set(&mut house, romeo, &private("e7", left - 108)), None);
    assert_eq!(set(&mut house, romeo, &private("e8", 100)), None);
    assert_eq!(set(&mut house, romeo, &private("e9", 100)), full);

    // Another account has its own room.
    let juliet = house.login("juliet@house.test/balcony");
    assert_eq!(set(&mut house, juliet, &private("e9", 100)), None);

    // And with the account it is all gone.
    let jid = Jid::parse("romeo@house.test").unwrap();
    house.command(Command::UserRemove(jid));
    romeo = house.login("romeo@house.test/orchard");
    assert_eq!(set(&mut house, romeo, &private("e9", 128 * 1024)), None);
    let gone = ask(&mut house, romeo, "get", None, "<query xmlns='jabber:iq:private'><e0 xmlns='urn:x'/></query>");
    let query = gone.get_child("query", "jabber:iq:private").unwrap();
    assert_eq!(query.children().next().unwrap().text(), "");
}

#[test]
fn private_data_has_a_limit_in_elements() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let many = |names: std::ops::Range<usize>| {
        let elements: String = names.map(|n| format!("<e{n} xmlns='urn:x'/>")).collect();
        format!("<query xmlns='jabber:iq:private'>{elements}</query>")
    };
    let answer = ask(&mut house, romeo, "set", None, &many(0..17));
    assert_eq!(condition(&answer).as_deref(), Some("not-acceptable"));
    for n in 0..16 {
        assert_eq!(condition(&ask(&mut house, romeo, "set", None, &many(n * 16..n * 16 + 16))), None);
    }
    let answer = ask(&mut house, romeo, "set", None, &many(256..257));
    assert_eq!(condition(&answer).as_deref(), Some("resource-constraint"));
    assert_eq!(condition(&ask(&mut house, romeo, "set", None, &many(3..4))), None);
}
