//! XEP-0059: Result Set Management. What a request wants of a long list, and what the answer says of its page. It is done by those
//! who have lists: `archive`.

use crate::core::{About, Extension};
use crate::wire::xml::escape;
use crate::wire::{Condition, Node, Ns, StanzaError};

pub(super) struct ResultSets;

impl Extension for ResultSets {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0059",
            name: "Result Set Management",
            version: "1.0",
            missing: "pages by index; counts in archives",
            server: &[],
            account: &["http://jabber.org/protocol/rsm"],
            iq: &[],
        }
    }
}

/// Where a page lies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ResultPage {
    /// At most so many items.
    pub max: Option<usize>,
    /// Behind this one.
    pub after: Option<String>,
    /// The last ones before this one; before the end, if it is empty.
    pub before: Option<String>,
}

/// What a request says; without a `<set/>`: the default.
///
/// # Errors
/// `bad-request` for what is no number or stands there twice, `feature-not-implemented` for a page by its index (§2.6).
pub(super) fn read(within: Node<'_>) -> Result<ResultPage, StanzaError> {
    let mut request = ResultPage::default();
    let bad = |text: &'static str| StanzaError::new(Condition::BadRequest).text(text);
    let Some(set) = within.child(Ns::RSM, "set") else { return Ok(request) };
    for child in set.children().filter(|c| c.ns() == Ns::RSM) {
        let text = child.text();
        let twice = match child.name() {
            "max" => {
                let number = text.trim();
                if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(bad("max is not a number"));
                }
                // Only a number that is too large cannot be read.
                request.max.replace(number.parse().unwrap_or(usize::MAX)).is_some()
            }
            "after" if text.is_empty() => return Err(bad("after is empty")),
            "after" => request.after.replace(text.into_owned()).is_some(),
            "before" => request.before.replace(text.into_owned()).is_some(),
            "index" => {
                let text = "pages are found by the ids in them, not by an index";
                return Err(StanzaError::new(Condition::FeatureNotImplemented).text(text));
            }
            _ => false,
        };
        if twice {
            return Err(bad("something stands twice in the set"));
        }
    }
    Ok(request)
}

/// The `<set/>` of an answer: the ids of the first and the last item of its page, if there are any (§2.2).
pub(super) fn page(ends: Option<(&str, &str)>) -> String {
    let Some((first, last)) = ends else { return "<set xmlns='http://jabber.org/protocol/rsm'/>".into() };
    let mut out = String::from("<set xmlns='http://jabber.org/protocol/rsm'><first>");
    escape(first, &mut out);
    out.push_str("</first><last>");
    escape(last, &mut out);
    out + "</last></set>"
}

/// The same with how many items there are in all, and how many before the first of the page (§2.6, §2.7).
pub(super) fn counted(ends: Option<(&str, &str, usize)>, count: usize) -> String {
    let mut out = String::from("<set xmlns='http://jabber.org/protocol/rsm'>");
    if let Some((first, last, index)) = ends {
        out += &format!("<first index='{index}'>");
        escape(first, &mut out);
        out.push_str("</first><last>");
        escape(last, &mut out);
        out.push_str("</last>");
    }
    out + &format!("<count>{count}</count></set>")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Scope;
    use crate::wire::xml::Raw;

    fn of(set: &str) -> Result<ResultPage, Condition> {
        let xml = format!("<query xmlns='urn:x'><set xmlns='http://jabber.org/protocol/rsm'>{set}</set></query>");
        read(Raw::parse(&xml, Scope::client()).unwrap().root()).map_err(|e| e.condition)
    }

    #[test]
    fn requests() {
        assert_eq!(read(Raw::parse("<q/>", Scope::client()).unwrap().root()).unwrap(), ResultPage::default());
        assert_eq!(of(""), Ok(ResultPage::default()));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(of("<max>10</max>"), Ok(ResultPage { max: Some(10), ..ResultPage::default() }));
        assert_eq!(
            of("<max> 0 </max><after>x</after>").unwrap(),
            ResultPage { max: Some(0), after: text("x"), before: None }
        );
        assert_eq!(of("<before/>").unwrap().before, text(""));
        assert_eq!(of("<before>x &amp; y</before>").unwrap().before, text("x & y"));
        assert_eq!(of(&format!("<max>{}</max>", "9".repeat(100))).unwrap().max, Some(usize::MAX));
        for wrong in
            ["<max/>", "<max>-1</max>", "<max>ten</max>", "<max>1</max><max>1</max>", "<after/>", "<before/><before/>"]
        {
            assert_eq!(of(wrong), Err(Condition::BadRequest), "{wrong}");
        }
        assert_eq!(of("<index>371</index>"), Err(Condition::FeatureNotImplemented));
    }

    #[test]
    fn answers() {
        assert_eq!(page(None), "<set xmlns='http://jabber.org/protocol/rsm'/>");
        assert_eq!(
            page(Some(("a&b", "c"))),
            "<set xmlns='http://jabber.org/protocol/rsm'><first>a&amp;b</first><last>c</last></set>"
        );
    }
}
