//! What the service and its rooms tell of themselves (XEP-0045 §6).

use super::Muc;
use super::affiliation::Privilege;
use super::room::Room;
use super::{hats, moderate, register, search, vcard, voice};
use crate::core::{About, Flow, Handled, State};
use crate::ext::disco::{Identity, Info, InfoForm, items, query};
use crate::ext::rsm;
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Ns, Stanza, StanzaError};
use std::collections::BTreeSet;

/// Rooms in one answer.
const ITEMS: usize = 200;

/// XEP-0421: done by rooms.
pub(super) const OCCUPANT_ID: About =
    About::new("XEP-0421", "Occupant identifiers for semi-anonymous MUCs", "1.0.1", "");

/// What the service can do.
const SERVICE: &[&str] = &[
    "http://jabber.org/protocol/disco#info",
    "http://jabber.org/protocol/disco#items",
    "http://jabber.org/protocol/muc",
    "http://jabber.org/protocol/muc#stable_id",
    "http://jabber.org/protocol/rsm",
    "urn:xmpp:occupant-id:0",
    "urn:xmpp:ping",
];

/// What every room can do.
const ROOM: &[&str] = &[
    "http://jabber.org/protocol/disco#info",
    "http://jabber.org/protocol/disco#items",
    "http://jabber.org/protocol/muc",
    "http://jabber.org/protocol/muc#self-ping-optimization",
    "http://jabber.org/protocol/muc#stable_id",
    "urn:xmpp:occupant-id:0",
    "urn:xmpp:ping",
    "urn:xmpp:sid:0",
];

/// What one with an archive can do besides.
const ARCHIVE: &[&str] = &["urn:xmpp:mam:2", "urn:xmpp:mam:2#extended"];

/// The node where a room tells what it lets through (§18.1.1): everything.
const TRAFFIC: &str = "http://jabber.org/protocol/muc#traffic";
/// The node with the commands of a room (XEP-0050 §3.1).
const COMMANDS: &str = "http://jabber.org/protocol/commands";
/// The node where somebody learns which nickname is theirs (§7.12).
const NICK: &str = "x-roomuser-item";
/// The node where a client tells in which rooms it is (§6.7).
const FORM: &str = "http://jabber.org/protocol/muc#roominfo";

fn identity(name: &str) -> Identity {
    Identity { category: "conference", ty: "text", lang: "", name: name.to_owned().into() }
}

impl Room {
    /// The name in the room's configuration; without one, its localpart.
    fn title(&self) -> &str {
        if self.config.name.is_empty() { self.local() } else { &self.config.name }
    }

    fn info(&self, from: &Jid) -> Info {
        let config = &self.config;
        let pick = |yes: bool, on: &'static str, off: &'static str| if yes { on } else { off };
        let kinds = [
            pick(config.public, "muc_public", "muc_hidden"),
            pick(config.persistent, "muc_persistent", "muc_temporary"),
            pick(config.members_only, "muc_membersonly", "muc_open"),
            pick(config.moderated, "muc_moderated", "muc_unmoderated"),
            pick(config.semi_anonymous, "muc_semianonymous", "muc_nonanonymous"),
            pick(config.password.is_some(), "muc_passwordprotected", "muc_unsecured"),
        ];
        let mut features: BTreeSet<&'static str> = ROOM.iter().chain(&kinds).copied().collect();
        features.extend(
            [register::FEATURES, voice::FEATURES, moderate::FEATURES, hats::FEATURES, vcard::FEATURES].concat(),
        );
        if config.archive {
            features.extend(ARCHIVE);
        }
        // What it is about is for those who may come in, or for everybody.
        let told = config.public || self.may(from, Privilege::Enter);
        let name = if told { self.title() } else { self.local() };
        let mut info = Info { identities: [identity(name)].into(), features, ..Info::default() };
        if told {
            info.forms.insert(FORM, self.form(from));
        }
        info
    }

    /// `muc#roominfo` (§16.5.4), and what of the configuration is worth knowing before one enters.
    fn form(&self, from: &Jid) -> InfoForm {
        let config = &self.config;
        let mut form = InfoForm::new();
        let mut put = |var: &str, value: String| {
            if !value.is_empty() {
                form.entry(var.into()).or_default().insert(value);
            }
        };
        let flag = |yes: bool| u8::from(yes).to_string();
        put("muc#roomconfig_roomname", config.name.clone());
        put("muc#roominfo_description", config.description.clone());
        put("muc#roominfo_lang", config.lang.clone());
        put("muc#roomconfig_pubsub", config.pubsub.clone());
        put("muc#roominfo_occupants", self.occupants.len().to_string());
        put("muc#roominfo_subjectmod", flag(config.subject));
        put("muc#roomconfig_changesubject", flag(config.subject));
        put("muc#roomconfig_allowinvites", flag(config.invites));
        put("muc#roomconfig_membersonly", flag(config.members_only));
        put("muc#roomconfig_moderatedroom", flag(config.moderated));
        put("muc#roomconfig_allowpm", config.private_word().into());
        put("muc#maxhistoryfetch", config.history.to_string());
        if self.may(from, Privilege::ReadArchive) {
            put("muc#roominfo_subject", self.subject.text());
        }
        if self.may(from, Privilege::SeeJids) {
            let owners = self
                .affiliations
                .iter()
                .filter(|(_, known)| known.affiliation == super::affiliation::Affiliation::Owner);
            owners.for_each(|(jid, _)| put("muc#roominfo_contactjid", jid.to_string()));
        }
        vcard::fields(self, &mut form);
        hats::fields(self, &mut form);
        form
    }
}

