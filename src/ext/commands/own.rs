//! What everybody can do to the own account.

use super::super::form::{Field, Form};
use super::{AdHocCommand, Done, bad_payload, invite, note};
use crate::core::{SessionId, State};
use crate::wire::Jid;

/// The node of the command that withdraws invitations.
pub(super) const WITHDRAW: &str = "urn:inglenook:commands#withdraw";

/// In the order in which they are listed.
pub(super) const COMMANDS: &[AdHocCommand] = &[
    AdHocCommand {
        node: "urn:inglenook:commands#password",
        name: "Change your password",
        form: Some(|_, _, _| {
            let label = "The new password";
            let form = Form::to_fill("", "Your password", "Choose a new password. Your sessions go on.");
            let form =
                form.field(&Field { var: "password", ty: "text-private", label, required: true, ..Field::default() });
            let label = "Once more";
            form.field(&Field { var: "password-verify", ty: "text-private", label, required: true, ..Field::default() })
        }),
        run: |commands, st, mut run| {
            if !run.fields.contains_key("password-verify") {
                return Err(bad_payload("the password is needed twice"));
            }
            let jid = run.by.bare();
            commands.hash(st, &mut run, jid, false)
        },
    },
    AdHocCommand {
        node: "urn:inglenook:commands#sessions",
        name: "Your sessions",
        form: None,
        run: |_, st, run| {
            let all: Vec<String> = sessions(st, run.by).map(|(resource, sid)| describe(st, resource, sid)).collect();
            let values = all.iter().map(String::as_str).collect();
            let field = Field { var: "sessions", ty: "text-multi", label: "Your sessions", values, ..Field::default() };
            Ok(Done::Told(Form::result("").field(&field).xml()))
        },
    },
    AdHocCommand {
        node: "urn:inglenook:commands#end-sessions",
        name: "End sessions of yours",
        form: Some(|_, st, by| {
            let options =
                sessions(st, by).map(|(resource, _)| resource).filter(|r| Some(*r) != by.resource()).collect();
            let form = Form::to_fill(
                "",
                "End sessions",
                "Which are to end? They can log in again: change the password to keep them out.",
            );
            let (var, label) = ("sessions", "Sessions besides this one");
            form.field(&Field { var, ty: "list-multi", label, required: true, options, ..Field::default() })
        }),
        run: |_, st, mut run| {
            let wanted = run.fields.remove("sessions").unwrap_or_default();
            let chosen: Vec<SessionId> = sessions(st, run.by)
                .filter(|(resource, _)| wanted.iter().any(|w| w == resource) && Some(*resource) != run.by.resource())
                .map(|(_, sid)| sid)
                .collect();
            match chosen.is_empty() {
                true => Err(bad_payload("choose one of the sessions")),
                false => Ok(Done::Ends(chosen)),
            }
        },
    },
    // XEP-0401 §5.1
    AdHocCommand {
        node: "urn:xmpp:invite#invite",
        name: "Invite somebody",
        form: None,
        run: |_, st, run| invite::invite(st, run.by, None, true).map(Done::Changed),
    },
    AdHocCommand {
        node: WITHDRAW,
        name: "Withdraw invitations of yours",
        form: Some(|_, st, by| {
            let all = st.invitations_of(&by.bare());
            let options = all.iter().map(String::as_str).collect();
            let (var, label) = ("invitations", "Those that nobody has taken");
            let field = Field { var, ty: "list-multi", label, required: true, options, ..Field::default() };
            Form::to_fill("", "Withdraw invitations", "Which links are to be good for nothing any more?").field(&field)
        }),
        run: |_, st, mut run| {
            let wanted = run.fields.remove("invitations").unwrap_or_default();
            let names: Vec<&str> = wanted.iter().filter_map(|line| line.split_whitespace().next()).collect();
            if names.is_empty() {
                return Err(bad_payload("choose one of the invitations"));
            }
            for name in &names {
                st.withdraw_invitation(&run.by.bare(), name).map_err(bad_payload)?;
            }
            Ok(Done::Changed(note("info", &format!("Invitations that were withdrawn: {}.", names.len()))))
        },
    },
];

/// The sessions of an account.
fn sessions<'a>(st: &'a State, by: &Jid) -> impl Iterator<Item = (&'a str, SessionId)> {
    let account = st.account(by).into_iter();
    account.flat_map(|account| account.sessions.iter().map(|(resource, sid)| (&**resource, *sid)))
}

fn describe(st: &State, resource: &str, sid: SessionId) -> String {
    let session = st.session(sid);
    let state = match session {
        Some(session) if session.stream.is_none() => "has lost its connection",
        Some(session) if session.presence.is_some() => "online",
        _ => "connected",
    };
    format!("{resource} ({state})")
}
