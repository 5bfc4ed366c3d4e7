//! What a browser sends of a form, and the page that shows it again; what it says of its language and of itself is in there, too.

use inglenook::web::form::FormFields;
use inglenook::web::pages::{Fault, Form, House, Invitation, Purpose, Visitor, Vouched, invitation};
use inglenook::wire::Raw;

/// Whatever was typed, the page with it is well-formed, and has no element more than the one without it.
pub fn form(input: &[u8]) {
    let Some(fields) = FormFields::read(input) else { return };
    let visitor = Visitor::new(fields.get("query"), fields.get("languages"), fields.get("agent"));
    let page = |typed: &str, who: &str| {
        let house =
            House { name: "house.example".into(), called: "house.example".into(), vouched: Vouched::Owner, port: None };
        let (inviter, room, until) = (Some(who), Some(who), "2026-12-07");
        let (url, uri) = ("https://house.example/invite/x", "xmpp:house.example?register;preauth=x");
        let link = Invitation { purpose: Purpose::Account, inviter, name: None, room, until, url, uri };
        invitation(&house, &visitor, &link, &Form { name: typed, faults: &[Fault::NameOdd] })
    };
    let (typed, who) = (fields.get("name").unwrap_or_default(), fields.get("who").unwrap_or_default());
    let (filled, plain) = (page(typed, who), page("", ""));
    let document = filled.strip_prefix("<!DOCTYPE html>\n").expect("how pages begin");
    assert!(Raw::document(document).is_ok(), "{filled}");
    assert_eq!(filled.matches('<').count(), plain.matches('<').count(), "{filled}");
}
