//! The settings: one table of them, and the reader of the file.

mod federation;
mod unread;
pub mod words;

use self::unread::Known;
use self::words::distance;
use crate::service::disk::files::UploadSettings;
use crate::service::federation::{Federation, Pinned};
use crate::service::mdns::MdnsSetting;
use crate::service::net::listeners::{LISTENERS, Listener, Peers};
use crate::service::{Failure, Result, host};
use crate::wire::secret::{SECRET_BYTES_MAX, SECRET_BYTES_MIN};
use crate::wire::{Jid, Secret, host_name};
use crate::{core, ext};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// What the settings file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The domain, if it is set.
    pub domain: Option<Jid>,
    /// Bare JIDs of the administrators.
    pub admins: Vec<Jid>,
    /// Whether SASL PLAIN is offered.
    pub plain: bool,
    /// What is shown by who reads `/metrics` from elsewhere; empty: nobody may.
    pub metrics_token: String,
    /// Whether strangers may make accounts.
    pub registration: bool,
    /// Who may invite people from an app.
    pub inviters: core::Inviters,
    /// SCRAM iterations for new passwords.
    pub scram_iterations: u32,
    /// Offline messages kept for an account, in bytes.
    pub offline_bytes: usize,
    /// How long a message stays in the archives, in days.
    pub archive_days: u32,
    /// What all archives may take together, in bytes; 0: what fits the disk.
    pub archive_bytes: u64,
    /// What may wait for all clients together, in bytes; 0: what fits the memory.
    pub waiting_bytes: u64,
    /// What a notification for a phone tells (XEP-0357).
    pub push_content: core::PushContent,
    /// Whether the operating system is named in XEP-0092 answers.
    pub show_os: bool,
    /// How long a session waits for its client when the connection is lost, in seconds.
    pub resume_s: u32,
    /// Where clients should go to resume a session, as `host:port`.
    pub resume_at: Option<String>,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address.
    pub connections_per_address: usize,
    /// Milliseconds between two commits.
    pub commit_window_ms: u64,
    /// What the memory card endures, in GB; see [`Config::card_bytes`].
    pub card_writes_gb: u64,
    /// The log's level.
    pub log: log::LevelFilter,
    /// Where is listened, by the names of [`LISTENERS`].
    pub listen: BTreeMap<&'static str, Vec<SocketAddr>>,
    /// The external components that may connect, and their secrets.
    pub components: BTreeMap<Jid, Secret>,
    /// Other servers, and what is asked of them.
    pub federation: Federation,
    /// Who may create rooms.
    pub create_rooms: core::Creators,
    /// What new rooms are like.
    pub room_kind: core::RoomKind,
    /// What everybody in the house has.
    pub household: core::Household,
    /// What people may upload (XEP-0363).
    pub uploads: UploadSettings,
    /// Whether this server answers multicast DNS.
    pub mdns: MdnsSetting,
    /// Accounts that strangers at one address may make in an hour.
    pub registrations_an_hour: u32,
    /// (kind, URI) of XEP-0157.
    pub contacts: Vec<(String, String)>,
}

