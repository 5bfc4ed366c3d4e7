//! The use cases of owners (XEP-0045 §10): configuring a room for the first time and later, and destroying it. Owners and admins are
//! made in [`super::admin`], or as a field of the configuration.

use super::affiliation::{Affiliation, Privilege, Role, Roles};
use super::config::{DESCRIPTION_BYTES, FIELD_BYTES, HISTORY_MOST, NAME_BYTES, OCCUPANTS_MOST, RoomConfig};
use super::presence::Notice;
use super::room::Room;
use super::{Muc, admin, invite};
use crate::core::{Flow, Handled, State};
use crate::ext::form::{self, Submitted};
use crate::wire::xml::{escape, escaped};
use crate::wire::{Condition, Jid, Kind, Node, Ns, Stanza, StanzaError, Type};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const FORM_TYPE: &str = "http://jabber.org/protocol/muc#roomconfig";
/// Fields in a form: clients send those of other servers, too.
const FIELDS: usize = 256;

/// The options that are yes or no.
type Flag = (&'static str, &'static str, fn(&mut RoomConfig) -> &mut bool);
const FLAGS: [Flag; 7] = [
    ("muc#roomconfig_persistentroom", "Stays when everybody has left", |c| &mut c.persistent),
    ("muc#roomconfig_publicroom", "Everybody can find it", |c| &mut c.public),
    ("muc#roomconfig_membersonly", "Only members come in", |c| &mut c.members_only),
    ("muc#roomconfig_moderatedroom", "Who is no member needs voice to speak", |c| &mut c.moderated),
    ("muc#roomconfig_changesubject", "Participants may change the subject", |c| &mut c.subject),
    ("muc#roomconfig_allowinvites", "Members may invite others", |c| &mut c.invites),
    ("muc#roomconfig_enablearchiving", "What is said is archived", |c| &mut c.archive),
];

/// The options that are text: with the most bytes that they may have.
type Text = (&'static str, &'static str, usize, fn(&mut RoomConfig) -> &mut String);
const TEXTS: [Text; 4] = [
    ("muc#roomconfig_roomname", "Name", NAME_BYTES, |c| &mut c.name),
    ("muc#roomconfig_roomdesc", "Description", DESCRIPTION_BYTES, |c| &mut c.description),
    ("muc#roomconfig_lang", "Language, such as 'en'", FIELD_BYTES, |c| &mut c.lang),
    ("muc#roomconfig_pubsub", "Publish-subscribe node, as an XMPP URI", FIELD_BYTES, |c| &mut c.pubsub),
];

/// The options that are sets of roles.
type Set = (&'static str, &'static str, fn(&mut RoomConfig) -> &mut Roles);
const SETS: [Set; 2] = [
    ("muc#roomconfig_presencebroadcast", "Whose presence the others see", |c| &mut c.broadcast),
    ("muc#roomconfig_getmemberlist", "Members that may get the list of members", |c| &mut c.member_list),
];

const MAX_USERS: &str = "muc#roomconfig_maxusers";
const HISTORY: &str = "muc#maxhistoryfetch";
const WHOIS: &str = "muc#roomconfig_whois";
const PRIVATE: &str = "muc#roomconfig_allowpm";
const PROTECTED: &str = "muc#roomconfig_passwordprotectedroom";
const PASSWORD: &str = "muc#roomconfig_roomsecret";
const ADMINS: &str = "muc#roomconfig_roomadmins";
const OWNERS: &str = "muc#roomconfig_roomowners";

