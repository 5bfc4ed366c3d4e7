//! The settings for other servers: the rows of `[federation]`, and `[[peer]]`.

use super::{Config, Setting, domain, list, put};
use crate::service::federation::{Pinned, Policy};
use crate::service::net::dial::PeerAddress;
use crate::service::tls::PeerKey;
use toml::de::{DeTable, DeValue};

const DOMAINS: &str = "a list of domains, such as [\"example.org\"]; a domain stands for those below it, too";

pub(super) const FEDERATION: &str = "federation";
/// The pinned servers, one table each.
pub(super) const PEER: &str = "peer";

const fn row(
    name: &'static str,
    default: &'static str,
    meaning: &'static str,
    expects: &'static str,
    set: fn(&Setting, &mut Config, &DeValue<'_>) -> Option<()>,
) -> Setting {
    Setting { table: FEDERATION, name, default, meaning, expects, set }
}

pub(super) const ROWS: [Setting; 6] = [
    row(
        "policy",
        "\"auto\"",
        "Which other servers this one talks to: \"open\", all that can prove who they are; \"listed\", those below\n\
         and those that are pinned; \"off\", none. \"auto\" is open if the certificate is one that everybody trusts,\n\
         else listed.",
        "\"auto\", \"open\", \"listed\" or \"off\"",
        |_, c, v| {
            let policy = match v.as_str()? {
                "auto" => Policy::Auto,
                "open" => Policy::Open,
                "listed" => Policy::Listed,
                "off" => Policy::Off,
                _ => return None,
            };
            put(&mut c.federation.policy, Some(policy))
        },
    ),
    row("allow", "[]", "Domains that are talked to in any case.", DOMAINS, |_, c, v| {
        put(&mut c.federation.allow, list(v, domain))
    }),
    row("block", "[]", "Domains that never are. A reload ends what is open to them.", DOMAINS, |_, c, v| {
        put(&mut c.federation.block, list(v, domain))
    }),
    row(
        "dialback_for",
        "[]",
        "Domains that need no certificate which this box trusts: whoever their DNS names is believed (XEP-0220).\n\
         Who can change answers of DNS on the way here can then speak for them.",
        DOMAINS,
        |_, c, v| put(&mut c.federation.dialback_for, list(v, domain)),
    ),
    row(
        "ca_file",
        "\"\"",
        "A file with authorities (PEM) that are trusted for other servers, besides those of the system.",
        "the path of a file",
        |_, c, v| {
            let path = v.as_str()?;
            put(&mut c.federation.ca_file, Some((!path.is_empty()).then(|| path.into())))
        },
    ),
    row(
        "loopback",
        "false",
        "Whether other servers on this very box, or on its own link alone, are reached. For tests.",
        "true or false",
        |_, c, v| put(&mut c.federation.loopback, v.as_bool()),
    ),
];

/// What `inglenook config` prints of the pinned servers.
pub(super) const PEER_MEANING: &str = "\
# Other servers whose keys are known, one [[peer]] each: neither DNS nor authorities nor dates are asked for them. `inglenook peer show`
# prints the line for the other side, `inglenook peer add` writes what it says into the data folder. The address may be left out if
# DNS knows it, or if the other side comes to us.
# [[peer]]
# domain = \"branch.example\"
# key = \"sha256:...\"
# address = \"192.0.2.7:5269\"
";

/// The pinned servers. An error has its place in the text.
pub(super) fn peers(value: &DeValue<'_>, span: usize) -> Result<Vec<Pinned>, (usize, String)> {
    let Some(all) = value.as_array() else {
        return Err((span, "peer must be a list of tables: put a line [[peer]] above each".into()));
    };
    let mut pinned: Vec<Pinned> = Vec::new();
    for item in all {
        let at = item.span().start;
        let Some(table) = item.get_ref().as_table() else {
            return Err((at, "peer must be a list of tables: put a line [[peer]] above each".into()));
        };
        let one = peer(table, at)?;
        if pinned.iter().any(|other| other.domain == one.domain) {
            return Err((at, format!("{} has two [[peer]]: keep one of them", one.domain)));
        }
        pinned.push(one);
    }
    Ok(pinned)
}

fn peer(table: &DeTable<'_>, at: usize) -> Result<Pinned, (usize, String)> {
    let (mut name, mut key, mut address) = (None, None, None);
    for (entry, value) in table {
        let at = value.span().start;
        let text = value.get_ref().as_str();
        let wrong = |expects: &str| (at, format!("peer.{} must be {expects}", entry.get_ref()));
        match entry.get_ref().as_ref() {
            "domain" => name = Some(text.and_then(domain).ok_or_else(|| wrong("a domain, such as \"example.org\""))?),
            "key" => {
                let parsed = text.and_then(|text| text.parse::<PeerKey>().ok());
                key = Some(parsed.ok_or_else(|| wrong("\"sha256:\" and 64 hexadecimal digits"))?);
            }
            "address" => {
                let text = text.ok_or_else(|| wrong("a text, such as \"192.0.2.7:5269\""))?;
                let parsed = Some(text).filter(|text| !text.is_empty()).map(str::parse::<PeerAddress>).transpose();
                address = parsed.map_err(|e| (at, format!("peer.address {text:?} is none: {e}")))?;
            }
            other => {
                let message = format!("there is no setting \"peer.{other}\"; there are domain, key and address");
                return Err((entry.span().start, message));
            }
        }
    }
    match (name, key) {
        (Some(domain), Some(key)) => Ok(Pinned { domain, key, address }),
        (None, _) => Err((at, "a [[peer]] needs a domain".into())),
        (_, None) => Err((at, "a [[peer]] needs a key: `inglenook peer show` prints it on the other server".into())),
    }
}
