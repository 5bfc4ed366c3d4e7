//! Files are put and had by HTTP (XEP-0363 §7): exactly what was announced, once, and nobody else's.

use crate::House;
use crate::common::binary::{Tls, until};
use crate::common::http::{Http, HttpAnswer};
use inglenook::wire::xml::escaped;
use std::io::Write;
use std::path::PathBuf;

/// What lets pages of web clients read an answer.
const CORS: (&str, &str) = ("access-control-allow-origin", "*");
const META: &str = "GET /.well-known/host-meta";

/// Where a file is put, and what has to be shown there.
struct Slot {
    path: String,
    authorization: String,
}

impl Slot {
    /// `content_type`: if there is one.
    fn new(client: &mut Tls, name: &str, size: usize, content_type: &str) -> Slot {
        let ty = if content_type.is_empty() { String::new() } else { format!(" content-type='{content_type}'") };
        let request = format!(
            "<iq type='get' id='slot' to='upload.example.org'><request xmlns='urn:xmpp:http:upload:0' filename='{}' \
             size='{size}'{ty}/></iq>",
            escaped(name)
        );
        client.write_all(request.as_bytes()).unwrap();
        let slot = until(client, "</iq>");
        let between = |from: &str, to: &str| slot.split(from).nth(1).unwrap().split(to).next().unwrap().to_owned();
        let url = between("<put url='", "'");
        assert_eq!(between("<get url='", "'"), url);
        let path = url.splitn(4, '/').nth(3).unwrap();
        Slot { path: format!("/{path}"), authorization: between("<header name='Authorization'>", "<") }
    }

    fn id(&self) -> &str {
        self.path.split('/').nth(2).unwrap()
    }

    /// The head of a request that puts it.
    fn head(&self, length: usize, fields: &str) -> String {
        let Slot { path, authorization } = self;
        format!(
            "PUT {path} HTTP/1.1\r\nHost: example.org\r\nAuthorization: {authorization}\r\nContent-Length: {length}\r\n\
             {fields}\r\n"
        )
    }

    fn put(&self, http: &mut Http, content: &[u8], fields: &str) -> HttpAnswer {
        http.send(self.head(content.len(), fields));
        http.send(content);
        http.answer_to("PUT")
    }

    fn get(&self, http: &mut Http, fields: &str) -> HttpAnswer {
        http.ask(&format!("GET {}", self.path), fields)
    }
}

/// A file that is there.
fn put(house: &House, client: &mut Tls, name: &str, content: &[u8], content_type: &str) -> Slot {
    let slot = Slot::new(client, name, content.len(), content_type);
    slot.put(&mut house.http(), content, "").is(201, &[CORS]);
    slot
}

fn folder(house: &House) -> PathBuf {
    house.dir.data().join("uploads")
}

