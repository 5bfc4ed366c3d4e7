//! XMPP in requests and answers (BOSH, XEP-0124 and XEP-0206).

use crate::common::binary::{plain, until};
use crate::common::http::{Http, HttpAnswer};
use crate::{House, PASSWORD};
use std::io::Write;
use std::time::{Duration, Instant};

const PATH: &str = "POST /http-bind";
const NAMESPACE: &str = "xmlns='http://jabber.org/protocol/httpbind'";
/// An answer that takes longer was held.
const AT_ONCE: Duration = Duration::from_secs(20);
const FIRST: u64 = 1_573_741_820;

/// A request whose content is this.
fn post(http: &mut Http, content: &str) {
    http.send(format!("{PATH} HTTP/1.1\r\nHost: example.org\r\nContent-Length: {}\r\n\r\n{content}", content.len()));
}

fn heard(answer: &HttpAnswer) -> String {
    answer.is(200, &[("access-control-allow-origin", "*"), ("cache-control", "no-store")]);
    let text = answer.text();
    assert!(text.starts_with("<body ") && text.contains(NAMESPACE), "{text}");
    text
}

fn ask(http: &mut Http, content: &str) -> String {
    post(http, content);
    heard(&http.answer_to(PATH))
}

/// The value of an attribute.
fn value(text: &str, name: &str) -> String {
    let value = text.split_once(&format!(" {name}='")).unwrap_or_else(|| panic!("no {name} in {text}")).1;
    value.split_once('\'').unwrap().0.to_owned()
}

fn creation(more: &str) -> String {
    format!("<body {NAMESPACE} rid='{FIRST}' to='example.org' ver='1.6' xml:lang='en' {more}/>")
}

/// A client with a session and two connections, on one of which a request is held, mostly.
struct Bosh {
    sid: String,
    rid: u64,
    /// The first one has the request that is held.
    connections: [Http; 2],
    is_held: bool,
    /// What was heard and not looked for.
    came: String,
}

impl Bosh {
    /// A session of a client that says this of itself.
    fn of(house: &House, more: &str) -> (Bosh, String) {
        let mut connections = [house.http(), house.http()];
        let first = ask(&mut connections[0], &creation(more));
        let sid = value(&first, "sid");
        (Bosh { sid, rid: FIRST, connections, is_held: false, came: String::new() }, first)
    }

    fn new(house: &House) -> Bosh {
        let (bosh, first) = Bosh::of(house, "wait='60' hold='1' content='text/xml; charset=utf-8'");
        assert!(first.contains("<mechanism>PLAIN</mechanism>"), "{first}");
        bosh
    }

    fn with_account(house: &House, name: &str) -> Bosh {
        let mut bosh = Bosh::new(house);
        bosh.log_in(name);
        bosh
    }

    /// The next `<body/>`, with these attributes and this in it.
    fn body(&mut self, attributes: &str, content: &str) -> String {
        self.rid += 1;
        format!("<body {NAMESPACE} rid='{}' sid='{}' {attributes}>{content}</body>", self.rid, self.sid)
    }

    /// Says a `<body/>`. That of the request that was held until then is answered, and this one is held.
    fn post(&mut self, body: &str) {
        post(&mut self.connections[usize::from(self.is_held)], body);
        if self.is_held {
            self.came += &heard(&self.connections[0].answer_to(PATH));
            self.connections.swap(0, 1);
        }
        self.is_held = true;
    }

    fn say(&mut self, content: &str) {
        let body = self.body("", content);
        self.post(&body);
    }

    /// The answer to the request that is held, or to one that is made for that.
    fn hear(&mut self) -> String {
        if !self.is_held {
            self.say("");
        }
        self.is_held = false;
        heard(&self.connections[0].answer_to(PATH))
    }

    /// The answers, up to the one with this in it.
    fn hear_of(&mut self, part: &str) -> String {
        let mut came = std::mem::take(&mut self.came);
        while !came.contains(part) {
            assert!(!came.contains("type='terminate'"), "{came}");
            came += &self.hear();
        }
        came
    }

    /// Says something of which nothing comes but the end.
    fn end_of(&mut self, attributes: &str, content: &str) -> String {
        let body = self.body(attributes, content);
        post(&mut self.connections[usize::from(self.is_held)], &body);
        let ends = self.connections[..=usize::from(self.is_held)].iter_mut().map(|http| heard(&http.answer_to(PATH)));
        ends.collect()
    }

