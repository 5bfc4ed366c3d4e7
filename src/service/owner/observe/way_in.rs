//! The way in to this very server: what a phone or a browser in this network finds, and whether it can do there what it came for.

use super::grade::{Graded, Letter, Test};
use super::http::{HttpReply, ask};
use super::look::PortLook;
use super::seen::{Audience, PortSeen};
use super::talk::Wire;
use crate::service::dns::service::{CLIENTS, SERVERS};
use crate::service::dns::{DnsName, Family, Resolver, Target, in_time};
use crate::service::host;
use crate::service::net::listeners::{C2S, C2S_TLS, HTTPS, S2S, S2S_TLS};
use crate::service::owner::control::{self, Request};
use crate::service::owner::records::has_dns;
use crate::service::serve::Place;
use crate::service::tls::Stranger;
use crate::web::frames::accept_key;
use crate::wire::punycode::a_labels;
use ring::digest::{SHA256, digest};
use smol::future::{or, zip};
use smol::{Async, Timer};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a port of this box, and the network at hand, may take to answer.
const NEAR: Duration = Duration::from_secs(2);
/// The longest that a certificate may hold for Apple's systems, in seconds.
const APPLE_SECONDS: u64 = 825 * 86_400;
/// What is uploaded, in bytes.
const FILE_BYTES: usize = 2000;
/// Any 16 bytes (RFC 6455 §4.1).
const WEBSOCKET_KEY: &str = "b2JzZXJ2ZXJvYnNlcnZlcg==";
/// What owners do about what this server should do by itself.
const LOOK_AT_LOG: &str = "the log of the server says why; `inglenook check` says what else is wrong";

fn fault(id: &'static str, what: impl Into<String>, fix: &str) -> Test {
    Test::fault(Graded::Clients, id, Letter::B, what, fix)
}

/// The ports for apps on the addresses of this box that others may reach. `ports`: the setting and the address of each.
pub async fn ports(ports: &[(String, SocketAddr)]) -> Vec<Test> {
    let for_apps = |name: &str| [C2S, C2S_TLS, HTTPS].contains(&name);
    let open: Vec<_> = ports.iter().filter(|(name, at)| for_apps(name) && !at.ip().is_loopback()).collect();
    if open.is_empty() {
        return vec![Test::note(
            Graded::Clients,
            "network",
            "no port is open to the network: only this box can connect",
        )];
    }
    let addresses = host::addresses();
    let mut reached = Vec::new();
    let mut found = Vec::new();
    for (name, at) in open {
        let own = |ip: &&IpAddr| at.ip().is_unspecified() && (at.is_ipv6() || ip.is_ipv4()) || **ip == at.ip();
        for ip in addresses.iter().filter(own) {
            let to = SocketAddr::new(*ip, at.port());
            match within(Async::<TcpStream>::connect(to)).await {
                Some(Ok(_)) => reached.push(to.to_string()),
                _ => found.push(fault(
                    "network",
                    format!("{to} ({name}) cannot be reached"),
                    "look at the firewall of this box",
                )),
            }
        }
    }
    if addresses.is_empty() {
        found.push(Test::note(Graded::Clients, "network", "this box has no address in a network yet"));
    } else if found.is_empty() {
        let told = format!(
            "open on the addresses of this box: {}; a firewall in between is not seen from here",
            reached.join(", ")
        );
        found.push(Test::fine(Graded::Clients, "network", told));
    }
    found
}

async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    or(async { Some(work.await) }, async {
        Timer::after(NEAR).await;
        None
    })
    .await
}

/// Whether the name answers that is told in the network at hand. `told`: what the server says of that.
pub async fn name(told: Option<&str>) -> Vec<Test> {
    let name = told.and_then(|told| told.strip_prefix("found as ")?.split(' ').next());
    let Some(name) = name.and_then(DnsName::parse) else { return Vec::new() };
    let resolver = Resolver::of_system();
    let found = within(resolver.addresses(&name, Family::V4)).await;
    let ours = host::addresses();
    let list = found.and_then(Result::ok).map(|found| found.list).unwrap_or_default();
    let what = match list.first() {
        Some(ip) if ours.contains(ip) => {
            return vec![Test::fine(Graded::Clients, "mdns", format!("{name} answers by mDNS: {ip}"))];
        }
        Some(ip) => format!("{name} answers by mDNS, and is another box: {ip}"),
        None => format!("{name} does not answer by mDNS to this box itself; another one may hear it"),
    };
    vec![Test::note(Graded::Clients, "mdns", what)]
}

