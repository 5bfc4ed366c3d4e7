//! What is listened for: one row for each kind of peer and of TLS. A row is a setting in `[listen]`, and all that tells of ports
//! (`config`, `check`, `serve`, the page of settings) reads it here.

use super::listen::Accepted;
use super::{c2s, component};
use crate::service::config::Config;
use crate::service::tls::Profile;

/// STARTTLS for clients.
pub const C2S: &str = "c2s";
/// TLS from the first byte for clients.
pub const C2S_TLS: &str = "c2s_tls";
/// STARTTLS for other servers.
pub const S2S: &str = "s2s";
/// TLS from the first byte for other servers.
pub const S2S_TLS: &str = "s2s_tls";
/// Components.
pub const COMPONENT: &str = "component";

/// A kind of listener.
pub struct Listener {
    /// Its setting in `[listen]`.
    pub name: &'static str,
    /// Its addresses, unless the setting says otherwise, as TOML.
    pub default: &'static str,
    /// Who connects there, for the owner.
    pub meaning: &'static str,
    /// How whoever connects makes TLS, for the owner.
    pub kind: &'static str,
    /// Without TLS, and so on this box alone.
    pub local: bool,
    /// The house serves its own people without it: where its usual address cannot be had, that is told, and the server starts.
    pub spare: bool,
    /// Whether anybody could connect with these settings.
    pub is_used: fn(&Config) -> bool,
    /// Has a connection carried to its end.
    pub serve: fn(Accepted),
}

/// All of them, in the order in which they are told.
pub static LISTENERS: [Listener; 5] = [
    Listener {
        name: C2S,
        default: "[\"[::]:5222\"]",
        meaning: "Apps, with STARTTLS. Here and below an empty list turns it off.",
        kind: "STARTTLS",
        local: false,
        spare: false,
        is_used: |_| true,
        serve: |accepted| {
            accepted.carry(|hub, acceptor, socket, ip| c2s::serve(hub, acceptor, socket, ip, Profile::StartTls))
        },
    },
    Listener {
        name: C2S_TLS,
        default: "[\"[::]:5223\"]",
        meaning: "Apps, with TLS from the first byte.",
        kind: "TLS",
        local: false,
        spare: false,
        is_used: |_| true,
        serve: |accepted| {
            accepted.carry(|hub, acceptor, socket, ip| c2s::serve(hub, acceptor, socket, ip, Profile::Direct))
        },
    },
    Listener {
        name: S2S,
        default: "[\"[::]:5269\"]",
        meaning: "Other servers, with STARTTLS.",
        kind: "STARTTLS",
        local: false,
        spare: true,
        is_used: |config| config.federation.is_used(),
        serve: |accepted| accepted.carry_server(Profile::Server),
    },
    Listener {
        name: S2S_TLS,
        default: "[\"[::]:5270\"]",
        meaning: "Other servers, with TLS from the first byte.",
        kind: "TLS",
        local: false,
        spare: true,
        is_used: |config| config.federation.is_used(),
        serve: |accepted| accepted.carry_server(Profile::ServerDirect),
    },
    Listener {
        name: COMPONENT,
        default: "[\"127.0.0.1:5347\", \"[::1]:5347\"]",
        meaning: "Gateways and bots, if there are any in [components]. Their protocol has no TLS, so they must be on this box.",
        kind: "on this box",
        local: true,
        spare: false,
        // Nobody could connect there without a secret.
        is_used: |config| !config.components.is_empty(),
        serve: |accepted| accepted.carry(|hub, _, socket, ip| component::serve(hub, socket, ip)),
    },
];

/// Settings of 0.1.0 in `[listen]` for what this version does not serve. A file that has them is still good.
pub const UNSERVED: [&str; 1] = ["https"];
