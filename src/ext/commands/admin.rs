//! What administrators can do to the server (XEP-0133).

use super::super::form::{Field, Form, boolean, single};
use super::{AdHocCommand, Done, Run, bad_payload, invite, note, text};
use crate::core::session::Session;
use crate::core::{State, admin};
use crate::wire::{Condition, Jid, Ns, StanzaError};

/// The type of the forms (XEP-0133 §8.2).
const FORM_TYPE: &str = "http://jabber.org/protocol/admin";
/// Accounts that one command can be about.
const ACCOUNTS: usize = 100;
/// Addresses in one list, in bytes; what is more is left out, and that is said.
const LIST_BYTES: usize = 64 * 1024;

/// In the order in which they are listed.
pub(super) const COMMANDS: &[AdHocCommand] = &[
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#add-user",
        name: "Add a user",
        form: Some(|_, _, _| password(account("Adding a user", "Fill out this form to add a user."), true)),
        run: |commands, st, mut run| {
            let jid = local_jid(st, &mut run)?;
            if st.account(&jid).is_some() {
                return Err(StanzaError::new(Condition::Conflict).text(format!("{jid} is there already")));
            }
            commands.hash(st, &mut run, jid, true)
        },
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#delete-user",
        name: "Delete users",
        form: Some(|_, _, _| {
            accounts("Deleting users", "Their accounts and all that is stored for them will be gone.")
        }),
        run: |_, st, mut run| {
            let jids = local_jids(st, &mut run)?;
            if jids.iter().any(|jid| !jid.is_bare()) {
                return Err(bad_payload("an account's address ends behind the domain"));
            }
            if jids.contains(&run.by.bare()) {
                return Err(StanzaError::new(Condition::NotAllowed).text("your own account is not removed here"));
            }
            st.erase()?;
            for jid in jids {
                // It is there, and storage was asked.
                if admin::remove(st, &jid, None).is_ok() {
                    st.log_stored(format!("{} has removed {jid}", run.by));
                }
            }
            Ok(Done::Changed(String::new()))
        },
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#end-user-session",
        name: "End sessions of users",
        form: Some(|_, _, _| {
            accounts(
                "Ending sessions",
                "All sessions of the accounts, or one of them: NAME@DOMAIN/RESOURCE. They can log in again.",
            )
        }),
        run: |_, st, mut run| {
            let mut sids = Vec::new();
            for jid in local_jids(st, &mut run)? {
                match jid.resource() {
                    Some(_) => sids.extend(st.session_at(&jid)),
                    None => sids.extend(st.sessions_of(jid.local().unwrap_or_default())),
                }
            }
            sids.sort_unstable();
            sids.dedup();
            log::info!("{} ends sessions: {}", run.by, sids.len());
            Ok(Done::Ends(sids))
        },
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#change-user-password",
        name: "Change the password of a user",
        form: Some(|_, _, _| password(account("Changing a password", "The user's sessions go on."), false)),
        run: |commands, st, mut run| {
            let jid = local_jid(st, &mut run)?;
            if st.account(&jid).is_none() {
                return Err(no_account(&jid));
            }
            commands.hash(st, &mut run, jid, false)
        },
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#user-stats",
        name: "Get statistics of a user",
        form: Some(|_, _, _| account("Statistics of a user", "Whose?")),
        run: |_, st, mut run| {
            let jid = local_jid(st, &mut run)?;
            let account = st.account(&jid).ok_or_else(|| no_account(&jid))?;
            let roster = account.roster.items.values().filter(|item| item.listed).count().to_string();
            let resources = account.sessions.keys().map(|resource| &**resource).collect();
            // The registry has one line for all sessions; this is what can hold them.
            let sessions = Field {
                var: "onlineresources",
                ty: "text-multi",
                label: "Sessions",
                values: resources,
                ..Field::default()
            };
            let form = Form::result(FORM_TYPE)
                .field(&Field {
                    var: "rostersize",
                    ty: "text-single",
                    label: "Contacts",
                    values: vec![&roster],
                    ..Field::default()
                })
                .field(&sessions);
            Ok(Done::Told(form.xml()))
        },
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#get-registered-users-num",
        name: "Get the number of registered users",
        form: None,
        run: |_, st, _| number(st, Who::Registered, "registeredusersnum"),
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#get-online-users-num",
        name: "Get the number of online users",
        form: None,
        run: |_, st, _| number(st, Who::Online, "onlineusersnum"),
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#get-active-users-num",
        name: "Get the number of active users",
        form: None,
        run: |_, st, _| number(st, Who::Active, "activeusersnum"),
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#get-idle-users-num",
        name: "Get the number of idle users",
        form: None,
        run: |_, st, _| number(st, Who::Idle, "idleusersnum"),
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#get-registered-users-list",
        name: "List the registered users",
        form: None,
        run: |_, st, _| list(st, Who::Registered, "registereduserjids"),
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#get-online-users-list",
        name: "List the online users",
        form: None,
        run: |_, st, _| list(st, Who::Online, "onlineuserjids"),
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#get-active-users-list",
        name: "List the active users",
        form: None,
        run: |_, st, _| list(st, Who::Active, "activeuserjids"),
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#get-idle-users-list",
        name: "List the idle users",
        form: None,
        run: |_, st, _| list(st, Who::Idle, "idleuserjids"),
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#announce",
        name: "Send an announcement to online users",
        form: Some(|_, _, _| message("announcement", "Making an announcement", "To all who are online.", None)),
        run: |commands, st, mut run| {
            let text = text(&mut run.fields, "announcement").unwrap_or_default();
            commands.news.announce(st, &text)?;
            log::info!("{} has made an announcement", run.by);
            Ok(Done::Told(String::new()))
        },
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#set-motd",
        name: "Set the message of the day",
        form: Some(|_, _, _| {
            message("motd", "Setting the message of the day", "Everybody gets it once: now, or when they come.", None)
        }),
        run: |commands, st, mut run| {
            let text = text(&mut run.fields, "motd").unwrap_or_default();
            commands.news.set_motd(st, &text)?;
            Ok(Done::Changed(String::new()))
        },
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#edit-motd",
        name: "Edit the message of the day",
        form: Some(|commands, _, _| {
            let text = "Who has got it already does not get it again.";
            message("motd", "Editing the message of the day", text, commands.news.motd())
        }),
        run: |commands, st, mut run| {
            let text = text(&mut run.fields, "motd").unwrap_or_default();
            commands.news.edit_motd(st, &text)?;
            Ok(Done::Changed(String::new()))
        },
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#delete-motd",
        name: "Delete the message of the day",
        form: None,
        run: |commands, st, _| {
            commands.news.delete_motd(st)?;
            Ok(Done::Changed(String::new()))
        },
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#set-welcome",
        name: "Set the welcome message",
        form: Some(|commands, _, _| {
            let text = "New users get it when they first log in.";
            message("welcome", "Setting the welcome message", text, commands.news.welcome())
        }),
        run: |commands, st, mut run| {
            let text = text(&mut run.fields, "welcome").unwrap_or_default();
            commands.news.set_welcome(st, Some(&text))?;
            Ok(Done::Changed(String::new()))
        },
    },
    AdHocCommand {
        node: "http://jabber.org/protocol/admin#delete-welcome",
        name: "Delete the welcome message",
        form: None,
        run: |commands, st, _| {
            commands.news.set_welcome(st, None)?;
            Ok(Done::Changed(String::new()))
        },
    },
    // XEP-0401 §5.4
    AdHocCommand {
        node: "urn:xmpp:invite#create-account",
        name: "Invite somebody to an account",
        form: Some(|_, _, _| invite::to_an_account()),
        run: |_, st, mut run| {
            let username = single(&mut run.fields, "username")?.filter(|name| !name.is_empty());
            let befriends = boolean(&mut run.fields, "roster-subscription")?.unwrap_or(false);
            let domain = st.domain().domain();
            let name = username.map(|name| Jid::new(Some(&name), domain, None)).transpose();
            let name = name.map_err(|_| bad_payload("this cannot be a username"))?;
            invite::invite(st, run.by, name, befriends).map(Done::Changed)
        },
    },
];

