//! Stream management between servers (XEP-0198): what may be said of it, and when. Counting is the core's.
//!
//! It is offered behind SASL, on a stream that is for one pair of domains, and stays so. Whoever dialled asks for it; what is counted goes
//! both ways if stanzas do.

use super::line::{Event, Line, Managing};
use crate::stream::Mono;
use crate::wire::login::{enable, resume};
use crate::wire::{Condition, Manage, ManageAnswer, Node, StreamCondition, StreamError};

impl Line {
    /// What whoever has dialled us says. What comes at the wrong time or cannot be read is refused, and the stream goes on (§6); only a
    /// second `<enable/>` ends it (§3).
    pub(super) fn asked_to_manage(
        &mut self,
        element: Node<'_>,
        out: &mut String,
    ) -> Result<Option<Event>, StreamError> {
        let one = self.pairs.len() == 1;
        let said = match (element.name(), self.managing) {
            ("enable", Managing::On) => {
                return Err(
                    StreamError::new(StreamCondition::PolicyViolation).text("stream management is enabled already")
                );
            }
            ("enable", Managing::Off) if one => {
                self.managing = Managing::On;
                let (resume, max_s) = enable(element);
                Ok(Event::Enable { resume, max_s })
            }
            ("resume", Managing::Off) if one => resume(element).map(|(id, h)| {
                self.managing = Managing::Resuming;
                Event::Resume { id, h }
            }),
            _ => self.counted(element),
        };
        Ok(said.map_err(|condition| Manage::Failed { condition, handled: None }.write(out)).ok())
    }

    /// What whom we have dialled says. Nothing of that is answered: an error for an error would never end.
    pub(super) fn answered_to_manage(&mut self, element: Node<'_>) -> Option<Event> {
        let h = element.attr("h").and_then(|h| h.trim().parse().ok());
        let answer = match (element.name(), self.managing, h) {
            ("enabled", Managing::Asked(_), _) => {
                let id = element.attr("id").filter(|_| crate::wire::login::is_true(element, "resume"));
                let fits = |id: &String| !id.is_empty() && id.len() <= crate::wire::login::RESUME_ID_BYTES;
                ManageAnswer::Enabled(id.map(std::borrow::Cow::into_owned).filter(fits))
            }
            ("resumed", Managing::Asked(_), Some(h)) => ManageAnswer::Resumed(h),
            ("failed", Managing::Asked(_), h) => ManageAnswer::Failed(h),
            _ => return self.counted(element).ok(),
        };
        self.managing = if matches!(answer, ManageAnswer::Failed(_)) { Managing::Off } else { Managing::On };
        Some(Event::Managed(answer))
    }

    /// `<r/>` and `<a/>`
    fn counted(&self, element: Node<'_>) -> Result<Event, Condition> {
        let h = element.attr("h").and_then(|h| h.trim().parse().ok());
        match (element.name(), self.managing) {
            ("r", Managing::On) => Ok(Event::Acknowledge),
            ("a", Managing::On) => h.map(Event::Acknowledged).ok_or(Condition::BadRequest),
            _ => Err(Condition::UnexpectedRequest),
        }
    }

    /// What the core says of it.
    pub(super) fn manage(&mut self, now: Mono, element: &Manage, out: &mut String) {
        self.managing = match (self.managing, element) {
            (Managing::Resuming, Manage::Resumed { .. }) => Managing::On,
            (Managing::Resuming, Manage::Failed { .. }) => Managing::Off,
            (_, Manage::Enable | Manage::Resume { .. }) => Managing::Asked(now),
            (before, _) => before,
        };
        self.heard = now;
        element.write(out);
    }
}
