//! `/health`: whether the server is well, for programs on this box that look after it.

use crate::service::hub::Hub;
use crate::web::answer::{Answer, Status};
use crate::web::request::{Method, Request};
use std::net::IpAddr;

/// For who is on this box; all others are told nothing.
pub(super) fn answer(hub: &Hub, ip: IpAddr, request: &Request) -> Option<Answer> {
    if !ip.is_loopback() {
        return None;
    }
    if !matches!(request.method, Method::Get | Method::Head) {
        return Some(Answer::text(Status::MethodNotAllowed, "this can only be read").with("Allow", "GET, HEAD"));
    }
    let fails = hub.takes_nothing().map(str::to_owned);
    let (status, word) = match fails {
        Some(_) => (Status::ServiceUnavailable, "failing"),
        None => (Status::Ok, "ok"),
    };
    let reasons: Vec<String> = fails.into_iter().chain(hub.clock_told()).map(|reason| quoted(&reason)).collect();
    let content = format!(
        "{{\"status\":\"{word}\",\"reasons\":[{}],\"version\":\"{}\",\"uptime_s\":{}}}\n",
        reasons.join(","),
        env!("CARGO_PKG_VERSION"),
        hub.mono() / 1000
    );
    Some(Answer::of(status, "application/json", content).with("Cache-Control", "no-store"))
}

/// A string of JSON (RFC 8259 §7).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted() {
        assert_eq!(quoted("a \"b\" \\ \n ü"), "\"a \\\"b\\\" \\\\ \\u000a ü\"");
    }
}
