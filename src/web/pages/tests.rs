#![allow(clippy::unwrap_used)]

use super::*;
use minidom::Element;
use std::collections::BTreeSet;

const SYSTEMS: [System; 5] = apps::SYSTEMS;
const HOSTILE: &str = "<script>alert('1')</script>\"&amp;\u{202e}{who}";

fn authority(name: &str) -> Authority {
    let fingerprint = (0..32).map(|n| format!("{:02X}", n * 7)).collect::<Vec<_>>().join(":");
    Authority {
        name: name.into(),
        der: (0..=255).collect(),
        pem: String::new(),
        shown: fingerprint.to_lowercase(),
        fingerprint,
    }
}

fn house(name: &str) -> House {
    House {
        name: name.into(),
        called: name.into(),
        vouched: Vouched::Itself(authority("Inglenook CA 0a0b0c")),
        port: Some(5222),
    }
}

/// All kinds of pages, with these words filled in.
fn all(house: &House, visitor: &Visitor, words: &str) -> Vec<(&'static str, String)> {
    let uri = format!("xmpp:{words}@{}?register;preauth=ABCDEFGHIJKLMNOPQRSTUV;ibr=y", house.name);
    let url = "https://house.example:5443/invite/ABCDEFGHIJKLMNOPQRSTUV";
    let link = |purpose, name| Invitation {
        purpose,
        inviter: Some(words),
        name,
        room: Some(words),
        until: "2026-12-07",
        url,
        uri: &uri,
    };
    let faults = [Fault::NameAlike, Fault::PasswordLong, Fault::Again];
    let filled = Form { name: words, faults: &faults };
    let mut pages = vec![
        ("start", start(house, visitor)),
        ("trust", trust(house, visitor, None)),
        ("trust without TLS", trust(house, visitor, Some("https://house.example:5443"))),
        ("open", invitation(house, visitor, &link(Purpose::Account, None), &Form::default())),
        ("named", invitation(house, visitor, &link(Purpose::Account, Some(words)), &Form::default())),
        ("filled", invitation(house, visitor, &link(Purpose::Account, None), &filled)),
        ("named and filled", invitation(house, visitor, &link(Purpose::Account, Some(words)), &filled)),
        ("reset", invitation(house, visitor, &link(Purpose::Reset, Some(words)), &filled)),
    ];
    for (name, kind) in [("made", Done::Made), ("made before", Done::MadeBefore), ("reset done", Done::Reset)] {
        pages.push((name, done(house, visitor, kind, (words, &uri), Some((words.to_owned(), 5222)))));
    }
    for kind in [Remark::Gone, Remark::Later(2001), Remark::Foreign, Remark::Bad, Remark::NotStored] {
        pages.push(("remark", remark(house, visitor, kind)));
    }
    pages
}

/// Each page there is, for each visitor.
fn each(house: &House, words: &str, mut check: impl FnMut(&str, Lang, &str)) {
    for lang in LANGS {
        for system in SYSTEMS {
            for (chosen, firefox) in [(false, true), (true, false)] {
                let visitor = Visitor { lang, chosen, system, firefox };
                for (name, page) in all(house, &visitor, words) {
                    check(&format!("{name}, {lang:?}, {system:?}, {firefox}"), lang, &page);
                }
            }
        }
    }
}

/// Pages are XML, too: so it is known that each element and each value ends where it should.
fn parsed(page: &str) -> Element {
    let mut xml = page.strip_prefix("<!DOCTYPE html>\n").unwrap().replacen("<html ", "<html xmlns=\"h\" ", 1);
    // A drawing is longer than the parser takes.
    if let Some(at) = xml.find("<path d=\"M") {
        let end = at + xml[at..].find("\"/>").unwrap();
        assert!(xml[at + 9..end].bytes().all(|b| b"Mhv,-0123456789".contains(&b)));
        xml.replace_range(at + 9..end, "");
    }
    xml.parse().unwrap_or_else(|e| panic!("{e}: {page}"))
}

fn walk<'a>(element: &'a Element, found: &mut Vec<&'a Element>) {
    found.push(element);
    element.children().for_each(|child| walk(child, found));
}

fn elements(root: &Element) -> Vec<&Element> {
    let mut found = Vec::new();
    walk(root, &mut found);
    found
}

fn text(element: &Element) -> String {
    element
        .nodes()
        .map(|node| node.as_element().map_or_else(|| node.as_text().unwrap_or_default().into(), text))
        .collect()
}

