//! Requests (RFC 9110, RFC 9112): what two readers could read as two is refused, and nothing is told that is not in the table of paths.

use crate::House;
use crate::common::binary::{ok, run, until};
use crate::common::http::Http;
use std::io::Write;
use std::net::Shutdown;

const META: &str = "/.well-known/host-meta";
/// A request that others would find inside of one that is refused.
const SMUGGLED: &str = "GET /.well-known/host-meta HTTP/1.1\r\nHost: example.org\r\n\r\n";

/// Sends it on a connection of its own; the answer has this status, and is the last.
fn is_refused(house: &House, bytes: impl AsRef<[u8]>, status: u16) {
    let mut http = house.http();
    http.send(bytes);
    let answer = http.answer_to("");
    answer.is(status, &[("connection", "close"), ("content-type", "text/plain")]);
    http.is_over();
}

#[test]
fn what_could_be_read_as_two_requests_is_refused() {
    let house = House::new(&[]);
    for (fields, status) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: 5, 5\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Content-Length : 5\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: \u{b}chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400),
        ("Content-Length: 5\r\n folded\r\n", 400),
        ("X: a\r\n\tContent-Length: 5\r\n", 400),
        ("Content-Length: 5\n", 400),
        ("X: a\rContent-Length: 5\r\n", 400),
        ("X: \0\r\n", 400),
        ("Host: other.example\r\n", 400),
    ] {
        is_refused(&house, format!("POST {META} HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n{SMUGGLED}"), status);
    }
    is_refused(&house, format!("GET {META} HTTP/1.1\nHost: example.org\n\n"), 400);
    is_refused(&house, format!("\r\nGET {META} HTTP/1.1\r\nHost: example.org\r\n\r\n"), 400);
    is_refused(&house, format!("GET {META} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{SMUGGLED}"), 400);
    is_refused(&house, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    is_refused(&house, "\x16\x03\x01\x00", 400);
}

/// What follows a request that is answered at once is no request.
#[test]
fn content_that_nobody_reads_ends_the_connection() {
    let house = House::new(&[]);
    for framed in [format!("Content-Length: {}", SMUGGLED.len()), "Transfer-Encoding: chunked".into()] {
        let mut http = house.http();
        http.send(format!("GET {META} HTTP/1.1\r\nHost: example.org\r\n{framed}\r\n\r\n{SMUGGLED}"));
        http.answer_to("").is(200, &[("connection", "close")]);
        http.is_over();
    }
}

/// Whoever has a page in a browser here and makes its own name mean this box reads nothing (DNS rebinding).
#[test]
fn requests_for_others_are_refused() {
    let house = House::new(&[]);
    let host = |line: &str, host: &str| {
        let mut http = house.http();
        http.send(format!("{line} HTTP/1.1\r\n{host}\r\n"));
        http.answer_to(line).status
    };
    for name in ["evil.example", "example.org.evil.example", "evilexample.org", "xn--exmple-cua.org", "", "0x7f000001"]
    {
        assert_eq!(host(&format!("GET {META}"), &format!("Host: {name}\r\n")), 421, "{name}");
    }
    for name in [
        "example.org",
        "EXAMPLE.ORG:443",
        "example.org.",
        "upload.example.org",
        "localhost:5443",
        "127.0.0.1",
        "192.0.2.7:5443",
        "[::1]",
        "[2001:db8::7]:443",
    ] {
        assert_eq!(host(&format!("GET {META}"), &format!("Host: {name}\r\n")), 200, "{name}");
    }
    for fields in ["", "Host: a/b\r\n", "Host: a b\r\n", "Host: [::1\r\n", "Host: example.org:port\r\n"] {
        assert_eq!(host(&format!("GET {META}"), fields), 400, "{fields}");
    }
    // RFC 9112 §3.2.2: the target's host, not the field's.
    assert_eq!(host(&format!("GET https://example.org{META}"), "Host: evil.example\r\n"), 200);
    assert_eq!(host(&format!("GET https://evil.example{META}"), "Host: example.org\r\n"), 421);
    assert_eq!(host("GET http://example.org/", "Host: example.org\r\n"), 400);
    assert_eq!(host("CONNECT example.org:443", "Host: example.org\r\n"), 400);
}

