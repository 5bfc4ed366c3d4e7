//! What the DNS of a domain can say of its server, for the owner to put there: apps and other servers find the first port without a line,
//! and the others by these.

use crate::service::cert::a_labels;
use crate::service::config::Config;
use crate::service::net::listeners::{C2S, C2S_TLS, HTTPS, S2S, S2S_TLS};
use std::net::IpAddr;

/// Lines of a zone file, by the settings (RFC 6120 §3.2.1, XEP-0368). None for what no DNS knows: addresses, and names of a LAN. `web`: what
/// URLs begin with, if there is a port for browsers; it serves apps and servers as well.
pub fn lines(config: &Config, domain: &str, web: Option<&str>) -> Vec<String> {
    let name = a_labels(domain);
    if !has_dns(&name) {
        return Vec::new();
    }
    let rows = [
        ("xmpp-client", C2S, true),
        ("xmpps-client", C2S_TLS, true),
        ("xmpp-server", S2S, config.federation.is_used()),
        ("xmpps-server", S2S_TLS, config.federation.is_used()),
    ];
    let mut lines = Vec::new();
    for (service, listener, _) in rows.into_iter().filter(|(.., used)| *used) {
        let ports = config.addresses(listener).iter().map(|address| address.port()).filter(|port| *port != 0);
        lines.extend(ports.map(|port| srv(service, 0, port, &name)));
    }
    if !config.addresses(HTTPS).is_empty() {
        // Where a network lets nothing else out. Later in the order, so that it is tried after the others.
        lines.push(srv("xmpps-client", 5, web.and_then(port_of).unwrap_or(5443), &name));
    }
    lines.dedup();
    lines
}

/// Whether a DNS can know of a domain, in A-labels: neither of an address, nor of a name of a LAN.
pub(super) fn has_dns(name: &str) -> bool {
    name.parse::<IpAddr>().is_err() && name.contains('.') && !name.ends_with(".local")
}

/// Where browsers find the server, when `web` is what URLs begin with.
pub fn urls(web: &str) -> Vec<String> {
    vec![
        format!("{web}/.well-known/host-meta"),
        format!("{}/xmpp-websocket", web.replacen("https:", "wss:", 1)),
        format!("{web}/http-bind"),
    ]
}

fn srv(service: &str, priority: u16, port: u16, name: &str) -> String {
    format!("_{service}._tcp.{name}. SRV {priority} 5 {port} {name}.")
}

/// The port of what URLs begin with.
pub(super) fn port_of(web: &str) -> Option<u16> {
    let authority = web.strip_prefix("https://")?;
    match authority.rsplit_once(':') {
        Some((_, port)) => port.parse().ok(),
        None => Some(443),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_port_has_its_line() {
        let config = Config::default();
        assert_eq!(
            lines(&config, "b\u{fc}ro.example", Some("https://192.0.2.1")),
            [
                "_xmpp-client._tcp.xn--bro-hoa.example. SRV 0 5 5222 xn--bro-hoa.example.",
                "_xmpps-client._tcp.xn--bro-hoa.example. SRV 0 5 5223 xn--bro-hoa.example.",
                "_xmpp-server._tcp.xn--bro-hoa.example. SRV 0 5 5269 xn--bro-hoa.example.",
                "_xmpps-server._tcp.xn--bro-hoa.example. SRV 0 5 5270 xn--bro-hoa.example.",
                "_xmpps-client._tcp.xn--bro-hoa.example. SRV 5 5 443 xn--bro-hoa.example.",
            ]
        );
        assert!(lines(&config, "a.example", None).last().unwrap().contains(" 5443 "));
        for domain in ["192.0.2.1", "pi.local", "house"] {
            assert!(lines(&config, domain, None).is_empty(), "{domain}");
        }
        assert_eq!(urls("https://a.example:5443")[1], "wss://a.example:5443/xmpp-websocket");
    }
}