    fn log_in(&mut self, name: &str) {
        self.authenticate(name);
        self.say("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
        self.hear_of("id='b'");
        self.say("<presence xmlns='jabber:client'/>");
        self.hear_of("<presence");
    }

    /// Up to the features of the second stream (XEP-0206 §5).
    fn authenticate(&mut self, name: &str) {
        self.say(&plain(name, PASSWORD));
        self.hear_of("<success");
        let body = self.body("xmlns:x='urn:xmpp:xbosh' x:restart='true' to='example.org'", "");
        self.post(&body);
        assert!(self.hear_of("<stream:features").contains("urn:ietf:params:xml:ns:xmpp-bind"));
    }
}

fn said(to: &str, text: &str) -> String {
    format!("<message xmlns='jabber:client' to='{to}@example.org' type='chat'><body>{text}</body></message>")
}

#[test]
fn a_session_says_what_it_is() {
    let house = House::new(&[]);
    let (_, first) = Bosh::of(&house, "wait='60' hold='1'");
    for (name, is) in [
        ("wait", "60"),
        ("hold", "1"),
        ("requests", "2"),
        ("inactivity", "60"),
        ("maxpause", "120"),
        ("ver", "1.6"),
        ("from", "example.org"),
        ("xmpp:version", "1.0"),
        ("xmpp:restartlogic", "true"),
        ("xmlns:xmpp", "urn:xmpp:xbosh"),
        ("xmlns:stream", "http://etherx.jabber.org/streams"),
    ] {
        assert_eq!(value(&first, name), is, "{first}");
    }
    assert!(value(&first, "sid").len() >= 22 && !value(&first, "authid").is_empty(), "{first}");
    assert!(first.contains("<stream:features ") && !first.contains("<open"), "{first}");

    // Nothing is promised that was not asked for (§7.2): less of it, and another version.
    let (_, first) = Bosh::of(&house, "wait='7000' hold='5'");
    assert_eq!([value(&first, "wait"), value(&first, "hold"), value(&first, "requests")], ["120", "1", "2"]);
    let creation = creation("wait='5' hold='1' content='text/html'").replace("ver='1.6'", "ver='1.20'");
    let mut http = house.http();
    post(&mut http, &creation);
    let answer = http.answer_to(PATH);
    answer.is(200, &[("content-type", "text/html; charset=utf-8"), ("content-security-policy", "sandbox")]);
    assert_eq!(value(&heard(&answer), "ver"), "1.11");
}

#[test]
fn who_polls_is_never_held() {
    let house = House::new(&[]);
    let begun = Instant::now();
    let (mut bosh, first) = Bosh::of(&house, "wait='0' hold='0'");
    assert_eq!([value(&first, "hold"), value(&first, "requests"), value(&first, "polling")], ["0", "1", "2"]);
    assert!(first.contains("<stream:features "));
    // Two in a row that say nothing, and get nothing, are too many (§12).
    assert!(bosh.hear().ends_with("/>"));
    let end = bosh.hear();
    assert!(end.contains("type='terminate' condition='policy-violation'"), "{end}");
    assert!(begun.elapsed() < AT_ONCE);
}

#[test]
fn browsers_and_apps_chat() {
    let house = House::new(&["juliet", "romeo"]);
    let mut juliet = house.client("juliet");
    let mut romeo = Bosh::with_account(&house, "romeo");

    // Nothing is said until there is something to say (§4).
    romeo.say("");
    juliet
        .write_all("<message to='romeo@example.org' type='chat'><body>Ay me \u{1f339}</body></message>".as_bytes())
        .unwrap();
    let heard = romeo.hear();
    assert!(
        heard.contains("<message xmlns='jabber:client'") && heard.contains("<body>Ay me \u{1f339}</body>"),
        "{heard}"
    );

    // What is said while a request is held comes on another connection; the held one is answered, and this one is held.
    romeo.say("");
    romeo.say(&(said("juliet", "She speaks") + &said("juliet", "O, speak again")));
    assert!(romeo.came.ends_with("/>") && !romeo.came.contains("type="), "{}", romeo.came);
    let heard = until(&mut juliet, "O, speak again");
    assert!(heard.contains("<body>She speaks</body>") && heard.contains("from='romeo@example.org/"), "{heard}");
    juliet.write_all(b"<message to='romeo@example.org' type='chat'><body>I hear</body></message>").unwrap();
    assert!(romeo.hear().contains("<body>I hear</body>"));

    // Stanzas without a namespace, as many clients write them (XEP-0206 §2).
    romeo.say("<message to='juliet@example.org' type='chat'><body>without</body></message>");
    assert!(until(&mut juliet, "</message>").contains("<body>without</body>"));

    // Whoever ends it is told that on the request that was held (§13).
    let end = romeo.end_of("type='terminate'", "<presence xmlns='jabber:client' type='unavailable'/>");
    assert!(end.contains("type='terminate'") && !end.contains("condition"), "{end}");
}

/// One connection is enough for a client that does not wait for answers.
#[test]
fn requests_in_a_row_on_one_connection() {
    let house = House::new(&["juliet", "romeo"]);
    let mut juliet = house.client("juliet");
    let mut romeo = Bosh::with_account(&house, "romeo");
    let bodies = ["one", "two", "three"].map(|text| romeo.body("", &said("juliet", text)));
    bodies.iter().for_each(|body| post(&mut romeo.connections[0], body));
    let heard = until(&mut juliet, "<body>three</body>");
    assert!(heard.find("one") < heard.find("two") && heard.contains("two"), "{heard}");
    assert!((0..2).all(|_| heard_of(&mut romeo.connections[0]).ends_with("/>")));
}

/// §14.2: payloads go to the server in the order of their requests, and so do answers.
#[test]
fn what_comes_early_waits_for_its_turn() {
    let house = House::new(&["juliet", "romeo"]);
    let mut juliet = house.client("juliet");
    let mut romeo = Bosh::with_account(&house, "romeo");
    let (first, second) = (romeo.body("", &said("juliet", "first")), romeo.body("", &said("juliet", "second")));
    let [main, other] = &mut romeo.connections;
    // It is known to be there when what follows it on the same connection is answered.
    post(other, &second);
    post(other, "");
    assert!(heard_of(other).contains("type='error'"));
    assert!(heard_of(other).contains("bad-request"));
    post(other, &second);
    assert!(ask(main, &first).ends_with("/>"));
    let heard = until(&mut juliet, "second");
    assert!(heard.find("first") < heard.find("second") && heard.contains("first"), "{heard}");
    // One that is too far ahead ends the session.
    romeo.rid += 2;
    let end = romeo.end_of("", "");
    assert!(end.contains("type='terminate' condition='item-not-found'"), "{end}");
    let end = heard_of(&mut romeo.connections[1]);
    assert!(end.contains("type='terminate' condition='other-request'"), "{end}");
    assert!(romeo.end_of("", "").contains("item-not-found"));
}

fn heard_of(http: &mut Http) -> String {
    heard(&http.answer_to(PATH))
}

/// §14.3: an answer that did not arrive can be had again, and what was said is not said twice.
#[test]
fn a_broken_connection_loses_nothing() {
    let house = House::new(&["juliet", "romeo"]);
    let mut juliet = house.client("juliet");
    let mut romeo = Bosh::with_account(&house, "romeo");
    let body = romeo.body("", &said("juliet", "once"));
    post(&mut romeo.connections[0], &body);
    until(&mut juliet, "<body>once</body>");
    // The connection breaks while the request is held, and the next one brings the same again.
    let [main, other] = &mut romeo.connections;
    *main = house.http();
    juliet.write_all(b"<message to='romeo@example.org' type='chat'><body>answer</body></message>").unwrap();
    let answer = ask(main, &body);
    assert!(answer.contains("<body>answer</body>"), "{answer}");
    // That was not read, either: it is the same once more.
    assert_eq!(ask(other, &body), answer);
    let mark = romeo.body("", &said("juliet", "mark"));
    let [main, other] = &mut romeo.connections;
    post(other, &mark);
    assert!(!until(&mut juliet, "<body>mark</body>").contains("once"));

    // One that is held comes again on another connection: the old one is told to ask again (§17.3).
    post(main, &mark);
    let again = heard_of(other);
    assert!(again.contains("type='error'"), "{again}");
    juliet.write_all(b"<message to='romeo@example.org' type='chat'><body>later</body></message>").unwrap();
    assert!(heard_of(main).contains("<body>later</body>"));
    // What is too old cannot be had any more.
    let old = body.replace(&format!("rid='{}'", romeo.rid - 1), &format!("rid='{}'", romeo.rid - 5));
    assert!(ask(&mut romeo.connections[0], &old).contains("type='terminate' condition='item-not-found'"));
}

#[test]
fn one_request_cannot_come_for_ever() {
    let house = House::new(&[]);
    let mut bosh = Bosh::new(&house);
    let body = bosh.body("", &plain("nobody", PASSWORD));
    let [main, _] = &mut bosh.connections;
    let first = ask(main, &body);
    let end = (0..100).map(|_| ask(main, &body)).find(|again| *again != first).unwrap();
    assert!(end.contains("condition='policy-violation'"), "{end}");
}

#[test]
fn bad_requests_are_told() {
    let house = House::new(&[]);
    let mut http = house.http();
    let body = |attributes: &str| format!("<body {NAMESPACE} {attributes}/>");
    for (content, condition) in [
        (String::new(), "bad-request"),
        ("hello".into(), "bad-request"),
        ("<body rid='1' to='example.org'/>".into(), "bad-request"),
        (body(""), "bad-request"),
        (body("rid='0' to='example.org'"), "bad-request"),
        (body("rid='-5' to='example.org'"), "bad-request"),
        (body("rid='9007199254740992' to='example.org'"), "bad-request"),
        (body("rid='99999999999999999999999' to='example.org'"), "bad-request"),
        (body("rid='5' wait='long' to='example.org'"), "bad-request"),
        (format!("<body {NAMESPACE} rid='5' to='example.org'>text</body>"), "bad-request"),
        (format!("<body {NAMESPACE} rid='5' to='example.org'><a></body>"), "bad-request"),
        (format!("<!DOCTYPE a><body {NAMESPACE} rid='5' to='example.org'/>"), "bad-request"),
        (format!("<body {NAMESPACE} rid='5' to='example.org'/><body {NAMESPACE} rid='6'/>"), "bad-request"),
        (body(&format!("rid='5' sid='{}'", "x".repeat(4000))), "bad-request"),
        (body("rid='5' sid='nobody'"), "item-not-found"),
        (body("rid='5' ver='1.6'"), "improper-addressing"),
        (body("rid='5' ver='1.6' to='elsewhere.example'"), "host-unknown"),
        (body("rid='5' ver='1.6' to='@@'"), "host-unknown"),
    ] {
        let end = ask(&mut http, &content);
        let expected = format!("type='terminate' condition='{condition}'");
        assert!(end.contains(&expected) && !end.contains(" sid="), "{content}: {end}");
    }
    http.ask("GET /http-bind", "").is(405, &[("allow", "POST"), ("access-control-allow-origin", "*")]);
    let asked =
        http.ask("OPTIONS /http-bind", "Origin: https://chat.example\r\nAccess-Control-Request-Method: POST\r\n");
    asked.is(204, &[("access-control-allow-methods", "POST"), ("access-control-allow-headers", "Content-Type")]);
    http.ask(PATH, "Content-Length: 327681\r\n").is(413, &[("access-control-allow-origin", "*")]);
    http.is_over();
}

/// §17.1: clients of old understand HTTP's words alone.
#[test]
fn clients_of_old_are_told_by_http() {
    let house = House::new(&[]);
    let mut http = house.http();
    let first = ask(&mut http, &creation("wait='60' hold='1'").replace(" ver='1.6'", ""));
    assert!(!first.contains(" ver="), "{first}");
    let far = format!("<body {NAMESPACE} rid='{}' sid='{}'/>", FIRST + 9, value(&first, "sid"));
    post(&mut http, &far);
    http.answer_to(PATH).is(404, &[]);
}

/// §10
#[test]
fn who_pauses_is_not_waited_for() {
    let house = House::new(&["juliet", "romeo"]);
    let mut juliet = house.client("juliet");
    let mut romeo = Bosh::with_account(&house, "romeo");
    romeo.say("");
    let pause = romeo.body("pause='100'", "");
    romeo.post(&pause);
    assert!(romeo.hear().ends_with("/>"));
    juliet.write_all(b"<message to='romeo@example.org' type='chat'><body>meanwhile</body></message>").unwrap();
    romeo.hear_of("<body>meanwhile</body>");
    assert!(romeo.end_of("pause='121'", "").contains("condition='bad-request'"));
}

/// §15: keys are not needed inside TLS, but whoever has them is held to them.
#[test]
fn a_request_with_a_wrong_key_ends_the_session() {
    let sha1 = |text: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let keys: Vec<String> = std::iter::successors(Some(sha1("seed")), |key| Some(sha1(key))).take(4).collect();
    let house = House::new(&[]);
    let (mut bosh, _) = Bosh::of(&house, &format!("wait='0' hold='0' newkey='{}'", keys[3].to_uppercase()));
    for attributes in [format!("key='{}'", keys[2]), format!("key='{}' newkey='{}'", keys[1], keys[3])] {
        let body = bosh.body(&attributes, &plain("nobody", PASSWORD));
        bosh.post(&body);
        assert!(!bosh.hear().contains("terminate"), "{attributes}");
    }
    assert!(bosh.end_of(&format!("key='{}'", keys[0]), "").contains("condition='item-not-found'"));
    let (mut bosh, _) = Bosh::of(&house, &format!("wait='0' hold='0' newkey='{}'", keys[3]));
    assert!(bosh.end_of("", "").contains("condition='item-not-found'"));
}

/// A stream that ends with an error (XEP-0206 §6), and a server that stops.
#[test]
fn the_end_of_a_stream_is_told() {
    let house = House::new(&["romeo"]);
    let mut romeo = Bosh::with_account(&house, "romeo");
    romeo.say("<message xmlns='jabber:client' from='juliet@example.org'/>");
    let end = romeo.hear();
    assert!(end.contains("type='terminate' condition='remote-stream-error'"), "{end}");
    assert!(end.contains("xmlns:stream='") && end.contains("<stream:error") && end.contains("<invalid-from "), "{end}");

    let mut romeo = Bosh::with_account(&house, "romeo");
    // Nothing else is on its way when the first of two requests is held: its answer says that the server has the second.
    romeo.say("<iq xmlns='jabber:client' type='get' id='p' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>");
    romeo.hear_of("id='p'");
    romeo.say("");
    romeo.say("");
    house.server.stop();
    let end = romeo.hear();
    assert!(end.contains("type='terminate' condition='system-shutdown'"), "{end}");
}

/// XEP-0198 on it: a session whose client does not come back is resumed by a new one.
#[test]
fn streams_are_managed_and_resumed() {
    let house = House::new(&["juliet", "romeo"]);
    let mut juliet = house.client("juliet");
    let mut romeo = Bosh::with_account(&house, "romeo");
    romeo.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    let id = value(romeo.hear_of("<enabled").split_once("<enabled").unwrap().1, "id");
    romeo.say(&said("juliet", "before"));
    until(&mut juliet, "<body>before</body>");
    // A request that must not be is the end of the session of HTTP, not of that of XMPP.
    romeo.rid += 7;
    assert!(romeo.end_of("", "").contains("condition='item-not-found'"));
    juliet.write_all(b"<message to='romeo@example.org' type='chat'><body>meanwhile</body></message>").unwrap();

    let mut again = Bosh::new(&house);
    again.authenticate("romeo");
    again.say(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>"));
    let resumed = again.hear_of("<resumed");
    assert_eq!(value(resumed.split_once("<resumed").unwrap().1, "h"), "1", "{resumed}");
    again.came = resumed;
    again.hear_of("<body>meanwhile</body>");
}

/// A session counts like a connection, and no longer than it is there.
#[test]
fn sessions_have_a_limit() {
    let house = House::new(&["romeo"]);
    let mut romeo = Bosh::with_account(&house, "romeo");
    let mut http = house.http();
    let mut begin = || ask(&mut http, &creation("wait='60' hold='1'"));
    let mut sids = Vec::new();
    let refused = loop {
        let first = begin();
        match first.contains("type='terminate'") {
            true => break first,
            false => sids.push(value(&first, "sid")),
        }
        assert!(sids.len() < 1000);
    };
    assert!(refused.contains("condition='remote-connection-failed'") && sids.len() > 10, "{refused}");
    assert_eq!(sids.iter().collect::<std::collections::BTreeSet<_>>().len(), sids.len(), "each has an id of its own");
    let ping = "<iq xmlns='jabber:client' type='get' id='p' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>";
    romeo.say(ping);
    romeo.hear_of("id='p'");
    let end = format!("<body {NAMESPACE} rid='{}' sid='{}' type='terminate'/>", FIRST + 1, sids[0]);
    assert!(ask(&mut romeo.connections[1], &end).contains("type='terminate'"));
    // It is gone when its task is, a moment later.
    let begun = Instant::now();
    while begin().contains("type='terminate'") {
        assert!(begun.elapsed() < AT_ONCE);
    }
}