#[test]
fn what_is_not_there_says_nothing_of_what_was_asked() {
    let house = House::new(&[]);
    let mut http = house.http();
    for path in [
        "/nothing",
        "/evil<script>",
        "/evil?evil",
        "/upload",
        "/upload/",
        "/evil%0d%0aX-Evil:%201",
        "*",
        "//evil.example/",
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let answer = http.ask(&format!("{method} {path}"), "X: evil\r\n");
            answer.is(404, &[("content-type", "text/plain; charset=utf-8")]);
            assert_eq!((answer.text().as_str(), answer.field("x-evil")), ("there is nothing here\n", ""), "{path}");
        }
    }
}

#[test]
fn a_client_finds_where_streams_are() {
    let house = House::new(&[]);
    let port = house.server.address("https").port();
    let mut http = house.http();
    // What URLs begin with changes once, when it is known whether DNS knows the domain.
    let (xml, json, head) = loop {
        let [xml, json, again] =
            ["", ".json", ""].map(|end| http.ask(&format!("GET {META}{end}"), "Origin: https://app.example\r\n"));
        // RFC 9110 §9.3.2: the same without content, then the next one.
        let head = http.ask(&format!("HEAD {META}"), "");
        if xml.text() == again.text() && head.field("content-length") == xml.field("content-length") {
            break (xml, json, head);
        }
    };
    xml.is(200, &[("content-type", "application/xrd+xml"), ("access-control-allow-origin", "*")]);
    json.is(200, &[("content-type", "application/json"), ("access-control-allow-origin", "*")]);
    let (xml, json) = (xml.text(), json.text());
    let base = xml.split("<Link rel='urn:xmpp:alt-connections:xbosh' href='").nth(1).unwrap();
    let base = base.split_once("/http-bind'/>").unwrap().0;
    assert!(base.starts_with("https://") && base.ends_with(&format!(":{port}")), "{xml}");
    let websocket = format!("{}/xmpp-websocket", base.replace("https:", "wss:"));
    assert!(xml.contains(&format!("<Link rel='urn:xmpp:alt-connections:websocket' href='{websocket}'/>")), "{xml}");
    let link = |rel: &str, href: &str| format!("{{\"rel\":\"urn:xmpp:alt-connections:{rel}\",\"href\":\"{href}\"}}");
    let links = [link("websocket", &websocket), link("xbosh", &format!("{base}/http-bind"))].join(",");
    assert_eq!(json, format!("{{\"links\":[{links}]}}\n"));
    head.is(200, &[("content-length", &xml.len().to_string()), ("content-type", "application/xrd+xml")]);
    http.ask(&format!("POST {META}"), "").is(405, &[("allow", "GET, HEAD")]);
}

#[test]
fn answers_come_in_order_and_the_last_says_so() {
    let house = House::new(&[]);
    let get = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n");
    let mut http = house.http();
    let all =
        [get(META, ""), get("/no", ""), get(META, "").replace("GET", "HEAD"), get("/xmpp-websocket", "")].concat();
    let last = get(&format!("{META}.json"), "Connection: keep-alive, Close\r\n");
    http.send([all, last, get(META, "")].concat());
    for (what, status) in [("GET", 200), ("GET", 404), ("HEAD ", 200), ("GET", 426)] {
        let answer = http.answer_to(what);
        answer.is(status, &[]);
        assert!(!answer.field("connection").contains("close"), "{status}");
    }
    http.answer_to("GET").is(200, &[("content-type", "application/json"), ("connection", "close")]);
    http.is_over();

    let mut old = house.http();
    old.send(format!("GET {META} HTTP/1.0\r\nHost: example.org\r\n\r\n"));
    old.answer_to("GET").is(200, &[("connection", "close")]);
    old.is_over();
}

#[test]
fn a_request_may_come_byte_by_byte_and_ends_with_its_sender() {
    let house = House::new(&[]);
    let mut http = house.http();
    for byte in format!("GET {META} HTTP/1.1\r\nHost: example.org\r\n\r\n").bytes() {
        http.send([byte]);
    }
    http.answer_to("GET").is(200, &[]);
    http.send("GET / HT");
    http.stream.conn.send_close_notify();
    http.stream.conn.complete_io(&mut http.stream.sock).unwrap();
    http.stream.sock.shutdown(Shutdown::Write).unwrap();
    http.is_over();
}

