//! What the owners of a room can choose (XEP-0045 §10.1.3, §16.5.3).

use super::affiliation::{Role, Roles};
use crate::core::RoomKind;
use crate::store::record::{Broken, Reader, Writer};

/// The options of a room. The default is what a team expects: it stays, only members come in, everybody knows who is who (so that
/// OMEMO works), members bring others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RoomConfig {
    /// `muc#roomconfig_roomname`; empty: none.
    pub(super) name: String,
    /// `muc#roomconfig_roomdesc`; empty: none.
    pub(super) description: String,
    /// `muc#roomconfig_lang`; empty: none.
    pub(super) lang: String,
    /// `muc#roomconfig_pubsub`, an XMPP URI; empty: none.
    pub(super) pubsub: String,
    /// `muc#roomconfig_passwordprotectedroom` and `muc#roomconfig_roomsecret`.
    pub(super) password: Option<String>,
    /// `muc#roomconfig_publicroom`: everybody finds it.
    pub(super) public: bool,
    /// `muc#roomconfig_persistentroom`: it stays when nobody is there.
    pub(super) persistent: bool,
    /// `muc#roomconfig_membersonly`
    pub(super) members_only: bool,
    /// `muc#roomconfig_moderatedroom`: who is nobody special enters without voice.
    pub(super) moderated: bool,
    /// `muc#roomconfig_whois` is `moderators`, not `anyone`.
    pub(super) semi_anonymous: bool,
    /// `muc#roomconfig_allowinvites`: not only moderators invite.
    pub(super) invites: bool,
    /// `muc#roomconfig_changesubject`: not only moderators change the subject.
    pub(super) subject: bool,
    /// `muc#roomconfig_enablelogging`: what is said is archived (XEP-0313), and can be read by whoever may enter.
    pub(super) archive: bool,
    /// `muc#maxhistoryfetch`: messages that somebody gets who enters, at most.
    pub(super) history: u32,
    /// `muc#roomconfig_maxusers`
    pub(super) max_users: u32,
    /// `muc#roomconfig_allowpm`: who may send private messages (`anyone`, `participants`, `moderators`, `none`).
    pub(super) private: Roles,
    /// `muc#roomconfig_presencebroadcast`: whose presence the others see.
    pub(super) broadcast: Roles,
    /// `muc#roomconfig_getmemberlist`: the roles in which members may get the list of members; without a role they may.
    pub(super) member_list: Roles,
}

/// The longest name, in bytes.
pub(super) const NAME_BYTES: usize = 256;
/// The longest description, in bytes.
pub(super) const DESCRIPTION_BYTES: usize = 4096;
/// The longest language tag, address of a node or password, in bytes.
pub(super) const FIELD_BYTES: usize = 512;
/// Messages that are sent to somebody who enters, at most, whatever the owner says.
pub(super) const HISTORY_MOST: u32 = 250;
/// Occupants of a room, at most, whatever the owner says.
pub(super) const OCCUPANTS_MOST: u32 = 1000;

impl Default for RoomConfig {
    fn default() -> RoomConfig {
        RoomConfig {
            name: String::new(),
            description: String::new(),
            lang: String::new(),
            pubsub: String::new(),
            password: None,
            public: false,
            persistent: true,
            members_only: true,
            moderated: false,
            semi_anonymous: false,
            invites: true,
            subject: true,
            archive: true,
            history: 50,
            max_users: 500,
            private: Roles::ALL,
            broadcast: Roles::ALL,
            member_list: Roles::ALL,
        }
    }
}

const VERSION: u8 = 1;

impl RoomConfig {
    /// What a new room is like, as the owner of the box wants it.
    pub(super) fn of(kind: RoomKind) -> RoomConfig {
        match kind {
            RoomKind::Group => RoomConfig::default(),
            RoomKind::Channel => {
                RoomConfig { public: true, members_only: false, semi_anonymous: true, ..RoomConfig::default() }
            }
        }
    }

    /// The options that are yes or no, with the number of the bit that each has in records, for good.
    fn flags(&mut self) -> [(u8, &mut bool); 8] {
        [
            (0, &mut self.public),
            (1, &mut self.persistent),
            (2, &mut self.members_only),
            (3, &mut self.moderated),
            (4, &mut self.semi_anonymous),
            (5, &mut self.invites),
            (6, &mut self.subject),
            (7, &mut self.archive),
        ]
    }

