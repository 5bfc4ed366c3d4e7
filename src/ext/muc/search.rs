//! XEP-0433: Extended Channel Search. Public rooms by what is in their names, descriptions and addresses.

use super::Muc;
use super::room::Room;
use crate::core::{About, Handled, State};
use crate::ext::form::{self, Submitted};
use crate::ext::rsm;
use crate::wire::xml::escaped;
use crate::wire::{Condition, ErrorType, Ns, Stanza, StanzaError, Type};
use std::fmt::Write as _;

/// The longest text to search for, in bytes.
const TEXT_BYTES: usize = 256;
/// What is searched of a description, in bytes: a search looks at all rooms, and nobody makes it long for the others.
const SOUGHT_BYTES: usize = 512;
/// Rooms in a page if the client does not say how many it wants, and at most.
const PAGE: usize = 100;

const FORM_TYPE: &str = "urn:xmpp:channel-search:0:search-params";
const BY_ADDRESS: &str = "{urn:xmpp:channel-search:0:order}address";
const BY_OCCUPANTS: &str = "{urn:xmpp:channel-search:0:order}nusers";

pub(super) const FEATURES: &[&str] = &["urn:xmpp:channel-search:0:search"];

/// XEP-0433: done by the service for rooms.
pub(super) const CHANNELS: About =
    About::new("XEP-0433", "Extended Channel Search", "0.1.0", "only the server's own rooms are found");

/// What is searched for.
struct SearchRequest {
    /// In lower case, all of them; none for all rooms.
    words: Vec<String>,
    name: bool,
    description: bool,
    address: bool,
    occupants: usize,
    by_occupants: bool,
    /// Rooms are among what is wanted.
    rooms: bool,
}

fn blank() -> String {
    let yes = |var: &str, label: &str| {
        format!("<field type='boolean' var='{var}' label='{label}'><value>true</value></field>")
    };
    format!(
        "<search xmlns='urn:xmpp:channel-search:0:search'><x xmlns='jabber:x:data' type='form'>\
         <field type='hidden' var='FORM_TYPE'><value>{FORM_TYPE}</value></field>\
         <field type='text-single' var='q' label='Search for'/>\
         <field type='boolean' var='all' label='All rooms'><value>false</value></field>{}{}{}\
         <field type='text-single' var='min_users' label='Occupants at least'><value>0</value></field>\
         <field type='list-multi' var='types' label='Kinds of channels'><value>xep-0045</value>\
         <option label='Rooms'><value>xep-0045</value></option></field>\
         <field type='list-single' var='key' label='In the order of'><value>{BY_ADDRESS}</value>\
         <option label='Address'><value>{BY_ADDRESS}</value></option>\
         <option label='Number of occupants'><value>{BY_OCCUPANTS}</value></option></field></x></search>",
        yes("sinname", "In the name"),
        yes("sindescription", "In the description"),
        yes("sinaddress", "In the address"),
    )
}

impl SearchRequest {
    fn read(mut fields: Submitted) -> Result<SearchRequest, StanzaError> {
        let fields = &mut fields;
        let q = form::single(fields, "q")?;
        let all = form::boolean(fields, "all")?.unwrap_or(false);
        let bad = || StanzaError::new(Condition::BadRequest);
        let words = match (&q, all) {
            (Some(_), true) => {
                let app = "<conflicting-fields xmlns='urn:xmpp:channel-search:0:error'><var>all</var><var>q</var></conflicting-fields>";
                return Err(bad().text("either all rooms, or those with a word").app(app));
            }
            (None, false) => {
                return Err(bad().app("<no-search-conditions xmlns='urn:xmpp:channel-search:0:error'/>"));
            }
            (None, true) => Vec::new(),
            (Some(q), false) => {
                let words: Vec<String> = q.split_whitespace().map(str::to_lowercase).collect();
                if words.is_empty() || q.len() > TEXT_BYTES {
                    let app = "<invalid-search-terms xmlns='urn:xmpp:channel-search:0:error'/>";
                    return Err(bad().text(format!("at least one word, at most {TEXT_BYTES} bytes")).app(app));
                }
                words
            }
        };
        let by_occupants = match form::single(fields, "key")?.as_deref() {
            None | Some(BY_ADDRESS) => false,
            Some(BY_OCCUPANTS) => true,
            Some(_) => {
                let app = "<invalid-sort-key xmlns='urn:xmpp:channel-search:0:error'/>";
                return Err(StanzaError::new(Condition::FeatureNotImplemented).ty(ErrorType::Modify).app(app));
            }
        };
        let occupants =
            form::single(fields, "min_users")?.map(|n| n.parse().map_err(|_| bad().text("occupants are a number")));
        // Both names are in use for it.
        let address = form::boolean(fields, "sinaddress")?.or(form::boolean(fields, "sinaddr")?);
        Ok(SearchRequest {
            words,
            name: form::boolean(fields, "sinname")?.unwrap_or(true),
            description: form::boolean(fields, "sindescription")?.unwrap_or(true),
            address: address.unwrap_or(true),
            occupants: occupants.transpose()?.unwrap_or(0),
            by_occupants,
            rooms: fields.remove("types").is_none_or(|types| types.iter().any(|ty| ty == "xep-0045")),
        })
    }

