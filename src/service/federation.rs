//! Which other servers we talk to, as the owner has set it, and what the certificates of those prove.

use super::dns::Tlsa;
use super::net::dial::PeerAddress;
use super::tls::{PeerKey, Roots, Verdict, dane, judge};
use crate::core;
use crate::stream::s2s::Evidence;
use crate::wire::{Jid, Proof};
use rustls::pki_types::CertificateDer;
use std::path::PathBuf;
use std::sync::Arc;

/// With whom in general.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// With all, if the certificate is one that the world trusts; else with those that are listed.
    #[default]
    Auto,
    /// With all that can prove who they are.
    Open,
    /// With those that are listed or pinned.
    Listed,
    /// No other server is talked to.
    Off,
}

/// A server whose key the owner has pinned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pinned {
    /// Its domain; the key is that of the domains below it, too.
    pub domain: Jid,
    /// Its public key.
    pub key: PeerKey,
    /// Where it is; else DNS says so, or it comes to us.
    pub address: Option<PeerAddress>,
}

/// The settings in `[federation]`, and the pinned servers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Federation {
    /// What holds for servers that are in no list.
    pub policy: Policy,
    /// Who is talked to in any case.
    pub allow: Vec<Jid>,
    /// Who never is.
    pub block: Vec<Jid>,
    /// Who may prove by its DNS alone who it is.
    pub dialback_for: Vec<Jid>,
    /// Authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether servers on this very box are reached.
    pub loopback: bool,
    /// The pinned servers.
    pub pinned: Vec<Pinned>,
}

impl Federation {
    /// What the core must know. `public`: the certificate is one that the world trusts.
    pub fn core(&self, public: bool) -> core::Federation {
        let with = match self.policy {
            Policy::Off => core::Federates::Nobody,
            Policy::Open => core::Federates::Everybody,
            Policy::Auto if public => core::Federates::Everybody,
            Policy::Auto | Policy::Listed => core::Federates::Listed,
        };
        core::Federation {
            with,
            allow: self.allow.clone(),
            block: self.block.clone(),
            pinned: self.pinned.iter().map(|pinned| (pinned.domain.clone(), pinned.key.0)).collect(),
            dialback_for: self.dialback_for.clone(),
            kept: self.pinned.iter().filter(|one| one.address.is_some()).map(|one| one.domain.clone()).collect(),
        }
    }

    /// Whether there is any other server that would be talked to. `public`: the certificate is one that the world trusts.
    pub fn has_peers(&self, public: bool) -> bool {
        match self.core(public).with {
            core::Federates::Nobody => false,
            core::Federates::Listed => !(self.allow.is_empty() && self.pinned.is_empty()),
            core::Federates::Everybody => true,
        }
    }

    /// Whether anybody could come with these settings.
    pub fn is_used(&self) -> bool {
        self.policy != Policy::Off
    }

    /// What the owner knows of a domain: that it is pinned, itself or the nearest above it.
    pub fn pinned(&self, domain: &Jid) -> Option<&Pinned> {
        let above = |one: &&Pinned| domain.is_below(&one.domain);
        self.pinned.iter().filter(above).max_by_key(|one| one.domain.domain().len())
    }

    /// Whether a stream to a domain stays when there is nothing to say: the other side may have no other way to us.
    pub fn keeps(&self, domain: &Jid) -> bool {
        self.pinned(domain).is_some_and(|pinned| pinned.address.is_some())
    }

    /// Whether the domain's DNS is believed about who may speak for it.
    pub fn trusts_dialback(&self, domain: &Jid) -> bool {
        self.dialback_for.iter().any(|one| domain.is_below(one))
    }
}

/// Which end of the connection the peer has.
#[derive(Clone, Debug)]
pub(crate) enum PeerEnd {
    /// It has dialled us.
    Dialling,
    /// We have dialled it; with what DNS tells of its keys, if that is authenticated.
    Dialled(Vec<Tlsa>),
}

/// What is known of a peer.
#[derive(Debug)]
pub(crate) struct PeerEvidence {
    federation: Arc<Federation>,
    verdict: Verdict,
    /// What DNS says of the certificates, if it says something that counts.
    dane: Option<Result<(), String>>,
    /// Whoever DNS names is the domain's server, if the owner has said so.
    is_dialled: bool,
}

impl PeerEvidence {
    /// By the certificates that it has shown, its own first; `domain`: whom we have dialled. Reads files. `now`: seconds since 1970.
    pub(crate) fn new(
        federation: Arc<Federation>,
        chain: &[CertificateDer<'_>],
        domain: Option<&Jid>,
        end: &PeerEnd,
        now: u64,
    ) -> PeerEvidence {
        let roots = Roots::new(federation.ca_file.clone());
        let verdict = judge(chain, &roots, now);
        let (dane, is_dialled) = match (end, domain) {
            (PeerEnd::Dialled(records), Some(domain)) => (dane(chain, records, &[domain.domain()], now), true),
            _ => (None, false),
        };
        PeerEvidence { federation, verdict, dane, is_dialled }
    }
}

impl Evidence for PeerEvidence {
    fn proves(&self, domain: &Jid) -> Result<Proof, String> {
        if let Some(pinned) = self.federation.pinned(domain) {
            return self.verdict.is_pinned(&pinned.key).map(|()| Proof::Pin);
        }
        if let Some(dane) = &self.dane {
            return dane.clone().map(|()| Proof::Certificate);
        }
        match self.verdict.proves(domain.domain()) {
            Ok(()) => Ok(Proof::Certificate),
            Err(_) if self.is_dialled && self.federation.trusts_dialback(domain) => Ok(Proof::Dialback),
            Err(why) => Err(why),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_for_a_domain_and_those_below_it() {
        let domain = |text: &str| Jid::parse(text).unwrap();
        let pinned = |name: &str, n: u8| Pinned { domain: domain(name), key: PeerKey([n; 32]), address: None };
        let pinned = vec![pinned("office.test", 1), pinned("rooms.office.test", 2)];
        let federation = Federation { pinned, dialback_for: vec![domain("old.test")], ..Federation::default() };
        let key = |name: &str| federation.pinned(&domain(name)).map(|pinned| pinned.key.0[0]);
        assert_eq!(key("office.test"), Some(1));
        assert_eq!(key("pubsub.office.test"), Some(1));
        assert_eq!(key("x.rooms.office.test"), Some(2));
        assert_eq!(key("backoffice.test"), None);
        assert!(
            federation.trusts_dialback(&domain("rooms.old.test")) && !federation.trusts_dialback(&domain("cold.test"))
        );
        assert_eq!(federation.core(false).with, core::Federates::Listed);
        assert_eq!(federation.core(true).with, core::Federates::Everybody);
    }
}
