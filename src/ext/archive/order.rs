//! XEP-0413: Order-By. In an archive nothing is written over: what was created first was also modified first, so that there is one
//! order, and its reverse.

use crate::core::About;
use crate::wire::{Condition, Node, Ns, StanzaError};

pub(super) const ORDER: About = About {
    spec: "XEP-0413",
    name: "Order-By",
    version: "0.2.1",
    missing: "for archives only",
    server: &[],
    account: &["urn:xmpp:order-by:1", "urn:xmpp:order-by:1@urn:xmpp:mam:2"],
    iq: &[],
};

/// Whether a query wants the last one first (§4.4). Further orders say nothing more: no two messages are equal in the first (§7).
///
/// # Errors
/// `feature-not-implemented` for an order that nobody has here, `bad-request` for what is none.
pub(super) fn descending(query: Node<'_>) -> Result<bool, StanzaError> {
    let mut first = None;
    for order in query.children().filter(|c| c.is(Ns::ORDER_BY, "order")) {
        match order.attr("by").as_deref() {
            Some("creation" | "modification") => {}
            Some(_) => {
                let text = "messages are in the order of their creation";
                return Err(StanzaError::new(Condition::FeatureNotImplemented).text(text));
            }
            None => return Err(StanzaError::new(Condition::BadRequest).text("an order says by what")),
        }
        let descending = match order.attr("desc").as_deref() {
            None | Some("0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => return Err(StanzaError::new(Condition::BadRequest).text("desc is neither true nor false")),
        };
        first.get_or_insert(descending);
    }
    Ok(first.unwrap_or_default())
}
