//! The states of a presence subscription and what each stanza does to them: RFC 6121 §3 and appendix A, both sides, as
//! functions without side effects.

use crate::wire::Type;

/// What one account knows of the subscriptions between itself and a contact.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SubscriptionState {
    /// It gets the contact's presence.
    pub to: bool,
    /// The contact gets its presence.
    pub from: bool,
    /// It asked for the contact's presence ("pending out").
    pub ask: bool,
    /// The contact asked for its presence ("pending in").
    pub pending: bool,
    /// It approved before the contact asked (RFC 6121 §3.4).
    pub approved: bool,
}

/// What is to be done about a subscription stanza.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// The state after it.
    pub state: SubscriptionState,
    /// Outbound: send it to the contact. Inbound: hand it to the account's sessions.
    pub pass: bool,
    /// Inbound `subscribe` from one who may already: the server answers `subscribed` itself.
    pub answer: bool,
}

impl SubscriptionState {
    /// The value of `subscription` in a roster item (RFC 6121 §2.1.2.5).
    pub fn as_str(self) -> &'static str {
        match (self.to, self.from) {
            (false, false) => "none",
            (true, false) => "to",
            (false, true) => "from",
            (true, true) => "both",
        }
    }

    /// What is sent to the contact when the account forgets it (RFC 6121 §2.5.2).
    pub fn ends(self) -> impl Iterator<Item = Type> {
        let notices = [(self.to || self.ask, Type::Unsubscribe), (self.from || self.pending, Type::Unsubscribed)];
        notices.into_iter().filter(|(due, _)| *due).map(|(_, ty)| ty)
    }

    /// The account sends a subscription stanza (RFC 6121 §A.2).
    pub fn outbound(self, ty: Type) -> Verdict {
        let mut state = self;
        let pass = match ty {
            Type::Subscribe => {
                state.ask = !self.to;
                true
            }
            Type::Unsubscribe => {
                state.to = false;
                state.ask = false;
                true
            }
            Type::Subscribed => {
                if self.pending {
                    state.pending = false;
                    state.from = true;
                } else if !self.from {
                    // RFC 6121 §3.4.2: nobody asked yet; remember the answer.
                    state.approved = true;
                }
                self.pending
            }
            Type::Unsubscribed => {
                state.from = false;
                state.pending = false;
                state.approved = false;
                self.from || self.pending
            }
            _ => false,
        };
        Verdict { state, pass, answer: false }
    }

    /// The account gets a subscription stanza (RFC 6121 §A.3).
    pub fn inbound(self, ty: Type) -> Verdict {
        let mut state = self;
        let mut answer = false;
        let pass = match ty {
            Type::Subscribe => {
                if self.from {
                    answer = true;
                    false
                } else if self.approved {
                    state.from = true;
                    state.pending = false;
                    answer = true;
                    false
                } else {
                    state.pending = true;
                    !self.pending
                }
            }
            Type::Unsubscribe => {
                state.from = false;
                state.pending = false;
                self.from || self.pending
            }
            Type::Subscribed => {
                if self.ask {
                    state.ask = false;
                    state.to = true;
                }
                self.ask
            }
            Type::Unsubscribed => {
                state.to = false;
                state.ask = false;
                self.to || self.ask
            }
            _ => false,
        };
        Verdict { state, pass, answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nine states of RFC 6121 §A.1, in its order.
    const NONE: &str = "none";
    const ALL: [&str; 9] = [NONE, "none+out", "none+in", "none+out+in", "to", "to+in", "from", "from+out", "both"];

    fn state(name: &str) -> SubscriptionState {
        SubscriptionState {
            to: name.starts_with("to") || name == "both",
            from: name.starts_with("from") || name == "both",
            ask: name.contains("+out"),
            pending: name.contains("+in"),
            approved: false,
        }
    }

    /// One row for each state: whether it passes, and the state after it.
    fn check(verdict: impl Fn(SubscriptionState) -> Verdict, rows: [(bool, &str); 9]) {
        for (before, (pass, after)) in ALL.iter().zip(rows) {
            let got = verdict(state(before));
            assert_eq!(
                (got.pass, SubscriptionState { approved: false, ..got.state }),
                (pass, state(after)),
                "from {before}"
            );
        }
    }

    #[test]
    fn outbound_subscribe() {
        check(
            |s| s.outbound(Type::Subscribe),
            [
                (true, "none+out"),
                (true, "none+out"),
                (true, "none+out+in"),
                (true, "none+out+in"),
                (true, "to"),
                (true, "to+in"),
                (true, "from+out"),
                (true, "from+out"),
                (true, "both"),
            ],
        );
    }

    #[test]
    fn outbound_unsubscribe() {
        check(
            |s| s.outbound(Type::Unsubscribe),
            [
                (true, "none"),
                (true, "none"),
                (true, "none+in"),
                (true, "none+in"),
                (true, "none"),
                (true, "none+in"),
                (true, "from"),
                (true, "from"),
                (true, "from"),
            ],
        );
    }

    #[test]
    fn outbound_subscribed() {
        check(
            |s| s.outbound(Type::Subscribed),
            [
                (false, "none"),
                (false, "none+out"),
                (true, "from"),
                (true, "from+out"),
                (false, "to"),
                (true, "both"),
                (false, "from"),
                (false, "from+out"),
                (false, "both"),
            ],
        );
    }

    #[test]
    fn outbound_unsubscribed() {
        check(
            |s| s.outbound(Type::Unsubscribed),
            [
                (false, "none"),
                (false, "none+out"),
                (true, "none"),
                (true, "none+out"),
                (false, "to"),
                (true, "to"),
                (true, "none"),
                (true, "none+out"),
                (true, "to"),
            ],
        );
    }

    #[test]
    fn inbound_subscribe() {
        check(
            |s| s.inbound(Type::Subscribe),
            [
                (true, "none+in"),
                (true, "none+out+in"),
                (false, "none+in"),
                (false, "none+out+in"),
                (true, "to+in"),
                (false, "to+in"),
                (false, "from"),
                (false, "from+out"),
                (false, "both"),
            ],
        );
        for name in ALL {
            assert_eq!(state(name).inbound(Type::Subscribe).answer, state(name).from, "{name}");
        }
    }

    #[test]
    fn inbound_unsubscribe() {
        check(
            |s| s.inbound(Type::Unsubscribe),
            [
                (false, "none"),
                (false, "none+out"),
                (true, "none"),
                (true, "none+out"),
                (false, "to"),
                (true, "to"),
                (true, "none"),
                (true, "none+out"),
                (true, "to"),
            ],
        );
    }

    #[test]
    fn inbound_subscribed() {
        check(
            |s| s.inbound(Type::Subscribed),
            [
                (false, "none"),
                (true, "to"),
                (false, "none+in"),
                (true, "to+in"),
                (false, "to"),
                (false, "to+in"),
                (false, "from"),
                (true, "both"),
                (false, "both"),
            ],
        );
    }

    #[test]
    fn inbound_unsubscribed() {
        check(
            |s| s.inbound(Type::Unsubscribed),
            [
                (false, "none"),
                (true, "none"),
                (false, "none+in"),
                (true, "none+in"),
                (true, "none"),
                (true, "none+in"),
                (false, "from"),
                (true, "from"),
                (true, "from"),
            ],
        );
    }

    #[test]
    fn an_approval_in_advance_answers_the_request() {
        let approved = SubscriptionState::default().outbound(Type::Subscribed);
        assert!(approved.state.approved && !approved.pass && !approved.state.from);
        let asked = approved.state.inbound(Type::Subscribe);
        assert!(asked.state.from && asked.answer && !asked.pass);
        let taken_back = approved.state.outbound(Type::Unsubscribed);
        assert_eq!((taken_back.state, taken_back.pass), (SubscriptionState::default(), false));
    }
}