/// A request to a room.
pub(super) fn iq(muc: &mut Muc, st: &mut State, local: &str, iq: &Stanza) -> Handled {
    let Some(from) = iq.from.clone() else { return Ok(Flow::Pass) };
    muc.room(local, &from)?.must(&from, Privilege::Own)?;
    if iq.ty == Type::Set {
        if iq.child(Ns::MUC_OWNER, "query").is_some_and(|query| query.child(Ns::MUC_OWNER, "destroy").is_some()) {
            st.erase()?;
        }
        muc.adopt(st, local, &from);
    }
    let room = muc.room(local, &from)?;
    let bad = |text: &'static str| StanzaError::new(Condition::BadRequest).text(text);
    let query = iq.child(Ns::MUC_OWNER, "query").ok_or_else(|| bad("no such request"))?;
    if iq.ty == Type::Get {
        let form = show(room);
        return st.reply(iq, form);
    }
    if let Some(destroy) = query.child(Ns::MUC_OWNER, "destroy") {
        let element = venue(destroy)?;
        st.erase()?;
        muc.destroy(st, local, &element)?;
        // §10.9: behind what those get who are there.
        return st.confirm_all(iq, "");
    }
    let x =
        query.child(Ns::DATA_FORM, "x").ok_or_else(|| bad("there is neither a form nor a wish to destroy the room"))?;
    match x.attr("type").as_deref() {
        // §10.1.3, §10.2
        Some("cancel") if room.locked => {
            muc.destroy(st, local, "<destroy/>")?;
            st.confirm_all(iq, "")
        }
        Some("cancel") => st.reply(iq, ""),
        // §10.1.2
        _ if x.children().next().is_none() => {
            let config = room.config.clone();
            room.configure(st, config)?;
            st.confirm(iq, "")
        }
        _ if x.children().nth(FIELDS).is_some() => {
            let text = format!("a form has at most {FIELDS} fields");
            Err(StanzaError::new(Condition::NotAcceptable).text(text))
        }
        _ => {
            let mut fields = form::submitted(query, FORM_TYPE)?.unwrap_or_default();
            let mut config = room.config.clone();
            fill(&mut config, &mut fields)?;
            let people = people(room, &from, &mut fields)?;
            let new = |jid: &&Jid| room.known(jid).affiliation <= Affiliation::None && room.nicks_of(jid).is_empty();
            let joins = people.iter().filter(|(_, affiliation)| **affiliation >= Affiliation::Member);
            let added: Vec<Jid> =
                joins.map(|(jid, _)| jid).filter(|jid| config.members_only && new(jid)).cloned().collect();
            st.write()?;
            let told = added.is_empty() || invite::count(&mut muc.knocks, st, &from, added.len()).is_ok();
            let room = muc.room(local, &from)?;
            if config != room.config || room.locked {
                room.configure(st, config)?;
            }
            for (jid, affiliation) in people {
                let nick = room.occupant_of(&from).map(|(nick, _)| nick.to_owned());
                let notice = Notice { actor: nick.as_deref(), ..Notice::default() };
                admin::change_affiliation(room, st, &jid, affiliation, None, &notice)?;
            }
            added.iter().filter(|_| told).for_each(|jid| invite::added(room, st, &from, jid));
            st.confirm(iq, "")
        }
    }
}

/// What is told to all when a room is destroyed (§10.9), made anew of what its owner said.
fn venue(destroy: Node<'_>) -> Result<String, StanzaError> {
    let mut out = String::from("<destroy");
    if let Some(jid) = destroy.attr("jid") {
        let jid = Jid::parse(&jid).map_err(|_| Condition::JidMalformed)?;
        let _ = write!(out, " jid='{}'", escaped(jid.as_str()));
    }
    out.push('>');
    if let Some(password) = destroy.child(Ns::MUC_OWNER, "password").map(|password| password.text()) {
        if password.len() > FIELD_BYTES {
            return Err(Condition::NotAcceptable.into());
        }
        let _ = write!(out, "<password>{}</password>", escaped(&password));
    }
    if let Some(reason) = admin::reason(destroy) {
        let _ = write!(out, "<reason>{}</reason>", escaped(&reason));
    }
    Ok(out + "</destroy>")
}

