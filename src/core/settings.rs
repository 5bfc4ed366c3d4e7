//! What the core must know of the settings.

use crate::wire::{Jid, Secret};
use std::collections::BTreeMap;

/// What a notification tells those who carry it to a phone (XEP-0357).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushContent {
    /// That there is something, and how much.
    None,
    /// Also who the last message is from.
    Sender,
    /// Also what it says.
    Full,
}

/// Who may create rooms (XEP-0045 §10.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Creators {
    /// Whoever has an account here.
    #[default]
    Local,
    /// The administrators.
    Admins,
    /// Anybody, also from other servers.
    Anybody,
}

/// Who may invite people from an app (XEP-0401).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Inviters {
    /// Whoever has an account here.
    #[default]
    Everybody,
    /// The administrators.
    Admins,
    /// Nobody: the owner of the box does, by command.
    Nobody,
}

/// What new rooms are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RoomKind {
    /// For its members, who know each other by their addresses, and hidden from all others.
    #[default]
    Group,
    /// Open to everybody, in the list of rooms, and only moderators see the addresses.
    Channel,
}

/// In which houses something is given to everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Given {
    /// In none.
    #[default]
    Nowhere,
    /// In one that began with it: it had no account before.
    InNewHouses,
    /// In any; who was there before gets it once, at the start.
    Everywhere,
}

/// What everybody in the house has without asking for it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Household {
    /// What the house is called; empty: after its domain.
    pub name: String,
    /// Whether everybody is everybody's contact.
    pub contacts: Given,
    /// Whether there is a room for all.
    pub room: Given,
    /// The localpart of its address.
    pub room_local: Box<str>,
}

/// Which other servers are talked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Federates {
    /// None.
    Nobody,
    /// Those that are listed or pinned.
    #[default]
    Listed,
    /// All that can prove who they are, and are not blocked.
    Everybody,
}

/// Which other servers are talked to, and what they must prove. A domain in a list stands for those below it, too.
#[derive(Clone, Debug, Default)]
pub struct Federation {
    /// In general.
    pub with: Federates,
    /// Those that are talked to in any case.
    pub allow: Vec<Jid>,
    /// Those that never are.
    pub block: Vec<Jid>,
    /// Those whose keys the owner has pinned, with the SHA-256 of the key: they are talked to in any case.
    pub pinned: BTreeMap<Jid, [u8; 32]>,
    /// Those that may prove by their DNS alone who they are (XEP-0220).
    pub dialback_for: Vec<Jid>,
    /// Those to which there is always a stream, as they may have no other way to us.
    pub kept: Vec<Jid>,
}

/// The settings of the core; the file's are read by `service::config`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domain that is served.
    pub domain: Jid,
    /// SCRAM iterations for new passwords.
    pub iterations: u32,
    /// Offline messages kept for an account, in bytes.
    pub offline_bytes: usize,
    /// How long a message stays in the archives, in days; 0: as long as there is room.
    pub archive_days: u32,
    /// What all archives may take together, in bytes.
    pub archive_bytes: u64,
    /// What may wait for all clients together that have not acknowledged it, in bytes.
    pub waiting_bytes: usize,
    /// How long a session waits for its client when the connection is lost, in seconds; 0: not at all (XEP-0198 §5).
    pub resume_s: u32,
    /// Where clients should go to resume a session, as `host:port`, if that is elsewhere than usual.
    pub resume_at: Option<String>,
    /// What a notification for a phone tells (XEP-0357).
    pub push_content: PushContent,
    /// Whether the operating system is named in XEP-0092 answers.
    pub show_os: bool,
    /// Whether strangers may make accounts (XEP-0077).
    pub registration: bool,
    /// Who may invite people from an app (XEP-0401).
    pub inviters: Inviters,
    /// Contact addresses of the server (XEP-0157): (kind as in the XEP, such as `admin`; URI).
    pub contacts: Vec<(String, String)>,
    /// Bare JIDs of the administrators.
    pub admins: Vec<Jid>,
    /// The external components that may connect, by their domains (XEP-0114).
    pub components: BTreeMap<Jid, Secret>,
    /// Which other servers are talked to.
    pub federation: Federation,
    /// Who may create rooms.
    pub create_rooms: Creators,
    /// What new rooms are like.
    pub room_kind: RoomKind,
    /// Accounts that strangers at one address may make in an hour.
    pub registrations_an_hour: u32,
    /// What everybody in the house has.
    pub household: Household,
    /// The largest file that can be uploaded, in bytes; `None`: none can (XEP-0363 §3).
    pub upload_bytes: Option<u64>,
}

impl Settings {
    /// The defaults for a domain.
    pub fn new(domain: Jid) -> Settings {
        Settings {
            domain,
            iterations: 10_000,
            offline_bytes: 4 * 1024 * 1024,
            archive_days: 365,
            archive_bytes: 256 * 1024 * 1024,
            waiting_bytes: 128 * 1024 * 1024,
            resume_s: 600,
            resume_at: None,
            push_content: PushContent::None,
            show_os: false,
            registration: false,
            inviters: Inviters::default(),
            contacts: Vec::new(),
            admins: Vec::new(),
            components: BTreeMap::new(),
            federation: Federation::default(),
            create_rooms: Creators::default(),
            room_kind: RoomKind::default(),
            registrations_an_hour: 3,
            household: Household::default(),
            upload_bytes: Some(100 * 1024 * 1024 + 16),
        }
    }
}
