//! How a device gets to know the house: the visitor's system first.

use super::apps::SYSTEMS;
use super::{Authority, House, System, Texts, Visitor, Vouched, fill, folded, page, paragraph, section};
use crate::wire::xml::escaped;
use std::fmt::Write;

/// What is typed on Debian and its relatives, and on Fedora and Arch.
const DEBIAN: &str = "sudo cp ca.pem /usr/local/share/ca-certificates/inglenook.crt\nsudo update-ca-certificates";
const FEDORA: &str = "sudo trust anchor --store ca.pem";

/// Who has a list of authorities: a system, or a browser with its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    System(System),
    Firefox,
}

/// `on`: what URLs begin with, where the visitor goes on from here; nothing, if they are there already.
pub fn trust(house: &House, visitor: &Visitor, on: Option<&str>) -> String {
    let texts = visitor.lang.texts();
    let authority = match &house.vouched {
        Vouched::World => return page(house, visitor, texts.trust_public_title, false, &paragraph(texts.trust_public)),
        Vouched::Owner => return page(house, visitor, texts.trust_title, false, &paragraph(texts.trust_installed)),
        Vouched::Itself(authority) => authority,
    };
    let mut main = paragraph(texts.trust_text);
    let compare = format!(
        "{}<p><code class=\"key\">{}</code></p>\n<p>{}</p>\n{}<p><code class=\"key\">{}</code></p>\n",
        paragraph(texts.trust_compare),
        escaped(&authority.fingerprint),
        fill(texts.trust_called, &[("name", &authority.name)]),
        paragraph(texts.trust_asked),
        escaped(&authority.shown)
    );
    main += &section(texts.trust_compare_title, &compare);
    let mut stores = SYSTEMS.map(Store::System).to_vec();
    stores.push(Store::Firefox);
    // Firefox takes what a phone has installed as it is.
    let is_first = |store: &Store| match store {
        Store::System(system) => *system == visitor.system,
        Store::Firefox => visitor.firefox && !visitor.system.is_phone(),
    };
    for store in stores.iter().filter(|store| is_first(store)) {
        main += &steps(texts, authority, *store);
    }
    let others: String =
        stores.iter().filter(|store| !is_first(store)).map(|store| steps(texts, authority, *store)).collect();
    main += &folded(texts.trust_others, &others);
    if let Some(base) = on {
        let text = fill(texts.trust_on, &[("house", &house.called)]);
        let _ = writeln!(main, "<p><a href=\"{}/{}\">{text}</a></p>", escaped(base), visitor.query());
    }
    page(house, visitor, texts.trust_title, false, &main)
}

/// What to do on one system, in order.
fn steps(texts: &Texts, authority: &Authority, store: Store) -> String {
    let (name, file, label, steps): (_, _, _, &[&str]) = match store {
        Store::System(system) => {
            let steps: &[&str] = match system {
                System::Ios => &texts.trust_ios,
                System::Android => &texts.trust_android,
                System::Windows => &texts.trust_windows,
                System::Macos => &texts.trust_macos,
                System::Linux => &texts.trust_linux,
            };
            let (file, label) = match system {
                System::Ios => ("inglenook.mobileconfig", texts.trust_profile),
                // What is typed there wants it as text.
                System::Linux => ("ca.pem", texts.trust_file),
                _ => ("ca.crt", texts.trust_file),
            };
            (system.name(), file, label, steps)
        }
        Store::Firefox => ("Firefox", "ca.crt", texts.trust_file, &texts.trust_firefox),
    };
    let mut list = String::from("<ol>\n");
    for (n, step) in steps.iter().enumerate() {
        let _ = write!(list, "<li>{}", fill(step, &[("name", &authority.name)]));
        match (store, n) {
            (Store::System(System::Linux), 1) => list += &typed(DEBIAN),
            (Store::System(System::Linux), 2) => list += &typed(FEDORA),
            _ => {}
        }
        list += "</li>\n";
    }
    let get = format!("<p><a class=\"go\" href=\"/trust/{file}\">{}</a></p>\n", escaped(label));
    section(name, &format!("{get}{list}</ol>\n"))
}

fn typed(lines: &str) -> String {
    lines.lines().map(|line| format!("<code class=\"key\">{}</code>", escaped(line))).collect()
}