/// A form that asks for one account.
fn account(title: &str, instructions: &str) -> Form {
    let (var, label) = ("accountjid", "The address of the account");
    let form = Form::to_fill(FORM_TYPE, title, instructions);
    form.field(&Field { var, ty: "jid-single", label, required: true, ..Field::default() })
}

/// The same with a password.
fn password(form: Form, verify: bool) -> Form {
    let (ty, label) = ("text-private", "The password for this account");
    let form = form.field(&Field { var: "password", ty, label, required: true, ..Field::default() });
    if !verify {
        return form;
    }
    form.field(&Field { var: "password-verify", ty, label: "Retype password", ..Field::default() })
}

/// A form that asks for some accounts.
fn accounts(title: &str, instructions: &str) -> Form {
    let (var, label) = ("accountjids", "The addresses of the accounts");
    let form = Form::to_fill(FORM_TYPE, title, instructions);
    form.field(&Field { var, ty: "jid-multi", label, required: true, ..Field::default() })
}

/// A form that asks for a text.
fn message(var: &str, title: &str, instructions: &str, text: Option<&str>) -> Form {
    let values = text.map(|text| text.split('\n').collect()).unwrap_or_default();
    let form = Form::to_fill(FORM_TYPE, title, instructions);
    form.field(&Field { var, ty: "text-multi", label: "Text", required: true, values, ..Field::default() })
}

