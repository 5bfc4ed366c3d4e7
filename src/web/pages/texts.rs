//! What pages say, in each language: one file a language, all of it in one value, so that none lacks a text.

use super::{de, en, es, fr};
use crate::wire::xml::escape;

/// A language that pages are in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Lang {
    En,
    De,
    Fr,
    Es,
}

/// All of them; the first is for whoever wants another.
pub const LANGS: [Lang; 4] = [Lang::En, Lang::De, Lang::Fr, Lang::Es];

impl Lang {
    /// What is said in it.
    pub fn texts(self) -> &'static Texts {
        match self {
            Lang::En => &en::TEXTS,
            Lang::De => &de::TEXTS,
            Lang::Fr => &fr::TEXTS,
            Lang::Es => &es::TEXTS,
        }
    }

    /// The language of this code (RFC 5646), whatever region follows it.
    pub fn of_code(code: &str) -> Option<Lang> {
        let primary = code.split('-').next().unwrap_or_default();
        LANGS.into_iter().find(|lang| lang.texts().code.eq_ignore_ascii_case(primary))
    }

    /// What a browser asks for in `Accept-Language` (RFC 9110 §12.5.4): the one of ours with the highest weight, of several the first.
    pub fn accepted(field: &str) -> Option<Lang> {
        let mut best: Option<(Lang, u16)> = None;
        for range in field.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let code = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1000), thousandths);
            let lang = if code == "*" { Some(LANGS[0]) } else { Lang::of_code(code) };
            if let (Some(lang), Some(weight @ 1..)) = (lang, weight)
                && best.is_none_or(|(_, most)| weight > most)
            {
                best = Some((lang, weight));
            }
        }
        best.map(|(lang, _)| lang)
    }
}

/// A weight (RFC 9110 §12.4.2), times 1000.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_fine = matches!(whole, "0" | "1") && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    let value = is_fine.then(|| format!("{whole}{part:0<3}").parse().ok())??;
    (value <= 1000).then_some(value)
}

/// All texts of a language. They are plain text; `{house}` and the like stand for what a page fills in.
pub struct Texts {
    /// The code of the language (RFC 5646).
    pub code: &'static str,
    /// What it is called by those who speak it.
    pub name: &'static str,

    /// The head of each page: what this is. `{house}`
    pub chat_of: &'static str,
    /// What the links to other languages are.
    pub languages: &'static str,
    /// The foot of each page.
    pub foot: &'static str,

    /// The start page: what there is here. `{house}`
    pub start_text: &'static str,
    /// How one gets an account.
    pub start_new_title: &'static str,
    #[allow(missing_docs)]
    pub start_new: &'static str,
    /// How one logs in who has one.
    pub start_account_title: &'static str,
    #[allow(missing_docs)]
    pub start_account: &'static str,
    /// What stands for a name in an address.
    pub start_name: &'static str,

    /// Where apps are.
    pub apps_title: &'static str,
    #[allow(missing_docs)]
    pub apps_text: &'static str,
    #[allow(missing_docs)]
    pub apps_others: &'static str,

    /// An invitation, and who gives it. `{who}`, `{house}`
    pub invited_by: &'static str,
    /// The same, from nobody in particular. `{house}`
    pub invited: &'static str,
    /// `{room}`
    pub invited_room: &'static str,
    /// The last day. `{day}`
    pub invited_until: &'static str,
    /// The steps with an app: on a phone, or on a computer.
    pub phone_title: &'static str,
    #[allow(missing_docs)]
    pub computer_title: &'static str,
    #[allow(missing_docs)]
    pub app_get: &'static str,
    /// Before a link to what to do.
    pub app_trust: &'static str,
    /// The same, where apps ask.
    pub app_asks: &'static str,
    #[allow(missing_docs)]
    pub app_open: &'static str,
    #[allow(missing_docs)]
    pub app_hint: &'static str,
    /// From the computer to the phone.
    pub code_title: &'static str,
    #[allow(missing_docs)]
    pub code_text: &'static str,
    #[allow(missing_docs)]
    pub code_label: &'static str,

    /// The form.
    pub form_title: &'static str,
    #[allow(missing_docs)]
    pub form_text: &'static str,
    #[allow(missing_docs)]
    pub name_label: &'static str,
    /// `{address}`
    pub name_hint: &'static str,
    /// Where the name is chosen already. `{address}`
    pub name_is: &'static str,
    #[allow(missing_docs)]
    pub password_label: &'static str,
    /// `{least}`
    pub password_hint: &'static str,
    #[allow(missing_docs)]
    pub again_label: &'static str,
    #[allow(missing_docs)]
    pub make_button: &'static str,

    /// What is wrong with what was typed.
    pub fault_title: &'static str,
    #[allow(missing_docs)]
    pub fault_no_name: &'static str,
    #[allow(missing_docs)]
    pub fault_name_taken: &'static str,
    #[allow(missing_docs)]
    pub fault_name_odd: &'static str,
    #[allow(missing_docs)]
    pub fault_name_long: &'static str,
    #[allow(missing_docs)]
    pub fault_name_kept: &'static str,
    #[allow(missing_docs)]
    pub fault_name_alike: &'static str,
    /// One that mixes alphabets.
    pub fault_name_mixed: &'static str,
    /// `{least}`
    pub fault_password_short: &'static str,
    /// `{most}`
    pub fault_password_long: &'static str,
    #[allow(missing_docs)]
    pub fault_password_odd: &'static str,
    /// One of spaces alone.
    pub fault_password_blank: &'static str,
    #[allow(missing_docs)]
    pub fault_again: &'static str,