/// Whether the DNS leads apps and other servers to ports that are listened on. `ports`: the setting and the address of each. Domains that no
/// DNS knows are left out.
pub async fn dns(domain: &str, ports: &[(String, SocketAddr)]) -> Vec<Test> {
    if !has_dns(&a_labels(domain)) {
        return Vec::new();
    }
    let resolver = Resolver::of_system();
    let side = |graded, services| {
        let resolver = &resolver;
        async move {
            match in_time(NEAR, resolver.targets_of(domain, services)).await {
                Ok(targets) => led(graded, &targets, ports),
                Err(why) => Test::note(graded, "dns", why.text),
            }
        }
    };
    let (clients, servers) = zip(side(Graded::Clients, CLIENTS), side(Graded::Servers, SERVERS)).await;
    // Where nobody else is talked to, nobody has to find it.
    let has_servers = ports.iter().any(|(name, _)| [S2S, S2S_TLS].contains(&name.as_str()));
    std::iter::once(clients).chain(has_servers.then_some(servers)).collect()
}

fn led(graded: Graded, targets: &[Target], ports: &[(String, SocketAddr)]) -> Test {
    let (plain, direct) = if graded == Graded::Clients { (C2S, C2S_TLS) } else { (S2S, S2S_TLS) };
    // Each port with TLS from the first byte is for everybody.
    let serves = |target: &Target, name: &str| match target.direct {
        true => [C2S_TLS, S2S_TLS, HTTPS].contains(&name),
        false => name == plain,
    };
    let is_here = |target: &Target| ports.iter().any(|(name, at)| at.port() == target.port && serves(target, name));
    let told = |target: &Target| {
        let setting = if target.direct { direct } else { plain };
        format!("{}, port {} ({setting})", target.host, target.port)
    };
    let (here, elsewhere): (Vec<_>, Vec<_>) = targets.iter().partition(|target| is_here(target));
    let list = |all: &[&Target]| all.iter().map(|target| told(target)).collect::<Vec<_>>().join("; ");
    match elsewhere.is_empty() {
        true => Test::fine(graded, "dns", format!("the DNS leads to {}", list(&here))),
        false => Test::note(
            graded,
            "dns",
            format!(
                "the DNS leads to {}, where this server does not listen: that is right only if a router hands it on",
                list(&elsewhere)
            ),
        ),
    }
}

/// What each app makes of the certificate.
pub fn apps(ports: &[PortSeen]) -> Vec<Test> {
    let of_apps = ports.iter().filter(|port| port.audience != Audience::Servers);
    let Some(chain) = of_apps.filter_map(|port| port.chain.as_ref()).next() else { return Vec::new() };
    let mut found = Vec::new();
    if chain.until.saturating_sub(chain.from) > APPLE_SECONDS {
        let what = "iPhones and Macs refuse certificates that hold for more than 825 days";
        found.push(fault("apps", what, "`inglenook cert renew`, or install one that holds for less"));
    }
    found.push(match chain.trusted {
        Ok(()) => Test::fine(Graded::Clients, "apps", "all apps connect without a question"),
        Err(_) => Test::note(
            Graded::Clients,
            "apps",
            "Conversations, Cheogram and Gajim ask once, and show the fingerprint of the certificate; Dino, Monal and other apps of iPhones, \
             and the files of Siskin and Profanity, want the authority installed (/trust)",
        ),
    });
    found
}