fn no_account(jid: &Jid) -> StanzaError {
    StanzaError::new(Condition::ItemNotFound).text(format!("there is no {jid}"))
}

/// An address of ours.
fn address(st: &State, text: &str) -> Result<Jid, StanzaError> {
    let jid = Jid::parse(text.trim()).ok().filter(|jid| st.local(jid).is_some());
    jid.ok_or_else(|| bad_payload(format!("every address is NAME@{}", st.domain())))
}

/// The bare JID in the field for one.
fn local_jid(st: &State, run: &mut Run<'_>) -> Result<Jid, StanzaError> {
    let jid = address(st, &text(&mut run.fields, "accountjid").unwrap_or_default())?;
    if jid.is_bare() { Ok(jid) } else { Err(bad_payload("an account's address ends behind the domain")) }
}

/// The addresses in the field for several, all of accounts that are there.
fn local_jids(st: &State, run: &mut Run<'_>) -> Result<Vec<Jid>, StanzaError> {
    let values = run.fields.remove("accountjids").unwrap_or_default();
    let values: Vec<&str> =
        values.iter().flat_map(|value| value.lines()).filter(|line| !line.trim().is_empty()).collect();
    if values.is_empty() || values.len() > ACCOUNTS {
        return Err(bad_payload(format!("at least one account is needed, and at most {ACCOUNTS}")));
    }
    let one = |value: &&str| {
        let jid = address(st, value)?;
        if st.account(&jid).is_some() { Ok(jid) } else { Err(no_account(&jid)) }
    };
    values.iter().map(one).collect()
}

/// Which users a number or a list is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Registered,
    /// With a session that is connected (XEP-0133 §4.15).
    Online,
    /// With one that is available, and not away.
    Active,
    /// Online and not active.
    Idle,
}

impl Who {
    fn users(self, st: &State) -> impl Iterator<Item = &Jid> {
        st.accounts()
            .matching(move |account| {
                let mut sessions = account.sessions.values().filter_map(|sid| st.session(*sid));
                match self {
                    Who::Registered => true,
                    Who::Online => sessions.any(|s| s.stream.is_some()),
                    Who::Active => sessions.any(is_active),
                    Who::Idle => sessions.clone().any(|s| s.stream.is_some()) && !sessions.any(is_active),
                }
            })
            .map(|(_, account)| &account.jid)
    }
}

fn is_active(session: &Session) -> bool {
    let away = |presence: &crate::wire::Stanza| {
        presence.child(Ns::CLIENT, "show").is_some_and(|show| matches!(show.text().trim(), "away" | "xa"))
    };
    session.stream.is_some() && session.presence.as_ref().is_some_and(|presence| !away(presence))
}

fn number(st: &State, who: Who, var: &str) -> Result<Done, StanzaError> {
    let number = who.users(st).count().to_string();
    let field =
        Field { var, ty: "text-single", label: "The number of users", values: vec![&number], ..Field::default() };
    Ok(Done::Told(Form::result(FORM_TYPE).field(&field).xml()))
}

fn list(st: &State, who: Who, var: &str) -> Result<Done, StanzaError> {
    let mut left = LIST_BYTES;
    let fits = |jid: &&Jid| {
        let bytes = jid.as_str().len() + "<value></value>".len();
        left.checked_sub(bytes).map(|less| left = less).is_some()
    };
    let shown: Vec<&str> = who.users(st).take_while(fits).map(Jid::as_str).collect();
    let (some, all) = (shown.len(), who.users(st).count());
    let field = Field { var, ty: "jid-multi", label: "The users", values: shown, ..Field::default() };
    let form = Form::result(FORM_TYPE).field(&field).xml();
    Ok(Done::Told(if some < all { form + &note("warn", &format!("The first {some} of {all} users.")) } else { form }))
}