/// The form as it is now.
fn show(room: &Room) -> String {
    let mut config = room.config.clone();
    let mut out = String::from(
        "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='form'><title>Configuration of ",
    );
    escape(room.jid.as_str(), &mut out);
    let _ = write!(out, "</title><field type='hidden' var='FORM_TYPE'><value>{FORM_TYPE}</value></field>");
    let mut field = |ty: &str, var: &str, label: &str, values: &[&str], options: &[(&str, &str)]| {
        let _ = write!(out, "<field type='{ty}' var='{var}' label='{}'>", escaped(label));
        for value in values.iter().filter(|value| !value.is_empty()) {
            let _ = write!(out, "<value>{}</value>", escaped(value));
        }
        for (label, value) in options {
            let _ = write!(out, "<option label='{label}'><value>{value}</value></option>");
        }
        out.push_str("</field>");
    };
    for (var, label, _, text) in TEXTS {
        field("text-single", var, label, &[text(&mut config)], &[]);
    }
    for (var, label, flag) in FLAGS {
        field("boolean", var, label, &[if *flag(&mut config) { "1" } else { "0" }], &[]);
    }
    let who = if config.semi_anonymous { "moderators" } else { "anyone" };
    field(
        "list-single",
        WHOIS,
        "Who sees the real addresses",
        &[who],
        &[("Anyone", "anyone"), ("Moderators", "moderators")],
    );
    let words =
        [("Anyone", "anyone"), ("Anyone with voice", "participants"), ("Moderators", "moderators"), ("Nobody", "none")];
    field("list-single", PRIVATE, "Who may send private messages", &[config.private_word()], &words);
    for (var, label, set) in SETS {
        let roles = *set(&mut config);
        let chosen: Vec<&str> = ROLES.iter().filter(|role| roles.has(**role)).map(|role| role.as_str()).collect();
        let options = [("Moderator", "moderator"), ("Participant", "participant"), ("Visitor", "visitor")];
        field("list-multi", var, label, &chosen, &options);
    }
    let most = OCCUPANTS_MOST.to_string();
    let current = config.max_users.to_string();
    let mut numbers = vec!["10", "20", "50", "100", "200", "500", most.as_str()];
    if !numbers.contains(&current.as_str()) {
        numbers.push(&current);
    }
    let numbers: Vec<(&str, &str)> = numbers.into_iter().map(|number| (number, number)).collect();
    field("list-single", MAX_USERS, "Occupants at most", &[&current], &numbers);
    field("text-single", HISTORY, "Messages that are sent to who enters, at most", &[&config.history.to_string()], &[]);
    field(
        "boolean",
        PROTECTED,
        "A password is needed to enter",
        &[if config.password.is_some() { "1" } else { "0" }],
        &[],
    );
    field("text-private", PASSWORD, "The password", &[config.password.as_deref().unwrap_or_default()], &[]);
    let owners = "Owners; who sends this stays one";
    for (var, label, affiliation) in [(ADMINS, "Admins", Affiliation::Admin), (OWNERS, owners, Affiliation::Owner)] {
        let known = room.affiliations.iter().filter(|(_, known)| known.affiliation == affiliation);
        let jids: Vec<&str> = known.map(|(jid, _)| jid.as_str()).collect();
        field("jid-multi", var, label, &jids, &[]);
    }
    out + "</x></query>"
}

/// The roles that can be chosen in a list.
const ROLES: [Role; 3] = [Role::Moderator, Role::Participant, Role::Visitor];

fn unacceptable(text: impl Into<std::borrow::Cow<'static, str>>) -> StanzaError {
    StanzaError::new(Condition::NotAcceptable).text(text)
}

