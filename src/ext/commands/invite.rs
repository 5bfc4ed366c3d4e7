//! XEP-0401: Ad-hoc Account Invitation Generation: links for people who are to become contacts, or get an account.

use super::super::form::{Field, Form};
use crate::core::{About, InvitationView, State, WantedInvitation, invitation_token, token_digest};
use crate::wire::{Condition, Jid, StanzaError, stamp};

/// The type of the form that tells of an invitation (§12.1).
const FORM_TYPE: &str = "urn:xmpp:invite#invitation";

/// What is done by these.
pub(super) const INVITATIONS: About = About::new("XEP-0401", "Ad-hoc Account Invitation Generation", "0.6.0", "");

/// The form of §5.4: whom an administrator invites to an account.
pub(super) fn to_an_account() -> Form {
    let text = "Who takes the invitation chooses the password, and the name if you do not.";
    let form = Form::to_fill("", "A new account", text);
    let label = "The name, before the @";
    let form = form.field(&Field { var: "username", ty: "text-single", label, ..Field::default() });
    let (var, ty, label) = ("roster-subscription", "boolean", "Whether you become contacts");
    form.field(&Field { var, ty, label, values: vec!["1"], ..Field::default() })
}

/// An invitation that somebody makes: to an account of this name, if there is one, and to be a contact of theirs, if they want that. Gives
/// the form that tells of it.
pub(super) fn invite(st: &mut State, by: &Jid, name: Option<Jid>, befriends: bool) -> Result<String, StanzaError> {
    let conflict = |text: String| StanzaError::new(Condition::Conflict).text(text);
    if let Some(jid) = &name {
        if st.account(jid).is_some() {
            return Err(conflict(format!("{jid} is there already")));
        }
        st.is_kept(jid).map_err(conflict)?;
    }
    let token = invitation_token(&st.random());
    let contacts = befriends.then(|| by.bare()).into_iter().collect();
    let wanted = WantedInvitation { name, contacts, ..WantedInvitation::new(token_digest(&token)) };
    let made = st.invite(&wanted, Some(&by.bare()));
    let view = made.map_err(|why| StanzaError::new(Condition::ResourceConstraint).text(why))?;
    st.log_stored(format!("{by} has invited somebody"));
    Ok(result(st, &view, &token))
}

fn result(st: &State, view: &InvitationView, token: &str) -> String {
    let (uri, page) = (view.uri(st.domain(), token).unwrap_or_default(), st.invitation_url(token));
    let until = stamp::format(view.until.saturating_mul(1000));
    let fields = [("uri", Some(uri)), ("landing-url", page), ("expire", Some(until))];
    let told = fields.iter().filter_map(|(var, value)| Some((*var, value.as_deref()?)));
    let form = told.fold(Form::result(FORM_TYPE), |form, (var, value)| {
        form.field(&Field { var, ty: "text-single", values: vec![value], ..Field::default() })
    });
    form.xml()
}