/// A row of [`SETTINGS`].
#[derive(Clone, Copy)]
struct Setting {
    /// The table it stands in; empty for the top.
    table: &'static str,
    name: &'static str,
    /// What holds if nothing is set, as TOML.
    default: &'static str,
    /// For a person; lines.
    meaning: &'static str,
    /// How the sentence "NAME must be ..." ends.
    expects: &'static str,
    /// Takes a value, or not.
    set: fn(&Setting, &mut Config, &DeValue<'_>) -> Option<()>,
}

const ADDRESSES: &str = "a list of addresses, such as [\"[::]:5222\"] or [\"192.168.1.5:5222\", \"127.0.0.1:5222\"]";
const URIS: &str = "a list of URIs, such as [\"xmpp:juliet@example.org\", \"mailto:juliet@example.org\"]";

/// All settings but the listeners, in the order in which they are printed.
const SETTINGS: &[Setting] = &[
    Setting {
        table: "",
        name: "domain",
        default: "\"\"",
        meaning: "The domain of the addresses: NAME@DOMAIN. Empty: the one that the data folder was made with,\n\
                  at first HOSTNAME.local. It can be changed while there are no accounts: they belong to it.",
        expects: "a domain name of letters, digits, hyphens and dots, such as \"example.org\"",
        set: |_, c, v| {
            c.domain = match v.as_str()? {
                "" => None,
                name => Some(domain(name)?),
            };
            Some(())
        },
    },
    Setting {
        table: "",
        name: "admins",
        default: "[]",
        meaning: "Addresses of the administrators. From their apps they manage accounts, and are owners of every room.",
        expects: "a list of addresses, such as [\"juliet@example.org\"]",
        set: |_, c, v| {
            let one = |s: &str| Jid::parse(s).ok().filter(|j| j.is_bare() && j.local().is_some());
            put(&mut c.admins, list(v, one))
        },
    },
    Setting {
        table: "",
        name: "registration",
        default: "false",
        meaning: "Whether strangers may make accounts from their app. Password change and account removal\n\
                  work in either case.",
        expects: "true or false",
        set: |_, c, v| put(&mut c.registration, v.as_bool()),
    },
    Setting {
        table: "",
        name: "invites",
        default: "\"all\"",
        meaning: "Who may invite people from an app: \"all\" (whoever has an account, 5 people at a time), \"admins\" or \"nobody\".\n\
                  `inglenook invite` does in any case.",
        expects: "\"all\", \"admins\" or \"nobody\"",
        set: |_, c, v| {
            let inviters = match v.as_str()? {
                "all" => core::Inviters::Everybody,
                "admins" => core::Inviters::Admins,
                "nobody" => core::Inviters::Nobody,
                _ => return None,
            };
            put(&mut c.inviters, Some(inviters))
        },
    },
    Setting {
        table: "",
        name: "registrations_an_hour",
        default: "3",
        meaning: "How many accounts strangers at one address may make in an hour, where they may; all of them\n\
                  together make 100. A class behind one router needs more than 3.",
        expects: "a number from 1 to 100",
        set: |_, c, v| put(&mut c.registrations_an_hour, number(v, 1, 100).map(|n| n as u32)),
    },
    Setting {
        table: "",
        name: "plain",
        default: "false",
        meaning: "Whether apps may send the password itself, inside TLS. Only for old apps without SCRAM.",
        expects: "true or false",
        set: |_, c, v| put(&mut c.plain, v.as_bool()),
    },
    Setting {
        table: "",
        name: "scram_iterations",
        default: "10000",
        meaning: "How often a new password is hashed. More is safer if the data folder is stolen, and makes\n\
                  logging in slower for the apps.",
        expects: "a number from 4096 to 1000000",
        set: |_, c, v| put(&mut c.scram_iterations, number(v, 4096, 1_000_000).map(|n| n as u32)),
    },
    Setting {
        table: "",
        name: "offline_bytes",
        default: "4194304",
        meaning: "How much is kept for an account that is offline, in bytes. 0: nothing.",
        expects: "a number of bytes from 0 to 1073741824",
        set: |_, c, v| put(&mut c.offline_bytes, number(v, 0, 1 << 30).map(|n| n as usize)),
    },
    Setting {
        table: "",
        name: "archive_days",
        default: "365",
        meaning: "How long messages stay in the archives, in days. 0: as long as there is room.",
        expects: "a number of days from 0 to 36500",
        set: |_, c, v| put(&mut c.archive_days, number(v, 0, 36_500).map(|n| n as u32)),
    },
    Setting {
        table: "",
        name: "archive_bytes",
        default: "0",
        meaning: "How much all archives together may take, in bytes. What is older goes first, whoever's it is. 0: a quarter\n\
                  of the disk, at most 256 MiB.",
        expects: "0, or a number of bytes from 1048576 to 1099511627776",
        set: |_, c, v| put(&mut c.archive_bytes, number(v, 0, 1 << 40).filter(|n| *n == 0 || *n >= 1 << 20)),
    },
    Setting {
        table: "",
        name: "waiting_bytes",
        default: "0",
        meaning: "How much may wait in memory for apps that do not read or have lost their connection, of all people\n\
                  together, in bytes. Who has most of it loses a connection first; messages are not lost. 0: an eighth\n\
                  of the memory, at most 256 MiB.",
        expects: "0, or a number of bytes from 1048576 to 1099511627776",
        set: |_, c, v| put(&mut c.waiting_bytes, number(v, 0, 1 << 40).filter(|n| *n == 0 || *n >= 1 << 20)),
    },
    Setting {
        table: "",
        name: "mdns",
        default: "\"auto\"",
        meaning: "Whether apps and browsers in this network find the server as HOSTNAME.local, and see what it offers (multicast\n\
                  DNS). \"auto\": if nothing else on this box answers there, such as avahi; \"on\": what it offers in any case, the\n\
                  name if nobody else has it; \"off\": no. A change is taken at the next start.",
        expects: "\"auto\", \"on\" or \"off\"",
        set: |_, c, v| {
            let setting = match v.as_str()? {
                "auto" => MdnsSetting::Auto,
                "on" => MdnsSetting::On,
                "off" => MdnsSetting::Off,
                _ => return None,
            };
            put(&mut c.mdns, Some(setting))
        },
    },
    Setting {
        table: "",
        name: "metrics_token",
        default: "\"\"",
        meaning: "What programs on other boxes that read /metrics show as `Authorization: Bearer TOKEN`. Empty: only those on\n\
                  this box may read it.",
        expects: "a token of 16 to 200 characters without spaces, or \"\"",
        set: |_, c, v| {
            let fits = |token: &str| (16..=200).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
            let token = v.as_str().filter(|token| token.is_empty() || fits(token))?;
            put(&mut c.metrics_token, Some(token.to_owned()))
        },
    },
    Setting {
        table: "",
        name: "show_os",
        default: "false",
        meaning: "Whether the operating system is named to those who ask for the server's version.",
        expects: "true or false",
        set: |_, c, v| put(&mut c.show_os, v.as_bool()),
    },
    Setting {
        table: "",
        name: "resume_s",
        default: "600",
        meaning: "How long a session waits for its app when the connection is lost, in seconds. 0: not at all.",
        expects: "a number of seconds from 0 to 86400",
        set: |_, c, v| put(&mut c.resume_s, number(v, 0, 86_400).map(|n| n as u32)),
    },
    Setting {
        table: "",
        name: "resume_at",
        default: "\"\"",
        meaning: "Where apps should connect to go on with a session, as \"HOST:PORT\", when that is elsewhere than they\n\
                  connect otherwise. Empty: they know.",
        expects: "\"\" or \"HOST:PORT\"; an IPv6 address stands in [...]",
        set: |_, c, v| put(&mut c.resume_at, location(v.as_str()?)),
    },
    Setting {
        table: "",
        name: "connections",
        default: "4000",
        meaning: "Connections at the same time, in all.",
        expects: "a number from 1 to 1000000",
        set: |_, c, v| put(&mut c.connections, number(v, 1, 1_000_000).map(|n| n as usize)),
    },
    Setting {
        table: "",
        name: "connections_per_address",
        default: "100",
        meaning: "Connections at the same time from one IPv4 address or one IPv6 network (/64).",
        expects: "a number from 1 to 1000000",
        set: |_, c, v| put(&mut c.connections_per_address, number(v, 1, 1_000_000).map(|n| n as usize)),
    },
    Setting {
        table: "",
        name: "commit_window_ms",
        default: "100",
        meaning: "Changes are written to the disk together, at most once in so many milliseconds.\n\
                  More spares a memory card, less answers sooner.",
        expects: "a number of milliseconds from 0 to 10000",
        set: |_, c, v| put(&mut c.commit_window_ms, number(v, 0, 10_000)),
    },
    Setting {
        table: "",
        name: "card_writes_gb",
        default: "3000",
        meaning: "How many GB the memory card or disk can be written before it wears out: `inglenook status` tells how\n\
                  long that lasts. Where the maker names TBW, take that times 1000. Makers of cheap cards name nothing:\n\
                  3000 is for one of 32 GB whose cells endure 300 rounds, and only a third of that, since small\n\
                  writes wear a card more than their size says.",
        expects: "a number of GB from 1 to 10000000",
        set: |_, c, v| put(&mut c.card_writes_gb, number(v, 1, 10_000_000)),
    },
    Setting {
        table: "",
        name: "log",
        default: "\"info\"",
        meaning: "How much is told on stderr: error, warn, info, debug or trace. The variable RUST_LOG goes before it.",
        expects: "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        set: |_, c, v| put(&mut c.log, v.as_str()?.parse().ok()),
    },
    Setting {
        table: "house",
        name: "name",
        default: "\"\"",
        meaning: "What the house is called: a group in everybody's list of contacts, and the room for all, have this name. Empty: after its\n\
                  domain, `Example` for example.org. What is there already keeps the name that it has.",
        expects: "a name in one line, of at most 100 bytes that are seen, such as \"The Capulets\"",
        set: |_, c, v| put(&mut c.household.name, v.as_str().filter(|name| is_house_name(name)).map(str::to_owned)),
    },
    Setting {
        table: "house",
        name: "contacts",
        default: "\"auto\"",
        meaning: "Whether everybody who has an account has everybody else in the list of contacts, with their presence, up to 200\n\
                  people. Each is introduced once: who removes somebody is not given them again. Strangers who have registered by\n\
                  themselves are left out. \"auto\": in a house that begins with it; true: also in one that had accounts before, where\n\
                  everybody is introduced at the next start; false: no.",
        expects: "true, false or \"auto\"",
        set: |_, c, v| put(&mut c.household.contacts, given(v)),
    },
    Setting {
        table: "house",
        name: "room",
        default: "\"auto\"",
        meaning: "The first part of the address of a room that everybody who has an account is a member of, and nobody else; the\n\
                  administrators own it. \"auto\": `everybody`, in a house that begins with it; a name: also in one that had accounts\n\
                  before; \"\" or false: none. Another name: who comes from then on belongs to that, the room before stays as it is.",
        expects: "\"auto\", false, or what can stand before the @ of a room's address, such as \"everybody\"",
        set: |_, c, v| {
            let (room, local) = house_room(v)?;
            c.household.room_local = local;
            put(&mut c.household.room, Some(room))
        },
    },
    Setting {
        table: "push",
        name: "content",
        default: "\"none\"",
        meaning: "What wakes a phone goes through the maker of its app and of its system. \"none\": that there is a message,\n\
                  and how many; the app comes and fetches it. \"sender\": also whom the last one is from.\n\
                  \"full\": also what it says.",
        expects: "\"none\", \"sender\" or \"full\"",
        set: |_, c, v| {
            let content = match v.as_str()? {
                "none" => core::PushContent::None,
                "sender" => core::PushContent::Sender,
                "full" => core::PushContent::Full,
                _ => return None,
            };
            put(&mut c.push_content, Some(content))
        },
    },
    Setting {
        table: "rooms",
        name: "create",
        default: "\"local\"",
        meaning: "Who may create rooms for group chats: \"local\" (whoever has an account here), \"admins\" or \"anybody\".",
        expects: "\"local\", \"admins\" or \"anybody\"",
        set: |_, c, v| {
            let creators = match v.as_str()? {
                "local" => core::Creators::Local,
                "admins" => core::Creators::Admins,
                "anybody" => core::Creators::Anybody,
                _ => return None,
            };
            put(&mut c.create_rooms, Some(creators))
        },
    },
    Setting {
        table: "rooms",
        name: "kind",
        default: "\"group\"",
        meaning: "What a new room is like until its owner says otherwise. \"group\": only members come in, who see each\n\
                  other's addresses, and nobody else finds it. \"channel\": everybody comes in and finds it, and only its\n\
                  moderators see addresses; who enters the same name in two apps is in the same room.",
        expects: "\"group\" or \"channel\"",
        set: |_, c, v| {
            let kind = match v.as_str()? {
                "group" => core::RoomKind::Group,
                "channel" => core::RoomKind::Channel,
                _ => return None,
            };
            put(&mut c.room_kind, Some(kind))
        },
    },
    Setting {
        table: "uploads",
        name: "enabled",
        default: "true",
        meaning: "Whether people who have an account here can send files: their apps put them on this server, and whoever\n\
                  has the link gets them. A change is taken at the next start.",
        expects: "true or false",
        set: |_, c, v| put(&mut c.uploads.enabled, v.as_bool()),
    },
    Setting {
        table: "uploads",
        name: "file_bytes",
        default: "104857616",
        meaning: "The largest file, in bytes. The default is 100 MiB, and the 16 bytes that encryption adds.",
        expects: "a number of bytes from 1024 to 1099511627776",
        set: |_, c, v| put(&mut c.uploads.file_bytes, number(v, 1024, 1 << 40)),
    },
    Setting {
        table: "uploads",
        name: "account_bytes",
        default: "0",
        meaning: "How much the files of one account may take together, in bytes, and how much it may upload within a day. Its\n\
                  oldest files go first. 0: a quarter of the next.",
        expects: "0, or a number of bytes from 1048576 to 1099511627776",
        set: |_, c, v| put(&mut c.uploads.account_bytes, number(v, 0, 1 << 40).filter(|n| *n == 0 || *n >= 1 << 20)),
    },
    Setting {
        table: "uploads",
        name: "total_bytes",
        default: "0",
        meaning: "How much all files may take together, in bytes. What is older goes first, whoever's it is. 0: a fifth of\n\
                  what is free on the disk, at most 2 GiB.",
        expects: "0, or a number of bytes from 1048576 to 1099511627776",
        set: |_, c, v| put(&mut c.uploads.total_bytes, number(v, 0, 1 << 40).filter(|n| *n == 0 || *n >= 1 << 20)),
    },
    Setting {
        table: "uploads",
        name: "days",
        default: "30",
        meaning: "How long a file is kept, in days. 0: as long as there is room.",
        expects: "a number of days from 0 to 36500",
        set: |_, c, v| put(&mut c.uploads.days, number(v, 0, 36_500).map(|n| n as u32)),
    },
    contact("abuse", "Whom to tell of abuse; here and below shown to everybody who asks (XEP-0157).", |_, c, v| {
        contacts(c, "abuse", v)
    }),
    contact("admin", "Who runs this server.", |_, c, v| contacts(c, "admin", v)),
    contact("feedback", "Where wishes and complaints go.", |_, c, v| contacts(c, "feedback", v)),
    contact("sales", "Who sells what this server is part of.", |_, c, v| contacts(c, "sales", v)),
    contact("security", "Whom to tell of a security problem.", |_, c, v| contacts(c, "security", v)),
    contact("status", "Where it is told when the server is down.", |_, c, v| contacts(c, "status", v)),
    contact("support", "Who helps users.", |_, c, v| contacts(c, "support", v)),
];

/// The table of the listeners.
const LISTEN: &str = "listen";
const LOOPBACK: &str = "a list of addresses of this box alone, such as [\"127.0.0.1:5347\"]; nothing without TLS leaves it: let a gateway \
                        elsewhere come through a tunnel";

/// All settings, in the order in which they are printed: the top, the listeners, the other tables.
fn settings() -> impl Iterator<Item = Setting> {
    let listener = |l: &Listener| Setting {
        table: LISTEN,
        name: l.name,
        default: l.default,
        meaning: l.meaning,
        expects: if l.peers == Peers::Components { LOOPBACK } else { ADDRESSES },
        set: listen,
    };
    let top = SETTINGS.iter().filter(|s| s.table.is_empty()).copied();
    let others = SETTINGS.iter().filter(|s| !s.table.is_empty()).copied();
    top.chain(LISTENERS.iter().map(listener)).chain(federation::ROWS).chain(others)
}

/// Takes the addresses of a listener.
fn listen(setting: &Setting, config: &mut Config, value: &DeValue<'_>) -> Option<()> {
    let listener = LISTENERS.iter().find(|listener| listener.name == setting.name)?;
    let addresses = addresses(value)
        .filter(|all| listener.peers != Peers::Components || all.iter().all(|a| a.ip().is_loopback()))?;
    config.listen.insert(listener.name, addresses);
    Some(())
}

const fn contact(
    name: &'static str,
    meaning: &'static str,
    set: fn(&Setting, &mut Config, &DeValue<'_>) -> Option<()>,
) -> Setting {
    Setting { table: "contacts", name, default: "[]", meaning, expects: URIS, set }
}

/// A prepared domain: a JID that is nothing else.
pub fn domain(name: &str) -> Option<Jid> {
    Jid::parse(name).ok().filter(|jid| jid.local().is_none() && jid.resource().is_none())
}

/// The domain of a name that somebody has typed.
///
/// # Errors
/// Why it can be none.
pub fn read_domain(name: &str) -> Result<Jid> {
    domain(name).ok_or_else(|| {
        let why = host_name::fault(name).unwrap_or_else(|| "it has characters that no name has".into());
        Failure(format!("\"{name}\" is not a domain name: {why}."))
    })
}

fn put<T>(slot: &mut T, value: Option<T>) -> Option<()> {
    *slot = value?;
    Some(())
}

/// The room for all that is named where there is none of that name.
const HOUSE_ROOM: &str = "everybody";

fn given(value: &DeValue<'_>) -> Option<core::Given> {
    match (value.as_bool(), value.as_str()) {
        (Some(true), _) => Some(core::Given::Everywhere),
        (Some(false), _) => Some(core::Given::Nowhere),
        (_, Some("auto")) => Some(core::Given::InNewHouses),
        _ => None,
    }
}

/// Whether a house can be called this; empty is after its domain.
pub(crate) fn is_house_name(name: &str) -> bool {
    name.len() <= 100 && !name.contains(|c: char| c.is_control() || core::is_format(c)) && name.trim() == name
}

/// In which houses there is a room for all, and its name.
fn house_room(value: &DeValue<'_>) -> Option<(core::Given, Box<str>)> {
    match value.as_str() {
        Some("") => Some((core::Given::Nowhere, Box::default())),
        None | Some("auto") => given(value).map(|given| (given, HOUSE_ROOM.into())),
        Some(name) => {
            let jid = Jid::new(Some(name), "example.org", None).ok()?;
            Some((core::Given::Everywhere, jid.local()?.into()))
        }
    }
}

/// RFC 6120 §4.9.3.19: a host or an address, and a port.
fn location(text: &str) -> Option<Option<String>> {
    if text.is_empty() {
        return Some(None);
    }
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let fine = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => domain(host).is_some(),
    };
    (fine && port.parse::<u16>().is_ok()).then(|| Some(text.to_owned()))
}

fn list<T>(value: &DeValue<'_>, one: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    value.as_array()?.iter().map(|item| one(item.get_ref().as_str()?)).collect()
}

fn addresses(value: &DeValue<'_>) -> Option<Vec<SocketAddr>> {
    list(value, |s| s.parse().ok())
}

fn contacts(config: &mut Config, kind: &str, value: &DeValue<'_>) -> Option<()> {
    // A URI has a scheme (RFC 3986 §3.1) and no white space.
    let uri = |s: &str| {
        let (scheme, rest) = s.split_once(':')?;
        let fine = !rest.is_empty() && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        (fine && !s.contains(char::is_whitespace)).then(|| (kind.to_owned(), s.to_owned()))
    };
    config.contacts.extend(list(value, uri)?);
    Some(())
}

/// The table whose names are the components', and whose values are their secrets.
const COMPONENTS: &str = "components";

/// What `inglenook config` prints of it.
const COMPONENTS_MEANING: &str = "\
# Gateways and bots that may connect (XEP-0114), each with its address, which ends with the domain, and its secret of at least
# 16 characters. At a reload a component that is gone from here, or has another secret, is disconnected.
# \"irc.example.org\" = \"a long secret of your choice\"
";

/// One line of it. Whether the name fits to the domain is asked later ([`Config::check_components`]).
fn component(name: &str, value: &DeValue<'_>) -> std::result::Result<(Jid, Secret), String> {
    let jid = domain(name).filter(|jid| jid.domain().contains('.'));
    let jid = jid.ok_or_else(|| {
        format!("components.\"{name}\" must be named with its whole address in quotes, such as \"irc.example.org\"")
    })?;
    let secret = value.as_str().and_then(Secret::new);
    let (least, most) = (SECRET_BYTES_MIN, SECRET_BYTES_MAX);
    Ok((jid, secret.ok_or_else(|| format!("components.\"{name}\" must be a secret of {least} to {most} bytes"))?))
}

fn number(value: &DeValue<'_>, least: u64, most: u64) -> Option<u64> {
    let integer = value.as_integer()?;
    let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    (least..=most).contains(&number).then_some(number)
}

impl Default for Config {
    fn default() -> Config {
        let mut config = Config {
            domain: None,
            admins: Vec::new(),
            plain: false,
            metrics_token: String::new(),
            registration: false,
            inviters: core::Inviters::default(),
            scram_iterations: 0,
            offline_bytes: 0,
            archive_days: 0,
            archive_bytes: 0,
            waiting_bytes: 0,
            push_content: core::PushContent::None,
            show_os: false,
            resume_s: 0,
            resume_at: None,
            connections: 0,
            connections_per_address: 0,
            commit_window_ms: 0,
            card_writes_gb: 0,
            log: log::LevelFilter::Info,
            listen: BTreeMap::new(),
            components: BTreeMap::new(),
            federation: Federation::default(),
            create_rooms: core::Creators::default(),
            room_kind: core::RoomKind::default(),
            household: core::Household::default(),
            uploads: UploadSettings::default(),
            mdns: MdnsSetting::default(),
            registrations_an_hour: 3,
            contacts: Vec::new(),
        };
        for setting in settings() {
            let value = DeValue::parse(setting.default).expect("the defaults are TOML, a test reads them all");
            (setting.set)(&setting, &mut config, value.get_ref())
                .expect("the defaults are valid, a test reads them all");
        }
        config
    }
}

impl Config {
    /// Reads a file; `name` is what errors call it.
    ///
    /// # Errors
    /// Each names the file, the line and what would be right.
    pub fn parse(name: &str, text: &str) -> Result<Config> {
        let at =
            |offset: usize, message: String| Failure(format!("{name}:{}: {message}", unread::line(text, offset).0));
        let root = DeTable::parse(text).map_err(|e| {
            let span = e.span().unwrap_or_default();
            at(span.start, unread::told(text, span, e.message(), known))
        })?;
        let header = header(text, root.get_ref());
        let mut config = Config::default();
        let mut read = |table: &'static str, entries: &DeTable<'_>| {
            for (key, value) in entries {
                let name = key.get_ref().as_ref();
                if let Some(message) = misplaced(table, name, header.as_deref()) {
                    return Err(at(key.span().start, message));
                }
                if table == COMPONENTS {
                    let bad = |e: String| at(value.span().start, e);
                    let (name, secret) = component(name, value.get_ref()).map_err(bad)?;
                    config.components.insert(name, secret);
                    continue;
                }
                let path = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
                if let Some(setting) = settings().find(|setting| setting.table == table && setting.name == name) {
                    if (setting.set)(&setting, &mut config, value.get_ref()).is_none() {
                        return Err(at(value.span().start, format!("{path} must be {}", setting.expects)));
                    }
                } else if !(table.is_empty() && is_table(name)) {
                    let message = format!("there is no setting \"{path}\"; did you mean \"{}\"?", nearest(&path));
                    return Err(at(key.span().start, message));
                }
            }
            Ok(())
        };
        read("", root.get_ref())?;
        for table in tables() {
            if let Some(value) = root.get_ref().get(table) {
                match value.get_ref().as_table() {
                    Some(entries) => read(table, entries)?,
                    None => {
                        let message = format!("{table} must be a table: put a line [{table}] above its settings");
                        return Err(at(value.span().start, message));
                    }
                }
            }
        }
        if let Some(value) = root.get_ref().get(federation::PEER) {
            let peers = federation::peers(value.get_ref(), value.span().start);
            config.federation.pinned = peers.map_err(|(offset, message)| at(offset, message))?;
        }
        Ok(config)
    }

