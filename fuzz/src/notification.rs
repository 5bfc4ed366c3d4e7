//! What a program posts that has something to say: plain text, or JSON.

use inglenook::web::json::{DEPTH, Json, VALUES, quoted};
use inglenook::web::notification::{Notification, TEXT_BYTES};
use inglenook::web::request::Request;

/// How many values there are, and how deep.
fn measure(json: &Json<'_>) -> (usize, usize) {
    let inside: Vec<(usize, usize)> = match json {
        Json::List(items) => items.iter().map(measure).collect(),
        Json::Object(members) => members.iter().map(|(_, value)| measure(value)).collect(),
        Json::Word(_) | Json::Number(_) | Json::Text(_) => return (1, 0),
    };
    let deepest = inside.iter().map(|(_, depth)| depth).max().unwrap_or(&0);
    (1 + inside.iter().map(|(count, _)| count).sum::<usize>(), 1 + deepest)
}

fn write(json: &Json<'_>) -> String {
    let join = |all: Vec<String>| all.join(",");
    match json {
        Json::Word(text) | Json::Number(text) => (*text).to_owned(),
        Json::Text(text) => quoted(text),
        Json::List(items) => format!("[{}]", join(items.iter().map(write).collect())),
        Json::Object(members) => {
            let member =
                |(name, value): &(_, Json<'_>)| format!("{}:{}", quoted(AsRef::<str>::as_ref(name)), write(value));
            format!("{{{}}}", join(members.iter().map(member).collect()))
        }
    }
}

/// What is read of JSON is read again as it was; what is said is not empty, and not too long.
pub fn notification(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        match Json::read(text) {
            Ok(json) => {
                let (count, depth) = measure(&json);
                assert!(count <= VALUES && depth <= DEPTH);
                assert_eq!(Json::read(&write(&json)).as_ref(), Ok(&json));
            }
            Err(bad) => assert!(bad.at <= text.len()),
        }
    }
    for fields in ["", "Content-Type: application/json\r\nTitle: a\r\n"] {
        let head = format!("POST /notify/x?tags=a%2Cb HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let Ok(Some((request, _))) = Request::read(head.as_bytes()) else { panic!("that is a request") };
        if let Ok(notification) = Notification::read(&request, input) {
            let said = notification.said();
            assert!(!said.trim().is_empty() && said.len() <= TEXT_BYTES);
        }
    }
}