/// Names of what is in the folder, until there are so many.
fn wait_for(house: &House, count: usize) {
    let begun = std::time::Instant::now();
    while std::fs::read_dir(folder(house)).unwrap().count() != count {
        assert!(begun.elapsed() < crate::common::binary::LONG, "not {count} files");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

#[test]
fn what_was_put_is_had_by_whoever_knows_where() {
    let house = House::new(&["juliet"]);
    let mut juliet = house.client("juliet");
    let picture = content(200_000);
    let slot = Slot::new(&mut juliet, "rose.png", picture.len(), "image/png");
    let mut http = house.http();
    slot.get(&mut http, "").is(404, &[]);
    slot.put(&mut http, &picture, "Content-Type: image/png\r\n").is(201, &[CORS, ("content-length", "0")]);
    // The same connection goes on.
    let got = slot.get(&mut http, "");
    got.is(200, &[CORS, ("content-type", "image/png"), ("accept-ranges", "bytes"), ("content-length", "200000")]);
    got.is(200, &[("cache-control", "immutable"), ("content-disposition", "inline; filename*=UTF-8''rose.png")]);
    got.is(200, &[("content-security-policy", "sandbox"), ("content-security-policy", "frame-ancestors 'none'")]);
    assert!(got.content == picture);
    let head = http.ask(&format!("HEAD {}", slot.path), "");
    for name in ["content-length", "content-type", "etag", "last-modified", "content-disposition", "cache-control"] {
        assert_eq!((head.field(name), head.field(name).is_empty()), (got.field(name), false), "{name}");
    }
    // Before a page of a web client puts or has something, its browser asks (Fetch §3.2.2); who asks need not know a file.
    let options = http.ask(
        &format!("OPTIONS {}", slot.path),
        "Origin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n\
         Access-Control-Request-Headers: authorization,content-type\r\n",
    );
    options.is(204, &[CORS, ("access-control-allow-headers", "Authorization, Content-Type")]);
    options.is(204, &[("access-control-allow-methods", "PUT"), ("access-control-allow-methods", "GET")]);
    assert_eq!(options.field("access-control-allow-credentials"), "");
    for method in ["POST", "DELETE", "PATCH"] {
        http.ask(&format!("{method} {}", slot.path), "").is(405, &[CORS, ("allow", "GET, HEAD, OPTIONS, PUT")]);
    }
    // Another name with its id is nothing, and neither is its id alone.
    for path in [format!("/upload/{}", slot.id()), format!("/upload/{}/", slot.id()), format!("{}x", slot.path)] {
        http.ask(&format!("GET {path}"), "").is(404, &[]);
    }
    // It survives the server.
    let House { server, dir } = house;
    server.kill();
    let house = House { server: crate::Server::start(&dir, &[]), dir };
    assert!(slot.get(&mut house.http(), "").content == picture);
}

#[test]
fn nothing_is_taken_but_what_the_slot_is_for() {
    let house = House::new(&["juliet", "romeo"]);
    let (mut juliet, mut romeo) = (house.client("juliet"), house.client("romeo"));
    let slot = Slot::new(&mut juliet, "a.txt", 5, "text/plain");
    let other = Slot::new(&mut romeo, "a.txt", 5, "text/plain");
    let refused = |fields: &str, status: u16| {
        let mut http = house.http();
        http.send(format!("PUT {} HTTP/1.1\r\nHost: example.org\r\n{fields}\r\nhello", slot.path));
        let answer = http.answer_to("PUT");
        answer.is(status, &[CORS, ("connection", "close"), ("content-type", "text/plain")]);
        http.is_over();
        answer
    };
    let own = format!("Authorization: {}\r\n", slot.authorization);
    let token = slot.authorization.strip_prefix("Bearer ").unwrap();
    for authorization in [
        String::new(),
        "Authorization: Bearer\r\n".into(),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: {}\r\n", other.authorization),
        format!("Authorization: {}x\r\n", slot.authorization),
    ] {
        let answer = refused(&format!("{authorization}Content-Length: 5\r\n"), 401);
        // RFC 9110 §15.5.2
        assert_eq!(answer.field("www-authenticate"), "Bearer", "{authorization}");
    }
    for length in ["4", "6", "0", "18446744073709551615"] {
        refused(&format!("{own}Content-Length: {length}\r\n"), 400);
    }
    refused(&format!("{own}Transfer-Encoding: chunked\r\n"), 411);
    refused(&format!("{own}Content-Length: 5\r\nContent-Type: text/html\r\n"), 415);
    refused(&format!("{own}Content-Length: 5\r\nExpect: tea\r\n"), 417);
    house.ask(&format!("PUT {}", slot.path), &own).is(400, &[]);
    assert_eq!(std::fs::read_dir(folder(&house)).unwrap().count(), 0);
    // After all of that the slot is still there; once.
    let mut http = house.http();
    slot.put(&mut http, b"hello", "Content-Type: text/plain; charset=utf-8\r\n").is(201, &[]);
    slot.put(&mut http, b"again", "").is(409, &[CORS]);
    assert_eq!(slot.get(&mut house.http(), "").text(), "hello");
    other.put(&mut house.http(), b"other", "").is(201, &[]);
}

#[test]
fn a_slot_is_for_one_upload_also_while_that_comes_in() {
    let house = House::new(&["juliet"]);
    let slot = Slot::new(&mut house.client("juliet"), "a", 10, "");
    let mut first = house.http();
    first.send(slot.head(10, "Expect: 100-continue\r\n"));
    // Who waits is told to go on (RFC 9110 §10.1.1): from then on it comes in.
    assert_eq!(first.answer_to("PUT").status, 100);
    slot.put(&mut house.http(), b"0123456789", "").is(409, &[]);
    slot.get(&mut house.http(), "").is(404, &[]);
    first.send("01234");
    first.send("56789");
    first.answer_to("PUT").is(201, &[]);
    assert_eq!(slot.get(&mut first, "").text(), "0123456789");
    // Who waits is not told to go on if that is in vain.
    let mut again = house.http();
    again.send(slot.head(10, "Expect: 100-continue\r\n"));
    again.answer_to("PUT").is(409, &[("connection", "close")]);
    again.is_over();
}

#[test]
fn a_connection_that_breaks_leaves_nothing() {
    let house = House::new(&["juliet"]);
    let mut juliet = house.client("juliet");
    for sent in [0, 1, 4999] {
        let slot = Slot::new(&mut juliet, "a", 5000, "");
        let mut http = house.http();
        http.send(slot.head(5000, "Expect: 100-continue\r\n"));
        assert_eq!(http.answer_to("PUT").status, 100);
        http.send(&content(5000)[..sent]);
        wait_for(&house, 1);
        drop(http);
        wait_for(&house, 0);
        // It was for one upload.
        slot.put(&mut house.http(), &content(5000), "").is(404, &[]);
    }
    assert!(crate::ok(&house.dir, &["status"], "").contains("\nfiles        0 uploaded"));
}

#[test]
fn a_file_and_the_next_request_may_come_together() {
    let house = House::new(&["juliet"]);
    let mut juliet = house.client("juliet");
    let [one, two] = ["one", "two"].map(|name| Slot::new(&mut juliet, name, 3, ""));
    let get = |slot: &Slot| format!("GET {} HTTP/1.1\r\nHost: example.org\r\n\r\n", slot.path);
    let mut http = house.http();
    http.send([one.head(3, ""), "ONE".into(), get(&one), two.head(3, ""), "TWO".into(), get(&two), get(&one)].concat());
    for (status, content) in [(201, ""), (200, "ONE"), (201, ""), (200, "TWO"), (200, "ONE")] {
        let answer = http.answer_to("");
        answer.is(status, &[]);
        assert_eq!(answer.text(), content);
    }
}

#[test]
fn files_come_in_while_people_chat() {
    let house = House::new(&["juliet", "romeo"]);
    let (mut juliet, mut romeo) = (house.client("juliet"), house.client("romeo"));
    let picture = content(3_000_000);
    let (before, behind) = picture.split_at(1_000_000);
    let mut both: Vec<(Slot, Http)> = ["one.jpg", "two.jpg"]
        .map(|name| {
            let slot = Slot::new(&mut juliet, name, picture.len(), "image/jpeg");
            let mut http = house.http();
            http.send(slot.head(picture.len(), ""));
            http.send(before);
            (slot, http)
        })
        .into();
    wait_for(&house, 2);
    juliet.write_all(b"<message to='romeo@example.org'><body>two pictures come</body></message>").unwrap();
    assert!(until(&mut romeo, "</message>").contains("two pictures come"));
    for (_, http) in &mut both {
        http.send(behind);
    }
    for (slot, mut http) in both {
        http.answer_to("PUT").is(201, &[]);
        assert!(slot.get(&mut http, "").content == picture);
    }
    let told = crate::ok(&house.dir, &["status"], "");
    assert!(told.contains(", of that 6.0 MB (") && told.contains(" %) files\n"), "{told}");
}

#[test]
fn parts_are_had() {
    let house = House::new(&["juliet"]);
    let slot = put(&house, &mut house.client("juliet"), "digits.txt", b"0123456789", "text/plain");
    let mut http = house.http();
    let mut part = |range: &str| slot.get(&mut http, &format!("Range: {range}\r\n"));
    // A telephone asks for the first two bytes of a film, then for all.
    for (range, content, place) in [
        ("bytes=0-1", "01", "bytes 0-1/10"),
        ("bytes=0-", "0123456789", "bytes 0-9/10"),
        ("bytes=5-", "56789", "bytes 5-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=8-80", "89", "bytes 8-9/10"),
    ] {
        let answer = part(range);
        answer.is(206, &[CORS, ("content-range", place), ("content-type", "text/plain; charset=utf-8")]);
        assert_eq!((answer.text().as_str(), answer.field("content-range")), (content, place));
    }
    let answer = part("bytes=0-1,4-5, -1");
    answer.is(206, &[("content-type", "multipart/byteranges; boundary=")]);
    let boundary = answer.field("content-type").split('=').nth(1).unwrap();
    let each = [("01", "0-1"), ("45", "4-5"), ("9", "9-9")].map(|(content, place)| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {place}/10\r\n\r\n{content}"
        )
    });
    assert_eq!(answer.text(), format!("{}\r\n--{boundary}--\r\n", each.concat()));
    for nowhere in ["bytes=10-", "bytes=-0", "bytes=11-20, 30-"] {
        let answer = part(nowhere);
        answer.is(416, &[("content-range", "bytes */10")]);
        // What is not the file is not kept as if it were (RFC 9111 §3).
        assert_eq!(answer.field("cache-control"), "", "{nowhere}");
    }
    // Whoever wants more than the file, or what nobody can read, gets the file (RFC 9110 §14.2).
    for whole in ["bytes=0-9,0-9", &format!("bytes={}", "0-0,".repeat(1000)), "bytes=5-4", "lines=0-1", "bytes"] {
        let answer = part(whole);
        answer.is(200, &[("content-length", "10")]);
        assert_eq!(answer.text(), "0123456789", "{whole}");
    }
    let head = http.ask(&format!("HEAD {}", slot.path), "Range: bytes=0-1\r\n");
    head.is(200, &[("content-length", "10")]);
}

