//! XEP-0317: Hats. What people are called in a room besides: admins make hats and give them to people, by commands of the room
//! (XEP-0050), each with one form; everybody sees them in presence.

use super::Muc;
use super::affiliation::Privilege;
use super::owner::changed;
use super::presence::{Notice, Whom};
use super::room::{AROUND_BYTES, Room};
use crate::core::{About, Flow, Handled, State};
use crate::ext::form;
use crate::store::StoreError;
use crate::store::record::{Broken, Reader, Writer};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Node, Ns, Stanza, StanzaError, Type};
use ring::digest;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Hats of a room.
const HATS: usize = 32;
/// How often hats are worn in a room.
const WORN: usize = 500;
/// The longest URI of a hat, in bytes.
const URI_BYTES: usize = 256;
/// The longest title, in bytes.
const TITLE_BYTES: usize = 128;
/// The longest id of a command's session, in bytes.
const SESSION_BYTES: usize = 64;
/// What one that is worn costs besides its URI, in bytes, about.
const WORN_BYTES: usize = 32;
/// The name of their row.
const ROW: &str = "hats";

const FORM_TYPE: &str = "urn:xmpp:hats:commands";
const COMMANDS: [(&str, &str); 6] = [
    ("urn:xmpp:hats:commands:create", "Create or change a hat"),
    ("urn:xmpp:hats:commands:destroy", "Destroy a hat"),
    ("urn:xmpp:hats:commands:list", "The hats of the room"),
    ("urn:xmpp:hats:commands:assign", "Give somebody a hat"),
    ("urn:xmpp:hats:commands:unassign", "Take a hat from somebody"),
    ("urn:xmpp:hats:commands:list-assigned", "Who wears which hat"),
];

pub(super) const FEATURES: &[&str] = &["http://jabber.org/protocol/commands", "urn:xmpp:hats:0"];

/// XEP-0317: done by rooms.
pub(super) const SPEC: About =
    About::new("XEP-0317", "Hats", "0.3.1", "hats have no payloads of their own and no language");

/// What a hat looks like: its title, and its hue, if it has one.
type Hat = (Box<str>, Option<Box<str>>);

/// The hats of a room.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Hats {
    /// By URI.
    known: BTreeMap<Box<str>, Hat>,
    /// The URIs of those that somebody wears, by bare JID.
    worn: BTreeMap<Jid, BTreeSet<Box<str>>>,
}

impl Hats {
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What they take in memory, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        let known = self
            .known
            .iter()
            .map(|(uri, (title, hue))| AROUND_BYTES + uri.len() + title.len() + hue.as_deref().map_or(0, str::len));
        let worn = |uris: &BTreeSet<Box<str>>| uris.iter().map(|uri| WORN_BYTES + uri.len()).sum::<usize>();
        let worn = self.worn.iter().map(|(jid, uris)| AROUND_BYTES + jid.as_str().len() + worn(uris));
        known.chain(worn).sum()
    }

    pub(super) fn record(&self) -> Box<[u8]> {
        let mut w = Writer::new(1).u32(self.known.len() as u32);
        for (uri, (title, hue)) in &self.known {
            w = w.str(uri).str(title).opt_str(hue.as_deref());
        }
        w = w.u32(self.worn.len() as u32);
        for (jid, uris) in &self.worn {
            w = uris.iter().fold(w.str(jid.as_str()).u32(uris.len() as u32), |w, uri| w.str(uri));
        }
        w.done()
    }

    pub(super) fn from_record(record: &[u8]) -> Result<Hats, Broken> {
        let mut r = Reader::new(record)?;
        if r.version != 1 {
            return Err(Broken);
        }
        let mut hats = Hats::default();
        for _ in 0..r.u32()? {
            hats.known.insert(r.str()?.into(), (r.str()?.into(), r.opt_str()?.map(Box::from)));
        }
        for _ in 0..r.u32()? {
            let jid = Jid::parse(r.str()?).map_err(|_| Broken)?;
            let uris = (0..r.u32()?).map(|_| Ok(r.str()?.into())).collect::<Result<_, Broken>>()?;
            hats.worn.insert(jid, uris);
        }
        Ok(hats)
    }

    fn xml(&self, uri: &str) -> String {
        let Some((title, hue)) = self.known.get(uri) else { return String::new() };
        let hue = hue.as_deref().map(|hue| format!(" hue='{}'", escaped(hue))).unwrap_or_default();
        format!("<hat title='{}' uri='{}'{hue}/>", escaped(title), escaped(uri))
    }

    fn wearers(&self, uri: &str) -> Vec<Jid> {
        self.worn.iter().filter(|(_, uris)| uris.contains(uri)).map(|(jid, _)| jid.clone()).collect()
    }

    fn take(&mut self, jid: &Jid, uri: &str) {
        if let Some(uris) = self.worn.get_mut(jid.as_str()) {
            uris.remove(uri);
            if uris.is_empty() {
                self.worn.remove(jid.as_str());
            }
        }
    }

    pub(super) fn has(&self, jid: &Jid) -> bool {
        self.worn.contains_key(jid.bare_str())
    }

    /// Somebody wears none any more.
    pub(super) fn forget(&mut self, jid: &Jid) {
        self.worn.remove(jid.bare_str());
    }
}

