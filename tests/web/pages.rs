//! The pages that people see: what is there without a token, with and without TLS; and what becomes of a link and its form.

use crate::House;
use crate::common::binary::{LONG, connect, greet, ok, plain, tls, until};
use crate::common::http::{Http, HttpAnswer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use inglenook::web::form::FORM_BYTES;
use inglenook::web::pages::{LANGS, PAGE_BYTES, POLICY};
use inglenook::web::percent::encoded;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// As a browser sends a form of the page that it has shown.
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n";
const FILES: [(&str, &str); 3] = [
    ("/trust/inglenook.mobileconfig", "application/x-apple-aspen-config"),
    ("/trust/ca.crt", "application/x-x509-ca-cert"),
    ("/trust/ca.pem", "application/x-pem-file"),
];
const PHONE: &str = "User-Agent: Mozilla/5.0 (Linux; Android 16) Chrome/142.0 Mobile Safari/537.36\r\n";

/// A page, whole and small, with all that keeps a browser from doing more with it.
fn is_page(answer: &HttpAnswer, status: u16, lang: &str) -> String {
    answer.is(
        status,
        &[
            ("content-type", "text/html; charset=utf-8"),
            ("content-language", lang),
            ("vary", "Accept-Language"),
            ("cache-control", "no-store"),
            ("x-robots-tag", "noindex"),
            ("content-security-policy", POLICY.as_str()),
        ],
    );
    let text = answer.text();
    assert!(text.starts_with("<!DOCTYPE html>\n") && text.ends_with("</html>\n"), "{text}");
    assert!(text.contains(&format!("<html lang=\"{lang}\">")) && text.len() <= PAGE_BYTES, "{text}");
    assert!(!text.contains("<script") && !text.contains(" src="), "{text}");
    text
}

fn post(house: &House, path: &str, fields: &str, content: &str) -> HttpAnswer {
    let mut http = house.http();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: example.org\r\nContent-Length: {}\r\n{fields}\r\n", content.len());
    http.send(head + content);
    http.answer_to("POST")
}

/// What is said on the port without TLS.
fn without_tls(house: &House, what: &str, fields: &str) -> (String, Vec<u8>) {
    let mut socket = connect(&house.server, "http");
    socket.write_all(format!("{what} HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n").as_bytes()).unwrap();
    let mut told = Vec::new();
    socket.read_to_end(&mut told).unwrap();
    let end = told.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8(told[..end].to_vec()).unwrap(), told[end + 4..].to_vec())
}

/// The certificate in a file.
fn der(house: &House) -> Vec<u8> {
    let pem = std::fs::read_to_string(house.dir.ca()).unwrap();
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with("---")).collect::<String>()).unwrap()
}