#[test]
fn every_page_is_whole_small_and_harmless() {
    // As long as names may be, and longer.
    let long = format!("{HOSTILE}{}", "'".repeat(200));
    for (name, words) in
        [("house.example", "romeo@house.example"), (HOSTILE, HOSTILE), ("b\u{fc}cher.example", long.as_str())]
    {
        each(&house(name), words, |what, lang, page| {
            assert!(page.len() <= PAGE_BYTES, "{what}: {} bytes", page.len());
            let root = parsed(page);
            assert_eq!(root.attr("lang"), Some(lang.texts().code));
            let all = elements(&root);
            let of = |name: &str| all.iter().filter(|e| e.name() == name).collect::<Vec<_>>();
            for name in ["script", "img", "iframe", "object", "base"] {
                assert!(of(name).is_empty(), "{what}: {name}");
            }
            for (name, count) in
                [("title", 1), ("h1", 1), ("main", 1), ("header", 1), ("footer", 1), ("nav", 1), ("style", 1)]
            {
                assert_eq!(of(name).len(), count, "{what}: {name}");
            }
            assert_eq!(text(of("style")[0]), STYLE);
            for element in &all {
                for ((_, name), value) in element.attrs() {
                    assert!(
                        !name.starts_with("on") && !["src", "style", "target"].contains(&name.as_str()),
                        "{what}: {name}"
                    );
                    if name.as_str() == "href" {
                        let starts = ["/", "?lang=", "https://", "xmpp:", "data:image/svg+xml,"];
                        assert!(starts.iter().any(|start| value.starts_with(start)), "{what}: {value}");
                        let is_away = value.starts_with("https://") && !value.starts_with("https://house.example");
                        assert!(!is_away || element.attr("rel") == Some("noreferrer noopener"), "{what}: {value}");
                    }
                }
            }
        });
    }
}

#[test]
fn fields_have_labels_and_say_what_is_wrong_with_them() {
    each(&house("house.example"), "Romeo", |what, lang, page| {
        let root = parsed(page);
        let all = elements(&root);
        let ids: Vec<&str> = all.iter().filter_map(|e| e.attr("id")).collect();
        assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "{what}");
        let inputs: Vec<_> = all.iter().filter(|e| e.name() == "input" && e.attr("type") != Some("hidden")).collect();
        let forms =
            all.iter().filter(|e| e.name() == "form").inspect(|form| assert_eq!(form.attr("method"), Some("post")));
        assert_eq!(forms.count() == 1, !inputs.is_empty());
        assert_eq!(page.contains("same-origin"), !inputs.is_empty(), "{what}: whence a form comes is told");
        for input in inputs {
            let id = input.attr("id").unwrap();
            assert!(all.iter().any(|e| e.name() == "label" && e.attr("for") == Some(id)), "{what}: {id}");
            let described = input.attr("aria-describedby").unwrap_or_default();
            assert!(described.split_whitespace().all(|id| ids.contains(&id)), "{what}: {described}");
            assert_eq!(input.attr("aria-invalid").is_some(), described.contains("-bad"), "{what}: {id}");
            assert_eq!(input.attr("autocomplete"), Some(if id == "name" { "username" } else { "new-password" }));
            let wanted = if id == "name" && input.attr("aria-invalid").is_some() { Some("Romeo") } else { None };
            assert_eq!(input.attr("value").filter(|value| !value.is_empty()), wanted, "{what}: {id}");
        }
        if what.contains("filled") {
            let alert = all.iter().find(|e| e.attr("role") == Some("alert")).unwrap();
            assert!(text(alert).contains(lang.texts().fault_again), "{what}");
        }
    });
}

/// What is filled in has the same name in all languages, and no text is missing or the same as in English by mistake.
#[test]
fn languages_say_the_same() {
    let places = |text: &str| {
        let parts = text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name.to_owned());
        parts.collect::<BTreeSet<_>>()
    };
    let english = listed(Lang::En);
    for lang in LANGS {
        let mut same = 0;
        for (n, text) in listed(lang).iter().enumerate() {
            assert!(!text.trim().is_empty() && text.trim() == *text, "{lang:?} {n}");
            assert_eq!(places(text), places(english[n]), "{lang:?}: {text}");
            same += usize::from(*text == english[n]);
        }
        assert!(lang == Lang::En || same <= 2, "{lang:?} has {same} texts in English");
    }
}

/// All texts but the code.
fn listed(lang: Lang) -> Vec<&'static str> {
    let file = match lang {
        Lang::En => include_str!("en.rs"),
        Lang::De => include_str!("de.rs"),
        Lang::Fr => include_str!("fr.rs"),
        Lang::Es => include_str!("es.rs"),
    };
    let quoted = file.lines().filter_map(|line| line.split_once('"')?.1.rsplit_once('"'));
    let texts: Vec<&str> = quoted.map(|(text, _)| text).skip(1).collect();
    assert!(texts.len() > 90, "{} texts", texts.len());
    texts
}