#[test]
fn who_has_the_file_already_is_told_so() {
    let house = House::new(&["juliet"]);
    let slot = put(&house, &mut house.client("juliet"), "a", b"0123456789", "");
    let mut http = house.http();
    let first = slot.get(&mut http, "");
    let (etag, date) = (first.field("etag"), first.field("last-modified"));
    assert!(etag.len() > 20 && etag.starts_with('"') && etag.ends_with('"') && date.ends_with(" GMT"));
    for (fields, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-None-Match: \"other\", W/{etag}\r\n"), 304),
        ("If-None-Match: *\r\n".into(), 304),
        ("If-None-Match: \"other\"\r\n".into(), 200),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        (format!("If-None-Match: \"other\"\r\nIf-Modified-Since: {date}\r\n"), 200),
        (format!("If-Match: {etag}\r\n"), 200),
        ("If-Match: \"other\"\r\n".into(), 412),
        (format!("Range: bytes=0-1\r\nIf-Range: {etag}\r\n"), 206),
        (format!("Range: bytes=0-1\r\nIf-Range: {date}\r\n"), 206),
        (format!("Range: bytes=0-1\r\nIf-Range: W/{etag}\r\n"), 200),
        ("Range: bytes=0-1\r\nIf-Range: \"other\"\r\n".into(), 200),
    ] {
        let answer = slot.get(&mut http, &fields);
        answer.is(status, &[CORS]);
        if matches!(status, 200 | 304) {
            assert_eq!((answer.field("etag"), answer.field("cache-control").is_empty()), (etag, false), "{fields}");
        }
    }
}

