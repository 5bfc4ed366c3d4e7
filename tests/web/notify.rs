//! `/notify/TOKEN`: what a program says by HTTP arrives in a room or at a person, once it was answered with 200 also over `kill -9`; and
//! whoever knows no token learns nothing.

use crate::House;
use crate::common::binary::{Dir, Server, Tls, fails, ok, ping, until};
use crate::common::http::{Http, HttpAnswer};
use inglenook::web::notification::{CONTENT_BYTES, TEXT_BYTES};
use std::io::Write;
use std::time::Instant;

const GARDEN: &str = "garden@conference.example.org";
/// As curl sends it.
const FORM: &str = "User-Agent: curl/8.5.0\r\nAccept: */*\r\nContent-Type: application/x-www-form-urlencoded\r\n";

/// Makes a URL; gives its path.
fn add(dir: &Dir, words: &[&str]) -> String {
    let said = ok(dir, &[&["notify", "add"], words].concat(), "");
    let line = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let url = line("url ");
    assert!(line("try ").starts_with("curl --cacert ") && line("try ").ends_with(&format!(" -d \"disk full\" {url}")));
    let (_, path) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
    assert_eq!(path.strip_prefix("notify/").unwrap().len(), 22, "128 bits");
    format!("/{path}")
}

fn head(method: &str, path: &str, length: usize, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: example.org\r\nContent-Length: {length}\r\n{fields}\r\n")
}

fn post(http: &mut Http, path: &str, fields: &str, content: impl AsRef<[u8]>) -> HttpAnswer {
    http.send([head("POST", path, content.as_ref().len(), fields).as_bytes(), content.as_ref()].concat());
    http.answer_to("POST")
}

/// It was taken.
fn is_said(answer: &HttpAnswer) {
    answer.is(200, &[("content-type", "application/json"), ("cache-control", "no-store")]);
    let text = answer.text();
    assert!(text.starts_with("{\"id\":\"") && text.contains("\"time\":"), "{text}");
}

/// Enters the room, which is made if it is not there.
fn enter(client: &mut Tls) {
    client
        .write_all(
            format!("<presence to='{GARDEN}/me'><x xmlns='http://jabber.org/protocol/muc'/></presence>").as_bytes(),
        )
        .unwrap();
    until(client, "<subject");
}

fn make_room(client: &mut Tls) {
    enter(client);
    let form = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>";
    let query = format!(
        "<iq type='set' id='made' to='{GARDEN}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
         <x xmlns='jabber:x:data' type='submit'>{form}</x></query></iq>"
    );
    client.write_all(query.as_bytes()).unwrap();
    assert!(until(client, "id='made'").contains("type='result'"));
}

#[test]
fn what_a_program_says_arrives_in_a_room() {
    let house = House::new(&["romeo"]);
    let mut romeo = house.client("romeo");
    make_room(&mut romeo);
    // By its name alone.
    let path = add(&house.dir, &["garden"]);
    let mut http = house.http();
    is_said(&post(&mut http, &path, FORM, "disk full"));
    let said = until(&mut romeo, "</message>");
    assert!(said.contains("<body>disk full</body>") && said.contains(&format!("from='{GARDEN}'")), "{said}");
    assert!(said.contains("type='groupchat'") && said.contains("<stanza-id"), "{said}");
    // On the same connection, in other ways.
    http.send(format!("PUT {path}?title=Backup HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"));
    http.send("4\r\ndone\r\n1;x=y\r\n!\r\n0\r\n\r\n");
    is_said(&http.answer_to("PUT"));
    until(&mut romeo, "<body>Backup&#10;done!</body>");
    http.send(head("POST", &path, 5, "Expect: 100-continue\r\nPriority: urgent\r\n"));
    assert_eq!(http.head().status, 100);
    http.send("hello");
    is_said(&http.answer_to("POST"));
    until(&mut romeo, "<body>Attention: hello</body>");
    let alert = r#"{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"DiskFull"},"annotations":{"summary":"<2 %"}}]}"#;
    is_said(&post(&mut http, &path, "Content-Type: application/json\r\n", alert));
    until(&mut romeo, "<body>FIRING: DiskFull: &lt;2 %</body>");
    // Text that no XML can have, and more than is said.
    is_said(&post(&mut http, &path, FORM, "bell \u{7}, \u{fffe}"));
    until(&mut romeo, "<body>bell \u{fffd}, \u{fffd}</body>");
    is_said(&post(&mut http, &path, FORM, "x".repeat(TEXT_BYTES + 1)));
    until(&mut romeo, "x&#10;[cut: it was longer]</body>");
}

