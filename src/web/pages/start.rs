//! The start page. It tells nobody who is here.

use super::{House, Visitor, Vouched, apps, fill, paragraph, section};
use crate::wire::xml::escaped;

/// What this is, how one gets in, apps, and trust.
pub fn start(house: &House, visitor: &Visitor) -> String {
    let (texts, named) = (visitor.lang.texts(), [("house", house.called.as_str())]);
    let mut main = format!("<p>{}</p>\n", fill(texts.start_text, &named));
    main += &section(texts.start_new_title, &paragraph(texts.start_new));
    let address = format!("{}@{}", texts.start_name, house.name);
    let account = format!("{}<p class=\"big\"><bdi>{}</bdi></p>\n", paragraph(texts.start_account), escaped(&address));
    main += &section(texts.start_account_title, &account);
    let apps =
        format!("{}<h3>{}</h3>\n{}", paragraph(texts.apps_text), visitor.system.name(), apps::list(visitor.system));
    main += &section(texts.apps_title, &apps);
    main += &apps::others(visitor);
    if matches!(house.vouched, Vouched::Itself(_)) {
        main += &section(texts.trust_title, &(paragraph(texts.trust_text) + &trust_link(visitor)));
    }
    super::page(house, visitor, &super::plain(texts.chat_of, &named), false, &main)
}

/// Where it is told how a device gets to know the house.
pub(super) fn trust_link(visitor: &Visitor) -> String {
    format!("<p><a href=\"/trust{}\">{}</a></p>\n", visitor.query(), escaped(visitor.lang.texts().trust_link))
}