#[test]
fn the_start_page_tells_nothing_of_people() {
    let house = House::new(&["romeo", "juliet"]);
    let text = is_page(&house.ask("GET /", ""), 200, "en");
    assert!(text.contains("<h1>Chat of example.org</h1>") && text.contains("href=\"/trust\""), "{text}");
    assert!(!text.contains("romeo") && !text.contains("juliet"), "{text}");
    let mut http = house.http();
    for path in ["/", "/trust"] {
        let page = http.ask(&format!("GET {path}"), "");
        let head = http.ask(&format!("HEAD {path}"), "");
        head.is(200, &[("content-length", &page.content.len().to_string()), ("content-type", "text/html")]);
        for method in ["PUT", "DELETE", "OPTIONS"] {
            http.ask(&format!("{method} {path}"), "").is(405, &[("allow", "GET, HEAD")]);
        }
    }
    for path in ["/index.html", "//", "/trust/", "/trust/ca.key", "/trust/../domain", "/Trust", "/invite", "/reset"] {
        let answer = http.ask(&format!("GET {path}"), "");
        answer.is(404, &[]);
    }
    let mut other = house.http();
    other.send("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    other.answer_to("GET /").is(421, &[]);
}

#[test]
fn pages_speak_the_language_of_whoever_asks() {
    let house = House::new(&[]);
    let mut http = house.http();
    for (path, fields, lang) in [
        ("/", "Accept-Language: de-CH, de;q=0.9, en;q=0.5\r\n", "de"),
        ("/trust", "Accept-Language: nl, en;q=0.1, fr;q=0.2\r\n", "fr"),
        ("/?lang=es", "Accept-Language: de\r\n", "es"),
        ("/?lang=tlh", "Accept-Language: de\r\n", "de"),
        ("/?x&lang=fr&lang=de", "", "fr"),
        ("/", "Accept-Language: tlh\r\n", "en"),
        ("/invite/none", "Accept-Language: es\r\n", "es"),
    ] {
        let status = if path.contains("invite") { 404 } else { 200 };
        let text = is_page(&http.ask(&format!("GET {path}"), fields), status, lang);
        for other in LANGS {
            let code = other.texts().code;
            let current = if code == lang { " aria-current=\"true\"" } else { "" };
            assert!(text.contains(&format!("<a href=\"?lang={code}\" hreflang=\"{code}\" lang=\"{code}\"{current}>")));
        }
    }
}

#[test]
fn whoever_wants_to_trust_the_house_gets_what_they_need() {
    let house = House::new(&[]);
    let line = house.server.greeting.iter().find(|line| line.starts_with("authority ")).unwrap();
    let fingerprint = line.split("SHA-256 ").nth(1).unwrap().split(' ').next().unwrap();
    let shown = house.server.greeting.iter().find(|line| line.starts_with("certificate ")).unwrap();
    let shown = shown.split("SHA-256 ").nth(1).unwrap().split(' ').next().unwrap();
    let text = is_page(&house.ask("GET /trust", PHONE), 200, "en");
    assert!(text.contains(fingerprint) && text.contains(shown) && text.contains("Inglenook CA"), "{text}");
    let (first, folded) = text.split_once("<details>").unwrap();
    assert!(first.contains("<h2>Android</h2>") && !first.contains("<h2>Windows</h2>"), "{text}");
    assert!(folded.contains("<h2>Windows</h2>") && folded.contains("<h2>Firefox</h2>"), "{text}");
    // The same with and without TLS: a browser that does not trust the house yet sees nothing of it.
    let (head, page) = without_tls(&house, "GET /", PHONE);
    let page = String::from_utf8(page).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(POLICY.as_str()), "{head}");
    assert!(page.contains(fingerprint) && page.len() <= PAGE_BYTES, "{page}");
    let port = house.server.address("https").port();
    assert!(page.contains(&format!(":{port}/\">")) && page.contains("href=\"https://"), "{page}");
    assert!(String::from_utf8(without_tls(&house, "GET /trust?lang=de", "").1).unwrap().contains("<html lang=\"de\">"));
    let der = der(&house);
    for (path, content_type) in FILES {
        let answer = house.ask(&format!("GET {path}"), "");
        answer.is(200, &[("content-type", content_type), ("cache-control", "no-store")]);
        let (head, content) = without_tls(&house, &format!("GET {path}"), "");
        assert!(head.contains(&format!("Content-Type: {content_type}")), "{head}");
        assert_eq!(content, answer.content, "{path}");
        house.ask(&format!("HEAD {path}"), "").is(200, &[("content-length", &content.len().to_string())]);
        assert_eq!(without_tls(&house, &format!("HEAD {path}"), "").1, b"");
        house.ask(&format!("POST {path}"), "").is(405, &[]);
        match content_type {
            "application/x-x509-ca-cert" => assert_eq!(content, der),
            "application/x-pem-file" => assert_eq!(content, std::fs::read(house.dir.ca()).unwrap()),
            _ => assert!(String::from_utf8(content).unwrap().contains(&STANDARD.encode(&der))),
        }
    }
    // Nothing else, and nothing is taken.
    for (what, status) in
        [("GET /invite/x", "301"), ("GET /upload/a/b", "301"), ("POST /", "403"), ("POST /invite/x", "403")]
    {
        assert!(without_tls(&house, what, "").0.starts_with(&format!("HTTP/1.1 {status} ")), "{what}");
    }
}