#[test]
fn what_was_answered_survives_kill_9() {
    let house = House::new(&["romeo", "juliet"]);
    let mut romeo = house.client("romeo");
    make_room(&mut romeo);
    let (room, juliet) = (add(&house.dir, &["garden"]), add(&house.dir, &["juliet@example.org", "--from", "romeo"]));
    let mut http = house.http();
    is_said(&post(&mut http, &room, FORM, "said in the room"));
    is_said(&post(&mut http, &juliet, FORM, "while you were out"));
    let House { server, dir } = house;
    server.kill();
    // Another one, while nobody serves.
    let named = add(&dir, &["juliet@example.org", "--name", "alarm"]);
    let house = House { server: Server::start(&dir, &[]), dir };
    let list = ok(&house.dir, &["notify", "list"], "");
    let lines = [
        "alarm  juliet@example.org",
        &format!("garden  {GARDEN}"),
        "juliet  juliet@example.org  from romeo@example.org",
    ];
    assert_eq!(list.lines().collect::<Vec<_>>(), lines);
    let mut juliet = house.client("juliet");
    let said = until(&mut juliet, "<body>while you were out</body>");
    assert!(said.contains("from='romeo@example.org'") && said.contains("<delay"), "{said}");
    let mut romeo = house.client("romeo");
    enter_and_see(&mut romeo, "<body>said in the room</body>");
    // Who is there hears of it at once, from the server itself.
    is_said(&post(&mut house.http(), &named, FORM, "now"));
    let said = until(&mut juliet, "<body>now</body>");
    assert!(said.contains("from='example.org'") && said.contains("type='chat'"), "{said}");
}

fn enter_and_see(client: &mut Tls, text: &str) {
    client
        .write_all(
            format!("<presence to='{GARDEN}/me'><x xmlns='http://jabber.org/protocol/muc'/></presence>").as_bytes(),
        )
        .unwrap();
    until(client, text);
}

#[test]
fn a_url_ends_with_whom_it_tells_or_when_it_is_removed() {
    let house = House::new(&["romeo", "juliet"]);
    let mut romeo = house.client("romeo");
    make_room(&mut romeo);
    let (room, juliet) = (add(&house.dir, &["garden"]), add(&house.dir, &["juliet@example.org"]));
    let removed = add(&house.dir, &["garden", "--name", "third"]);
    ok(&house.dir, &["notify", "remove", "third"], "");
    ok(&house.dir, &["room", "remove", "garden"], "");
    ok(&house.dir, &["user", "remove", "juliet"], "");
    post(&mut house.http(), &removed, FORM, "x").is(404, &[]);
    for path in [room, juliet] {
        let answer = post(&mut house.http(), &path, FORM, "x");
        answer.is(410, &[]);
        assert!(answer.text().contains("no more"));
    }
    let list = ok(&house.dir, &["notify", "list"], "");
    assert!(list.lines().count() == 2 && list.lines().all(|line| line.contains("GONE")), "{list}");
    assert!(fails(&house.dir, &["notify", "add", "garden"], "").contains("there is no room"));
    assert!(fails(&house.dir, &["notify", "add", "juliet@example.org"], "").contains("there is no juliet"));
    assert!(fails(&house.dir, &["notify", "remove", "third"], "").contains("notify list"));
}

#[test]
fn whoever_knows_no_token_learns_nothing() {
    let house = House::new(&["romeo"]);
    let path = add(&house.dir, &["romeo@example.org"]);
    let token = path.strip_prefix("/notify/").unwrap();
    let nothing = house.ask("GET /nothing", "");
    for wrong in [
        "".into(),
        "..".into(),
        "../metrics".into(),
        "%2e%2e%2fmetrics".into(),
        "/".into(),
        format!("{token}/"),
        format!("{token}x"),
        token[1..].into(),
        format!("./{token}"),
        format!("x/../{token}"),
        format!("%{:02x}{}", token.as_bytes()[0], &token[1..]),
        token.to_ascii_uppercase(),
        format!("{token}%00"),
        "x".repeat(4000),
    ] {
        let answer = post(&mut house.http(), &format!("/notify/{wrong}"), FORM, "x");
        answer.is(404, &[("connection", "close")]);
        assert_eq!(answer.content, nothing.content, "{wrong}");
    }
    // What follows is not read for a stranger.
    let mut http = house.http();
    http.send(head("POST", "/notify/x", 10_000, "Expect: 100-continue\r\n"));
    http.answer_to("POST").is(404, &[]);
    // Too many of them are told to wait; the right one need not.
    let late = (0..30).map(|_| post(&mut house.http(), "/notify/wrong", FORM, "x")).find(|a| a.status != 404).unwrap();
    late.is(429, &[("retry-after", "")]);
    assert!((1..=20).contains(&late.field("retry-after").parse().unwrap()));
    is_said(&post(&mut house.http(), &path, FORM, "x"));
    let log: Vec<String> = house.server.log.lock().unwrap().try_iter().collect();
    assert!(!log.join("\n").contains(token), "{log:?}");
}