/// The element that a person's presence in a room gets, if they have hats.
pub(super) fn element(room: &Room, bare: &Jid) -> Option<String> {
    let uris = room.features.hats.worn.get(bare.bare_str())?;
    let hats: String = uris.iter().map(|uri| room.features.hats.xml(uri)).collect();
    Some(format!("<hats xmlns='urn:xmpp:hats:0'>{hats}</hats>"))
}

/// Adds to the form in which a room tells of itself (§2): who has the list with that hash, need not get it.
pub(super) fn fields(room: &Room, form: &mut crate::ext::disco::InfoForm) {
    if !room.features.hats.is_empty() {
        let all: String = room.features.hats.known.keys().map(|uri| room.features.hats.xml(uri)).collect();
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, all.as_bytes());
        form.entry("hats#hash".into()).or_default().insert(super::vcard::hex(hash.as_ref()));
    }
}

/// The commands that somebody may use (XEP-0050 §3.1).
pub(super) fn commands(room: &Room, from: &Jid) -> Vec<(&'static str, &'static str)> {
    COMMANDS.into_iter().filter(|(node, _)| room.may(from, privilege(node))).collect()
}

/// What a command takes. Nobody reads who the members are by who wears what.
fn privilege(node: &str) -> Privilege {
    match node.rsplit(':').next() {
        Some("list") => Privilege::Enter,
        Some("list-assigned") => Privilege::MemberList,
        _ => Privilege::Administer,
    }
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).text(text)
}

fn full(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::ResourceConstraint).text(text)
}

/// A request to a room.
pub(super) fn iq(muc: &mut Muc, st: &mut State, local: &str, iq: &Stanza) -> Handled {
    let Some(from) = iq.from.clone() else { return Ok(Flow::Pass) };
    let room = muc.room(local, &from)?;
    let command =
        iq.child(Ns::COMMANDS, "command").filter(|_| iq.ty == Type::Set).ok_or_else(|| bad("no such request"))?;
    let node = command.attr("node").unwrap_or_default();
    let (node, title) = *COMMANDS.iter().find(|(known, _)| *known == node).ok_or(Condition::ItemNotFound)?;
    room.must(&from, privilege(node))?;
    let session = command.attr("sessionid").filter(|id| id.len() <= SESSION_BYTES);
    let session = session.map_or_else(|| st.token(), |id| id.into_owned());
    let answer = |status: &str, inside: &str| {
        let session = escaped(&session);
        format!(
            "<command xmlns='http://jabber.org/protocol/commands' node='{node}' sessionid='{session}' status='{status}'>\
             {inside}</command>"
        )
    };
    if command.attr("action").as_deref() == Some("cancel") {
        return st.reply(iq, answer("canceled", ""));
    }
    let what = node.rsplit(':').next().unwrap_or_default();
    match what {
        "list" => return st.reply(iq, answer("completed", &list(room))),
        "list-assigned" => return st.reply(iq, answer("completed", &assigned(room))),
        _ => {}
    }
    if command.child(Ns::DATA_FORM, "x").is_none() {
        return st.reply(iq, answer("executing", &show(room, what, title)));
    }
    execute(room, st, what, command)?;
    st.confirm(iq, answer("completed", ""))
}

