//! An account: what of it is kept in memory, and how that is written.

use super::ids::SessionId;
use super::roster::Roster;
use crate::store::record::{Broken, Reader, Writer};
use crate::wire::Jid;
use crate::wire::scram::{Credentials, Keys};
use std::collections::{BTreeMap, BTreeSet};

/// Networks that an account remembers; those that it was used from once only are forgotten first.
const NETWORKS: usize = 8;
/// Networks that are stored when they are new. Further ones are when the account is used from there again: a phone is somewhere
/// else every hour, and that must not be written each time.
const NETWORKS_AT_ONCE: usize = 2;

/// A network that the password was right in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    /// What the throttle calls it.
    network: u64,
    /// More than once.
    again: bool,
}

/// Those of one account, the last first.
#[derive(Default, Debug)]
struct Networks(Vec<Known>);

/// An account of this server, in memory: all that is looked at often.
#[derive(Debug)]
pub struct Account {
    pub jid: Jid,
    /// What its password must prove.
    pub credentials: Credentials,
    /// When it last went offline: (milliseconds since 1970, the status it left with).
    pub last_seen: Option<(u64, Box<str>)>,
    pub roster: Roster,
    /// Whom it blocks (XEP-0191).
    pub blocked: BTreeSet<Jid>,
    /// Its sessions by resource.
    pub sessions: BTreeMap<Box<str>, SessionId>,
    /// How many messages wait for it in storage (XEP-0160).
    pub kept: u32,
    /// How often sessions were ended for acknowledging nothing since one did ([`super::message::SILENCES`]).
    pub silences: u8,
    /// Where it was used from. Many accounts are not there: nothing is kept for them.
    known: Option<Box<Networks>>,
}

impl Account {
    pub fn new(jid: Jid, credentials: Credentials) -> Account {
        Account {
            jid,
            credentials,
            last_seen: None,
            roster: Roster::default(),
            blocked: BTreeSet::new(),
            sessions: BTreeMap::new(),
            kept: 0,
            silences: 0,
            known: None,
        }
    }

    fn networks(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().flat_map(|networks| &networks.0)
    }

    /// Whether the password was right in this network.
    pub fn knows(&self, network: u64) -> bool {
        self.networks().any(|known| known.network == network)
    }

    /// The password was right in this network. Says whether that is worth a write.
    pub fn learn(&mut self, network: u64) -> bool {
        let Networks(all) = &mut **self.known.get_or_insert_default();
        let at = all.iter().position(|known| known.network == network);
        let before = at.map(|at| all.remove(at));
        if all.len() >= NETWORKS {
            let once = all.iter().rposition(|known| !known.again);
            all.remove(once.unwrap_or(NETWORKS - 1));
        }
        all.insert(0, Known { network, again: before.is_some() });
        match before {
            Some(before) => !before.again,
            None => all.len() <= NETWORKS_AT_ONCE,
        }
    }

    /// Whether it blocks an address: it, its bare JID or its domain is on the list (XEP-0191 §6). Never itself (§5) and its
    /// server.
    pub fn blocks(&self, jid: &Jid) -> bool {
        !self.blocked.is_empty()
            && jid.bare_str() != self.jid.as_str()
            && jid.as_str() != self.jid.domain()
            && covers(&self.blocked, jid)
    }

    /// Whether somebody else may see its presence, and what follows from that (RFC 6121 §3).
    pub fn shows_presence_to(&self, jid: &Jid) -> bool {
        self.roster.state(&jid.bare()).from && !self.blocks(jid)
    }

    /// Its row in [`crate::store::Tree::Account`].
    pub fn record(&self) -> Box<[u8]> {
        let keys = |w: Writer, k: &Keys| w.u32(k.iterations).bytes(&k.salt).bytes(&k.stored).bytes(&k.server);
        let w = keys(Writer::new(1), &self.credentials.sha1);
        let w = keys(w, &self.credentials.sha256);
        let w = match &self.last_seen {
            Some((time, status)) => w.u8(1).u64(*time).str(status),
            None => w.u8(0),
        };
        self.networks().fold(w, |w, known| w.u64(known.network)).done()
    }

    /// The account of such a row.
    pub fn from_record(jid: Jid, record: &[u8]) -> Result<Account, Broken> {
        let mut r = Reader::new(record)?;
        if r.version != 1 {
            return Err(Broken);
        }
        let keys = |r: &mut Reader<'_>| {
            Ok(Keys {
                iterations: r.u32()?,
                salt: r.bytes()?.into(),
                stored: r.bytes()?.into(),
                server: r.bytes()?.into(),
            })
        };
        let credentials = Credentials { sha1: keys(&mut r)?, sha256: keys(&mut r)? };
        let mut account = Account::new(jid, credentials);
        if r.u8()? == 1 {
            account.last_seen = Some((r.u64()?, r.str()?.into()));
        }
        // Older versions have none, and read past them.
        while let Ok(network) = r.u64() {
            account.known.get_or_insert_default().0.push(Known { network, again: true });
        }
        Ok(account)
    }
}

/// Whether one of the entries of a block list means an address: it itself, its bare JID, or its domain (XEP-0191 §6).
pub(crate) fn covers(entries: &BTreeSet<Jid>, jid: &Jid) -> bool {
    [jid.as_str(), jid.bare_str(), jid.domain()].into_iter().any(|text| entries.contains(text))
}