#[test]
fn what_cannot_be_said_is_told_and_not_said() {
    let house = House::new(&["romeo"]);
    let mut romeo = house.client("romeo");
    let path = add(&house.dir, &["romeo@example.org"]);
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        house.ask(&format!("{method} {path}"), "").is(405, &[("allow", "POST, PUT")]);
    }
    let json = "Content-Type: application/json\r\n";
    for (fields, content, status, why) in [
        (FORM, "".to_owned(), 400, "curl -d"),
        (FORM, " \r\n ".to_owned(), 400, "curl -d"),
        (json, "{\"say\":\"x\"}".to_owned(), 400, "Alertmanager"),
        (json, "{".to_owned(), 400, "JSON"),
    ] {
        let mut http = house.http();
        let answer = post(&mut http, &path, fields, content);
        answer.is(status, &[]);
        assert!(answer.text().contains(why), "{}", answer.text());
        // The connection goes on.
        post(&mut http, &path, FORM, b"\xff").is(400, &[]);
    }
    let mut http = house.http();
    http.send(head("POST", &path, CONTENT_BYTES + 1, "Expect: 100-continue\r\n"));
    http.answer_to("POST").is(413, &[("connection", "close")]);
    let mut http = house.http();
    http.send(format!("POST {path} HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"));
    http.send(format!("{:x}\r\n{}", CONTENT_BYTES + 1, "x".repeat(CONTENT_BYTES + 1)));
    http.answer_to("POST").is(413, &[("connection", "close")]);
    post(&mut house.http(), &path, "Expect: tea\r\n", "x").is(417, &[]);
    let heard = ping(&mut romeo);
    assert!(!heard.contains("<message"), "{heard}");
    is_said(&post(&mut house.http(), &path, FORM, "y".repeat(CONTENT_BYTES)));
}

#[test]
fn nobody_is_told_too_much() {
    let house = House::new(&["romeo"]);
    let (path, other) = (add(&house.dir, &["romeo@example.org"]), add(&house.dir, &["romeo@example.org"]));
    let begun = Instant::now();
    // Each connection is answered in order, all of them at once.
    let mut lines: Vec<Http> = (0..8).map(|_| house.http()).collect();
    for http in &mut lines {
        http.send(format!("{}x", head("POST", &path, 1, FORM)).repeat(12));
    }
    let answers: Vec<HttpAnswer> =
        lines.iter_mut().flat_map(|http| (0..12).map(|_| http.answer_to("POST")).collect::<Vec<_>>()).collect();
    let most = 60 + begun.elapsed().as_secs() as usize / 10 + 1;
    let said = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((60..=most).contains(&said), "{said} of at most {most}");
    answers.iter().filter(|answer| answer.status != 200).for_each(|answer| {
        answer.is(429, &[]);
        assert!((1..=10).contains(&answer.field("retry-after").parse::<u32>().unwrap()));
    });
    is_said(&post(&mut house.http(), &other, FORM, "x"));
}

/// A disk of its own: what cannot be stored is not taken, and is as soon as there is room.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_stored_is_not_taken() {
    let Some((disk, server)) = crate::on_a_small_disk() else { return };
    ok(&disk.dir, &["user", "add", "romeo", "--password-stdin"], "a long secret\n");
    let path = add(&disk.dir, &["romeo@example.org"]);
    is_said(&post(&mut Http::new(&server, &disk.dir), &path, FORM, "there is room"));
    disk.fill();
    let answer = post(&mut Http::new(&server, &disk.dir), &path, FORM, "there is none");
    answer.is(503, &[]);
    assert!(answer.text().contains("storage is full or failing"), "{}", answer.text());
    disk.make_room();
    let begun = Instant::now();
    while post(&mut Http::new(&server, &disk.dir), &path, FORM, "again").status != 200 {
        assert!(begun.elapsed() < crate::common::binary::LONG, "it takes nothing any more");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
