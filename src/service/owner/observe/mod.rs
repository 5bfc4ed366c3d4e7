//! The observatory in the box: a server, this one or another, as strangers see it. [`look`] goes to one port, what it has [`seen`] is
//! judged by [`rules`], and all of these come to a letter for apps and one for other servers ([`grade`]).

mod chain;
mod grade;
mod look;
mod raw_hello;
mod rules;
mod seen;
mod talk;
mod targets;

pub use self::grade::{Graded, Letter, Test, TestStatus};

use self::look::PortLook;
use self::seen::Audience;
use super::control::{self, Request};
use crate::ext::SERVICES;
use crate::service::net::listeners::{C2S, C2S_TLS, HTTPS, S2S, S2S_TLS};
use crate::service::serve::Place;
use crate::service::{Failure, Result, host};
use smol::LocalExecutor;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// How long all may take together, whatever the others do.
pub const ALL: Duration = Duration::from_secs(25);

/// What was seen of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observation {
    /// Its domain.
    pub domain: String,
    /// Whether it is this one, whose owner knows whom they trust.
    pub own: bool,
    /// What was tried.
    pub tests: Vec<Test>,
}

impl Observation {
    /// The letter of one side; `None`: there is nobody to grade.
    pub fn letter(&self, side: Graded) -> Option<Letter> {
        grade::letter(&self.tests, side)
    }

    /// Both letters that there are.
    pub fn letters(&self) -> impl Iterator<Item = (Graded, Letter)> + '_ {
        let sides = [Graded::Clients, Graded::Servers].into_iter();
        sides.filter_map(|side| Some((side, self.letter(side)?)))
    }

    /// What keeps it from being good, if something does: no letter at all, C or worse, and trust by hand in a server of somebody else.
    pub fn fault(&self) -> Option<String> {
        let is_bad = |letter: Letter| letter >= Letter::C || letter == Letter::T && !self.own;
        let bad: Vec<String> = self
            .letters()
            .filter(|(_, letter)| is_bad(*letter))
            .map(|(side, letter)| format!("the grade for {} is {}", side.as_str(), letter.as_str()))
            .collect();
        match self.letters().next() {
            None => Some(format!("nobody answers for {}", self.domain)),
            Some(_) if bad.is_empty() => None,
            Some(_) => Some(bad.join(", ")),
        }
    }
}

/// A row of `[listen]`, and who connects there; and whether TLS comes first.
const PORTS: [(&str, Audience, bool); 5] = [
    (C2S, Audience::Apps, false),
    (C2S_TLS, Audience::Apps, true),
    (S2S, Audience::Servers, false),
    (S2S_TLS, Audience::Servers, true),
    (HTTPS, Audience::Browsers, true),
];

/// The running server of a folder, by the ports on which it listens.
///
/// # Errors
/// When it cannot say which those are.
pub fn own(place: &Place) -> Result<Observation> {
    let until = Instant::now() + ALL;
    let domain = place.domain.domain();
    let services: Vec<String> = SERVICES.iter().map(|service| format!("{service}.{domain}")).collect();
    let lines = control::ask(&place.data, &Request::Ports)?.unwrap_or_default();
    let ports = lines.iter().filter_map(|line| {
        let (name, at) = line.split_once(' ')?;
        let (_, audience, direct) = *PORTS.iter().find(|(listener, ..)| *listener == name)?;
        let at = here(at.parse().ok()?);
        Some(PortLook { domain: domain.to_owned(), services: services.clone(), audience, direct, at, own: true, until })
    });
    Ok(Observation { domain: domain.to_owned(), own: true, tests: observe(ports.collect()) })
}

/// Any other server. `at`: where it is, as `[LISTENER=]ADDRESS:PORT`; where nothing is said, the DNS knows.
///
/// # Errors
/// When that is no name or address; when the DNS has none.
pub fn of(name: &str, at: &[String]) -> Result<Observation> {
    let until = Instant::now() + ALL;
    let domain = crate::service::config::read_domain(name)
        .map_err(|e| Failure(format!("\"{name}\" is no domain: {e}")))?
        .domain()
        .to_owned();
    let (ports, mut found) = if at.is_empty() { targets::of(&domain)? } else { (targets::said(at)?, Vec::new()) };
    let look = |(audience, direct, at)| PortLook {
        domain: domain.clone(),
        services: Vec::new(),
        audience,
        direct,
        at,
        own: false,
        until,
    };
    found.extend(observe(ports.into_iter().map(look).collect()));
    Ok(Observation { domain, own: false, tests: found })
}

/// Looks at all of them at once.
fn observe(looks: Vec<PortLook>) -> Vec<Test> {
    let executor = LocalExecutor::new();
    let tasks: Vec<_> = looks.into_iter().map(|look| executor.spawn(async move { look.see().await })).collect();
    let all = async {
        let mut seen = Vec::new();
        for task in tasks {
            seen.push(task.await);
        }
        seen
    };
    rules::tests(&smol::block_on(executor.run(all)), host::now())
}

/// Where a port of this box is to be reached from itself.
fn here(at: SocketAddr) -> SocketAddr {
    match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, at.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, at.port()).into(),
        _ => at,
    }
}