/// The form of a command.
fn show(room: &Room, what: &str, title: &str) -> String {
    let mut out = format!(
        "<actions execute='complete'><complete/></actions><x xmlns='jabber:x:data' type='form'><title>{title}</title>\
         <field type='hidden' var='FORM_TYPE'><value>{FORM_TYPE}</value></field>"
    );
    let field = |var: &str, ty: &str, label: &str| {
        format!("<field var='{var}' type='{ty}' label='{label}'><required/></field>")
    };
    if what == "create" {
        out += &field("hats#title", "text-single", "Title");
        out += &field("hats#uri", "text-single", "URI");
        out += "<field var='hats#hue' type='text-single' label='Hue'/>";
        return out + "</x>";
    }
    if what != "destroy" {
        out += &field("hats#jid", "jid-single", "Who");
    }
    out += "<field var='hats#uri' type='list-single' label='Hat'><required/>";
    for (uri, (title, _)) in &room.features.hats.known {
        let _ = write!(out, "<option label='{}'><value>{}</value></option>", escaped(title), escaped(uri));
    }
    out + "</field></x>"
}

/// Does what the form of a command says.
fn execute(room: &mut Room, st: &mut State, what: &str, command: Node<'_>) -> Result<(), StanzaError> {
    let mut fields = form::submitted(command, FORM_TYPE)?.ok_or_else(|| bad("the form is missing"))?;
    let mut one = |var: &str| form::single(&mut fields, var);
    let uri = one("hats#uri")?.or(one("hat")?).ok_or_else(|| bad("which hat?"))?;
    let mut hats = room.features.hats.clone();
    let mut affected = hats.wearers(&uri);
    match what {
        "create" => {
            let title = one("hats#title")?.ok_or_else(|| bad("a hat has a title"))?;
            let hue = one("hats#hue")?;
            let is_uri = uri.contains(':') && !uri.chars().any(|c| c.is_whitespace() || c.is_control());
            if !is_uri || uri.len() > URI_BYTES || title.len() > TITLE_BYTES {
                let text = format!("a URI of at most {URI_BYTES} bytes, and a title of at most {TITLE_BYTES}");
                return Err(StanzaError::new(Condition::NotAcceptable).text(text));
            }
            let is_hue =
                |hue: &String| hue.len() <= 16 && hue.parse().is_ok_and(|hue: f64| (0.0..=360.0).contains(&hue));
            if hue.as_ref().is_some_and(|hue| !is_hue(hue)) {
                return Err(StanzaError::new(Condition::NotAcceptable).text("a hue is an angle, 0 to 360"));
            }
            if hats.known.len() >= HATS && !hats.known.contains_key(uri.as_str()) {
                return Err(full("the room has too many hats"));
            }
            hats.known.insert(uri.into(), (title.into(), hue.map(Box::from)));
        }
        _ if !hats.known.contains_key(uri.as_str()) => {
            return Err(StanzaError::new(Condition::ItemNotFound).text("there is no such hat"));
        }
        "destroy" => {
            hats.known.remove(uri.as_str());
            affected.iter().for_each(|jid| hats.take(jid, &uri));
        }
        _ => {
            let jid = one("hats#jid")?.ok_or_else(|| bad("who?"))?;
            let jid = Jid::parse(&jid).map_err(|_| Condition::JidMalformed)?.bare();
            affected = vec![jid.clone()];
            if what == "unassign" {
                hats.take(&jid, &uri);
            } else {
                if hats.worn.values().map(BTreeSet::len).sum::<usize>() >= WORN {
                    return Err(full("too many hats are worn in the room"));
                }
                hats.worn.entry(jid).or_default().insert(uri.into());
            }
        }
    }
    if hats == room.features.hats {
        return Ok(());
    }
    room.fits(hats.bytes().saturating_sub(room.features.hats.bytes()))?;
    store(room, st, &hats)?;
    let listed = hats.known != room.features.hats.known;
    room.set_hats(hats);
    for nick in affected.iter().flat_map(|jid| room.nicks_of(jid)).collect::<Vec<_>>() {
        room.show(st, &nick, Whom::All, &Notice::default());
    }
    if listed {
        changed(room, st);
    }
    Ok(())
}