/// A certificate of the owner's: the house's own authority is nothing to be trusted then.
#[test]
fn an_installed_certificate_is_not_ours_to_explain() {
    let (house, other) = (House::new(&[]), House::new(&[]));
    let file = |name: &str| other.dir.data().join("cert").join(name).to_str().unwrap().to_owned();
    let before = house.ask("GET /trust", "").text();
    ok(&house.dir, &["cert", "install", &file("server.crt"), &file("server.key")], "");
    let ask = |what: &str| {
        let mut http = Http::new(&house.server, &other.dir);
        http.ask(what, "")
    };
    let text = is_page(&ask("GET /trust"), 200, "en");
    assert!(text != before && text.contains("The owner of this house has installed its certificate"), "{text}");
    assert!(!ask("GET /").text().contains("/trust"));
    for (path, _) in FILES {
        ask(&format!("GET {path}")).is(404, &[]);
        assert!(without_tls(&house, &format!("GET {path}"), "").0.starts_with("HTTP/1.1 301 "));
    }
    assert!(without_tls(&house, "GET /", "").0.starts_with("HTTP/1.1 301 "));
}

/// Each is answered as any other that is none; nothing of what was asked stands in the page.
#[test]
fn links_that_lead_nowhere_say_so_in_plain_words() {
    let house = House::new(&[]);
    let wanted = is_page(&house.ask("GET /invite/none", ""), 404, "en");
    assert!(wanted.contains("This link does not work any more"), "{wanted}");
    let long = "A".repeat(4000);
    for token in ["", "AAAAAAAAAAAAAAAAAAAAAA", "%3Cscript%3E", "a/b", "..", "'\"", long.as_str()] {
        for kind in ["invite", "reset"] {
            assert_eq!(is_page(&house.ask(&format!("GET /{kind}/{token}"), ""), 404, "en"), wanted, "{token}");
        }
    }
    house.ask("HEAD /invite/none", "").is(404, &[("content-length", &wanted.len().to_string())]);
    house.ask("PUT /invite/none", "").is(405, &[("allow", "GET, HEAD, POST")]);
    let filled = "name=romeo&password=a+long+secret&again=a+long+secret";
    assert_eq!(is_page(&post(&house, "/invite/none", FORM, filled), 404, "en"), wanted);
    assert_eq!(is_page(&post(&house, "/reset/none", FORM, filled), 404, "en"), wanted);
    assert_eq!(is_page(&post(&house, "/invite/none", FORM, "name=&password="), 404, "en"), wanted);
}

#[test]
fn forms_that_are_none_of_ours_change_nothing() {
    let house = House::new(&[]);
    let filled = "name=romeo&password=a+long+secret";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for origin in [
        "",
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://example.org\r\n",
        "Origin: https://example.org:9\r\n",
        "Referer: https://evil.example/invite/x\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: same-origin\r\nOrigin: https://evil.example\r\n",
    ] {
        let text = is_page(&post(&house, "/invite/x", &format!("{form}{origin}"), filled), 403, "en");
        assert!(text.contains("Nothing was done"), "{text}");
    }
    for origin in ["Origin: https://example.org\r\n", "Referer: https://example.org/invite/x\r\n"] {
        is_page(&post(&house, "/invite/x", &format!("{form}{origin}"), filled), 404, "en");
    }
    let own = "Sec-Fetch-Site: same-origin\r\n";
    for other in ["", "Content-Type: application/json\r\n", "Content-Type: multipart/form-data; boundary=x\r\n"] {
        is_page(&post(&house, "/invite/x", &format!("{own}{other}"), filled), 415, "en");
    }
    for bad in ["name=%", "name=%ff&password=x", &"a&".repeat(99)] {
        is_page(&post(&house, "/invite/x", FORM, bad), 400, "en");
    }
    let long = format!("name={}", "x".repeat(FORM_BYTES));
    is_page(&post(&house, "/invite/x", FORM, &long), 413, "en");
    post(&house, "/invite/x", &format!("{FORM}Expect: tea\r\n"), filled).is(417, &[]);
    assert!(!ok(&house.dir, &["user", "list"], "").contains("romeo"));
}

/// A link as its owner gets it; its path.
fn link(house: &House, words: &[&str]) -> String {
    let said = ok(&house.dir, words, "");
    let url = said.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    let (_, path) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
    format!("/{path}")
}