impl Muc {
    /// §6.2, §6.3
    pub(super) fn service_disco(&mut self, st: &mut State, iq: &Stanza) -> Handled {
        let (ns, node) = query(iq)?;
        if node.is_some() {
            return Err(Condition::ItemNotFound.into());
        }
        if ns == Ns::DISCO_INFO {
            let features =
                SERVICE.iter().copied().chain(search::FEATURES.iter().chain(vcard::FEATURES).copied()).collect();
            let info = Info { identities: [identity("Rooms")].into(), features, ..Info::default() };
            return st.reply(iq, info.write(None));
        }
        let (Some(from), Some(request)) = (&iq.from, iq.children().next()) else { return Ok(Flow::Pass) };
        // Hidden ones are only for those who belong there.
        let seen = |room: &&Room| {
            let own =
                room.affiliation(from) >= super::affiliation::Affiliation::Member || room.sessions.contains_key(from);
            !room.locked && (room.config.public || own)
        };
        let page = rsm::read(request)?;
        let max = page.max.unwrap_or(ITEMS).min(ITEMS);
        let mut list: Vec<&Room> = self.rooms.values().filter(seen).collect();
        let all = list.len();
        let place = |list: &[&Room], id: &str| list.iter().position(|room| room.jid.as_str() == id);
        let gone = || StanzaError::from(Condition::ItemNotFound);
        if let Some(before) = page.before.as_deref().filter(|id| !id.is_empty()) {
            list.truncate(place(&list, before).ok_or_else(gone)?);
        }
        if let Some(after) = page.after.as_deref() {
            list.drain(..=place(&list, after).ok_or_else(gone)?);
        }
        if page.before.is_some() {
            list.drain(..list.len().saturating_sub(max));
        } else {
            list.truncate(max);
        }
        let mut out = String::from("<query xmlns='http://jabber.org/protocol/disco#items'>");
        for room in &list {
            out += &format!("<item jid='{}' name='{}'/>", escaped(room.jid.as_str()), escaped(room.title()));
        }
        if request.child(Ns::RSM, "set").is_some() || list.len() < all {
            let ends = list.first().zip(list.last()).map(|(first, last)| (first.jid.as_str(), last.jid.as_str()));
            let set = rsm::page(ends);
            out += &set.replace("</set>", &format!("<count>{all}</count></set>"));
        }
        st.reply(iq, out + "</query>")
    }

    /// §6.4, §6.5, §7.12
    pub(super) fn room_disco(&mut self, st: &mut State, local: &str, iq: &Stanza) -> Handled {
        let Some(from) = iq.from.clone() else { return Ok(Flow::Pass) };
        let (ns, node) = query(iq)?;
        let room = self.room(local, &from)?;
        match (ns == Ns::DISCO_INFO, node.as_deref()) {
            (true, None) => st.reply(iq, room.info(&from).write(None)),
            // Nothing is kept back.
            (true, Some(TRAFFIC)) => Err(Condition::ServiceUnavailable.into()),
            (true, Some(NICK)) => {
                let nick = room.affiliations.get(from.bare_str()).and_then(|known| known.nick.as_deref());
                let identity =
                    nick.map(|nick| format!("<identity category='conference' type='text' name='{}'/>", escaped(nick)));
                let query = format!("<query xmlns='http://jabber.org/protocol/disco#info' node='{NICK}'>");
                st.reply(iq, query + &identity.unwrap_or_default() + "</query>")
            }
            (false, Some(COMMANDS)) => {
                let jid = room.jid.as_str();
                let list = hats::commands(room, &from);
                let item = |(node, name)| format!("<item jid='{}' node='{node}' name='{name}'/>", escaped(jid));
                let list: String = list.into_iter().map(item).collect();
                let query = format!("<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'>");
                st.reply(iq, query + &list + "</query>")
            }
            (false, None) => {
                // §6.5: who is there is for those who are there, too.
                let inside = room.sessions.contains_key(&from);
                let broadcast = room.config.broadcast;
                let seen = room.occupants.iter().filter(|(_, o)| inside && broadcast.has(o.role));
                let jids = seen.filter_map(|(nick, _)| room.jid.with_resource(nick).ok());
                let list: Vec<(String, &str)> = jids.map(|jid| (jid.to_string(), "")).collect();
                st.reply(iq, items(&list, None))
            }
            _ => Err(Condition::ItemNotFound.into()),
        }
    }
}
