//! The pages that people see: whole, as text, for who they are told to be for. No script, and nothing from elsewhere.
//!
//! The view of a page is data, its texts are in one file a language ([`Texts`]), and every value goes through `fill` or `escaped`.

mod apps;
mod de;
mod en;
mod es;
mod fr;
mod invitation;
mod profile;
mod qr;
mod remark;
mod start;
mod texts;
mod trust;

pub use self::apps::System;
pub use self::invitation::{Done, Fault, Form, Invitation, Purpose, done, invitation};
pub use self::profile::profile;
pub use self::remark::{Remark, remark};
pub use self::start::start;
pub use self::texts::{LANGS, Lang, Texts};
pub use self::trust::trust;

use self::texts::{fill, plain};
use crate::wire::xml::escaped;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;
use std::sync::LazyLock;

/// The longest page, in bytes.
pub const PAGE_BYTES: usize = 40 * 1024;

const STYLE: &str = include_str!("style.css");
/// A house with a fire in it.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%239a3412' \
                    d='M8 1 1 7v8h14V7z'/%3E%3Cpath fill='%23fde3c8' d='M8 6q3 3 3 5a3 3 0 0 1-6 0q0-2 3-5'/%3E%3C/svg%3E";

/// The policy for browsers that see a page: its one style sheet, its icon, and forms that go back where they came from.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
});

/// Whose pages these are.
#[derive(Clone, Default, Debug)]
pub struct House {
    /// The domain, as people read it.
    pub name: String,
    /// What the house is called; the domain, if its owner says nothing else.
    pub called: String,
    /// Who vouches for it.
    pub vouched: Vouched,
    /// Where apps connect, if that is known.
    pub port: Option<u16>,
}

/// Who vouches for a house.
#[derive(Clone, Default, Debug)]
pub enum Vouched {
    /// An authority that the world trusts.
    World,
    /// One that its owner has chosen, and devices may know or not.
    #[default]
    Owner,
    /// An authority of its own.
    Itself(Authority),
}

/// An authority of a house's own.
#[derive(Clone, Debug)]
pub struct Authority {
    /// What systems call it.
    pub name: String,
    /// Its certificate.
    pub der: Vec<u8>,
    /// The same as text (RFC 7468 §5).
    pub pem: String,
    /// SHA-256 of that, as systems show it.
    pub fingerprint: String,
    /// The same of the certificate that it has signed, which apps show that ask.
    pub shown: String,
}

/// For whom a page is made.
#[derive(Clone, Copy, Debug)]
pub struct Visitor {
    /// In which language.
    pub lang: Lang,
    /// Whether they have chosen it: links and forms keep it then.
    pub chosen: bool,
    /// What they have in hand.
    pub system: System,
    /// Whether their browser has a list of authorities of its own.
    pub firefox: bool,
}

impl Visitor {
    /// From what a browser says: the query, `Accept-Language` and `User-Agent`.
    pub fn new(query: Option<&str>, languages: Option<&str>, agent: Option<&str>) -> Visitor {
        let chosen = query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("lang="));
        let chosen = chosen.and_then(Lang::of_code);
        let lang = chosen.or_else(|| Lang::accepted(languages?)).unwrap_or(LANGS[0]);
        let agent = agent.unwrap_or_default();
        let firefox = agent.contains("Firefox/");
        Visitor { lang, chosen: chosen.is_some(), system: System::of_agent(agent), firefox }
    }

    /// What to put behind a path so that the language stays.
    fn query(&self) -> String {
        if self.chosen { format!("?lang={}", self.lang.texts().code) } else { String::new() }
    }
}

/// A whole page. `title`: plain text; `main`: HTML; `form`: whether there is one in it.
fn page(house: &House, visitor: &Visitor, title: &str, form: bool, main: &str) -> String {
    let texts = visitor.lang.texts();
    let chat = plain(texts.chat_of, &[("house", &house.called)]);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" \
         content=\"width=device-width\"/>\n<meta name=\"robots\" content=\"noindex\"/>\n",
        texts.code
    );
    if form {
        // The header says no-referrer, and browsers that say nothing of whence a form comes would say `Origin: null` (Fetch §3.2).
        out += "<meta name=\"referrer\" content=\"same-origin\"/>\n";
    }
    let _ = write!(
        out,
        "<title>{}</title>\n<link rel=\"icon\" href=\"{ICON}\"/>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><p><a href=\"/{}\">{}</a></p></header>\n<main>\n<h1>{}</h1>\n{main}</main>\n<footer>\n<p>{}</p>\n",
        if *title == chat {
            escaped(title).into_owned()
        } else {
            format!("{} \u{2013} {}", escaped(title), escaped(&chat))
        },
        visitor.query(),
        fill(texts.chat_of, &[("house", &house.called)]),
        escaped(title),
        escaped(texts.foot)
    );
    let _ = writeln!(out, "<nav aria-label=\"{}\"><ul>", escaped(texts.languages));
    for lang in LANGS {
        let (other, current) = (lang.texts(), if lang == visitor.lang { " aria-current=\"true\"" } else { "" });
        let _ = writeln!(
            out,
            "<li><a href=\"?lang={0}\" hreflang=\"{0}\" lang=\"{0}\"{current}>{1}</a></li>",
            other.code, other.name
        );
    }
    out += "</ul></nav>\n</footer>\n</body>\n</html>\n";
    out
}

/// A paragraph of a text that has nothing to be filled in.
fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escaped(text))
}

fn section(title: &str, inside: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{inside}</section>\n", escaped(title))
}

fn folded(title: &str, inside: &str) -> String {
    format!("<details>\n<summary>{}</summary>\n{inside}</details>\n", escaped(title))
}

#[cfg(test)]
mod tests;