    fn finds(&self, room: &Room) -> bool {
        if !self.rooms || !room.config.public || room.locked || room.occupants.len() < self.occupants {
            return false;
        }
        if self.words.is_empty() {
            return true;
        }
        let description = &room.config.description;
        let description = &description[..description.floor_char_boundary(SOUGHT_BYTES)];
        let mut text = String::new();
        for (wanted, part) in
            [(self.name, room.config.name.as_str()), (self.description, description), (self.address, room.jid.as_str())]
        {
            if wanted {
                text.push_str(&part.to_lowercase());
                text.push('\n');
            }
        }
        self.words.iter().all(|word| text.contains(word.as_str()))
    }
}

fn item(room: &Room) -> String {
    let config = &room.config;
    let mut out = format!("<item address='{}'>", escaped(room.jid.as_str()));
    for (name, text) in [("name", &config.name), ("description", &config.description), ("language", &config.lang)] {
        if !text.is_empty() {
            let _ = write!(out, "<{name}>{}</{name}>", escaped(text));
        }
    }
    let open = !config.members_only && config.password.is_none();
    let who = if config.semi_anonymous { "muc_semianonymous" } else { "{urn:xmpp:channel-search:0:anonymity}none" };
    let _ = write!(
        out,
        "<nusers>{}</nusers><service-type>xep-0045</service-type><is-open>{open}</is-open><anonymity-mode>{who}</anonymity-mode></item>",
        room.occupants.len()
    );
    out
}

/// A request to the service.
pub(super) fn iq(muc: &mut Muc, st: &mut State, iq: &Stanza) -> Handled {
    let search = iq.child(Ns::SEARCH, "search").filter(|_| iq.ty == Type::Get).ok_or(Condition::BadRequest)?;
    if search.children().next().is_none() {
        return st.reply(iq, blank());
    }
    let fields = form::submitted(search, FORM_TYPE)?.unwrap_or_default();
    let wanted = SearchRequest::read(fields)?;
    let page = rsm::read(search)?;
    let mut found: Vec<&Room> = muc.rooms.values().filter(|room| wanted.finds(room)).collect();
    if wanted.by_occupants {
        found.sort_by_key(|room| std::cmp::Reverse(room.occupants.len()));
    }
    let count = found.len();
    let place = |found: &[&Room], id: &str| found.iter().position(|room| room.jid.as_str() == id);
    let gone = || StanzaError::new(Condition::ItemNotFound).text("that room is not found any more");
    if let Some(before) = page.before.as_deref().filter(|id| !id.is_empty()) {
        found.truncate(place(&found, before).ok_or_else(gone)?);
    }
    if let Some(after) = page.after.as_deref() {
        found.drain(..=place(&found, after).ok_or_else(gone)?);
    }
    let max = page.max.unwrap_or(PAGE).min(PAGE);
    if page.before.is_some() {
        found.drain(..found.len().saturating_sub(max));
    } else {
        found.truncate(max);
    }
    let items: String = found.iter().map(|room| item(room)).collect();
    let ends = found.first().zip(found.last()).map(|(first, last)| (first.jid.as_str(), last.jid.as_str()));
    let counted = format!("<count>{count}</count></set>");
    let set = match ends {
        Some(_) => rsm::page(ends).replace("</set>", &counted),
        None => format!("<set xmlns='http://jabber.org/protocol/rsm'>{counted}"),
    };
    st.reply(iq, format!("<result xmlns='urn:xmpp:channel-search:0:search'>{items}{set}</result>"))
}
