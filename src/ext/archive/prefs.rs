//! XEP-0441: Message Archive Management Preferences: whose messages an account wants to have archived.

use crate::core::archived::{Archived, Policy};
use crate::core::{About, Handled, State};
use crate::wire::xml::escape;
use crate::wire::{Condition, Jid, Node, Ns, Stanza, StanzaError, Type};
use std::collections::BTreeSet;

/// Both lists of an account together, in bytes of addresses.
const LISTS_BYTES: usize = 32 * 1024;
/// Entries in both lists of an account together.
const LISTS_ENTRIES: usize = 1000;

pub(super) const PREFERENCES: About = About::new(
    "XEP-0441",
    "Message Archive Management Preferences",
    "0.2.0",
    "configuration by ad-hoc commands (§2.2)",
);

/// A request for the preferences or with new ones, by the account itself.
pub(super) fn answer(st: &mut State, local: &str, iq: &Stanza, prefs: Node<'_>) -> Handled {
    let before = st.archived(local).cloned().unwrap_or_default();
    if iq.ty == Type::Get {
        return st.reply(iq, element(&before));
    }
    let after = read(prefs, before.begins)?;
    if after == before {
        // Nothing is written, but what was asked before may still wait for that.
        return st.confirm(iq, element(&after));
    }
    let xml = element(&after);
    st.set_archived(local, after)?;
    st.confirm(iq, xml)
}

fn read(prefs: Node<'_>, begins: u64) -> Result<Archived, StanzaError> {
    let bad = |text: &'static str| StanzaError::new(Condition::BadRequest).text(text);
    let default = prefs.attr("default");
    let policy = default.as_deref().and_then(Policy::of);
    let policy = policy.ok_or(bad("the default is 'always', 'never' or 'roster'"))?;
    let (mut bytes, mut entries) = (0, 0);
    let mut list = |name: &str| {
        let mut jids = BTreeSet::new();
        let lists = prefs.children().filter(|c| c.is(Ns::MAM, name));
        for item in lists.flat_map(|list| list.children()).filter(|c| c.is(Ns::MAM, "jid")) {
            let jid = Jid::parse(item.text().trim());
            let jid = jid.map_err(|_| StanzaError::new(Condition::JidMalformed).text("an entry is not a JID"))?;
            bytes += jid.as_str().len();
            entries += 1;
            if bytes > LISTS_BYTES || entries > LISTS_ENTRIES {
                let text = format!("the lists have at most {LISTS_ENTRIES} entries and {LISTS_BYTES} bytes");
                return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
            }
            jids.insert(jid);
        }
        Ok(jids)
    };
    let (mut always, never) = (list("always")?, list("never")?);
    // Who is on both is not archived: what was kept by mistake cannot be taken back.
    always.retain(|jid| !never.contains(jid));
    Ok(Archived { begins, policy, always, never })
}

/// §2.1: both lists, also if they are empty.
fn element(archived: &Archived) -> String {
    let mut out = format!("<prefs xmlns='urn:xmpp:mam:2' default='{}'>", archived.policy.as_str());
    for (name, list) in [("always", &archived.always), ("never", &archived.never)] {
        out += &format!("<{name}>");
        for jid in list {
            out += "<jid>";
            escape(jid.as_str(), &mut out);
            out += "</jid>";
        }
        out += &format!("</{name}>");
    }
    out + "</prefs>"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Scope;
    use crate::wire::xml::Raw;

    fn of(attributes: &str, lists: &str) -> Result<Archived, Condition> {
        let xml = format!("<prefs xmlns='urn:xmpp:mam:2' {attributes}>{lists}</prefs>");
        read(Raw::parse(&xml, Scope::client()).unwrap().root(), 7).map_err(|e| e.condition)
    }

    #[test]
    fn what_is_asked_for_is_what_is_told() {
        let lists = "<always><jid>a@b</jid><jid>c&apos;@d/e</jid></always><never><jid>f.g</jid></never>";
        let archived = of("default='roster'", lists).unwrap_err();
        assert_eq!(archived, Condition::JidMalformed, "a localpart has no apostrophe");
        let lists = "<always><jid>a@b</jid><jid>c@d/e&amp;</jid></always><never><jid>f.g</jid></never>";
        let archived = of("default='roster'", lists).unwrap();
        assert_eq!(archived.begins, 7);
        assert_eq!(element(&archived), format!("<prefs xmlns='urn:xmpp:mam:2' default='roster'>{lists}</prefs>"));
        for policy in Policy::ALL {
            assert_eq!(
                of(&format!("default='{}'", policy.as_str()), "").unwrap(),
                Archived { begins: 7, policy, ..Archived::default() }
            );
        }
    }

    #[test]
    fn never_goes_before_always() {
        let both =
            of("default='always'", "<never><jid>a@b</jid></never><always><jid>A@b</jid><jid>a@b/c</jid></always>");
        let both = both.unwrap();
        assert_eq!(both.always.iter().map(Jid::as_str).collect::<Vec<_>>(), ["a@b/c"]);
        assert_eq!(both.never.len(), 1);
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(of("", ""), Err(Condition::BadRequest));
        assert_eq!(of("default='sometimes'", ""), Err(Condition::BadRequest));
        assert_eq!(of("default='never'", "<never><jid/></never>"), Err(Condition::JidMalformed));
        let many = |n: usize| (0..n).map(|n| format!("<jid>{n}.test</jid>")).collect::<String>();
        assert!(of("default='never'", &format!("<never>{}</never>", many(LISTS_ENTRIES))).is_ok());
        let one_more = format!("<never>{}</never><always><jid>a</jid></always>", many(LISTS_ENTRIES));
        assert_eq!(of("default='never'", &one_more), Err(Condition::ResourceConstraint));
        let long: String = (0..33).map(|n| format!("<jid>a/{n:01000}</jid>")).collect();
        assert_eq!(of("default='never'", &format!("<never>{long}</never>")), Err(Condition::ResourceConstraint));
    }
}