    /// Reads the file, or takes the defaults: `named` must be there, `DIR/inglenook.toml` need not. What is pinned by command is read, too:
    /// what the file says of a domain goes before that.
    ///
    /// # Errors
    /// As [`Config::parse`], and when the file cannot be read.
    pub fn load(named: Option<&Path>, data: &Path) -> Result<Config> {
        let mut config = Config::of_file(named, data)?;
        let known: Vec<Jid> = config.federation.pinned.iter().map(|pinned| pinned.domain.clone()).collect();
        let others = read_peers(data)?.into_iter().filter(|pinned| !known.contains(&pinned.domain));
        config.federation.pinned.extend(others);
        Ok(config)
    }

    fn of_file(named: Option<&Path>, data: &Path) -> Result<Config> {
        let path = named.map_or_else(|| data.join("inglenook.toml"), Path::to_owned);
        match std::fs::read_to_string(&path) {
            Ok(text) => Config::parse(&path.display().to_string(), &text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => Ok(Config::default()),
            Err(e) => Err(Failure(format!(
                "the settings {} cannot be read: {e}. Fix: make it a file that the server's user can read (chown, chmod), or remove it.",
                path.display()
            ))),
        }
    }

    /// Whether the components can have their names beside this domain.
    ///
    /// # Errors
    /// Which cannot, and why.
    pub fn check_components(&self, domain: &Jid) -> Result<()> {
        for name in self.components.keys() {
            let sub = name.domain().strip_suffix(domain.domain()).and_then(|sub| sub.strip_suffix('.'));
            let why = match sub {
                // A component may have the name of a service that is off.
                Some(sub) if ext::SERVICES.contains(&sub) && (sub != ext::UPLOAD || self.uploads.enabled) => {
                    "is a service of this server itself; choose another name".into()
                }
                Some(_) => continue,
                None => format!("must end with .{domain}"),
            };
            return Err(Failure(format!("the component \"{name}\" in [components] {why}.")));
        }
        Ok(())
    }

    /// Where the listener with this name listens.
    pub fn addresses(&self, listener: &str) -> &[SocketAddr] {
        self.listen.get(listener).map_or(&[], Vec::as_slice)
    }

    /// The same settings, with one address for a listener.
    #[cfg(test)]
    pub(super) fn listening(mut self, listener: &'static str, address: SocketAddr) -> Config {
        self.listen.insert(listener, vec![address]);
        self
    }

    /// Bytes that the memory card can be written in its life.
    pub fn card_bytes(&self) -> u64 {
        self.card_writes_gb.saturating_mul(1_000_000_000)
    }

    /// What the core must know. `public`: the certificate is one that everybody trusts.
    pub fn core(&self, domain: &Jid, dir: &Path, public: bool) -> core::Settings {
        let mut settings = core::Settings::new(domain.clone());
        settings.iterations = self.scram_iterations;
        settings.offline_bytes = self.offline_bytes;
        settings.archive_days = self.archive_days;
        settings.archive_bytes = match self.archive_bytes {
            0 => (host::disk_bytes(dir) / 4).clamp(1 << 20, settings.archive_bytes),
            bytes => bytes,
        };
        settings.waiting_bytes = match self.waiting_bytes {
            0 => settings.waiting_bytes.min((host::memory_bytes() / 16) as usize),
            bytes => (bytes / 2) as usize,
        };
        settings.push_content = self.push_content;
        settings.show_os = self.show_os;
        settings.resume_s = self.resume_s;
        settings.resume_at = self.resume_at.clone();
        settings.registration = self.registration;
        settings.inviters = self.inviters;
        settings.contacts = self.contacts.clone();
        settings.admins = self.admins.clone();
        settings.components = self.components.clone();
        settings.federation = self.federation.core(public);
        settings.create_rooms = self.create_rooms;
        settings.room_kind = self.room_kind;
        settings.household = self.household.clone();
        settings.upload_bytes = self.uploads.enabled.then(|| self.uploads.limits(dir).largest());
        settings.registrations_an_hour = self.registrations_an_hour;
        settings
    }
}

/// The file in the data folder with the servers that were pinned by command.
pub const PEERS_FILE: &str = "peers.toml";

/// The servers that were pinned by command; none if there is no such file.
///
/// # Errors
/// When the file is not as the command has written it: where, and what would be right.
pub fn read_peers(data: &Path) -> Result<Vec<Pinned>> {
    let path = data.join(PEERS_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Config::parse(&path.display().to_string(), &text)?.federation.pinned),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Failure(format!("{} cannot be read: {e}", path.display()))),
    }
}