#[test]
fn a_file_may_be_empty() {
    let house = House::new(&["juliet"]);
    let slot = put(&house, &mut house.client("juliet"), "empty", b"", "");
    let mut http = house.http();
    slot.get(&mut http, "").is(200, &[("content-length", "0")]);
    for range in ["0-0", "0-", "-1"] {
        slot.get(&mut http, &format!("Range: bytes={range}\r\n")).is(416, &[("content-range", "bytes */0")]);
    }
    slot.get(&mut http, "").is(200, &[]);
}

#[test]
fn browsers_show_only_what_can_do_nothing() {
    let house = House::new(&["juliet"]);
    let mut juliet = house.client("juliet");
    let mut http = house.http();
    for (is, served, shown) in [
        ("image/jpeg", "image/jpeg", "inline"),
        ("text/plain", "text/plain; charset=utf-8", "inline"),
        ("image/svg+xml", "application/octet-stream", "attachment"),
        ("text/html", "application/octet-stream", "attachment"),
        ("application/xhtml+xml", "application/octet-stream", "attachment"),
        ("application/pdf", "application/pdf", "attachment"),
        ("", "application/octet-stream", "attachment"),
    ] {
        let slot = put(&house, &mut juliet, "x.html", b"<script>alert(1)</script>", is);
        slot.get(&mut http, "").is(200, &[("content-type", served), ("content-disposition", shown)]);
    }
    // The slot did not say what it is: the sender of the file does.
    let slot = Slot::new(&mut juliet, "x", 1, "");
    slot.put(&mut http, b"x", "Content-Type: image/svg+xml\r\n").is(201, &[]);
    slot.get(&mut http, "")
        .is(200, &[("content-type", "application/octet-stream"), ("content-disposition", "attachment")]);
}

