//! Pages with a title and a sentence: what went another way than somebody wanted.

use super::{House, Visitor, fill, page};

/// What there is to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remark {
    /// The link leads nowhere, or nowhere any more.
    Gone,
    /// Too often: again in so many milliseconds.
    Later(u64),
    /// The form was sent by another page.
    Foreign,
    /// What came is no form of ours.
    Bad,
    /// It cannot be stored now.
    NotStored,
}

/// Says it.
pub fn remark(house: &House, visitor: &Visitor, remark: Remark) -> String {
    let texts = visitor.lang.texts();
    let (title, text) = match remark {
        Remark::Gone => (texts.gone_title, texts.gone_text),
        Remark::Later(_) => (texts.later_title, texts.later_text),
        Remark::Foreign => (texts.foreign_title, texts.foreign_text),
        Remark::Bad => (texts.bad_title, texts.bad_text),
        Remark::NotStored => (texts.full_title, texts.full_text),
    };
    let seconds = match remark {
        Remark::Later(ms) => ms.div_ceil(1000).to_string(),
        _ => String::new(),
    };
    page(house, visitor, title, false, &format!("<p>{}</p>\n", fill(text, &[("seconds", &seconds)])))
}