#[test]
fn a_connection_has_an_end() {
    let house = House::new(&[]);
    let mut http = house.http();
    let request = format!("HEAD {META} HTTP/1.1\r\nHost: example.org\r\n\r\n");
    for n in 1..=1000 {
        http.send(&request);
        let answer = http.answer_to("HEAD ");
        assert_eq!(answer.field("connection"), if n == 1000 { "close" } else { "" }, "{n}");
    }
    http.is_over();
    // So it has when the server stops.
    let mut idle = house.http();
    idle.ask(&format!("GET {META}"), "").is(200, &[]);
    let House { server, dir: _dir } = house;
    server.signal(rustix::process::Signal::TERM);
    idle.is_over();
    drop(idle);
    server.logs("stopped");
}

#[test]
fn heads_have_limits() {
    let house = House::new(&[]);
    is_refused(&house, format!("GET /{} HTTP/1.1\r\nHost: example.org\r\n\r\n", "x".repeat(8 * 1024)), 431);
    // It is known before the end has come.
    is_refused(&house, format!("GET {META} HTTP/1.1\r\nHost: example.org\r\nX: {}", "x".repeat(8 * 1024)), 431);
    let fields = |count| "X: y\r\n".repeat(count);
    is_refused(&house, format!("GET {META} HTTP/1.1\r\nHost: example.org\r\n{}\r\n", fields(48)), 431);
    house.ask(&format!("GET {META}"), &fields(47)).is(200, &[]);
}

#[test]
fn a_head_that_stalls_is_not_waited_for() {
    let house = House::new(&[]);
    let stall = |bytes: &str| -> Http {
        let mut http = house.http();
        http.send(bytes);
        http
    };
    // At the same time, since each takes ten seconds.
    for mut http in ["G", "GET / HTTP/1.1\r\nHost: exa", "GET / HTTP/1.1\r\nHost: example.org\r\n\r"].map(stall) {
        http.answer_to("GET").is(408, &[("connection", "close")]);
        http.is_over();
    }
}

#[test]
fn programs_on_this_box_can_ask_how_it_is() {
    let house = House::new(&[]);
    let answer = house.ask("GET /health", "");
    answer.is(200, &[("content-type", "application/json"), ("cache-control", "no-store")]);
    let text = answer.text();
    assert!(text.starts_with("{\"status\":\"ok\",\"reasons\":[") && text.contains("\"version\":\""), "{text}");
    house.ask("POST /health", "").is(405, &[]);
}

#[test]
fn numbers_are_for_programs_on_this_box() {
    let house = House::new(&["juliet"]);
    let mut juliet = house.client("juliet");
    let message = "<message to='juliet@example.org' type='chat'><body>1</body></message>";
    juliet.write_all(format!("<presence/>{message}").as_bytes()).unwrap();
    until(&mut juliet, "<body>1</body>");
    let answer = house.ask("GET /metrics", "");
    answer.is(200, &[("content-type", "text/plain; version=0.0.4; charset=utf-8"), ("cache-control", "no-store")]);
    let text = answer.text();
    for line in [
        "# TYPE inglenook_stanzas_total counter",
        "inglenook_stanzas_total{kind=\"message\",way=\"in\"} 1",
        "inglenook_stanzas_total{kind=\"message\",way=\"out\"} 1",
        "inglenook_sessions{state=\"connected\"} 1",
        "inglenook_logins_total{result=\"ok\"} 1",
        "inglenook_storage_ok 1",
        "inglenook_accounts 1",
    ] {
        assert!(text.lines().any(|has| has == line), "{line} in {text}");
    }
    assert!(!text.contains("juliet") && !text.contains("example.org"), "no names: {text}");
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!((40..80).contains(&samples), "{samples}");
    let open = house.ask("GET /metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
    open.is(200, &[("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")]);
    let text = open.text();
    assert!(text.ends_with("\n# EOF\n") && text.contains("\n# TYPE inglenook_stanzas counter\n"), "{text}");
    house.ask("POST /metrics", "").is(404, &[]);
}

/// What the owner can put into the DNS, and what browsers are given.
#[test]
fn check_and_status_tell_where_it_is() {
    let house = House::new(&[]);
    let port = house.server.address("https").port();
    let data = house.dir.data();
    let told = run(&house.dir, &["check", "--data", data.to_str().unwrap()], "").out;
    for part in [
        &format!(":{port}/xmpp-websocket, https://"),
        &format!(":{port}/http-bind"),
        "web: browsers find it at https://",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(told.contains(&format!("dns    _xmpps-client._tcp.example.org. SRV 5 5 {port} example.org.\n")), "{told}");
    let told = ok(&house.dir, &["status"], "");
    assert!(
        told.lines().any(|line| line.starts_with("web          https://") && line.ends_with(&format!(":{port}"))),
        "{told}"
    );
}
