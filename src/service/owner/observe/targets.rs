//! Where the ports of another server are: as somebody has said, or as its DNS does.

use super::grade::{Graded, Test};
use super::seen::{Audience, PORTS};
use crate::service::dns::service::{CLIENTS, SERVERS};
use crate::service::dns::{Family, Host, Resolver, Target, in_time};
use crate::service::net::listeners::{C2S, C2S_TLS, S2S, S2S_TLS};
use crate::service::{Failure, Result};
use crate::wire::Refusal;
use smol::future::zip;
use std::net::SocketAddr;
use std::time::Duration;

/// How long the DNS is asked.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Places of one side that are looked at.
const TARGETS: usize = 4;

/// A port to look at: who connects there, whether TLS comes first, where.
pub type Place = (Audience, bool, SocketAddr);

/// What somebody has said: `[LISTENER=]ADDRESS:PORT`.
///
/// # Errors
/// When it is not that.
pub fn said(at: &[String]) -> Result<Vec<Place>> {
    at.iter().map(|text| one(text)).collect()
}

fn one(text: &str) -> Result<Place> {
    let wrong = || {
        Failure(format!(
            "\"{text}\" says nowhere to look: that is ADDRESS:PORT, as 192.0.2.5:5222, or with one of c2s, c2s_tls, s2s and s2s_tls before it, as s2s=192.0.2.5:7269"
        ))
    };
    let (name, address) = match text.split_once('=') {
        Some((name, address)) => (Some(name), address),
        None => (None, text),
    };
    let address: SocketAddr = address.parse().map_err(|_| wrong())?;
    let usual = match address.port() {
        5223 => C2S_TLS,
        5269 => S2S,
        5270 => S2S_TLS,
        _ => C2S,
    };
    let name = name.unwrap_or(usual);
    let row = PORTS.iter().find(|(listener, ..)| *listener == name).ok_or_else(wrong)?;
    Ok((row.1, row.2, address))
}

/// What the DNS says (RFC 6120 §3.2, XEP-0368), and what is to be told of it.
///
/// # Errors
/// When it knows of no server.
pub fn of(domain: &str) -> Result<(Vec<Place>, Vec<Test>)> {
    let resolver = Resolver::of_system();
    let side = |audience, services| in_time(LOOK_UP, places(&resolver, domain, audience, services));
    let both = zip(side(Audience::Apps, CLIENTS), side(Audience::Servers, SERVERS));
    let (clients, servers) = smol::block_on(both);
    let (mut ports, mut tests, mut why) = (Vec::new(), Vec::new(), Vec::new());
    for (graded, found) in [(Graded::Clients, clients), (Graded::Servers, servers)] {
        match found {
            Ok((found, told)) => {
                ports.extend(found);
                tests.push(Test::fine(graded, "dns", format!("the DNS leads to {told}")));
            }
            Err(e) => {
                tests.push(Test::skipped(graded, "dns", e.text.clone()));
                why.push(e.text);
            }
        }
    }
    match ports.is_empty() {
        true => Err(Failure(format!("{domain} cannot be looked at: {}", why.join("; ")))),
        false => Ok((ports, tests)),
    }
}

async fn places(
    resolver: &Resolver,
    domain: &str,
    audience: Audience,
    services: crate::service::dns::service::ServiceNames,
) -> std::result::Result<(Vec<Place>, String), Refusal> {
    let targets = resolver.targets_of(domain, services).await?;
    let (mut places, mut told, mut why) = (Vec::new(), Vec::new(), None);
    for target in targets.iter().take(TARGETS) {
        told.push(format!("{}, port {}", target.host, target.port));
        match address(resolver, target).await {
            Ok(address) => places.push((audience, target.direct, address)),
            Err(e) => why = Some(e),
        }
    }
    places.dedup();
    match (places.is_empty(), why) {
        (true, Some(why)) => Err(why),
        _ => Ok((places, told.join("; "))),
    }
}

/// The first address; of IPv4, which more of those who look have.
async fn address(resolver: &Resolver, target: &Target) -> std::result::Result<SocketAddr, Refusal> {
    let name = match &target.host {
        Host::Address(address) => return Ok((*address, target.port).into()),
        Host::Name(name) => name,
    };
    let mut why = None;
    for family in [Family::V4, Family::V6] {
        match resolver.addresses(name, family).await {
            Ok(found) => {
                if let Some(ip) = found.list.first() {
                    return Ok((*ip, target.port).into());
                }
            }
            Err(e) => why = Some(e),
        }
    }
    Err(why.unwrap_or_else(|| Refusal::gone(format!("{name} has no address"))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let read = |text: &str| one(text).map(|(audience, direct, at)| (audience, direct, at.to_string()));
        for (text, audience, direct) in [
            ("192.0.2.5:5222", Audience::Apps, false),
            ("192.0.2.5:5223", Audience::Apps, true),
            ("192.0.2.5:5269", Audience::Servers, false),
            ("[2001:db8::5]:5270", Audience::Servers, true),
            ("192.0.2.5:9", Audience::Apps, false),
            ("s2s=192.0.2.5:5222", Audience::Servers, false),
            ("c2s_tls=192.0.2.5:9", Audience::Apps, true),
        ] {
            let at = text.rsplit('=').next().unwrap().to_owned();
            assert_eq!(read(text), Ok((audience, direct, at)), "{text}");
        }
        for bad in ["", "a.example:5222", "192.0.2.5", "x=192.0.2.5:1", "component=192.0.2.5:1", "192.0.2.5:99999"] {
            assert!(read(bad).unwrap_err().0.contains("ADDRESS:PORT"), "{bad}");
        }
    }
}
