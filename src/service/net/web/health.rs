//! For programs that look after the server: `/health` says whether it is well, `/metrics` has numbers.

use crate::service::hub::Hub;
use crate::web::answer::{Answer, Status};
use crate::web::json::quoted;
use crate::web::request::{Method, Request};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

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

/// Whether somebody may read numbers: who is on this box, or shows the token, if there is one.
pub(super) fn may(ip: IpAddr, token: &str, request: &Request) -> bool {
    let shown = request.bearer().unwrap_or_default();
    let reads = matches!(request.method, Method::Get | Method::Head);
    let proves = !token.is_empty() && bool::from(token.as_bytes().ct_eq(shown.as_bytes()));
    reads && (ip.is_loopback() || proves)
}

/// A page of numbers. `open`: of OpenMetrics.
pub(super) fn numbers(page: String, open: bool) -> Answer {
    let content_type = match open {
        true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        false => "text/plain; version=0.0.4; charset=utf-8",
    };
    Answer::of(Status::Ok, content_type, page).with("Cache-Control", "no-store")
}