/// Every setting with its default and meaning, as TOML.
pub fn print() -> String {
    let mut out = String::from("# The settings of Inglenook, with their defaults.\n");
    let mut table = "";
    for setting in settings() {
        if setting.table != table {
            table = setting.table;
            let _ = write!(out, "\n[{table}]\n");
        }
        out.push('\n');
        for line in setting.meaning.lines() {
            let _ = writeln!(out, "# {line}");
        }
        let _ = writeln!(out, "{} = {}", setting.name, setting.default);
    }
    let _ = write!(out, "\n[{COMPONENTS}]\n\n{COMPONENTS_MEANING}\n{}", federation::PEER_MEANING);
    out
}

fn tables() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    let known =
        settings().map(|setting| setting.table).filter(move |table| std::mem::replace(&mut last, table) != *table);
    known.chain([COMPONENTS])
}

fn is_table(name: &str) -> bool {
    name == federation::PEER || tables().any(|table| table == name)
}

/// What a setting takes, by its name alone.
fn known(name: &str) -> Option<Known> {
    let one = settings().find(|setting| setting.name == name)?;
    Some(Known { default: one.default, expects: one.expects })
}

/// The first line with the name of a table: all that is below it is of some table.
fn header(text: &str, root: &DeTable<'_>) -> Option<String> {
    let tables = root.iter().filter(|(_, value)| value.get_ref().is_table());
    let lines = tables.map(|(key, _)| unread::line(text, key.span().start)).filter(|(_, line)| line.starts_with('['));
    lines.min().map(|(number, line)| format!("line {number} `{line}`"))
}

