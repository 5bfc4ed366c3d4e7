//! What there is to find here, by the ports that are open.

use super::claims::{Offer, Wanted};
use crate::service::host;
use crate::service::net::listeners::{C2S, C2S_TLS, HTTPS, S2S, S2S_TLS};
use crate::wire::punycode::a_labels;
use crate::wire::xml::escaped;
use std::net::SocketAddr;

/// A port that is open: its setting in `[listen]`, and where.
pub(crate) type Listening = (&'static str, SocketAddr);

/// The types of services, in the names of RFC 6120 and XEP-0368, each with its listener and what else is to be known.
const TYPES: [(&str, &str, &str); 5] = [
    ("_xmpp-client._tcp", C2S, ""),
    ("_xmpps-client._tcp", C2S_TLS, ""),
    ("_xmpp-server._tcp", S2S, ""),
    ("_xmpps-server._tcp", S2S_TLS, ""),
    ("_https._tcp", HTTPS, "path=/"),
];

/// What is to be found of the server of a domain. `servers`: whether other servers are talked to. Ports of this box alone are nobody else's
/// business.
pub(crate) fn wanted(domain: &str, ports: &[Listening], servers: bool) -> Wanted {
    let (host, dns) = (host::label(), a_labels(domain).to_lowercase());
    let own = format!("{host}.local").eq_ignore_ascii_case(&dns);
    let aliases = if dns.ends_with(".local") && !own { vec![dns] } else { Vec::new() };
    let offer = |(kind, listener, text): (&'static str, &'static str, &'static str)| {
        let open = ports.iter().find(|(name, at)| *name == listener && !at.ip().is_loopback() && at.port() != 0)?;
        let is_servers = [S2S, S2S_TLS].contains(&listener);
        let instance = if listener == HTTPS { format!("Chat of {domain}") } else { domain.to_owned() };
        (!is_servers || servers).then(|| Offer { kind, instance, port: open.1.port(), text })
    };
    Wanted { host, aliases, services: TYPES.into_iter().filter_map(offer).collect() }
}

/// The same as a file for avahi (avahi.service(5)): one name for all of it. `name`: what people see; `%h` in it is the host's name.
pub(crate) fn avahi_service(name: &str, services: &[Offer]) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\" standalone='no'?>\n\
         <!DOCTYPE service-group SYSTEM \"avahi-service.dtd\">\n\
         <!-- What avahi tells this network of Inglenook; `inglenook config` with the option avahi makes it anew, for other ports. -->\n\
         <service-group>\n  <name replace-wildcards=\"yes\">{}</name>\n",
        escaped(name)
    );
    for Offer { kind, port, text, .. } in services {
        out += &format!("  <service>\n    <type>{kind}</type>\n    <port>{port}</port>\n");
        if !text.is_empty() {
            out += &format!("    <txt-record>{}</txt-record>\n", escaped(text));
        }
        out += "  </service>\n";
    }
    out + "</service-group>\n"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::service::config::Config;

    fn ports(all: &[(&'static str, &str)]) -> Vec<Listening> {
        all.iter().map(|(name, at)| (*name, at.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_open_is_offered() {
        let open = ports(&[
            (C2S, "127.0.0.1:5222"),
            (C2S, "[::]:15222"),
            (C2S_TLS, "127.0.0.1:5223"),
            (S2S, "[::]:5269"),
            (HTTPS, "192.168.1.5:443"),
        ]);
        let told = |servers| {
            let services = wanted("Bücher.example", &open, servers).services;
            services
                .into_iter()
                .map(|offer| format!("{} {} {}", offer.instance, offer.kind, offer.port))
                .collect::<Vec<_>>()
        };
        let apps = ["Bücher.example _xmpp-client._tcp 15222", "Chat of Bücher.example _https._tcp 443"];
        assert_eq!(told(false), apps);
        assert_eq!(told(true), [apps[0], "Bücher.example _xmpp-server._tcp 5269", apps[1]]);
        assert!(wanted("a.example", &open[..1], true).services.is_empty());
    }

    #[test]
    fn a_domain_of_the_network_is_a_name_of_the_host() {
        let aliases = |domain: &str| wanted(domain, &[], true).aliases;
        assert_eq!(aliases("Büro.local"), ["xn--bro-hoa.local"]);
        assert!(aliases("example.org").is_empty() && aliases(&format!("{}.local", host::label())).is_empty());
    }

    /// What the package has for avahi is what the program would say of itself.
    #[test]
    fn the_file_of_the_package_is_of_the_defaults() {
        let config = Config::default();
        let open: Vec<Listening> = [C2S, C2S_TLS, HTTPS].map(|name| (name, config.addresses(name)[0])).into();
        let file = avahi_service("Chat of %h", &wanted("box.local", &open, false).services);
        assert_eq!(include_str!("../../../cross/avahi.service"), file);
        assert!(avahi_service("<&>", &[]).contains("&lt;&amp;&gt;"));
    }
}