    /// The account is made.
    pub done_title: &'static str,
    #[allow(missing_docs)]
    pub done_text: &'static str,
    #[allow(missing_docs)]
    pub done_password: &'static str,
    /// `{server}` and `{port}`.
    pub done_server: &'static str,
    #[allow(missing_docs)]
    pub done_open: &'static str,
    #[allow(missing_docs)]
    pub done_code_text: &'static str,
    #[allow(missing_docs)]
    pub done_code_label: &'static str,
    /// It was made before, as whoever goes back or presses a button twice sees.
    pub again_title: &'static str,
    #[allow(missing_docs)]
    pub again_text: &'static str,

    /// Another password. `{who}`
    pub reset_title: &'static str,
    #[allow(missing_docs)]
    pub reset_text: &'static str,
    #[allow(missing_docs)]
    pub reset_button: &'static str,
    #[allow(missing_docs)]
    pub reset_done_title: &'static str,
    #[allow(missing_docs)]
    pub reset_done_text: &'static str,

    /// The link leads nowhere.
    pub gone_title: &'static str,
    #[allow(missing_docs)]
    pub gone_text: &'static str,
    /// Too often. `{seconds}`
    pub later_title: &'static str,
    #[allow(missing_docs)]
    pub later_text: &'static str,
    /// The form was sent by another page.
    pub foreign_title: &'static str,
    #[allow(missing_docs)]
    pub foreign_text: &'static str,
    /// What came is no form of ours.
    pub bad_title: &'static str,
    #[allow(missing_docs)]
    pub bad_text: &'static str,
    /// It cannot be stored.
    pub full_title: &'static str,
    #[allow(missing_docs)]
    pub full_text: &'static str,

    /// What to do so that devices know this house.
    pub trust_title: &'static str,
    #[allow(missing_docs)]
    pub trust_text: &'static str,
    #[allow(missing_docs)]
    pub trust_link: &'static str,
    /// The authority's fingerprint.
    pub trust_compare_title: &'static str,
    #[allow(missing_docs)]
    pub trust_compare: &'static str,
    /// What the authority is called. `{name}`
    pub trust_called: &'static str,
    /// What apps show that ask.
    pub trust_asked: &'static str,
    #[allow(missing_docs)]
    pub trust_others: &'static str,
    #[allow(missing_docs)]
    pub trust_profile: &'static str,
    #[allow(missing_docs)]
    pub trust_file: &'static str,
    /// `{house}`
    pub trust_on: &'static str,
    /// Every device trusts it already.
    pub trust_public_title: &'static str,
    #[allow(missing_docs)]
    pub trust_public: &'static str,
    /// The owner has installed one that is not everybody's.
    pub trust_installed: &'static str,
    /// The steps for each system. `{name}`
    pub trust_ios: [&'static str; 4],
    #[allow(missing_docs)]
    pub trust_android: [&'static str; 4],
    #[allow(missing_docs)]
    pub trust_windows: [&'static str; 4],
    #[allow(missing_docs)]
    pub trust_macos: [&'static str; 4],
    #[allow(missing_docs)]
    pub trust_linux: [&'static str; 3],
    #[allow(missing_docs)]
    pub trust_firefox: [&'static str; 3],
}

/// What stands in braces, in order.
fn pieces(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let whole = rest;
        if whole.is_empty() {
            return None;
        }
        let cut = whole.split_once('{').and_then(|(before, behind)| {
            let (name, rest) = behind.split_once('}')?;
            Some((before, name, rest))
        });
        match cut {
            Some((before, name, after)) => {
                rest = after;
                Some((before, Some(name)))
            }
            None => {
                rest = "";
                Some((whole, None))
            }
        }
    })
}

fn value<'a>(values: &[(&str, &'a str)], name: &str) -> &'a str {
    values.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
}

/// A text as HTML. What is filled in stands apart: letters that run from right to left turn nothing else around.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (before, name) in pieces(text) {
        escape(before, &mut out);
        if let Some(name) = name {
            out += "<bdi>";
            escape(value(values, name), &mut out);
            out += "</bdi>";
        }
    }
    out
}

/// The same, not escaped.
pub(super) fn plain(text: &str, values: &[(&str, &str)]) -> String {
    pieces(text).flat_map(|(before, name)| [before, name.map_or("", |name| value(values, name))]).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_language_with_the_highest_weight_is_taken() {
        for (field, lang) in [
            ("de", Some(Lang::De)),
            ("de-AT,de;q=0.9,en;q=0.8", Some(Lang::De)),
            ("en;q=0.1, FR-ca ; q=0.3, nl", Some(Lang::Fr)),
            ("nl, es;q=0.5, de;q=0.5", Some(Lang::Es)),
            ("de;q=0, *;q=0.1", Some(Lang::En)),
            ("de;q=0.001, en;q=0.01", Some(Lang::En)),
            ("de;q=2, en;q=1.001, fr;q=x, es;q=0.1", Some(Lang::Es)),
            ("de;q=1.0000, es;q=0.1", Some(Lang::Es)),
            ("nl,pt", None),
            ("desperate", None),
            ("", None),
            (",;q=1,,", None),
        ] {
            assert_eq!(Lang::accepted(field), lang, "{field}");
        }
    }

    #[test]
    fn what_is_filled_in_is_escaped_once() {
        let values = [("a", "<{b}>"), ("b", "'\u{202e}\"&")];
        assert_eq!(
            fill("x & {a}{b}{c}", &values),
            "x &amp; <bdi>&lt;{b}&gt;</bdi><bdi>&apos;\u{202e}&quot;&amp;</bdi><bdi></bdi>"
        );
        assert_eq!(plain("{b} {a", &values), "'\u{202e}\"& {a");
    }
}