/// What is told of a setting of the top that stands in a table, since it was written at the end of the file.
fn misplaced(table: &str, name: &str, header: Option<&str>) -> Option<String> {
    let of = |table: &str| settings().any(|setting| setting.table == table && setting.name == name);
    let header = header.filter(|_| !table.is_empty() && of("") && !of(table))?;
    Some(format!("{name} is a setting of the top: put it above {header}"))
}

/// The known name that looks most like `path`, wherever it stands.
fn nearest(path: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    let full = |s: &Setting| if s.table.is_empty() { s.name.to_owned() } else { format!("{}.{}", s.table, s.name) };
    let paths = settings().map(|s| (distance(path, &full(&s)).min(distance(name, s.name)), full(&s)));
    let headers = tables().map(|t| (distance(path, t), format!("[{t}]")));
    paths.chain(headers).min_by_key(|(d, _)| *d).map(|(_, name)| name).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::{Given, Household, Settings};
    use crate::service::net::listeners::{C2S, C2S_TLS, COMPONENT, HTTPS, S2S, S2S_TLS};

    fn error(text: &str) -> String {
        Config::parse("inglenook.toml", text).unwrap_err().0
    }

    #[test]
    fn what_config_prints_is_the_defaults() {
        let printed = print();
        assert_eq!(Config::parse("printed", &printed).unwrap(), Config::default());
        for setting in settings() {
            assert!(printed.contains(&format!("\n{} = {}\n", setting.name, setting.default)), "{}", setting.name);
        }
    }

    #[test]
    fn the_contract_of_the_listeners() {
        let config = Config::default();
        for (name, port) in [(C2S, 5222), (C2S_TLS, 5223), (S2S, 5269), (S2S_TLS, 5270), (HTTPS, 5443)] {
            assert_eq!(config.addresses(name), [SocketAddr::new("::".parse().unwrap(), port)]);
        }
        assert!(Config::parse("f", "[listen]\nc2s = []").unwrap().addresses(C2S).is_empty());
        let two = Config::parse("f", "[listen]\nc2s_tls = [\"127.0.0.1:0\", \"[::1]:1\"]").unwrap();
        assert_eq!(two.addresses(C2S_TLS).len(), 2);
        assert_eq!(two.addresses(C2S), config.addresses(C2S));
    }

    #[test]
    fn the_core_has_the_same_defaults() {
        let config = Config::default();
        let theirs = Settings::new(Jid::parse("example.org").unwrap());
        let ours = config.core(&theirs.domain, &std::env::temp_dir(), false);
        // These fit the machine.
        assert!(ours.archive_bytes <= theirs.archive_bytes && ours.waiting_bytes <= theirs.waiting_bytes);
        assert!(ours.upload_bytes.is_some() && ours.upload_bytes <= theirs.upload_bytes);
        // Whoever takes the core into a program of their own has other ideas of a house.
        assert_eq!((ours.household.contacts, ours.household.room), (Given::InNewHouses, Given::InNewHouses));
        assert_eq!(theirs.household, Household::default());
        let Settings { archive_bytes, waiting_bytes, upload_bytes, household, .. } = ours.clone();
        let fitting = Settings { archive_bytes, waiting_bytes, upload_bytes, household, ..theirs };
        assert_eq!(format!("{ours:?}"), format!("{fitting:?}"));
    }

    #[test]
    fn an_unknown_name_is_told_with_its_line_and_the_nearest() {
        assert_eq!(
            error("plain = true\n\nregistratoin = true\n"),
            "inglenook.toml:3: there is no setting \"registratoin\"; did you mean \"registration\"?"
        );
        assert_eq!(
            error("[listen]\nc2stls = []\n"),
            "inglenook.toml:2: there is no setting \"listen.c2stls\"; did you mean \"listen.c2s_tls\"?"
        );
        assert_eq!(error("c2s = []\n"), "inglenook.toml:1: there is no setting \"c2s\"; did you mean \"listen.c2s\"?");
        assert_eq!(
            error("\n[listn]\nc2s = []\n"),
            "inglenook.toml:2: there is no setting \"listn\"; did you mean \"[listen]\"?"
        );
    }

    #[test]
    fn a_wrong_value_is_told_with_its_line_and_what_is_right() {
        assert_eq!(error("# hm\nplain = 1\n"), "inglenook.toml:2: plain must be true or false");
        assert!(
            error("domain = \"juliet@example.org\"\n").starts_with("inglenook.toml:1: domain must be a domain name")
        );
        assert!(error("scram_iterations = 1\n").ends_with("a number from 4096 to 1000000"));
        for wrong in ["house", "house:", "house:99999", "::1:5222", "[::1]", "[house]:1", ":5222"] {
            assert!(error(&format!("resume_at = \"{wrong}\"\n")).contains("resume_at must be"), "{wrong}");
        }
        assert!(error("offline_bytes = -1\n").contains("offline_bytes must be a number"));
        assert!(error("archive_days = 36501\n").ends_with("a number of days from 0 to 36500"));
        assert!(error("archive_bytes = 1\n").ends_with("0, or a number of bytes from 1048576 to 1099511627776"));
        assert!(error("log = \"loud\"\n").contains("\"error\", \"warn\""));
        assert!(error("[listen]\nc2s = [\n  \"5222\"\n]\n").starts_with("inglenook.toml:2: listen.c2s must be a list"));
        assert!(error("[rooms]\ncreate = \"nobody\"\n").contains("rooms.create must be \"local\""));
        assert!(error("[contacts]\nadmin = [\"juliet\"]\n").contains("contacts.admin must be a list of URIs"));
        assert!(error("mdns = true\n").ends_with("mdns must be \"auto\", \"on\" or \"off\""));
        assert!(error("listen = 3\n").starts_with("inglenook.toml:1: listen must be a table"));
    }

    #[test]
    fn components_have_an_address_and_a_secret() {
        let read = |text: &str| Config::parse("f", &format!("[components]\n{text}\n"));
        let domain = domain("example.org").unwrap();
        let config = read("\"IRC.example.org\" = \"0123456789abcdef\"").unwrap();
        config.check_components(&domain).unwrap();
        assert_eq!(config.components.keys().map(Jid::as_str).collect::<Vec<_>>(), ["irc.example.org"]);
        assert!(!format!("{config:?}").contains("0123456789abcdef"), "secrets are not shown");
        for (name, why) in [
            ("example.org", "must end with .example.org"),
            ("badexample.org", "must end with"),
            ("irc.example.com", "must end with"),
            ("conference.example.org", "a service of this server itself"),
            ("pubsub.example.org", "a service of this server itself"),
            ("upload.example.org", "a service of this server itself"),
        ] {
            let config = read(&format!("\"{name}\" = \"0123456789abcdef\"")).unwrap();
            let error = config.check_components(&domain).unwrap_err().0;
            assert!(error.contains(why) && error.contains(name), "{error}");
        }
        let elsewhere = "\"upload.example.org\" = \"0123456789abcdef\"\n[uploads]\nenabled = false";
        read(elsewhere).unwrap().check_components(&domain).unwrap();
        for (line, why) in [
            ("irc = \"0123456789abcdef\"", "with its whole address"),
            ("irc.example.org = \"0123456789abcdef\"", "with its whole address"),
            ("\"a@irc.example.org\" = \"0123456789abcdef\"", "with its whole address"),
            ("\"irc.example.org\" = \"0123456789abcde\"", "a secret of 16 to 1023 bytes"),
            ("\"irc.example.org\" = 17", "a secret of 16 to 1023 bytes"),
        ] {
            let error = read(line).unwrap_err().0;
            assert!(error.starts_with("f:2: components.") && error.contains(why), "{error}");
            assert!(!error.contains("0123456789abcde"), "secrets are not shown");
        }
    }

    #[test]
    fn what_has_no_tls_stays_on_the_box() {
        assert_eq!(Config::default().addresses(COMPONENT).len(), 2);
        assert!(Config::parse("f", "[listen]\ncomponent = [\"[::1]:1\", \"127.9.9.9:0\"]").is_ok());
        for out in ["0.0.0.0:5347", "[::]:5347", "192.168.1.5:5347"] {
            assert!(error(&format!("[listen]\ncomponent = [\"{out}\"]\n")).contains("nothing without TLS leaves it"));
        }
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        assert!(error("plain = true\nplain = false\n").starts_with("inglenook.toml:2: "));
        assert!(error("plain = true\n= 3\n").starts_with("inglenook.toml:2: "));
    }

    #[test]
    fn what_is_there_twice_is_named() {
        assert_eq!(
            error("plain = true\n\nplain = false\n"),
            "inglenook.toml:3: plain is there twice: keep one of the two"
        );
        assert!(error("[listen]\nc2s = []\n[rooms]\n[listen]\nc2s_tls = []\n").contains("listen is there twice"));
        let secret = "\"irc.example.org\" = \"0123456789abcdef\"\n";
        let said = error(&format!("[components]\n{secret}{secret}"));
        assert!(said.contains("irc.example.org") && said.contains("twice") && !said.contains("0123456789"), "{said}");
    }

    #[test]
    fn a_setting_of_the_top_below_a_table_is_told_where_to_go() {
        let components = "[components]\n\"irc.example.org\" = \"0123456789abcdef\"\n";
        assert_eq!(
            error(&format!("plain = true\n{components}admins = [\"juliet@example.org\"]\n")),
            "inglenook.toml:4: admins is a setting of the top: put it above line 2 `[components]`"
        );
        // Above all tables, not only the last one.
        let said = error(&format!("[listen]\nc2s = []\n{components}plain = true\n"));
        assert!(said.ends_with("f the top: put it above line 1 `[listen]`"), "{said}");
        for table in ["listen", "push", "rooms", "contacts"] {
            let said = error(&format!("\n[{table}]\ndomain = \"example.org\"\n"));
            assert_eq!(
                said,
                format!("inglenook.toml:3: domain is a setting of the top: put it above line 2 `[{table}]`")
            );
        }
    }

    #[test]
    fn text_without_straight_quotes_is_told_as_it_should_be() {
        for (line, right) in [
            ("domain = chat.lan", "domain = \"chat.lan\""),
            ("domain = \u{201c}chat.lan\u{201d}", "domain = \"chat.lan\""),
            ("domain = \u{2018}chat.lan\u{2019} # ours", "domain = \"chat.lan\""),
            ("domain = \u{201e}chat.lan\u{201c}", "domain = \"chat.lan\""),
            ("domain = \"chat.lan", "domain = \"chat.lan\""),
            ("domain = chat.lan\"", "domain = \"chat.lan\""),
            ("log=debug", "log = \"debug\""),
            ("admins = juliet@example.org", "admins = [\"juliet@example.org\"]"),
            (
                "admins = [\u{201c}juliet@example.org\u{201d}, romeo@example.org]",
                "admins = [\"juliet@example.org\", \"romeo@example.org\"]",
            ),
        ] {
            let said = error(&format!("plain = true\n{line}\nshow_os = true\n"));
            let line = line.trim();
            let wanted = format!("inglenook.toml:2: \"{line}\" cannot be read: put it in straight quotes: {right}");
            assert_eq!(said, wanted);
            // What is told is right.
            Config::parse("f", right).unwrap();
        }
        assert!(error("plain = True\n").ends_with("\"plain = True\" cannot be read: plain must be true or false"));
        for line in
            ["\"irc.example.org\" = 0123x456789abcdef", "\u{201c}irc.example.org\u{201d} = \"0123x456789abcdef\""]
        {
            let said = error(&format!("[components]\n{line}\n"));
            assert!(said.starts_with("inglenook.toml:2: ") && said.contains("straight quotes"), "{said}");
            assert!(!said.contains("0123x"), "secrets are not shown: {said}");
        }
    }

    #[test]
    fn what_everybody_in_the_house_has() {
        let read = |text: &str| Config::parse("f", &format!("[house]\n{text}\n")).unwrap().household;
        let room = |text: &str| (read(text).room, read(text).room_local.into_string());
        assert_eq!(room(""), (Given::InNewHouses, "everybody".into()));
        assert_eq!(room("room = true"), (Given::Everywhere, "everybody".into()));
        assert_eq!(room("room = \"Hall\""), (Given::Everywhere, "hall".into()));
        assert_eq!((room("room = \"\"").0, room("room = false").0), (Given::Nowhere, Given::Nowhere));
        assert_eq!((read("").contacts, read("contacts = true").contacts), (Given::InNewHouses, Given::Everywhere));
        assert_eq!(read("contacts = false").contacts, Given::Nowhere);
        assert_eq!(read("name = \"The Capulets\"").name, "The Capulets");
        let long = format!("name = \"{}\"", "x".repeat(101));
        for wrong in ["room = \"a b\"", "room = \"a@b\"", "room = 3", "contacts = \"yes\"", "name = \" x\"", &long] {
            let error = error(&format!("[house]\n{wrong}\n"));
            assert!(error.starts_with("inglenook.toml:2: house.") && error.contains("must be"), "{error}");
        }
    }

    #[test]
    fn everything_can_be_set() {
        let text = "domain = \"Example.ORG\"\nadmins = [\"juliet@example.org\"]\nplain = true\nregistration = true\n\
                    scram_iterations = 4096\noffline_bytes = 0x10\narchive_days = 0\narchive_bytes = 0x10_0000\nshow_os = true\n\
                    resume_s = 0\nresume_at = \"[::1]:5223\"\nconnections = 5\n\
                    connections_per_address = 2\ncommit_window_ms = 0\nlog = \"debug\"\nmdns = \"off\"\n\
                    [push]\ncontent = \"full\"\n[rooms]\ncreate = \"admins\"\n\
                    [uploads]\nenabled = false\nfile_bytes = 1024\naccount_bytes = 1048576\ntotal_bytes = 2097152\ndays = 0\n\
                    [contacts]\nadmin = [\"xmpp:juliet@example.org\"]\nabuse = [\"mailto:a@b.c\"]\n";
        let config = Config::parse("f", text).unwrap();
        assert_eq!(config.domain.unwrap().as_str(), "example.org");
        assert_eq!((config.offline_bytes, config.connections, config.connections_per_address), (16, 5, 2));
        assert_eq!(config.log, log::LevelFilter::Debug);
        assert_eq!((config.resume_s, config.resume_at.as_deref()), (0, Some("[::1]:5223")));
        assert_eq!((config.archive_days, config.archive_bytes), (0, 1 << 20));
        assert!(config.plain && config.registration && config.show_os);
        assert_eq!((config.mdns, Config::default().mdns), (MdnsSetting::Off, MdnsSetting::Auto));
        assert_eq!(config.push_content, core::PushContent::Full);
        assert_eq!(config.create_rooms, core::Creators::Admins);
        let uploads =
            UploadSettings { enabled: false, file_bytes: 1024, account_bytes: 1 << 20, total_bytes: 1 << 21, days: 0 };
        assert_eq!(config.uploads, uploads);
        assert_eq!(config.contacts.len(), 2);
        assert!(config.contacts.contains(&("admin".into(), "xmpp:juliet@example.org".into())));
    }
}
