//! XEP-0198: Stream Management. The stream's side is in `stream/c2s.rs`, the session's in `core/sm.rs`; here it is announced.

use crate::core::{About, Extension, State};

pub(super) struct StreamManagement;

impl Extension for StreamManagement {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0198",
            name: "Stream Management",
            version: "1.6.3",
            missing: "SASL2 and Bind 2 (§9)",
            server: &[],
            account: &[],
            iq: &[],
        }
    }

    fn stream_features(&self, _st: &State) -> Vec<String> {
        vec!["<sm xmlns='urn:xmpp:sm:3'/>".into()]
    }
}
