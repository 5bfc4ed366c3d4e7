//! The vCard of a room, with its avatar (XEP-0486). The vCard has a row of its own, as it is large; the hashes of the pictures are kept
//! with the room.

use super::affiliation::Privilege;
use super::owner::changed;
use super::room::Room;
use super::{Muc, VCARDS_BYTES};
use crate::core::{About, Flow, Handled, Job, State};
use crate::ext::vcard::{NONE, VCARD_BYTES};
use crate::store::record::{Broken, Reader, Writer};
use crate::store::{Batch, Query, Rows, StoreError, Tree, key};
use crate::wire::{Condition, Node, Ns, Stanza, StanzaError, Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest;

/// Pictures in a vCard: the same one in several formats.
const PICTURES: usize = 8;
/// The name of the row with the hashes.
const ROW: &str = "vcard";

/// Features of rooms, and of the service (XEP-0486 §3.1).
pub(super) const FEATURES: &[&str] = &["vcard-temp"];

/// XEP-0486: done by rooms.
pub(super) const AVATARS: About = About::new("XEP-0486", "MUC Avatars", "0.1.0", "");

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hashes of the pictures in a vCard (XEP-0153 §3.1).
fn hashes(vcard: Node<'_>) -> Result<Vec<String>, StanzaError> {
    let photos = vcard.children().filter(|c| c.is(Ns::VCARD, "PHOTO"));
    let values = photos.filter_map(|photo| photo.child(Ns::VCARD, "BINVAL"));
    let hash = |value: Node<'_>| {
        let text: String = value.text().split_ascii_whitespace().collect();
        let bytes =
            BASE64.decode(text).map_err(|_| StanzaError::new(Condition::BadRequest).text("a picture is in base64"))?;
        Ok(hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &bytes).as_ref()))
    };
    values.take(PICTURES).map(hash).collect()
}

/// The row with the hashes.
pub(super) fn record(hashes: &[String]) -> Box<[u8]> {
    hashes.iter().fold(Writer::new(1).u32(hashes.len() as u32), |w, hash| w.str(hash)).done()
}

fn from_record(record: &[u8]) -> Result<Vec<String>, Broken> {
    let mut r = Reader::new(record)?;
    if r.version != 1 {
        return Err(Broken);
    }
    (0..r.u32()?).map(|_| Ok(r.str()?.to_owned())).collect()
}

/// A row of a room that is read at the start.
pub(super) fn load(room: &mut Room, what: &str, value: &[u8]) -> Result<(), StoreError> {
    if what == ROW {
        room.features.vcard = Some(from_record(value)?);
    }
    Ok(())
}

/// Removes the vCard with the rows of its room.
pub(super) fn forget(room: &Room, batch: &mut Batch) {
    if room.features.vcard.is_some() {
        batch.delete(Tree::Vcard, key::account(&room.owner));
    }
}

/// It is gone.
pub(super) fn forgotten(room: &mut Room) {
    room.features.vcard = None;
    room.features.picture.0 = 0;
}

/// A request to a room.
pub(super) fn iq(muc: &mut Muc, st: &mut State, local: &str, iq: &Stanza) -> Handled {
    let Some(from) = iq.from.clone() else { return Ok(Flow::Pass) };
    let room = muc.room(local, &from)?;
    let vcard = iq.child(Ns::VCARD, "vCard").ok_or(Condition::BadRequest)?;
    if iq.ty == Type::Get {
        // It belongs to what a room tells of itself.
        if !room.config.public {
            room.must(&from, Privilege::Enter)?;
        }
        if room.features.vcard.is_none() {
            return st.reply(iq, NONE);
        }
        let job = st.ask(Query::Get(Tree::Vcard, key::account(&room.owner)));
        muc.vcards.insert(job, iq.clone());
        return Ok(Flow::Done);
    }
    room.must(&from, Privilege::Own)?;
    if !room.is_stored() {
        let text = "a room that does not stay has no vCard";
        return Err(StanzaError::new(Condition::NotAllowed).text(text));
    }
    let copy = vcard.copy();
    if copy.len() > VCARD_BYTES {
        let text = format!("a vCard has at most {VCARD_BYTES} bytes");
        return Err(StanzaError::new(Condition::NotAcceptable).text(text));
    }
    let hashes = hashes(vcard)?;
    let (payer, more) = (room.payer.clone(), copy.len().saturating_sub(room.features.picture.0));
    if more > 0 && !muc.vcard_bytes.may(&payer, more, VCARDS_BYTES) {
        let text = "the rooms of whoever made this one have their share of all vCards of rooms; remove a picture";
        return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
    }
    let room = muc.room(local, &from)?;
    let row = key::account(&room.owner);
    let empty = vcard.children().next().is_none();
    let batch = if empty { st.erase()? } else { st.write()? };
    if empty {
        batch.delete(Tree::Vcard, row);
        room.delete(st, ROW)?;
        forgotten(room);
    } else {
        room.features.picture.0 = copy.len();
        batch.put(Tree::Vcard, row, copy.into_bytes());
        room.put(st, ROW, record(&hashes))?;
        room.features.vcard = Some(hashes);
    }
    changed(room, st);
    st.confirm(iq, "")
}

/// What was read. Says whether it was asked for here.
pub(super) fn answer(muc: &mut Muc, st: &mut State, job: Job, rows: Option<Rows>) {
    let Some(iq) = muc.vcards.remove(&job) else { return };
    let vcard = rows.map(|rows| rows.into_iter().next().map(|(_, value)| String::from_utf8(value.into())));
    match vcard {
        Some(Some(Ok(vcard))) => drop(st.reply(&iq, vcard)),
        Some(None) => drop(st.reply(&iq, NONE)),
        Some(Some(Err(_))) | None => st.refuse(&iq, &Condition::InternalServerError.into()),
    }
}

/// Adds to the form in which a room tells of itself.
pub(super) fn fields(room: &Room, form: &mut crate::ext::disco::InfoForm) {
    let hashes = room.features.vcard.iter().flatten().cloned();
    let hashes: std::collections::BTreeSet<String> = hashes.collect();
    if !hashes.is_empty() {
        form.insert("muc#roominfo_avatarhash".into(), hashes);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Scope;
    use crate::wire::xml::Raw;

    #[test]
    fn hashes_of_pictures() {
        let of = |inside: &str| {
            let raw = Raw::parse(&format!("<vCard xmlns='vcard-temp'>{inside}</vCard>"), Scope::client()).unwrap();
            hashes(raw.root())
        };
        assert_eq!(of("<FN>x</FN>").unwrap(), Vec::<String>::new());
        let hash = "a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(of("<PHOTO><BINVAL>\n YW\nJj </BINVAL></PHOTO>").unwrap(), [hash]);
        assert!(of("<PHOTO><BINVAL>no</BINVAL></PHOTO>").is_err());
        let record = record(&[hash.into(), "x".into()]);
        assert_eq!(from_record(&record).unwrap(), [hash, "x"]);
        for end in 0..record.len() {
            assert!(from_record(&record[..end]).is_err());
        }
    }
}
