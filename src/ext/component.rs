//! XEP-0114: Jabber Component Protocol. The stream is `stream::component`, the way to and from components `core/component.rs`.

use crate::core::{About, Extension};

pub(super) struct Component;

impl Extension for Component {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0114",
            name: "Jabber Component Protocol",
            version: "1.6",
            missing: "connecting to a component (jabber:component:connect), TLS: components are on this box",
            server: &[],
            account: &[],
            iq: &[],
        }
    }
}
