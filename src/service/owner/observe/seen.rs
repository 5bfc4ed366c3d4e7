//! What was seen at one port: facts, which [`rules`](super::rules) judges.

use super::chain::ChainSeen;
use super::raw_hello::WeakKind;
use crate::service::net::listeners::{C2S, C2S_TLS, HTTPS, S2S, S2S_TLS};
use crate::wire::{Node, Ns, Raw};
use std::collections::BTreeSet;

/// Who is to connect to a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Apps.
    Apps,
    /// Other servers.
    Servers,
    /// Browsers, and apps for files.
    Browsers,
}

/// A row of `[listen]`, and who connects there; and whether TLS comes first.
pub const PORTS: [(&str, Audience, bool); 5] = [
    (C2S, Audience::Apps, false),
    (C2S_TLS, Audience::Apps, true),
    (S2S, Audience::Servers, false),
    (S2S_TLS, Audience::Servers, true),
    (HTTPS, Audience::Browsers, true),
];

/// What was seen at one port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortSeen {
    /// Where it is, for people.
    pub place: String,
    /// Who is to connect.
    pub audience: Audience,
    /// Whether TLS comes first.
    pub direct: bool,
    /// Whether it is a port of this very server: its owner can do something.
    pub own: bool,
    /// Whether there is TLS at all in the end, else why not.
    pub reached: Result<(), String>,
    /// What is said before TLS, where that does not come first.
    pub before: Option<BeforeTlsSeen>,
    /// Whether there is TLS 1.3; `None`: not answered.
    pub tls13: Option<bool>,
    /// Whether there is TLS 1.2; `None`: not answered.
    pub tls12: Option<bool>,
    /// Older versions that there are, by their numbers.
    pub old: Vec<u16>,
    /// Whether it was not answered if there are more of them.
    pub old_unseen: bool,
    /// Weak suites of TLS 1.2 that there are.
    pub weak: Vec<WeakKind>,
    /// Whether it was not answered if there are more of them, or how the good ones are used.
    pub suites_unseen: bool,
    /// Whether TLS 1.2 compresses.
    pub compresses: bool,
    /// Whether TLS 1.2 knows of secure renegotiation; `None`: not seen.
    pub renegotiates_safely: Option<bool>,
    /// The certificates.
    pub chain: Option<ChainSeen>,
    /// How ALPN is taken, where TLS comes first.
    pub protocols: Option<Protocols>,
    /// Whether another name in SNI is no reason to have no TLS; `None`: not seen.
    pub takes_other_name: Option<bool>,
    /// Whether something would be taken before the handshake is done.
    pub early_data: bool,
    /// What is offered inside TLS, before a login.
    pub inside: Option<Offered>,
    /// Why nothing was seen inside TLS, where something should be.
    pub nothing_inside: Option<String>,
    /// Whether something long is refused before a login; `None`: it was neither taken nor refused.
    pub refuses_large: Option<bool>,
    /// What who has proved nothing is let do: the attempt, and whether it went well.
    pub attempts: Vec<(&'static str, bool)>,
}

impl PortSeen {
    /// Whether somebody there speaks XMPP, or TLS.
    pub fn is_there(&self) -> bool {
        self.reached.is_ok() || self.before.is_some()
    }

    /// Whether a TLS is there that is safe.
    pub fn has_tls(&self) -> bool {
        self.tls13 == Some(true) || self.tls12 == Some(true)
    }

    /// Whether there is no TLS, and none is offered.
    pub fn is_plain(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.starttls.is_none())
    }
}

/// What is said before TLS.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BeforeTlsSeen {
    /// Whether STARTTLS is offered, and whether it is required.
    pub starttls: Option<bool>,
    /// The mechanisms that are offered there already.
    pub mechanisms: Vec<String>,
    /// Whether an account can be made there already (XEP-0077).
    pub registration: bool,
    /// Whether a stanza was answered as if it were allowed.
    pub answers_stanza: bool,
    /// Whether a password was looked at.
    pub takes_password: bool,
}

/// How ALPN is taken (XEP-0368 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocols {
    /// Ours is agreed on.
    pub own: bool,
    /// What becomes of somebody else's; `None`: not answered.
    pub foreign: Option<ForeignAlpn>,
    /// It works without; `None`: not answered.
    pub none: Option<bool>,
}

/// What becomes of a protocol that a server does not speak (RFC 7301 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForeignAlpn {
    /// The handshake ends there.
    Refused,
    /// It goes on as if nothing had been said.
    Ignored,
    /// It is agreed on.
    Taken,
}

/// What stream features say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offered {
    /// STARTTLS, and whether it is required.
    pub starttls: Option<bool>,
    /// The mechanisms of SASL and SASL2.
    pub mechanisms: Vec<String>,
    /// The channel bindings (XEP-0440).
    pub bindings: Vec<String>,
    /// Whether strangers can make accounts (XEP-0077).
    pub registration: bool,
    /// Whether a token of an invitation makes one (XEP-0445): those without may be refused.
    pub by_token: bool,
    /// Whether dialback is offered (XEP-0220).
    pub dialback: bool,
    /// The names of all features, for people.
    pub names: BTreeSet<String>,
}

impl Offered {
    /// From `<stream:features/>`; `None` if it is something else.
    pub fn read(raw: &Raw) -> Option<Offered> {
        let root = raw.root();
        if !root.is(Ns::STREAM, "features") {
            return None;
        }
        let mut offered = Offered::default();
        let texts = |node: Node<'_>, name: &str| -> Vec<String> {
            node.children().filter(|child| child.name() == name).map(|child| child.text().trim().to_owned()).collect()
        };
        for node in root.children() {
            offered.names.insert(super::chain::plain(node.name()));
            match (node.ns(), node.name()) {
                (Ns::TLS, "starttls") => offered.starttls = Some(node.child(Ns::TLS, "required").is_some()),
                (Ns::SASL, "mechanisms") | (Ns::SASL2, "authentication") => {
                    offered.mechanisms.extend(texts(node, "mechanism"));
                }
                (Ns::SASL_CB, "sasl-channel-binding") => {
                    offered.bindings.extend(node.children().filter_map(|one| one.attr("type").map(Into::into)));
                }
                // XEP-0078 §3 is a login as well.
                (Ns::IQ_AUTH_FEATURE, "auth") => offered.mechanisms.push("jabber:iq:auth".into()),
                (Ns::REGISTER_FEATURE, "register") => offered.registration = true,
                (Ns::IBR_TOKEN, "register") => offered.by_token = true,
                (Ns::DIALBACK_FEATURE, "dialback") => offered.dialback = true,
                _ => {}
            }
        }
        Some(offered)
    }
}
