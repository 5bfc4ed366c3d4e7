//! XEP-0198: Stream Management. The stream's side is in `stream/c2s.rs`, the session's in `core/message/acks.rs`; here it is announced.

use crate::core::{About, Extension, State};
use crate::wire::{Offer, StreamFeature};

pub(super) struct StreamManagement;

impl Extension for StreamManagement {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0198",
            name: "Stream Management",
            version: "1.6.3",
            missing: "",
            server: &[],
            account: &[],
            iq: &[],
        }
    }

    fn bind_features(&self) -> &'static [&'static str] {
        // `core/login.rs` enables it.
        &["urn:xmpp:sm:3"]
    }

    fn stream_features(&self, _st: &State) -> Vec<StreamFeature> {
        vec![StreamFeature::new("<sm xmlns='urn:xmpp:sm:3'/>").offered(Offer::Unmanaged)]
    }
}