#[test]
fn any_name_comes_back() {
    let house = House::new(&["juliet"]);
    let mut juliet = house.client("juliet");
    let mut http = house.http();
    for (name, encoded) in [
        ("zw\u{f6}lf \u{fc}.jpg", "zw%C3%B6lf%20%C3%BC.jpg"),
        ("50%.jpg", "50%25.jpg"),
        ("%2e%2e", "%252e%252e"),
        ("a\"b'c;d\\e.jpg", "a%22b%27c%3Bd%5Ce.jpg"),
        ("?x=1#y&z+<>", "%3Fx%3D1%23y%26z%2B%3C%3E"),
        ("\u{1f339}\u{202e}gpj.exe", "%F0%9F%8C%B9%E2%80%AEgpj.exe"),
    ] {
        let slot = put(&house, &mut juliet, name, name.as_bytes(), "");
        assert!(slot.path.ends_with(&format!("/{encoded}")), "{}", slot.path);
        let answer = slot.get(&mut http, "");
        assert_eq!(answer.text(), name);
        assert_eq!(answer.field("content-disposition"), format!("attachment; filename*=UTF-8''{encoded}"));
        // Whoever encodes more than is needed means the same; who encodes twice does not.
        let all: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        http.ask(&format!("GET /upload/{}/{all}?x", slot.id()), "").is(200, &[]);
        http.ask(&format!("GET /upload/{}/{}", slot.id(), all.replace('%', "%25")), "").is(404, &[]);
    }
}

#[test]
fn paths_lead_to_files_and_nowhere_else() {
    let house = House::new(&["juliet"]);
    let slot = put(&house, &mut house.client("juliet"), "a", b"a", "");
    let id = slot.id();
    std::fs::write(folder(&house).join("other"), "a secret").unwrap();
    for path in [
        "/upload/../domain".to_owned(),
        "/upload/../../../../../../etc/passwd".into(),
        "/upload/%2e%2e/domain".into(),
        "/upload/%2e%2e%2fdomain".into(),
        "/upload/..%2f..%2fetc%2fpasswd/a".into(),
        "/upload/%252e%252e%252fdomain/a".into(),
        "/upload/..%c0%afdomain/a".into(),
        "/upload/%c0%ae%c0%ae/domain".into(),
        "/upload/%u002e%u002e/domain".into(),
        "/upload/\u{ff0e}\u{ff0e}/domain".into(),
        "/upload/%ef%bc%8e%ef%bc%8e/domain".into(),
        "/upload/..\\domain/a".into(),
        "/upload//other/a".into(),
        "/upload/other/a".into(),
        "/upload/./other".into(),
        format!("/upload/../upload/{id}/a"),
        format!("/upload/x/../{id}/a"),
        format!("//upload/{id}/a"),
        format!("/UPLOAD/{id}/a"),
        format!("/upload/{}/a", id.to_uppercase()),
        format!("/upload/{id}%00/a"),
        format!("/upload/{id}/a%00"),
        format!("/upload/{id}/a%00.jpg"),
        format!("/upload/{id}/a/"),
        format!("/upload/{id}/%2fa"),
        format!("/upload/{id}/..%2f{id}%2fa"),
        format!("/upload/{id}/%61%"),
        format!("/upload/{id}/%6"),
        format!("/upload/{id}/%zz"),
        format!("/upload/{id}/%ff"),
    ] {
        for method in ["GET", "PUT"] {
            let answer = house.ask(&format!("{method} {path}"), &format!("Authorization: {}\r\n", slot.authorization));
            assert!(matches!(answer.status, 400 | 404), "{method} {path}: {}", answer.status);
            assert!(!answer.text().contains("secret") && !answer.text().contains("example"), "{path}");
        }
    }
    let mut http = house.http();
    http.send(format!("GET /upload/{id}/a\0 HTTP/1.1\r\nHost: example.org\r\n\r\n"));
    http.answer_to("GET").is(400, &[]);
    assert_eq!(slot.get(&mut house.http(), "").text(), "a");
}

