//! The observatory in the box: a server, this one or another, as strangers see it. [`look`] goes to one port, what it has [`seen`] is
//! judged by [`rules`], and all of these come to a letter for apps and one for other servers ([`grade`]).

mod chain;
mod grade;
mod http;
mod look;
mod raw_hello;
mod rules;
mod seen;
mod talk;
mod targets;
mod way_in;

pub use self::grade::{Graded, Letter, Test, TestStatus};

use self::look::PortLook;
use self::seen::{Audience, PORTS, PortSeen};
use super::control::{self, Request};
use crate::ext::SERVICES;
use crate::service::serve::Place;
use crate::service::{Failure, Result, host};
use smol::future::zip;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;
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

    /// What keeps it from being good, if something does: a side where nobody answers, C or worse, and trust by hand in a server of somebody else.
    pub fn fault(&self) -> Option<String> {
        let is_bad = |letter: Letter| letter >= Letter::C || letter == Letter::T && !self.own;
        let bad: Vec<String> = self
            .letters()
            .filter(|(_, letter)| is_bad(*letter))
            .map(|(side, letter)| format!("the grade for {} is {}", side.as_str(), letter.as_str()))
            .collect();
        let silent = [Graded::Clients, Graded::Servers].into_iter().filter(|side| self.is_silent(*side));
        let silent = silent.map(|side| format!("nobody answers {}", side.as_str()));
        match self.letters().next() {
            None => Some(format!("nobody answers for {}", self.domain)),
            Some(_) => Some(bad.into_iter().chain(silent).collect::<Vec<_>>().join(", ")).filter(|why| !why.is_empty()),
        }
    }

    /// Whether ports of a side were looked at, and none was reached.
    fn is_silent(&self, side: Graded) -> bool {
        let mut of_side = self.tests.iter().filter(|test| test.side == side && test.id == grade::REACHED);
        self.letter(side).is_none() && of_side.any(|test| test.what != rules::NO_PORT)
    }
}

/// The running server of a folder, by the ports on which it listens, and the way in to it. `mdns`: what it says of how it is found.
///
/// # Errors
/// When it cannot say which those are.
pub fn own(place: &Place, mdns: Option<&str>) -> Result<Observation> {
    let until = Instant::now() + ALL;
    let domain = place.domain.domain();
    let services: Vec<String> = SERVICES.iter().map(|service| format!("{service}.{domain}")).collect();
    let lines = control::ask(&place.data, &Request::Ports)?.unwrap_or_default();
    let ports: Vec<(String, SocketAddr)> = lines.iter().filter_map(|line| port(line)).collect();
    let looks = ports.iter().filter_map(|(name, at)| {
        let (_, audience, direct) = *PORTS.iter().find(|(listener, ..)| listener == name)?;
        let (domain, services, at) = (domain.to_owned(), services.clone(), here(*at));
        Some(PortLook { domain, services, audience, direct, at, own: true, until })
    });
    let looks: Vec<PortLook> = looks.collect();
    let door = looks.iter().find(|look| look.audience == Audience::Browsers).cloned();
    let seen = observe(&looks);
    let mut tests = rules::tests(&seen, host::now());
    tests.extend(way_in::apps(&seen));
    smol::block_on(async {
        let found = zip(zip(way_in::ports(&ports), way_in::name(mdns)), way_in::dns(domain, &ports)).await;
        let ((open, named), led) = found;
        tests.extend(open.into_iter().chain(named).chain(led));
        if let Some(door) = door {
            tests.extend(way_in::web(&door, place).await);
        }
    });
    Ok(Observation { domain: domain.to_owned(), own: true, tests })
}

/// A line of [`Request::Ports`].
fn port(line: &str) -> Option<(String, SocketAddr)> {
    let (name, at) = line.split_once(' ')?;
    Some((name.to_owned(), at.parse().ok()?))
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
    found.extend(rules::tests(&observe(&ports.into_iter().map(look).collect::<Vec<_>>()), host::now()));
    Ok(Observation { domain, own: false, tests: found })
}

/// Looks at all of them at once.
fn observe(looks: &[PortLook]) -> Vec<PortSeen> {
    let mut seen: Vec<Option<PortSeen>> = looks.iter().map(|_| None).collect();
    let mut works: Vec<_> = looks.iter().map(|look| Box::pin(look.see())).collect();
    smol::block_on(poll_fn(|cx| {
        let open = works.iter_mut().zip(&mut seen).filter(|(_, seen)| seen.is_none());
        for (work, seen) in open {
            if let Poll::Ready(port) = work.as_mut().poll(cx) {
                *seen = Some(port);
            }
        }
        if seen.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    }));
    seen.into_iter().flatten().collect()
}

/// Where a port of this box is to be reached from itself.
fn here(at: SocketAddr) -> SocketAddr {
    match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, at.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, at.port()).into(),
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_where_nobody_answers_is_a_fault() {
        let seen = |tests: Vec<Test>| Observation { domain: "a.example".into(), own: false, tests }.fault();
        let reached = Test::fine(Graded::Servers, grade::REACHED, "");
        let lost = Test::skipped(Graded::Clients, grade::REACHED, "no port of theirs is open");
        let nobody = Test::skipped(Graded::Clients, grade::REACHED, rules::NO_PORT);
        assert_eq!(seen(vec![reached.clone(), lost.clone()]).as_deref(), Some("nobody answers clients"));
        assert_eq!(seen(vec![reached, nobody.clone()]), None);
        assert_eq!(seen(vec![lost]).as_deref(), Some("nobody answers for a.example"));
        assert_eq!(seen(vec![nobody]).as_deref(), Some("nobody answers for a.example"));
    }
}