/// What a browser sends of a form.
fn filled(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

/// Whether this password logs in.
fn logs_in(house: &House, name: &str, password: &str) -> bool {
    let mut stream = tls(connect(&house.server, "c2s_tls"), &house.dir.ca());
    greet(&mut stream);
    stream.write_all(plain(name, password).as_bytes()).unwrap();
    until(&mut stream, ">").contains("<success")
}

#[test]
fn a_form_makes_an_account_once() {
    let house = House::new(&[]);
    let path = link(&house, &["invite"]);
    let page = is_page(&house.ask(&format!("GET {path}"), PHONE), 200, "en");
    assert!(page.contains("You are invited to the chat of example.org") && page.contains("<form method=\"post\">"));
    let token = path.strip_prefix("/invite/").unwrap();
    assert!(page.contains(&format!("href=\"xmpp:example.org?register;preauth={token}\"")), "{page}");
    house.ask(&format!("HEAD {path}"), "").is(200, &[("cache-control", "no-store")]);
    // As some programs pass links on.
    let hex: String = token.bytes().map(|b| format!("%{b:02x}")).collect();
    assert_eq!(is_page(&house.ask(&format!("GET /invite/{hex}"), PHONE), 200, "en"), page);
    // What it is for, it is for alone.
    is_page(&house.ask(&format!("GET /reset/{token}"), ""), 404, "en");
    let good = filled(&[("name", "romeo"), ("password", "a long secret"), ("again", "a long secret")]);
    let text = is_page(&post(&house, &format!("{path}?lang=de"), FORM, &good), 200, "de");
    assert!(text.contains("romeo@example.org") && text.contains("href=\"xmpp:romeo@example.org\""), "{text}");
    assert!(text.contains("class=\"qr\"") && !text.contains("a long secret"), "{text}");
    assert!(logs_in(&house, "romeo", "a long secret"));
    // Twice, back, and with something else by now.
    let again = is_page(&post(&house, &path, FORM, &good), 200, "en");
    assert!(again.contains("Your account is made already") && again.contains("romeo@example.org"), "{again}");
    let back = is_page(&house.ask(&format!("GET {path}"), ""), 410, "en");
    assert!(back.contains("Your account is made already") && back.contains("romeo@example.org"), "{back}");
    let other = filled(&[("name", "juliet"), ("password", "a long secret")]);
    is_page(&post(&house, &path, FORM, &other), 410, "en");
    assert!(!logs_in(&house, "juliet", "a long secret"));
}

#[test]
fn what_is_wrong_with_a_form_is_said_and_what_was_typed_stays() {
    let house = House::new(&["tybalt"]);
    let path = link(&house, &["invite"]);
    let secret = "a long secret";
    let long = "x".repeat(1024);
    for (name, password, again, part) in [
        ("", secret, secret, "A name is missing"),
        ("   ", secret, secret, "A name is missing"),
        ("tybalt", secret, secret, "Somebody has this name already"),
        ("TYBALT@example.org", secret, secret, "Somebody has this name already"),
        ("a b", secret, secret, "This cannot be a name"),
        ("<script>alert(1)</script>", secret, secret, "This cannot be a name"),
        ("\"onfocus='x", secret, secret, "This cannot be a name"),
        (&"n".repeat(65), secret, secret, "This name is too long"),
        ("mercutio", "", "", "This password is too short"),
        ("mercutio", "1234567", "1234567", "This password is too short"),
        ("mercutio", "        ", "        ", "This password is only spaces"),
        ("m\u{435}rcutio", secret, secret, "This name mixes letters of different alphabets"),
        ("mercutio", &long, &long, "This password is too long"),
        ("mercutio", "\u{1f511}\u{1f511} and letters", "\u{1f511}\u{1f511} and letters", "an emoji"),
        ("mercutio", "tab\tand letters", "tab\tand letters", "an emoji, or an invisible one"),
        ("mercutio", secret, "a long secreT", "not the same password"),
        ("mercutio", secret, "", "not the same password"),
    ] {
        let content = filled(&[("name", name), ("password", password), ("again", again)]);
        let text = is_page(&post(&house, &path, FORM, &content), 422, "en");
        assert!(text.contains(part), "{name} {password}: {text}");
        assert!(password.is_empty() || !text.contains(&format!("\"{password}\"")), "{text}");
        assert!(text.contains(" aria-invalid=\"true\""), "{text}");
        let kept = inglenook::wire::xml::escaped(name.trim()).replace("@example.org", "");
        assert!(text.contains(&format!(" value=\"{kept}\"")), "{name}: {text}");
    }
    let fine =
        ["  two spaces  ", "\"quotes' & <less>", "\u{fc}ml\u{e4}\u{fc}te, \u{e9}", &"long ".repeat(40), "100% +1 =&;#"];
    for (n, password) in fine.into_iter().enumerate() {
        let (path, name) = (link(&house, &["invite"]), format!("guest{n}"));
        let content = filled(&[("name", &name), ("password", password), ("again", password)]);
        is_page(&post(&house, &path, FORM, &content), 200, "en");
        assert!(logs_in(&house, &name, password), "{password}");
    }
    // It is still good for its one account; many type their whole address.
    let content = filled(&[("name", " mercutio@example.org "), ("password", secret)]);
    is_page(&post(&house, &path, FORM, &content), 200, "en");
    assert!(logs_in(&house, "mercutio", secret));
}

/// A button that is pressed twice, and two people with one link.
#[test]
fn of_two_at_the_same_moment_one_account_is_made() {
    let house = House::new(&[]);
    for round in 0..5 {
        let (twice, apart) = (link(&house, &["invite"]), link(&house, &["invite"]));
        let send = |path: &str, name: String| {
            let content = filled(&[("name", &name), ("password", "a long secret")]);
            let mut http = house.http();
            let length = content.len();
            http.send(format!(
                "POST {path} HTTP/1.1\r\nHost: example.org\r\nContent-Length: {length}\r\n{FORM}\r\n{content}"
            ));
            http
        };
        let mut pressed = [send(&twice, format!("twice{round}")), send(&twice, format!("twice{round}"))];
        for http in &mut pressed {
            let text = is_page(&http.answer_to("POST"), 200, "en");
            assert!(text.contains(&format!("twice{round}@example.org")), "{text}");
        }
        let names = [format!("one{round}"), format!("other{round}")];
        let mut shared = names.clone().map(|name| send(&apart, name));
        let answers = shared.each_mut().map(|http| http.answer_to("POST").status);
        let made = names.map(|name| logs_in(&house, &name, "a long secret"));
        assert_eq!(answers.map(|status| status == 200), made, "{answers:?}");
        assert_eq!(made.iter().filter(|made| **made).count(), 1, "{answers:?}");
    }
}

#[test]
fn a_link_for_another_password_sets_one() {
    let house = House::new(&["romeo"]);
    let path = link(&house, &["user", "reset", "romeo@example.org"]);
    let page = is_page(&house.ask(&format!("GET {path}"), ""), 200, "en");
    assert!(page.contains("romeo@example.org") && !page.contains("id=\"name\"") && !page.contains("xmpp:"), "{page}");
    let short = filled(&[("name", "juliet"), ("password", "short"), ("again", "short")]);
    let text = is_page(&post(&house, &path, FORM, &short), 422, "en");
    assert!(text.contains("too short") && text.contains("romeo@example.org") && !text.contains("juliet"), "{text}");
    let content = filled(&[("name", "romeo"), ("password", "quite another secret")]);
    for _ in 0..2 {
        let text = is_page(&post(&house, &path, FORM, &content), 200, "en");
        assert!(text.contains("Your password is changed") && text.contains("romeo@example.org"), "{text}");
    }
    assert!(logs_in(&house, "romeo", "quite another secret") && !logs_in(&house, "romeo", crate::PASSWORD));
    let back = is_page(&house.ask(&format!("GET {path}"), ""), 410, "en");
    assert!(back.contains("Your password is changed"), "{back}");
    // One for an account is none for a password.
    let invitation = link(&house, &["invite"]).replace("/invite/", "/reset/");
    let mercutio = filled(&[("name", "mercutio"), ("password", "a long secret")]);
    is_page(&post(&house, &invitation, FORM, &mercutio), 404, "en");
    assert!(!logs_in(&house, "mercutio", "a long secret"));
    // But not to what somebody types now.
    let other = filled(&[("name", "romeo"), ("password", "a third secret")]);
    let text = is_page(&post(&house, &path, FORM, &other), 410, "en");
    assert!(text.contains("does not work any more") && !logs_in(&house, "romeo", "a third secret"), "{text}");
}

/// What the owner has said of whom it is for: a name that is kept for them, who invites them, and a room.
#[test]
fn an_invitation_says_what_it_is() {
    let house = House::new(&["romeo"]);
    let path = link(&house, &["invite", "juliet", "--contact", "romeo@example.org"]);
    let page = is_page(&house.ask(&format!("GET {path}"), PHONE), 200, "en");
    assert!(page.contains("<h1>romeo@example.org invites you to the chat of example.org</h1>"), "{page}");
    assert!(
        page.contains("Your address will be <bdi>juliet@example.org</bdi>") && !page.contains("id=\"name\""),
        "{page}"
    );
    assert!(page.contains("href=\"xmpp:juliet@example.org?register;preauth="), "{page}");
    // Nobody else gets that name, and this one no other.
    let other = link(&house, &["invite", "--contact", "romeo@example.org"]);
    let page = is_page(&house.ask(&format!("GET {other}"), PHONE), 200, "en");
    assert!(page.contains("href=\"xmpp:romeo@example.org?roster;preauth=") && page.contains(";ibr=y\""), "{page}");
    let juliet = filled(&[("name", "juliet"), ("password", "a long secret")]);
    let text = is_page(&post(&house, &other, FORM, &juliet), 422, "en");
    assert!(text.contains("This name is kept for somebody else"), "{text}");
    let nurse = filled(&[("name", "nurse"), ("password", "a long secret")]);
    assert_ne!(post(&house, &path, FORM, &nurse).status, 200);
    let text = is_page(&post(&house, &path, FORM, &juliet), 200, "en");
    assert!(text.contains("juliet@example.org") && logs_in(&house, "juliet", "a long secret"));
}

/// Who tries tokens is told to wait, and so is their whole network; nobody learns more.
#[test]
fn tokens_cannot_be_tried_for_ever() {
    let house = House::new(&[]);
    let path = link(&house, &["invite"]);
    let mut http = house.http();
    let late = (0..200).map(|n| http.ask(&format!("GET /invite/{n}"), "")).find(|answer| answer.status != 404).unwrap();
    let text = is_page(&late, 429, "en");
    let seconds = late.field("retry-after").parse::<u64>().unwrap();
    assert!(text.contains(&format!("Wait <bdi>{seconds}</bdi> seconds")), "{text}");
    let content = filled(&[("name", "romeo"), ("password", "a long secret")]);
    is_page(&post(&house, "/invite/none", FORM, &content), 429, "en");
    // Whoever has a good one is let in, or waits as well: what they see is a page.
    let answer = house.ask(&format!("GET {path}"), "");
    is_page(&answer, if answer.status == 200 { 200 } else { 429 }, "en");
}

/// A disk of its own: what cannot be stored yet is said. Whoever goes on as the page says has an account as soon as there is room.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_stored_is_said() {
    let Some((disk, server)) = crate::on_a_small_disk() else { return };
    let said = ok(&disk.dir, &["invite"], "");
    let path = said.split_whitespace().find_map(|word| word.split_once("/invite/")).unwrap().1;
    let send = || {
        let content = filled(&[("name", "romeo"), ("password", "a long secret")]);
        let mut http = Http::new(&server, &disk.dir);
        let length = content.len();
        http.send(format!(
            "POST /invite/{path} HTTP/1.1\r\nHost: example.org\r\nContent-Length: {length}\r\n{FORM}\r\n{content}"
        ));
        http.answer_to("POST")
    };
    disk.fill();
    let text = is_page(&send(), 503, "en");
    assert!(text.contains("The disk of this house is full"), "{text}");
    disk.make_room();
    let begun = Instant::now();
    let romeo = || {
        let mut stream = tls(connect(&server, "c2s_tls"), &disk.dir.ca());
        greet(&mut stream);
        stream.write_all(plain("romeo", "a long secret").as_bytes()).unwrap();
        until(&mut stream, ">").contains("<success")
    };
    while !romeo() {
        let answer = send();
        assert!(begun.elapsed() < LONG, "{}", answer.text());
        // Who tries too often is told when to try again.
        std::thread::sleep(Duration::from_secs(answer.field("retry-after").parse().unwrap_or(1)));
    }
}