/// What browsers, and apps that have files, find. `look`: the port for them.
pub async fn web(look: &PortLook, place: &Place) -> Vec<Test> {
    let mut found = Vec::new();
    let (xml, json) =
        (get(look, "/.well-known/host-meta", "").await, get(look, "/.well-known/host-meta.json", "").await);
    let tells = |reply: &Option<HttpReply>| {
        let text = reply.as_ref().filter(|reply| reply.status == 200).map(|reply| reply.content.as_slice());
        text.is_some_and(|text| memchr::memmem::find(text, b"urn:xmpp:alt-connections:websocket").is_some())
    };
    found.push(match (tells(&xml), tells(&json)) {
        (true, true) => {
            Test::fine(Graded::Clients, "host-meta", "host-meta tells where WebSockets are, in XML and JSON")
        }
        _ => fault("host-meta", "host-meta does not tell where WebSockets are", LOOK_AT_LOG),
    });
    let upgrade = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n"
    );
    let upgraded = get(look, "/xmpp-websocket", &upgrade).await;
    let accepted = accept_key(WEBSOCKET_KEY).unwrap_or_default();
    let is_socket = |reply: HttpReply| reply.status == 101 && reply.field("sec-websocket-accept") == accepted;
    found.push(match upgraded.is_some_and(is_socket) {
        true => Test::fine(Graded::Clients, "websocket", "a WebSocket can be made"),
        false => fault("websocket", "no WebSocket can be made", LOOK_AT_LOG),
    });
    let mut missing = Vec::new();
    for path in ["/", "/trust"] {
        if get(look, path, "").await.is_none_or(|reply| reply.status != 200) {
            missing.push(path);
        }
    }
    found.push(match missing.is_empty() {
        true => Test::fine(Graded::Clients, "pages", "the pages of the house are there (/, /trust)"),
        false => fault("pages", format!("there is no page at {}", missing.join(", ")), LOOK_AT_LOG),
    });
    found.push(upload(look, place).await);
    found
}

async fn get(look: &PortLook, path: &str, fields: &str) -> Option<HttpReply> {
    request(look, &format!("GET {path}"), fields, &[]).await
}

async fn request(look: &PortLook, what: &str, fields: &str, content: &[u8]) -> Option<HttpReply> {
    let stranger = Stranger { domain: Some(&look.domain), protocols: &[b"http/1.1"], ..Stranger::default() };
    let met = look.meet(stranger).await.ok()?;
    let mut wire = Wire::Tls(Box::new(met.stream));
    let head = format!("{what} HTTP/1.1\r\nHost: {}\r\n{fields}", a_labels(&look.domain));
    look.within(ask(&mut wire, &head, content)).await.flatten()
}

/// A file goes to the server and comes back (XEP-0363); the server gives out the slot to its owner, and nothing stays.
async fn upload(look: &PortLook, place: &Place) -> Test {
    let skipped = |why: String| Test::skipped(Graded::Clients, "upload", format!("no upload was tried: {why}"));
    let slot = match control::ask(&place.data, &Request::Slot(FILE_BYTES as u64)) {
        Ok(slot) => slot.unwrap_or_default(),
        Err(e) => return skipped(e.0),
    };
    let [url, authorization] = slot.as_slice() else { return skipped("the server gives no slot".into()) };
    let Some(path) = path_of(url) else { return skipped("the server's slot is no URL".into()) };
    let went = round_trip(look, path, authorization).await;
    let removed = control::ask(&place.data, &Request::SlotEnd);
    let after = get(look, path, "").await.map(|reply| reply.status);
    let why = match (went, removed, after) {
        (Err(why), ..) => why,
        (_, Ok(_), Some(404)) => {
            let what =
                "a file is uploaded, comes back whole and in parts, with the same hash, and is gone when it is removed";
            return Test::fine(Graded::Clients, "upload", what);
        }
        _ => "what is removed is still there".into(),
    };
    fault("upload", format!("an uploaded file does not come back: {why}"), LOOK_AT_LOG)
}

/// What stands behind the host.
fn path_of(url: &str) -> Option<&str> {
    let behind = url.strip_prefix("https://")?;
    behind.find('/').map(|at| &behind[at..])
}