    /// Its row in the database. `begins`: the first number in the room's archive; `open`: the first one whose sender everybody may
    /// know who is let in.
    pub(super) fn record(&self, begins: u64, open: u64) -> Box<[u8]> {
        let flags = self.clone().flags().iter().fold(0, |all, (n, flag)| all | u32::from(**flag) << n);
        let texts = [&self.name, &self.description, &self.lang, &self.pubsub];
        let w = texts.into_iter().fold(Writer::new(VERSION).u64(begins).u64(open).u32(flags), |w, text| w.str(text));
        let w = w.opt_str(self.password.as_deref()).u32(self.history).u32(self.max_users);
        [self.private, self.broadcast, self.member_list].into_iter().fold(w, |w, roles| w.u8(roles.0)).done()
    }

    pub(super) fn from_record(record: &[u8]) -> Result<(RoomConfig, u64, u64), Broken> {
        let mut r = Reader::new(record)?;
        if r.version != VERSION {
            return Err(Broken);
        }
        let (begins, open) = (r.u64()?, r.u64()?);
        let mut config = RoomConfig::default();
        let flags = r.u32()?;
        for (n, flag) in config.flags() {
            *flag = flags & (1 << n) != 0;
        }
        for text in [&mut config.name, &mut config.description, &mut config.lang, &mut config.pubsub] {
            *text = r.str()?.into();
        }
        config.password = r.opt_str()?.map(String::from);
        (config.history, config.max_users) = (r.u32()?, r.u32()?);
        for roles in [&mut config.private, &mut config.broadcast, &mut config.member_list] {
            *roles = Roles(r.u8()? & Roles::ALL.0);
        }
        Ok((config, begins, open))
    }

    /// The bytes of its texts.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.name, &self.description, &self.lang, &self.pubsub];
        texts.map(String::len).iter().sum::<usize>() + self.password.as_ref().map_or(0, String::len)
    }

    /// The roles that `muc#roomconfig_allowpm` means.
    pub(super) fn private_of(word: &str) -> Option<Roles> {
        Some(match word {
            "anyone" => Roles::ALL,
            "participants" => Roles::of([Role::Participant, Role::Moderator]),
            "moderators" => Roles::of([Role::Moderator]),
            "none" => Roles::of([]),
            _ => return None,
        })
    }

    /// What `muc#roomconfig_allowpm` says.
    pub(super) fn private_word(&self) -> &'static str {
        let words = ["anyone", "participants", "moderators", "none"];
        words.into_iter().find(|word| RoomConfig::private_of(word) == Some(self.private)).unwrap_or("anyone")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back() {
        let other = RoomConfig {
            name: "Fair Verona".into(),
            password: Some("wherefore".into()),
            public: true,
            archive: false,
            history: 7,
            private: RoomConfig::private_of("moderators").unwrap(),
            ..RoomConfig::default()
        };
        for config in [RoomConfig::default(), other] {
            let record = config.record(9, 10);
            assert_eq!(RoomConfig::from_record(&record), Ok((config, 9, 10)));
            for end in 0..record.len() {
                assert_eq!(RoomConfig::from_record(&record[..end]), Err(Broken), "{end}");
            }
        }
    }

    #[test]
    fn bits_are_those_on_disks() {
        let none = RoomConfig {
            persistent: false,
            members_only: false,
            invites: false,
            subject: false,
            archive: false,
            ..RoomConfig::default()
        };
        let flags: [fn(&mut RoomConfig); 8] = [
            |c| c.public = true,
            |c| c.persistent = true,
            |c| c.members_only = true,
            |c| c.moderated = true,
            |c| c.semi_anonymous = true,
            |c| c.invites = true,
            |c| c.subject = true,
            |c| c.archive = true,
        ];
        for (set, bits) in flags.into_iter().zip([1_u32, 2, 4, 8, 16, 32, 64, 128]) {
            let mut config = none.clone();
            set(&mut config);
            // Behind the version, `begins` and `open`.
            assert_eq!(config.record(9, 10)[17..21], bits.to_le_bytes());
        }
        let sets = RoomConfig {
            private: Roles(0b1000),
            broadcast: Roles(0b0100),
            member_list: Roles(0b0010),
            ..RoomConfig::default()
        };
        assert!(sets.record(9, 10).ends_with(&[0b1000, 0b0100, 0b0010]));
    }

    #[test]
    fn who_sends_private_messages() {
        for word in ["anyone", "participants", "moderators", "none"] {
            let config = RoomConfig { private: RoomConfig::private_of(word).unwrap(), ..RoomConfig::default() };
            assert_eq!(config.private_word(), word);
        }
        assert_eq!(RoomConfig::private_of("everybody"), None);
    }
}