#[test]
fn a_visitor_sees_their_own_system_first() {
    for (agent, system, phone) in [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1", System::Ios, true),
        ("Mozilla/5.0 (Linux; Android 16; Pixel 9) Chrome/142.0 Mobile Safari/537.36", System::Android, true),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0 Safari/537.36", System::Windows, false),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1.15", System::Macos, false),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", System::Linux, false),
        ("", System::Linux, false),
    ] {
        let visitor = Visitor::new(None, None, Some(agent));
        assert_eq!((visitor.system, visitor.system.is_phone()), (system, phone), "{agent}");
        let page = trust(&house("house.example"), &visitor, None);
        let (first, folded) = page.split_once("<details>").unwrap();
        assert!(first.contains(&format!("<h2>{}</h2>", system.name())), "{agent}");
        assert_eq!(first.contains("<h2>Firefox</h2>"), agent.contains("Firefox"), "{agent}");
        for other in SYSTEMS.into_iter().filter(|other| *other != system) {
            assert!(folded.contains(&format!("<h2>{}</h2>", other.name())), "{agent}: {other:?}");
        }
        let words = all(&house("house.example"), &visitor, "romeo");
        let open = &words.iter().find(|(name, _)| *name == "open").unwrap().1;
        // A phone opens its app; a computer shows the phone where to look.
        assert_eq!(!open.contains("class=\"qr\""), phone, "{agent}");
        assert!(open.contains("href=\"xmpp:romeo@house.example?register;preauth="), "{agent}");
    }
    let visitor = Visitor::new(Some("x=1&lang=fr"), Some("de"), None);
    assert_eq!((visitor.lang, visitor.chosen), (Lang::Fr, true));
    assert!(start(&house("h"), &visitor).contains("href=\"/trust?lang=fr\""));
    let visitor = Visitor::new(Some("lang=nl"), Some("nl, de"), None);
    assert_eq!((visitor.lang, visitor.chosen), (Lang::De, false));
}

#[test]
fn what_is_trusted_already_is_said_to_be() {
    let visitor = Visitor::new(None, None, None);
    let world = House {
        name: "house.example".into(),
        called: "The Capulets".into(),
        vouched: Vouched::World,
        ..House::default()
    };
    let page = trust(&world, &visitor, None);
    assert!(page.contains(visitor.lang.texts().trust_public_title) && !page.contains("ca.crt"));
    assert!(!start(&world, &visitor).contains("/trust"));
    let owner = House { name: "house.example".into(), vouched: Vouched::Owner, ..House::default() };
    let page = trust(&owner, &visitor, None);
    assert!(page.contains(visitor.lang.texts().trust_installed) && !page.contains("ca.crt"));
    let own = authority("x");
    let page = trust(&house("house.example"), &visitor, None);
    assert!(page.contains(&own.fingerprint) && page.contains(&own.shown) && page.contains("Inglenook CA 0a0b0c"));
}

#[test]
fn a_profile_has_the_authority_and_stays_the_same() {
    let (house, own) = (house(HOSTILE), authority(HOSTILE));
    let text = profile(&house, &own, Lang::De);
    assert_eq!(text, profile(&house, &own, Lang::De));
    let xml = text.split_once("<plist version=\"1.0\">").unwrap().1;
    let root: Element = format!("<plist xmlns=\"p\">{xml}").parse().unwrap();
    let values: Vec<String> =
        elements(&root).iter().filter(|e| e.name() == "string").map(|e| super::tests::text(e)).collect();
    assert!(
        values.contains(&"com.apple.security.root".to_owned()) && values.contains(&HOSTILE.to_owned()),
        "{values:?}"
    );
    assert!(text.contains(&format!("<data>{}</data>", STANDARD.encode(&own.der))));
    let uuids: BTreeSet<&String> = values.iter().filter(|value| value.len() == 36).collect();
    assert_eq!(uuids.len(), 2, "{values:?}");
    assert!(
        uuids.iter().all(|uuid| uuid.as_bytes()[14] == b'8' && b"89AB".contains(&uuid.as_bytes()[19])),
        "{uuids:?}"
    );
}

#[test]
fn the_style_is_what_the_policy_allows() {
    assert!(!STYLE.contains(['<', '&']) && !STYLE.contains("url(") && !STYLE.contains("@import"));
    let hash = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes()));
    assert!(POLICY.contains(&format!("style-src 'sha256-{hash}';")) && !POLICY.contains("unsafe"));
    assert!(POLICY.starts_with("default-src 'none'; ") && POLICY.contains("form-action 'self'"));
}
