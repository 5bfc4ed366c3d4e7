//! XEP-0115: Entity Capabilities. The server's own, in its stream features; those of clients pass with their presence.

use super::disco::{self, Info};
use crate::core::{About, Extension, State};
use crate::wire::StreamFeature;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest;

pub(super) struct Caps;

/// What names this software.
const NODE: &str = "urn:inglenook:server";

/// The verification string (XEP-0115 §5.1). [`Info`] has everything in the order that it asks for.
fn ver(info: &Info) -> String {
    let mut s = String::new();
    for i in &info.identities {
        s += &format!("{}/{}/{}/{}<", i.category, i.ty, i.lang, i.name);
    }
    let mut part = |text: &str| {
        s += text;
        s.push('<');
    };
    info.features.iter().for_each(|feature| part(feature));
    for (ty, fields) in &info.forms {
        part(ty);
        for (var, values) in fields {
            part(var);
            values.iter().for_each(|value| part(value));
        }
    }
    BASE64.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, s.as_bytes()))
}

/// The disco node that has just this (XEP-0115 §6.2).
pub(super) fn node(info: &Info) -> String {
    format!("{NODE}#{}", ver(info))
}

impl Extension for Caps {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0115",
            name: "Entity Capabilities",
            version: "1.6.0",
            missing: "presence passes with its capabilities, they are not optimized away",
            server: &["http://jabber.org/protocol/caps"],
            account: &[],
            iq: &[],
        }
    }

    fn stream_features(&self, st: &State) -> Vec<StreamFeature> {
        let ver = ver(&disco::server(st));
        let c = format!("<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='{NODE}' ver='{ver}'/>");
        vec![StreamFeature::new(c)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::disco::Identity;

    const FEATURES: [&str; 4] = [
        "http://jabber.org/protocol/muc",
        "http://jabber.org/protocol/disco#items",
        "http://jabber.org/protocol/caps",
        "http://jabber.org/protocol/disco#info",
    ];

    fn client(lang: &'static str, name: &'static str) -> Identity {
        Identity { category: "client", ty: "pc", lang, name: name.into() }
    }

    #[test]
    fn the_simple_example_of_the_specification() {
        let identities = [client("", "Exodus 0.9.1")].into();
        let info = Info { identities, features: FEATURES.into(), ..Info::default() };
        assert_eq!(ver(&info), "QgayPKawpkPSDYmwT/WM94uAlu0=");
    }

    #[test]
    fn the_complex_example_of_the_specification() {
        let fields: [(&str, &[&str]); 5] = [
            ("software_version", &["0.11"]),
            ("os", &["Mac"]),
            ("ip_version", &["ipv6", "ipv4"]),
            ("software", &["Psi"]),
            ("os_version", &["10.5.1"]),
        ];
        let form = fields.iter().map(|(var, values)| (var.to_string(), values.iter().map(|v| v.to_string()).collect()));
        let info = Info {
            identities: [client("en", "Psi 0.11"), client("el", "Ψ 0.11")].into(),
            features: FEATURES.into(),
            forms: [("urn:xmpp:dataforms:softwareinfo", form.collect())].into(),
        };
        assert_eq!(ver(&info), "q07IKJEyjvHSyhy//CH0CxmKi8w=");
    }
}
