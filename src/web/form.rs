//! What a browser sends of a form: `application/x-www-form-urlencoded` (URL §5.1).

use super::percent;
use super::request::Request;

/// The longest form, in bytes: a name and two passwords, each byte of them as `%XX`.
pub const FORM_BYTES: usize = 8 * 1024;
/// Fields in a form.
const FIELDS: usize = 16;

/// Whether what follows a request is a form.
pub fn is_form(request: &Request) -> bool {
    let essence = request.field("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Whether a page of the same origin has sent it, by what browsers say of that: whoever says nothing has not shown it.
pub fn is_from_here(request: &Request) -> bool {
    let host = |authority: &str| authority.strip_suffix(":443").unwrap_or(authority).to_ascii_lowercase();
    let own = request.field("host").map(host);
    let is_own = |origin: &str| origin.strip_prefix("https://").map(host) == own;
    // A policy against referrers makes a browser say `null` of its own pages, too.
    let origin = request.field("origin").filter(|origin| *origin != "null");
    match (request.field("sec-fetch-site"), origin, request.field("referer")) {
        // `none`: a person, by hand.
        (Some(site), origin, _) => matches!(site, "same-origin" | "none") && origin.is_none_or(is_own),
        (None, Some(origin), _) => is_own(origin),
        (None, None, Some(referer)) => {
            let end = referer.match_indices('/').nth(2).map_or(referer.len(), |(at, _)| at);
            is_own(&referer[..end])
        }
        (None, None, None) => false,
    }
}

/// Names and values, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormFields(Vec<(String, String)>);

impl FormFields {
    /// `None`: it is none, or no UTF-8, or has too many fields.
    pub fn read(content: &[u8]) -> Option<FormFields> {
        let text = std::str::from_utf8(content).ok()?;
        let decoded = |text: &str| percent::decoded(&text.replace('+', " "));
        let mut fields = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            fields.push((decoded(name)?, decoded(value)?));
            if fields.len() > FIELDS {
                return None;
            }
        }
        Some(FormFields(fields))
    }

    /// The value of a field; of several with one name the first.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_page_is_known() {
        let is_own = |fields: &str| {
            let text = format!("POST / HTTP/1.1\r\nHost: House.example:5443\r\n{fields}\r\n");
            is_from_here(&Request::read(text.as_bytes()).unwrap().unwrap().0)
        };
        for (fields, own) in [
            ("", false),
            ("Sec-Fetch-Site: same-origin\r\n", true),
            ("Sec-Fetch-Site: same-origin\r\nOrigin: null\r\n", true),
            ("Sec-Fetch-Site: none\r\n", true),
            ("Sec-Fetch-Site: same-site\r\n", false),
            ("Sec-Fetch-Site: cross-site\r\nOrigin: https://house.example:5443\r\n", false),
            ("Sec-Fetch-Site: same-origin\r\nOrigin: https://evil.example\r\n", false),
            ("Origin: https://house.example:5443\r\n", true),
            ("Origin: https://HOUSE.example:5443\r\n", true),
            ("Origin: https://house.example\r\n", false),
            ("Origin: http://house.example:5443\r\n", false),
            ("Origin: https://house.example:54433\r\n", false),
            ("Origin: https://house.example:5443.evil.example\r\n", false),
            ("Origin: https://evil.example\r\nReferer: https://house.example:5443/\r\n", false),
            ("Origin: null\r\n", false),
            ("Origin: null\r\nReferer: https://house.example:5443/invite/x\r\n", true),
            ("Referer: https://house.example:5443/invite/x\r\n", true),
            ("Referer: https://house.example:5443\r\n", true),
            ("Referer: https://house.example:5443.evil.example/\r\n", false),
            ("Referer: https://evil.example/https://house.example:5443/\r\n", false),
            ("Referer: \r\n", false),
        ] {
            assert_eq!(is_own(fields), own, "{fields}");
        }
        let port = "POST / HTTP/1.1\r\nHost: a\r\nOrigin: https://a:443\r\n\r\n";
        assert!(is_from_here(&Request::read(port.as_bytes()).unwrap().unwrap().0));
        let bare = "POST / HTTP/1.0\r\nOrigin: https://\r\n\r\n";
        assert!(!is_from_here(&Request::read(bare.as_bytes()).unwrap().unwrap().0));
    }

    #[test]
    fn forms_are_read_as_browsers_send_them() {
        let form = FormFields::read("name=J%C3%BClia+C&&password=%2B+%26%3D%25%27&again&name=x&=y".as_bytes()).unwrap();
        assert_eq!(form.get("name"), Some("J\u{fc}lia C"));
        assert_eq!(form.get("password"), Some("+ &=%'"));
        assert_eq!((form.get("again"), form.get("other"), form.get("")), (Some(""), None, Some("y")));
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff", "%ff=a", &"a&".repeat(FIELDS + 1)] {
            assert_eq!(FormFields::read(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(FormFields::read(b"a=\xff"), None);
        assert!(FormFields::read("a&".repeat(FIELDS).as_bytes()).is_some());
        let two = "%F0%9F%94%91".repeat(200);
        assert!(FormFields::read(format!("name=a&password={two}&again={two}").as_bytes()).is_some());
        assert!(2 * two.len() + 64 < FORM_BYTES);
    }
}