async fn round_trip(look: &PortLook, path: &str, authorization: &str) -> Result<(), String> {
    let random = crate::service::random().map_err(|e| e.0)?;
    let content: Vec<u8> = random.iter().copied().cycle().take(FILE_BYTES).collect();
    let none = || "no answer".to_owned();
    let fields = format!(
        "Authorization: {authorization}\r\nContent-Type: application/octet-stream\r\nContent-Length: {FILE_BYTES}\r\n"
    );
    let put = request(look, &format!("PUT {path}"), &fields, &content).await.ok_or_else(none)?;
    if put.status != 201 {
        return Err(format!("PUT is answered with {}", put.status));
    }
    let whole = get(look, path, "").await.ok_or_else(none)?;
    let hash = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
    if whole.status != 200 || hash(&whole.content) != hash(&content) {
        return Err(format!("GET is answered with {}, and its content has another hash", whole.status));
    }
    if whole.field("x-content-type-options") != "nosniff" {
        return Err("browsers may make another type of it (nosniff lacks)".into());
    }
    let part = get(look, path, "Range: bytes=10-19\r\n").await.ok_or_else(none)?;
    if part.status != 206 || part.content != content[10..20] {
        return Err(format!("a part of it is answered with {}", part.status));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::grade::TestStatus;
    use super::*;
    use crate::service::dns::Host;
    use std::net::TcpListener;

    #[test]
    fn the_path_of_a_url_is_found() {
        assert_eq!(path_of("https://a.example:5443/upload/x/y"), Some("/upload/x/y"));
        assert_eq!(path_of("https://[fd00::1]/u"), Some("/u"));
        assert!(path_of("http://a.example/u").is_none() && path_of("https://a.example").is_none());
    }

    #[test]
    fn the_dns_leads_to_ports_that_are_there() {
        let target = |port, direct| {
            let host = Host::Name(DnsName::parse("xmpp.house.example").unwrap());
            Target { host, port, direct, authentic: false }
        };
        let ports: Vec<(String, SocketAddr)> = [(C2S, 5222), (S2S, 5269), (HTTPS, 443)]
            .map(|(name, port)| (name.to_owned(), SocketAddr::from(([0, 0, 0, 0], port))))
            .into();
        let told = |graded, targets: &[Target]| {
            let test = led(graded, targets, &ports);
            (test.status, test.what)
        };
        let (status, what) = told(Graded::Clients, &[target(5222, false), target(443, true)]);
        assert_eq!(status, TestStatus::Fine);
        assert_eq!(
            what,
            "the DNS leads to xmpp.house.example, port 5222 (c2s); xmpp.house.example, port 443 (c2s_tls)"
        );
        // A port of the other kind, and one of other servers, are none for apps.
        for wrong in [target(5223, true), target(5222, true), target(443, false), target(5269, false)] {
            let (status, what) = told(Graded::Clients, &[target(5222, false), wrong]);
            assert_eq!(status, TestStatus::Note);
            assert!(what.contains("does not listen") && !what.contains("5222 (c2s);"), "{what}");
        }
        assert_eq!(told(Graded::Servers, &[target(5269, false)]).0, TestStatus::Fine);
        assert_eq!(told(Graded::Servers, &[target(5222, false)]).0, TestStatus::Note);
    }

    #[test]
    fn ports_are_tried_where_others_would() {
        let on = |address: &str| {
            let listener = TcpListener::bind(address).unwrap();
            let at = listener.local_addr().unwrap();
            (listener, vec![(C2S.to_owned(), at)])
        };
        let (_here, only_here) = on("127.0.0.1:0");
        let told = smol::block_on(ports(&only_here));
        assert!(told[0].what.contains("only this box") && told[0].grade.is_none(), "{told:?}");
        let (listener, everywhere) = on("0.0.0.0:0");
        if host::addresses().iter().any(IpAddr::is_ipv4) {
            assert!(smol::block_on(ports(&everywhere))[0].what.starts_with("open on the addresses"));
            drop(listener);
            assert_eq!(smol::block_on(ports(&everywhere))[0].grade, Some(Letter::B));
        }
    }
}
