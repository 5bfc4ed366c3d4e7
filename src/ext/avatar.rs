//! XEP-0084, XEP-0153 and XEP-0398: one avatar, whichever way a client looks at it.
//!
//! The picture is what the nodes of User Avatar have. Whoever asks for the vCard finds it there, if the nodes are open to them;
//! a vCard that is stored with a picture publishes that. The hash of the picture is in every presence, so that clients which know
//! only vCards see that there is another one.

use super::pubsub;
use super::vcard::{self, VCARD_BYTES};
use crate::core::{About, Event, Extension, Flow, Handled, Job, Place, SessionId, State, presence};
use crate::store::{Engine, Query, Rows, StoreError, Tree, key};
use crate::wire::xml::{Raw, Scope, escaped};
use crate::wire::{Condition, Kind, Node, Ns, Stanza, StanzaError, Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest;
use std::collections::BTreeMap;

const DATA: &str = "urn:xmpp:avatar:data";
const METADATA: &str = "urn:xmpp:avatar:metadata";
/// Items of metadata that are read: a node that is configured for more keeps the newest behind the others.
const METADATA_ITEMS: usize = 1000;
/// What both nodes must have, to take a picture.
const CONFIG: [(&str, &str); 5] = [
    ("pubsub#persist_items", "true"),
    ("pubsub#deliver_payloads", "true"),
    ("pubsub#publish_node_full", "retract-oldest"),
    ("pubsub#max_payload_size", "max"),
    ("pubsub#type", ""),
];

/// XEP-0084, which is nothing but two nodes.
const USER_AVATAR: About = About::new("XEP-0084", "User Avatar", "1.1.4", "");

/// XEP-0153, which is done by conversion.
const VCARD_AVATAR: About = About::new("XEP-0153", "vCard-Based Avatars", "1.1.1", "");

#[derive(Default)]
pub(super) struct Avatars {
    /// The hash of each account's picture, in hexadecimal digits.
    hashes: BTreeMap<Box<str>, Box<str>>,
    /// What waits for storage, or for the nodes.
    steps: BTreeMap<Job, AvatarStep>,
    /// vCards that are stored once their picture is published: by the first of the requests for it, with how many are not answered, and
    /// why one of them failed.
    sets: BTreeMap<Job, (Stanza, usize, Option<String>)>,
}

/// What is waited for.
enum AvatarStep {
    /// A part of publishing the picture of a vCard that is to be stored.
    Part(Job),
    /// The metadata of an account whose picture has changed.
    Metadata(Box<str>),
    /// The picture itself: whose, and the hash that it should have.
    Data(Box<str>, Box<str>),
    /// The stored vCard that somebody asked for.
    Stored(Stanza),
    /// The picture that belongs into it.
    Photo(Stanza, Option<String>),
}

/// A picture in a vCard.
struct Photo {
    hash: String,
    bytes: Vec<u8>,
    ty: String,
}

fn hash(image: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, image);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Base64 with white space anywhere (XEP-0153 §4.6, XEP-0084 §4.1).
fn decode(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_ascii_whitespace().collect();
    BASE64.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

/// What a picture is by how it begins; else what somebody says, or what XEP-0084 asks for.
fn media_type(image: &[u8], said: Option<&str>) -> String {
    let known: [(&[u8], &str); 4] = [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"RIFF", "image/webp"),
    ];
    let found = known.iter().find(|(start, _)| image.starts_with(start)).map(|(_, ty)| *ty);
    found.or(said.filter(|ty| ty.starts_with("image/"))).unwrap_or("image/png").into()
}

/// The picture in a vCard. `Some(None)`: there is explicitly none; `None`: it says nothing of one, or nothing that can be read.
fn photo(vcard: Node<'_>) -> Option<Option<Photo>> {
    let photo = vcard.child(Ns::VCARD, "PHOTO")?;
    let text = photo.child(Ns::VCARD, "BINVAL").map(|data| data.text()).unwrap_or_default();
    if text.trim().is_empty() {
        // One that is elsewhere is no business of ours (XEP-0153 §4.5).
        return photo.child(Ns::VCARD, "EXTVAL").is_none().then_some(None);
    }
    let bytes = decode(&text)?;
    let said = photo.child(Ns::VCARD, "TYPE").map(|ty| ty.text().trim().to_owned());
    Some(Some(Photo { hash: hash(&bytes), ty: media_type(&bytes, said.as_deref()), bytes }))
}

/// The hash in metadata (XEP-0398 §3.1): of the picture that is not elsewhere.
fn hash_in(metadata: &str) -> Option<Box<str>> {
    let raw = Raw::parse(metadata, Scope::client()).ok()?;
    let mut all = raw.root().children().filter(|c| c.is(Ns::AVATAR_METADATA, "info"));
    let id = all.find(|info| info.attr("url").is_none())?.attr("id")?.to_ascii_lowercase();
    (id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.into())
}

/// The newest metadata among items.
fn newest(rows: Rows) -> Option<Box<str>> {
    let (_, record) = rows.into_iter().next_back()?;
    hash_in(&pubsub::item(&record)?.1)
}

/// The picture that an item of the data node has, as it stands there.
fn data(reply: &Stanza) -> Option<String> {
    let items = reply.child(Ns::PUBSUB, "pubsub")?.child(Ns::PUBSUB, "items")?;
    let data = items.child(Ns::PUBSUB, "item")?.child(Ns::AVATAR_DATA, "data")?;
    Some(data.text().into_owned())
}

/// Puts the hash into a presence (XEP-0398 §4). `None`: there is no picture any more.
fn mark(presence: &mut Stanza, hash: Option<&str>) {
    let update = |c: &Node<'_>| c.is(Ns::VCARD_UPDATE, "x");
    let said = presence
        .children()
        .find(update)
        .and_then(|x| x.child(Ns::VCARD_UPDATE, "photo"))
        .map(|p| p.text().trim().to_owned());
    // It shows none, and says so; or it is right already.
    if said.as_deref() == Some("") || said.as_deref().is_some_and(|said| Some(said) == hash) {
        return;
    }
    presence.cut(|c| update(&c));
    let photo = hash.map_or("<photo/>".into(), |hash| format!("<photo>{hash}</photo>"));
    presence.push(format!("<x xmlns='vcard-temp:x:update'>{photo}</x>"));
}

/// A vCard with another picture or without one.
fn with_photo(stored: Option<&str>, picture: Option<&str>) -> String {
    let mut out = String::from("<vCard xmlns='vcard-temp'>");
    if let Some(raw) = stored.and_then(|xml| Raw::parse(xml, Scope::client()).ok()) {
        for (_, copy) in raw.root().copies().filter(|(c, _)| !c.is(Ns::VCARD, "PHOTO")) {
            // Only what declares far more than it says is longer than when it was stored.
            if out.len() + copy.len() > VCARD_BYTES {
                break;
            }
            out += &copy;
        }
    }
    if let Some(bytes) = picture.and_then(decode) {
        let (ty, data) = (media_type(&bytes, None), BASE64.encode(&bytes));
        out += &format!("<PHOTO><TYPE>{ty}</TYPE><BINVAL>{data}</BINVAL></PHOTO>");
    }
    out + "</vCard>"
}

impl Avatars {
    /// Somebody asks for a vCard whose picture is in the nodes.
    fn photo_for(&mut self, st: &mut State, iq: Stanza, stored: Option<String>) {
        let (Some(from), Some(to)) = (iq.from.clone(), iq.to.clone()) else { return };
        let Some(hash) = to.local().and_then(|local| self.hashes.get(local)) else {
            return vcard::answer(st, &iq, stored);
        };
        let raw = stored.as_ref().and_then(|xml| Raw::parse(xml, Scope::client()).ok());
        let same = raw.and_then(|raw| photo(raw.root())?).is_some_and(|photo| *photo.hash == **hash);
        if same {
            return vcard::answer(st, &iq, stored);
        }
        // Whether they may see it is for the node to say.
        let items = format!("<items node='{DATA}'><item id='{hash}'/></items>");
        let payload = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{items}</pubsub>");
        let job = st.inquire(from, to.bare(), Type::Get, payload);
        self.steps.insert(job, AvatarStep::Photo(iq, stored));
    }

    /// An account has another picture, or none: it is in its presence from now on.
    fn changed(&mut self, st: &mut State, local: &str, hash: Option<Box<str>>) {
        let before = match &hash {
            Some(hash) => self.hashes.insert(local.into(), hash.clone()),
            None => self.hashes.remove(local),
        };
        if before == hash {
            return;
        }
        for sid in st.available(local) {
            if let Some(mut presence) = st.session(sid).and_then(|s| s.presence.clone()) {
                mark(&mut presence, hash.as_deref());
                presence::again(st, sid, presence);
            }
        }
    }

    /// XEP-0398 §3.2: a vCard that is to be stored. `Pass`: there is nothing to publish.
    fn publish(&mut self, st: &mut State, iq: &Stanza, vcard: Node<'_>) -> Handled {
        let Some(account) = iq.from.as_ref().map(crate::wire::Jid::bare) else { return Ok(Flow::Pass) };
        let known = account.local().and_then(|local| self.hashes.get(local));
        let jobs = match photo(vcard) {
            Some(Some(Photo { hash, bytes, ty })) if known.map(|known| &**known) != Some(&hash) => {
                // However a client has configured them. If that fails, so does what follows.
                for node in [DATA, METADATA] {
                    pubsub::configure(st, &account, node, &CONFIG);
                }
                let data = format!("<data xmlns='{DATA}'>{}</data>", BASE64.encode(&bytes));
                let (size, ty) = (bytes.len(), escaped(&ty));
                let info = format!("<info bytes='{size}' id='{hash}' type='{ty}'/>");
                let metadata = format!("<metadata xmlns='{METADATA}'>{info}</metadata>");
                vec![
                    pubsub::publish(st, &account, DATA, &hash, &data, &CONFIG[..1]),
                    pubsub::publish(st, &account, METADATA, &hash, &metadata, &CONFIG[..1]),
                ]
            }
            Some(None) if known.is_some() => {
                let none = format!("<metadata xmlns='{METADATA}'/>");
                pubsub::configure(st, &account, METADATA, &CONFIG);
                vec![pubsub::publish(st, &account, METADATA, "none", &none, &CONFIG[..1])]
            }
            _ => return Ok(Flow::Pass),
        };
        let first = jobs[0];
        self.steps.extend(jobs.iter().map(|job| (*job, AvatarStep::Part(first))));
        self.sets.insert(first, (iq.clone(), jobs.len(), None));
        Ok(Flow::Done)
    }

    /// A part of publishing a picture was answered: the vCard is stored once all is published, and refused if it is not, so that it
    /// never says something else than the nodes.
    fn part(&mut self, st: &mut State, set: Job, reply: &Stanza) {
        let Some((_, left, failed)) = self.sets.get_mut(&set) else { return };
        *left -= 1;
        if reply.ty == Type::Error {
            let text = reply.child(Ns::CLIENT, "error").and_then(|error| error.child(Ns::STANZAS, "text"));
            *failed = Some(text.map_or_else(|| "the node does not take it".into(), |text| text.text().into_owned()));
        }
        if *left > 0 {
            return;
        }
        let Some((iq, _, failed)) = self.sets.remove(&set) else { return };
        let local = iq.from.as_ref().and_then(crate::wire::Jid::local).unwrap_or_default().to_owned();
        let stored = match (failed, iq.child(Ns::VCARD, "vCard")) {
            (None, Some(vcard)) => vcard::set(st, &iq, &local, vcard.copy()),
            (why, _) => {
                let text = format!("the picture could not be published: {}", why.unwrap_or_default());
                Err(StanzaError::new(Condition::ResourceConstraint).text(text))
            }
        };
        if let Err(error) = stored {
            st.refuse(&iq, &error);
        }
    }
}

impl Extension for Avatars {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0398",
            name: "User Avatar to vCard-Based Avatars Conversion",
            version: "1.0.0",
            missing: "",
            server: &[],
            account: &["urn:xmpp:pep-vcard-conversion:0"],
            iq: &[Ns::VCARD],
        }
    }

    fn also(&self) -> &'static [About] {
        &[USER_AVATAR, VCARD_AVATAR]
    }

    fn load(&mut self, st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        for (local, _) in st.accounts().iter() {
            if let Some(hash) = newest(engine.query(&pubsub::items(local, METADATA, METADATA_ITEMS))?) {
                self.hashes.insert(local.clone(), hash);
            }
        }
        Ok(())
    }

    fn leave(&mut self, st: &mut State, sid: SessionId, stanza: &mut Stanza) -> Handled {
        if stanza.kind == Kind::Presence
            && stanza.ty == Type::None
            && let Some(hash) = st.session(sid).and_then(|session| self.hashes.get(session.local()))
        {
            mark(stanza, Some(hash));
        }
        Ok(Flow::Pass)
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        let Some(vcard) = iq.child(Ns::VCARD, "vCard") else { return Ok(Flow::Pass) };
        match (at, iq.ty) {
            (Place::Own(local) | Place::Account(local), Type::Get) if self.hashes.contains_key(local) => {
                let job = st.ask(Query::Get(Tree::Vcard, key::account(local)));
                self.steps.insert(job, AvatarStep::Stored(iq.clone()));
                Ok(Flow::Done)
            }
            (Place::Own(_), Type::Set) if vcard.copy().len() <= VCARD_BYTES && st.write().is_ok() => {
                self.publish(st, iq, vcard)
            }
            _ => Ok(Flow::Pass),
        }
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        match self.steps.remove(&job) {
            Some(AvatarStep::Metadata(local)) => {
                let Some(account) = st.account_of(&local).map(|account| account.jid.clone()) else { return };
                let Some(hash) = rows.and_then(newest) else { return self.changed(st, &local, None) };
                let items = format!("<items node='{DATA}'><item id='{hash}'/></items>");
                let payload = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{items}</pubsub>");
                let job = st.inquire(account.clone(), account, Type::Get, payload);
                self.steps.insert(job, AvatarStep::Data(local, hash));
            }
            Some(AvatarStep::Stored(iq)) => match rows {
                Some(rows) => {
                    let stored = rows.into_iter().next().and_then(|(_, xml)| String::from_utf8(xml.into()).ok());
                    self.photo_for(st, iq, stored);
                }
                None => st.refuse(&iq, &Condition::InternalServerError.into()),
            },
            Some(AvatarStep::Data(..) | AvatarStep::Photo(..) | AvatarStep::Part(_)) | None => {}
        }
    }

    fn answered(&mut self, st: &mut State, job: Job, reply: &Stanza) {
        match self.steps.remove(&job) {
            Some(AvatarStep::Part(set)) => self.part(st, set, reply),
            Some(AvatarStep::Data(local, wanted)) => {
                // XEP-0398 §3.1: a hash that is not that of the picture is nobody's.
                let right = data(reply).and_then(|text| decode(&text)).is_some_and(|bytes| *hash(&bytes) == *wanted);
                self.changed(st, &local, Some(wanted).filter(|_| right));
            }
            Some(AvatarStep::Photo(iq, stored)) => {
                let picture = data(reply);
                if stored.is_none() && picture.is_none() {
                    return vcard::answer(st, &iq, None);
                }
                let _ = st.reply(&iq, with_photo(stored.as_deref(), picture.as_deref()));
            }
            _ => {}
        }
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        match event {
            Event::Published { local, node, .. } if **node == *METADATA => {
                let job = st.ask(pubsub::items(local, METADATA, METADATA_ITEMS));
                self.steps.insert(job, AvatarStep::Metadata(local.clone()));
            }
            Event::Retracted { local, node, .. } if **node == *METADATA => {
                let job = st.ask(pubsub::items(local, METADATA, METADATA_ITEMS));
                self.steps.insert(job, AvatarStep::Metadata(local.clone()));
            }
            Event::Removed(local) => drop(self.hashes.remove(local)),
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn vcard_photo(inner: &str) -> Option<Option<(String, String)>> {
        let raw =
            Raw::parse(&format!("<vCard xmlns='vcard-temp'><FN>Juliet</FN>{inner}</vCard>"), Scope::client()).unwrap();
        photo(raw.root()).map(|photo| photo.map(|photo| (photo.hash, photo.ty)))
    }

    /// What is declared once could be in each of many children.
    #[test]
    fn a_vcard_with_another_picture_is_no_longer_than_one_may_be() {
        let stored =
            format!("<v:vCard xmlns:v='vcard-temp' xmlns='{}'>{}</v:vCard>", "x".repeat(50_000), "<a/>".repeat(3_000));
        let made = with_photo(Some(&stored), None);
        assert!(made.len() <= VCARD_BYTES + 100 && made.contains("<a "), "{}", made.len());
        let usual = with_photo(Some("<vCard xmlns='vcard-temp'><FN>Juliet</FN><PHOTO>x</PHOTO></vCard>"), None);
        assert_eq!(usual, "<vCard xmlns='vcard-temp'><FN xmlns='vcard-temp'>Juliet</FN></vCard>");
    }

    #[test]
    fn pictures_in_a_vcard() {
        assert_eq!(vcard_photo(""), None);
        assert_eq!(vcard_photo("<PHOTO/>"), Some(None));
        assert_eq!(vcard_photo("<PHOTO><TYPE>image/png</TYPE><BINVAL> </BINVAL></PHOTO>"), Some(None));
        assert_eq!(vcard_photo("<PHOTO><EXTVAL>http://example.org/x.png</EXTVAL></PHOTO>"), None);
        assert_eq!(vcard_photo("<PHOTO><BINVAL>what is this</BINVAL></PHOTO>"), None);
        // sha1("abc")
        let abc = "a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(vcard_photo("<PHOTO><BINVAL>YW\nJj</BINVAL></PHOTO>"), Some(Some((abc.into(), "image/png".into()))));
        let gif = "<PHOTO><TYPE>image/gif</TYPE><BINVAL>YWJj</BINVAL></PHOTO>";
        assert_eq!(vcard_photo(gif), Some(Some((abc.into(), "image/gif".into()))));
        let odd = "<PHOTO><TYPE>text/html</TYPE><BINVAL>YWJj</BINVAL></PHOTO>";
        assert_eq!(vcard_photo(odd), Some(Some((abc.into(), "image/png".into()))));
    }

    #[test]
    fn hashes_in_metadata() {
        let of = |infos: &str| hash_in(&format!("<metadata xmlns='{METADATA}'>{infos}</metadata>"));
        let (here, there) = ("111f4b3c50d7b0df729d299bc6f8e9ef9066971f", "357a8123a30844a3aa99861b6349264ba67a5694");
        let info = |id: &str, more: &str| format!("<info bytes='1' id='{id}' type='image/png'{more}/>");
        assert_eq!(of(""), None);
        assert_eq!(of(&info(here, "")).as_deref(), Some(here));
        assert_eq!(of(&info(&here.to_uppercase(), "")).as_deref(), Some(here));
        assert_eq!(of(&(info(there, " url='http://example.org/x'") + &info(here, ""))).as_deref(), Some(here));
        assert_eq!(of(&info(there, " url='http://example.org/x'")), None);
        assert_eq!(of(&info("../../x", "")), None);
    }

    #[test]
    fn what_is_said_in_presence() {
        let marked = |inner: &str, hash: Option<&str>| {
            let xml = format!("<presence>{inner}</presence>");
            let mut presence = Stanza::parse(&xml, Scope::client()).unwrap().unwrap();
            mark(&mut presence, hash);
            let x = presence.children().filter(|c| c.is(Ns::VCARD_UPDATE, "x")).map(Node::copy).collect::<Vec<_>>();
            assert!(x.len() <= 1);
            x.into_iter().next().unwrap_or_default()
        };
        let x = |inner: &str| format!("<x xmlns='vcard-temp:x:update'>{inner}</x>");
        let (old, new) = (x("<photo>aa</photo>"), x("<photo>bb</photo>"));
        for before in ["", &x(""), &old, &new] {
            assert_eq!(marked(before, Some("bb")), new, "{before}");
        }
        assert_eq!(marked(&x("<photo/>"), Some("bb")), x("<photo/>"));
        assert_eq!(marked(&old, None), x("<photo/>"));
    }
}