#[test]
fn without_uploads_there_are_no_files_and_the_rest_is() {
    let house = House::new(&[]);
    let file = house.dir.data().join("inglenook.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, settings.replace("[uploads]", "[uploads]\nenabled = false")).unwrap();
    let House { server, dir } = house;
    server.stop();
    let house = House { server: crate::Server::start(&dir, &[]), dir };
    for method in ["GET", "PUT", "OPTIONS"] {
        house.ask(&format!("{method} /upload/aaaaaaaaaaaaaaaaaaaaaaaaaa/a"), "").is(404, &[]);
    }
    house.ask(META, "").is(200, &[]);
}

/// Files are in a backup, or not; and what is not as it was sent is told of, and not served.
#[test]
fn a_backup_has_the_files_and_a_restore_looks_at_them() {
    let house = House::new(&["juliet"]);
    let mut juliet = house.client("juliet");
    let [good, bad] = ["good.txt", "bad.txt"].map(|name| put(&house, &mut juliet, name, b"0123456789", "text/plain"));
    let damaged = bad.path.strip_prefix("/upload/").unwrap().split('/').next().unwrap().to_owned();
    let file = folder(&house).join(&damaged);
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    // What others have put there is not in the way, and a link leads nowhere.
    std::fs::write(folder(&house).join(".DS_Store"), "x").unwrap();
    std::fs::write(folder(&house).join("n".repeat(200)), "x").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", folder(&house).join("a".repeat(damaged.len()))).unwrap();
    let [all, some] = ["all", "some"].map(|name| house.dir.data().parent().unwrap().join(format!("{name}.backup")));
    crate::ok(&house.dir, &["backup", all.to_str().unwrap()], "");
    crate::ok(&house.dir, &["backup", "--without-files", some.to_str().unwrap()], "");
    let told = crate::ok(&house.dir, &["status"], "");
    assert!(told.contains("\nbackup       the last one 20") && told.contains(" seconds ago\n"), "{told}");
    let numbers = house.ask("GET /metrics", "").text();
    assert!(numbers.contains("\ninglenook_backup_age_seconds "), "{numbers}");
    drop(juliet);

    let House { server, dir } = house;
    server.stop();
    let told = crate::ok(&dir, &["restore", all.to_str().unwrap()], "");
    assert!(told.contains("1 of the uploaded files are not what was sent"), "{told}");
    let house = House { server: crate::Server::start(&dir, &[]), dir };
    let mut http = house.http();
    assert_eq!(good.get(&mut http, "").content, b"0123456789");
    bad.get(&mut http, "").is(404, &[]);
    assert!(folder(&house).join(format!("{damaged}.damaged")).exists());
    assert_eq!(std::fs::read_dir(folder(&house)).unwrap().count(), 2);

    let House { server, dir } = house;
    server.stop();
    let told = crate::ok(&dir, &["restore", some.to_str().unwrap()], "");
    assert!(!told.contains("uploaded files"), "{told}");
    let house = House { server: crate::Server::start(&dir, &[]), dir };
    good.get(&mut house.http(), "").is(404, &[]);
}