/// Takes what a form says of a configuration; what it does not name stays as it is. Unknown fields are left alone: forms of clients
/// have some that other servers know.
fn fill(config: &mut RoomConfig, fields: &mut Submitted) -> Result<(), StanzaError> {
    for (var, _, most, text) in TEXTS {
        let Some(lines) = fields.remove(var) else { continue };
        let said = lines.join("\n");
        if said.len() > most {
            return Err(unacceptable(format!("{var} has at most {most} bytes")));
        }
        *text(config) = said;
    }
    if !config.lang.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(unacceptable("this is not a language tag"));
    }
    for (var, _, flag) in FLAGS {
        if let Some(said) = form::boolean(fields, var)? {
            *flag(config) = said;
        }
    }
    if let Some(who) = form::single(fields, WHOIS)? {
        config.semi_anonymous = match who.as_str() {
            "anyone" => false,
            "moderators" => true,
            _ => return Err(unacceptable("who sees the real addresses is 'anyone' or 'moderators'")),
        };
    }
    if let Some(word) = form::single(fields, PRIVATE)? {
        config.private = RoomConfig::private_of(&word)
            .ok_or_else(|| unacceptable("who may send private messages: anyone, participants, moderators, or none"))?;
    }
    for (var, _, set) in SETS {
        let Some(words) = fields.remove(var) else { continue };
        let roles =
            words.iter().filter(|word| *word != "none").map(|word| ROLES.into_iter().find(|r| r.as_str() == word));
        let roles = roles.collect::<Option<Vec<Role>>>();
        *set(config) =
            Roles::of(roles.ok_or_else(|| unacceptable("the roles are moderator, participant and visitor"))?);
    }
    match form::single(fields, MAX_USERS)?.as_deref() {
        None => {}
        Some("none") => config.max_users = OCCUPANTS_MOST,
        Some(text) => {
            let number = text.parse().ok().filter(|n| (1..=OCCUPANTS_MOST).contains(n));
            config.max_users = number.ok_or_else(|| unacceptable(format!("occupants: 1 to {OCCUPANTS_MOST}")))?;
        }
    }
    if let Some(text) = form::single(fields, HISTORY)? {
        let number = text.parse().ok().filter(|n| *n <= HISTORY_MOST);
        config.history = number.ok_or_else(|| unacceptable(format!("messages of the history: 0 to {HISTORY_MOST}")))?;
    }
    let given = fields.contains_key(PASSWORD);
    let password = form::single(fields, PASSWORD)?;
    if password.as_ref().is_some_and(|password| password.len() > FIELD_BYTES) {
        return Err(unacceptable(format!("a password has at most {FIELD_BYTES} bytes")));
    }
    // One that is given is meant.
    match form::boolean(fields, PROTECTED)?.unwrap_or(config.password.is_some() || password.is_some()) {
        false => config.password = None,
        true => {
            if given {
                config.password = password;
            }
            // §10.1.3
            if config.password.is_none() {
                return Err(unacceptable("the password is missing"));
            }
        }
    }
    Ok(())
}

/// The full lists of admins and owners, if the form has them: whom that makes something else. Who sends the form stays an owner: that
/// is given up by itself (§10.4).
fn people(room: &Room, from: &Jid, fields: &mut Submitted) -> Result<BTreeMap<Jid, Affiliation>, StanzaError> {
    let mut changes = BTreeMap::new();
    let mut listed = BTreeMap::new();
    let mut given = [false; 2];
    for (n, (var, affiliation)) in [(ADMINS, Affiliation::Admin), (OWNERS, Affiliation::Owner)].into_iter().enumerate()
    {
        let Some(jids) = fields.remove(var) else { continue };
        given[n] = true;
        for jid in jids {
            let jid = Jid::parse(jid.trim()).map_err(|_| Condition::JidMalformed)?.bare();
            // Somebody on both lists is an owner.
            listed.insert(jid, affiliation);
        }
    }
    let is_owned = room.affiliations.values().any(|known| known.affiliation == Affiliation::Owner);
    if given[1] && is_owned && !listed.values().any(|affiliation| *affiliation == Affiliation::Owner) {
        // §10.2; that of the house is who administers the server, and nobody who is on the list.
        return Err(StanzaError::new(Condition::Conflict).text("a room has an owner"));
    }
    for (jid, affiliation) in &listed {
        let is = room.known(jid).affiliation;
        // With one list only, it does not take away what the other one would give.
        if is != *affiliation && (is != Affiliation::Owner || given[1]) {
            changes.insert(jid.clone(), *affiliation);
        }
    }
    for (jid, known) in &room.affiliations {
        let less = match known.affiliation {
            Affiliation::Owner if given[1] => Affiliation::Admin,
            Affiliation::Admin if given[0] => Affiliation::Member,
            _ => continue,
        };
        if !listed.contains_key(jid.as_str()) {
            changes.insert(jid.clone(), less);
        }
    }
    changes.remove(from.bare_str());
    for (jid, affiliation) in &changes {
        room.may_set_affiliation(from, jid, *affiliation)?;
    }
    if changes.len() > admin::ITEMS {
        return Err(unacceptable(format!("at most {} owners and admins change at once", admin::ITEMS)));
    }
    let new: Vec<&Jid> = changes.keys().filter(|jid| !room.affiliations.contains_key(jid.as_str())).collect();
    room.has_room(&new, 0)?;
    Ok(changes)
}

/// Tells all that something about the room changed that is not about their privacy (§10.2.1).
pub(super) fn changed(room: &mut Room, st: &mut State) {
    let x = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>";
    let message = Stanza::new(Kind::Message, Type::Groupchat).from(room.jid.clone()).with(x);
    room.say(st, &message);
}
