//! XEP-0157: Contact Addresses for XMPP Services. A form in the server's disco#info.

use super::disco::InfoForm;
use crate::core::{About, Extension, State};

pub(super) struct Contacts;

/// The form of the addresses in the settings; none without any.
pub(super) fn form(st: &State) -> Option<(&'static str, InfoForm)> {
    let mut form = InfoForm::new();
    for (kind, uri) in &st.settings().contacts {
        form.entry(format!("{kind}-addresses")).or_default().insert(uri.clone());
    }
    (!form.is_empty()).then_some(("http://jabber.org/network/serverinfo", form))
}

impl Extension for Contacts {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0157",
            name: "Contact Addresses for XMPP Services",
            version: "1.1.1",
            missing: "",
            server: &[],
            account: &[],
            iq: &[],
        }
    }
}