/// A row of a room that is read at the start.
pub(super) fn load(room: &mut Room, what: &str, value: &[u8]) -> Result<(), StoreError> {
    if what == ROW {
        room.set_hats(Hats::from_record(value)?);
    }
    Ok(())
}

impl Room {
    /// Other hats, which are stored already.
    pub(super) fn set_hats(&mut self, hats: Hats) {
        self.count(hats.bytes(), self.features.hats.bytes());
        self.features.hats = hats;
    }
}

pub(super) fn store(room: &Room, st: &mut State, hats: &Hats) -> Result<(), StanzaError> {
    if hats.is_empty() { room.delete(st, ROW) } else { room.put(st, ROW, hats.record()) }
}

/// A table: the fields, and of each item the values.
fn table(vars: &[&str], items: impl Iterator<Item = Vec<String>>) -> String {
    let mut out = String::from("<x xmlns='jabber:x:data' type='result'><reported>");
    for var in vars {
        let _ = write!(out, "<field var='{var}'/>");
    }
    out += "</reported>";
    for item in items {
        out += "<item>";
        for (var, value) in vars.iter().zip(item) {
            let _ = write!(out, "<field var='{var}'><value>{}</value></field>", escaped(&value));
        }
        out += "</item>";
    }
    out + "</x>"
}

/// §3.4
fn list(room: &Room) -> String {
    let text = |text: &str| text.to_owned();
    let hats = room.features.hats.known.iter();
    let hats = hats.map(|(uri, (title, hue))| vec![text(title), text(uri), text(hue.as_deref().unwrap_or_default())]);
    table(&["hats#title", "hats#uri", "hats#hue"], hats)
}

/// §3.7
fn assigned(room: &Room) -> String {
    let worn = room
        .features
        .hats
        .worn
        .iter()
        .flat_map(|(jid, uris)| uris.iter().map(move |uri| (jid.to_string(), uri.to_string())));
    let items = worn.map(|(jid, uri)| {
        let (title, hue) = room.features.hats.known.get(uri.as_str()).cloned().unwrap_or_default();
        vec![jid, uri, title.into(), hue.unwrap_or_default().into()]
    });
    table(&["hats#jid", "hats#uri", "hats#title", "hats#hue"], items)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back() {
        let mut hats = Hats::default();
        assert_eq!(Hats::from_record(&hats.record()), Ok(Hats::default()));
        hats.known.insert("urn:x:host".into(), ("Host".into(), Some("327.2".into())));
        hats.known.insert("urn:x:guest".into(), ("Guest".into(), None));
        hats.worn.insert(Jid::parse("juliet@house.test").unwrap(), ["urn:x:host".into(), "urn:x:guest".into()].into());
        let record = hats.record();
        assert_eq!(Hats::from_record(&record), Ok(hats));
        for end in 0..record.len() {
            assert_eq!(Hats::from_record(&record[..end]), Err(Broken), "{end}");
        }
    }
}
