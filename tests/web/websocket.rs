//! XMPP on a WebSocket (RFC 6455, RFC 7395).

use crate::common::binary::{plain, until};
use crate::common::http::Http;
use crate::{House, PASSWORD};
use std::io::Write;

const PATH: &str = "GET /xmpp-websocket";
/// RFC 6455 §1.3
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const OPEN: &str = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0'/>";
const CLOSE: &str = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>";

const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const END: u8 = 0x88;

fn fields(version: &str, key: &str, subprotocol: &str) -> String {
    let mut fields = String::from("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n");
    for (name, value) in [("Version", version), ("Key", key), ("Protocol", subprotocol)] {
        if !value.is_empty() {
            fields += &format!("Sec-WebSocket-{name}: {value}\r\n");
        }
    }
    fields
}

/// A frame of a client: masked, its first byte is `first`.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

struct WebSocket(Http);

impl WebSocket {
    fn new(house: &House) -> WebSocket {
        let mut http = house.http();
        let answer = http.ask(PATH, &fields("13", KEY, "xmpp"));
        answer.is(101, &[("sec-websocket-accept", ACCEPT), ("upgrade", "websocket"), ("connection", "Upgrade")]);
        // RFC 7395 §3.1
        assert_eq!(answer.field("sec-websocket-protocol"), "xmpp");
        WebSocket(http)
    }

    fn say(&mut self, text: &str) {
        self.0.send(frame(TEXT, text.as_bytes()));
    }

    /// The next frame: its first byte, and its payload. Those of a server are not masked.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let [first, length] = self.0.bytes(2).try_into().unwrap();
        let length = match length {
            126 => usize::from(u16::from_be_bytes(self.0.bytes(2).try_into().unwrap())),
            length => usize::from(length),
        };
        assert!(length < 127 || first == TEXT);
        (first, self.0.bytes(length))
    }

    /// The next message. It is an element that stands for itself (RFC 7395 §3.3).
    fn hear(&mut self) -> String {
        let (first, payload) = self.frame();
        assert_eq!(first, TEXT, "{:?}", String::from_utf8_lossy(&payload));
        let text = String::from_utf8(payload).unwrap();
        assert!(text.starts_with('<') && text.ends_with('>') && text.contains(" xmlns"), "{text}");
        text
    }

    /// The next message that has this in it.
    fn hear_of(&mut self, part: &str) -> String {
        loop {
            let text = self.hear();
            if text.contains(part) {
                return text;
            }
        }
    }

    /// A stream begins; gives its features.
    fn open(&mut self) -> String {
        self.say(OPEN);
        let open = self.hear();
        assert!(open.starts_with("<open ") && open.contains("from='example.org'"), "{open}");
        self.hear()
    }

    fn log_in(&mut self, name: &str) {
        assert!(self.open().contains("<mechanism>PLAIN</mechanism>"));
        self.say(&plain(name, PASSWORD));
        self.hear_of("<success");
        self.open();
        self.say("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
        self.hear_of("id='b'");
        self.say("<presence xmlns='jabber:client'/>");
        self.hear_of("<presence");
    }

    /// The Close frame that comes in the end says this code; the messages before it.
    fn ends(mut self, code: u16) -> String {
        let mut said = String::new();
        loop {
            let (first, payload) = self.frame();
            if first == END {
                assert_eq!(payload[..2], code.to_be_bytes(), "{said} {:?}", String::from_utf8_lossy(&payload[2..]));
                self.0.is_over();
                return said;
            }
            said.push_str(&String::from_utf8_lossy(&payload));
        }
    }
}

#[test]
fn bad_handshakes_are_told_what_is_wrong() {
    let house = House::new(&[]);
    let mut http = house.http();
    for (fields, status, name, value) in [
        (fields("", KEY, "xmpp"), 426, "sec-websocket-version", "13"),
        (fields("8", KEY, "xmpp"), 426, "sec-websocket-version", "13"),
        (fields("13", "", "xmpp"), 400, "content-type", "text/plain"),
        (fields("13", "c2hvcnQ=", "xmpp"), 400, "content-type", "text/plain"),
        (fields("13", "not base64 at all!", "xmpp"), 400, "content-type", "text/plain"),
        (fields("13", KEY, ""), 400, "content-type", "text/plain"),
        (fields("13", KEY, "chat, xmpp2"), 400, "content-type", "text/plain"),
        (String::new(), 426, "upgrade", "websocket"),
        ("Upgrade: h2c\r\nConnection: Upgrade\r\n".into(), 426, "upgrade", "websocket"),
    ] {
        http.ask(PATH, &fields).is(status, &[(name, value)]);
    }
    http.ask("POST /xmpp-websocket", &fields("13", KEY, "xmpp")).is(405, &[("allow", "GET")]);
    http.ask(PATH, &fields("13", KEY, "chat, xmpp")).is(101, &[("sec-websocket-protocol", "xmpp")]);
}

