//! Each port with TLS is for apps and browsers alike (XEP-0368, RFC 7301); what is spoken without TLS where it belongs is not heard, and
//! HTTP without TLS is not spoken.

use crate::common::binary::{HEADER, connect, greet, log_in, ping, tls, tls_for, until};
use crate::common::http::Http;
use crate::{House, PASSWORD};
use async_rustls::rustls::{AlertDescription, Error};
use std::io::{Read, Write};
use std::net::TcpStream;

const GET: &str = "GET /.well-known/host-meta HTTP/1.1\r\nHost: example.org\r\n\r\n";

/// All that a port says to this.
fn said(house: &House, port: &str, bytes: &str) -> String {
    let mut socket = connect(&house.server, port);
    socket.write_all(bytes.as_bytes()).unwrap();
    rest(&mut socket)
}

/// All that comes until the end, however that is made.
fn rest(stream: &mut impl Read) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        all.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn what_is_spoken_without_tls_is_not_answered() {
    let house = House::new(&[]);
    for port in ["https", "c2s_tls"] {
        for bytes in [GET, HEADER] {
            let said = said(&house, port, bytes);
            assert!(!said.contains("HTTP/") && !said.contains('<'), "{port}: {said}");
        }
    }
    let said = said(&house, "c2s", GET);
    assert!(!said.contains("HTTP/") && said.ends_with("</stream:stream>"), "{said}");
}

#[test]
fn who_says_what_it_wants_gets_it_on_each_port() {
    let house = House::new(&["juliet"]);
    for port in ["https", "c2s_tls"] {
        let stream = |protocols: &[&str]| tls_for(connect(&house.server, port), &house.dir.ca(), protocols);
        for protocols in [&["http/1.1"][..], &["h2", "http/1.1"]] {
            let mut http = Http::on(stream(protocols));
            http.ask("GET /.well-known/host-meta", "").is(200, &[]);
            assert_eq!(http.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        }
        let mut juliet = stream(&["xmpp-client"]);
        log_in(&mut juliet, "juliet", PASSWORD);
        ping(&mut juliet);
        assert_eq!(juliet.conn.alpn_protocol(), Some(&b"xmpp-client"[..]));

        let mut other = stream(&["xmpp-server"]);
        other.write_all(HEADER.replace("jabber:client", "jabber:server").as_bytes()).unwrap();
        assert!(until(&mut other, "<stream:features").contains("xmlns='jabber:server'"));

        // What was agreed on is spoken, and nothing else.
        let mut http = stream(&["xmpp-client"]);
        http.write_all(GET.as_bytes()).unwrap();
        let said = rest(&mut http);
        assert!(!said.contains("HTTP/") && said.contains("</stream:stream>"), "{said}");
        let mut http = Http::on(stream(&["http/1.1"]));
        http.send(HEADER);
        http.answer_to("").is(400, &[]);
        http.is_over();
    }
}

#[test]
fn who_does_not_say_it_is_known_by_the_first_byte() {
    let house = House::new(&["juliet"]);
    for port in ["https", "c2s_tls"] {
        let stream = || tls(connect(&house.server, port), &house.dir.ca());
        Http::on(stream()).ask("GET /.well-known/host-meta", "").is(200, &[]);
        log_in(&mut stream(), "juliet", PASSWORD);
        // Space may come first (RFC 6120 §11.7), and no request begins with it.
        let mut stream = stream();
        stream.write_all(b" \n").unwrap();
        greet(&mut stream);
    }
}

#[test]
fn foreign_protocols_are_refused() {
    let house = House::new(&[]);
    for port in ["https", "c2s_tls"] {
        for protocols in [&["h2"][..], &["http/1.0", "h3", "turn"], &["HTTP/1.1"]] {
            let mut stream = tls_for(connect(&house.server, port), &house.dir.ca(), protocols);
            let error = stream.write_all(b"x").and_then(|()| stream.read(&mut [0])).unwrap_err();
            let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
            let refused = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
            assert_eq!(alert, Some(&refused), "{port} {protocols:?}");
        }
    }
}

/// Who does not finish the handshake keeps nobody else out.
#[test]
fn half_open_connections_keep_nobody_out() {
    let house = House::new(&[]);
    let idle: Vec<TcpStream> = (0..50).map(|_| connect(&house.server, "https")).collect();
    house.ask("GET /.well-known/host-meta", "").is(200, &[]);
    greet(&mut tls(connect(&house.server, "https"), &house.dir.ca()));
    drop(idle);
}

/// Without TLS nothing is said but where TLS is, and how to trust it (`pages`).
#[test]
fn whoever_comes_without_tls_is_led_to_it() {
    let house = House::new(&[]);
    let port = house.server.address("https").port();
    let told = |request: &str| {
        let mut socket = connect(&house.server, "http");
        socket.write_all(request.as_bytes()).unwrap();
        let mut told = String::new();
        socket.read_to_string(&mut told).unwrap();
        told
    };
    for (request, status, part) in [
        ("GET /a%20b?c=d HTTP/1.1\r\nHost: example.org\r\n\r\n", "301", &*format!(":{port}/a%20b?c=d\r\n")),
        ("GET //evil.example/ HTTP/1.1\r\nHost: example.org\r\n\r\n", "301", &format!(":{port}//evil.example/\r\n")),
        ("GET * HTTP/1.1\r\nHost: example.org\r\n\r\n", "301", &format!(":{port}/\r\n")),
        ("HEAD /x HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", "301", "Location: https://"),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421", "another name"),
        ("GET / HTTP/1.1\r\n\r\n", "400", "Host"),
        ("POST /http-bind HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\n\r\nbody", "403", "without TLS"),
        ("PUT /upload/a/b HTTP/1.1\r\nHost: example.org\r\n\r\n", "403", "without TLS"),
        ("<stream:stream to='example.org'>", "400", "no request"),
        ("\u{16}\u{3}\u{1}\u{2}", "400", "no request"),
    ] {
        let answer = told(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(part), "{request}: {answer}");
        assert!(answer.contains("X-Content-Type-Options: nosniff") && answer.contains("Connection: close"), "{answer}");
        assert!(!answer.contains("Strict-Transport-Security"), "{answer}");
    }
}
