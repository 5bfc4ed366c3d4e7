//! What is listened for: one row for each kind of peer and of TLS. A row is a setting in `[listen]`, and all that tells of ports
//! (`config`, `check`, `serve`, the page of settings) reads it here. Who carries the connections of each, [`listen`](super::listen) says.

/// STARTTLS for clients.
pub const C2S: &str = "c2s";
/// TLS from the first byte for clients.
pub const C2S_TLS: &str = "c2s_tls";
/// STARTTLS for other servers.
pub const S2S: &str = "s2s";
/// TLS from the first byte for other servers.
pub const S2S_TLS: &str = "s2s_tls";
/// Browsers, and whoever puts and has files.
pub const HTTPS: &str = "https";
/// Where those come if it can be had, in place of the usual port.
pub const HTTPS_FIRST: u16 = 443;
/// Browsers that do not know of TLS yet.
pub const HTTP: &str = "http";
/// Components.
pub const COMPONENT: &str = "component";

/// Who connects to a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peers {
    /// Apps.
    Clients,
    /// Other servers.
    Servers,
    /// Browsers, and apps for files.
    Web,
    /// Browsers, to be led to where there is TLS.
    Strays,
    /// Gateways and bots, without TLS, and so on this box alone.
    Components,
}

/// A kind of listener.
pub struct Listener {
    /// Its setting in `[listen]`.
    pub name: &'static str,
    /// Its addresses, unless the setting says otherwise, as TOML.
    pub default: &'static str,
    /// Who connects there, for the owner.
    pub meaning: &'static str,
    /// Who connects there.
    pub peers: Peers,
    /// Whether TLS comes first.
    pub direct: bool,
}

impl Listener {
    /// How whoever connects makes TLS, for the owner.
    pub fn kind(&self) -> &'static str {
        match (self.peers, self.direct) {
            (Peers::Components, _) => "on this box",
            (Peers::Strays, _) => "leads to TLS",
            (_, true) => "TLS",
            (_, false) => "STARTTLS",
        }
    }
}

/// All of them, in the order in which they are told.
pub static LISTENERS: [Listener; 7] = [
    Listener {
        name: C2S,
        default: "[\"[::]:5222\"]",
        meaning: "Apps, with STARTTLS. Here and below an empty list turns it off.",
        peers: Peers::Clients,
        direct: false,
    },
    Listener {
        name: C2S_TLS,
        default: "[\"[::]:5223\"]",
        meaning: "Apps, with TLS from the first byte.",
        peers: Peers::Clients,
        direct: true,
    },
    Listener {
        name: S2S,
        default: "[\"[::]:5269\"]",
        meaning: "Other servers, with STARTTLS.",
        peers: Peers::Servers,
        direct: false,
    },
    Listener {
        name: S2S_TLS,
        default: "[\"[::]:5270\"]",
        meaning: "Other servers, with TLS from the first byte.",
        peers: Peers::Servers,
        direct: true,
    },
    Listener {
        name: HTTPS,
        default: "[\"[::]:5443\"]",
        meaning: "Files, browsers, and apps over the web, with TLS from the first byte. If nothing is set here it is port 443, where that can\n\
                  be had.",
        peers: Peers::Web,
        direct: true,
    },
    Listener {
        name: HTTP,
        default: "[]",
        meaning: "Browsers without TLS: they are led to `https`, and are given nothing but what they need to trust that. Usually\n\
                  \"[::]:80\", if at all.",
        peers: Peers::Strays,
        direct: false,
    },
    Listener {
        name: COMPONENT,
        default: "[\"127.0.0.1:5347\", \"[::1]:5347\"]",
        meaning: "Gateways and bots, if there are any in [components]. Their protocol has no TLS, so they must be on this box.",
        peers: Peers::Components,
        direct: false,
    },
];
