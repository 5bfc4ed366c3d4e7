//! XEP-0401: Ad-hoc Account Invitation Generation: links for people who are to become contacts, or get an account.

use super::super::form::{Field, Form, boolean, single};
use super::{AdHocCommand, Done, Run, bad_payload};
use crate::core::{About, InvitationView, State, WantedInvitation, invitation_token, token_digest};
use crate::wire::{Condition, Jid, StanzaError, stamp};

/// The type of the form that tells of an invitation (§12.1).
const FORM_TYPE: &str = "urn:xmpp:invite#invitation";

/// What is done by these.
pub(super) const INVITATIONS: About =
    About::new("XEP-0401", "Ad-hoc Account Invitation Generation", "0.6.0", "");

/// §5.1
pub(super) const INVITE_CONTACT: AdHocCommand = AdHocCommand {
    node: "urn:xmpp:invite#invite",
    name: "Invite somebody",
    form: None,
    run: |_, st, run| {
        let contacts = vec![run.by.bare()];
        invited(st, &run, |wanted| WantedInvitation { contacts, ..wanted })
    },
};

/// §5.4
pub(super) const CREATE_ACCOUNT: AdHocCommand = AdHocCommand {
    node: "urn:xmpp:invite#create-account",
    name: "Invite somebody to an account",
    form: Some(|_, _, _| {
        let form = Form::to_fill("", "A new account", "Who takes the invitation chooses the password, and the name if you do not.");
        let label = "The name, before the @";
        let form = form.field(&Field { var: "username", ty: "text-single", label, ..Field::default() });
        let (var, ty, label) = ("roster-subscription", "boolean", "Whether you become contacts");
        form.field(&Field { var, ty, label, values: vec!["1"], ..Field::default() })
    }),
    run: |_, st, mut run| {
        let username = single(&mut run.fields, "username")?.filter(|name| !name.is_empty());
        let befriends = boolean(&mut run.fields, "roster-subscription")?.unwrap_or(false);
        let domain = st.domain().domain();
        let name = username.map(|name| Jid::new(Some(&name), domain, None)).transpose();
        let name = name.map_err(|_| bad_payload("this cannot be a username"))?;
        if let Some(jid) = name.as_ref().filter(|jid| st.account(jid).is_some()) {
            return Err(StanzaError::new(Condition::Conflict).text(format!("{jid} is there already")));
        }
        if let Some(Err(why)) = name.as_ref().map(|jid| st.is_kept(jid)) {
            return Err(StanzaError::new(Condition::Conflict).text(why));
        }
        let contacts = befriends.then(|| run.by.bare()).into_iter().collect();
        invited(st, &run, |wanted| WantedInvitation { name, contacts, ..wanted })
    },
};

/// Makes an invitation as it is wanted, and tells of it.
fn invited(
    st: &mut State,
    run: &Run<'_>,
    want: impl FnOnce(WantedInvitation) -> WantedInvitation,
) -> Result<Done, StanzaError> {
    let token = invitation_token(&st.random());
    let wanted = want(WantedInvitation::new(token_digest(&token)));
    let by = run.by.bare();
    let made = st.invite(&wanted, Some(&by));
    let view = made.map_err(|why| StanzaError::new(Condition::ResourceConstraint).text(why))?;
    st.log_stored(format!("{by} has invited somebody"));
    Ok(Done::Changed(result(st, &view, &token)))
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