#[test]
fn browsers_and_apps_chat() {
    let house = House::new(&["juliet", "romeo"]);
    let mut juliet = house.client("juliet");
    let mut romeo = WebSocket::new(&house);
    romeo.log_in("romeo");
    romeo.say("<message xmlns='jabber:client' to='juliet@example.org' type='chat'><body>She speaks \u{1f339}</body></message>");
    let heard = until(&mut juliet, "</message>");
    assert!(
        heard.contains("<body>She speaks \u{1f339}</body>") && heard.contains("from='romeo@example.org/"),
        "{heard}"
    );
    juliet.write_all(b"<message to='romeo@example.org' type='chat'><body>Ay me</body></message>").unwrap();
    let heard = romeo.hear_of("<body>");
    assert!(heard.contains("<body>Ay me</body>") && heard.contains(" xmlns='jabber:client'"), "{heard}");

    // In fragments, with a question between them (RFC 6455 §5.4).
    let message = "<message xmlns='jabber:client' to='juliet@example.org'><body>\u{1f339} in parts</body></message>";
    let cut = message.find('\u{1f339}').unwrap() + 2;
    romeo.0.send(frame(0x01, &message.as_bytes()[..cut]));
    romeo.0.send(frame(PING, b"are you there?"));
    assert_eq!(romeo.frame(), (PONG, b"are you there?".to_vec()));
    romeo.0.send(frame(0x80, &message.as_bytes()[cut..]));
    assert!(until(&mut juliet, "</message>").contains("\u{1f339} in parts"));

    // The end of a stream, then that of the WebSocket (RFC 7395 §3.6).
    romeo.say(CLOSE);
    assert!(romeo.hear_of("<close").contains("urn:ietf:params:xml:ns:xmpp-framing"));
    romeo.0.send(frame(END, &1000u16.to_be_bytes()));
    romeo.ends(1000);
}

/// What a client says right behind its request is heard.
#[test]
fn a_client_need_not_wait_for_the_answer() {
    let house = House::new(&[]);
    let mut http = house.http();
    let request = format!("{PATH} HTTP/1.1\r\nHost: example.org\r\n{}\r\n", fields("13", KEY, "xmpp"));
    http.send([request.as_bytes(), &frame(TEXT, OPEN.as_bytes())].concat());
    http.answer_to("GET").is(101, &[]);
    let mut websocket = WebSocket(http);
    assert!(websocket.hear().starts_with("<open "));
    assert!(websocket.hear().contains("<mechanism>"));
}

#[test]
fn frames_that_may_not_be_end_the_websocket() {
    let house = House::new(&[]);
    for (bytes, code) in [
        (b"\x81\x01x".to_vec(), 1002),
        (frame(0x82, b"binary"), 1003),
        (frame(TEXT, b"<a>\xff</a>"), 1007),
        ([frame(0x01, b"<a>\xf0\x9f"), frame(0x80, b"</a>")].concat(), 1007),
        (frame(0x80, b"a continuation of nothing"), 1002),
        (frame(0xc1, b"a reserved bit"), 1002),
        (frame(0x09, b"a ping in fragments"), 1002),
        (frame(END, &1005u16.to_be_bytes()), 1002),
        (b"\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0".to_vec(), 1002),
        (b"\x81\xff\0\0\0\0\x7f\xff\xff\xff\0\0\0\0".to_vec(), 1009),
        (frame(END, &4000u16.to_be_bytes()), 4000),
    ] {
        let mut websocket = WebSocket::new(&house);
        websocket.open();
        websocket.0.send(&bytes);
        websocket.ends(code);
    }
}

/// Each message is one element (RFC 7395 §3.3).
#[test]
fn messages_that_are_no_element_end_the_stream() {
    let house = House::new(&[]);
    let ping = "<iq xmlns='jabber:client' type='get' id='1' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>";
    for text in [&format!("{ping}{ping}"), &ping[..20], "", "hello", "<?xml version='1.0'?><a xmlns='u'/>", "</a>"] {
        let mut websocket = WebSocket::new(&house);
        websocket.open();
        websocket.say(text);
        let error = websocket.hear();
        assert!(error.starts_with("<stream:error ") && error.contains("xmlns:stream="), "{text}: {error}");
        assert!(websocket.hear().starts_with("<close "), "{text}");
    }
    let mut websocket = WebSocket::new(&house);
    websocket
        .say("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='example.org'/>");
    assert!(websocket.hear_of("<stream:error").contains("urn:ietf:params:xml:ns:xmpp-streams"));
}
