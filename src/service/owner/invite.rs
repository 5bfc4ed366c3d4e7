//! What `invite`, `qr` and `user reset` do and say. The token is made here, and told here: the server gets its SHA-256 alone. So a link cannot
//! be shown again; `qr` makes another in place of the one before.

use super::control::{InviteRequest, Request};
use super::link_base::LinkBase;
use super::qr::qr_code;
use super::user;
use crate::core::{TOKEN_PLACE, invitation_token, token_digest};
use crate::service::first::DAYS_OF_ADMIN;
use crate::service::serve::Options;
use crate::service::{Failure, Result, random};
use crate::wire::typed::shell;

/// How long an invitation is good, in days.
const DAYS: u32 = 7;

/// Invites somebody: prints a link, once. `request`: with 0 for the usual number of days. `qr`: also as a code.
///
/// # Errors
/// What of it cannot be.
pub fn invite(options: &Options, mut request: InviteRequest, qr: bool) -> Result<Vec<String>> {
    checked(&request)?;
    let short = request.admin || request.reset;
    if request.days == 0 {
        request.days = if short { DAYS_OF_ADMIN } else { DAYS };
    }
    let page = if request.reset { "reset" } else { "invite" };
    let token = invitation_token(&random()?);
    request.digest = token_digest(&token);
    told(options, &Request::Invite(request), page, &token, qr)
}

/// The newest open invitation with another link: what the one before was is not known.
///
/// # Errors
/// When there is none.
pub fn renew(options: &Options, qr: bool) -> Result<Vec<String>> {
    let token = invitation_token(&random()?);
    let renewed = told(options, &Request::InvitationRenew(token_digest(&token)), "invite", &token, qr);
    match renewed {
        // On a box without accounts there is one to be made.
        Err(_) if user::run(options, &Request::List)?.is_empty() => {
            invite(options, InviteRequest { uses: 1, admin: true, first: true, ..InviteRequest::default() }, qr)
        }
        renewed => renewed,
    }
}

/// Asks for an invitation with this token, and tells it.
fn told(options: &Options, request: &Request, page: &str, token: &str, qr: bool) -> Result<Vec<String>> {
    let made = user::run(options, request)?;
    let place = options.place()?;
    let base = LinkBase::of(&place)?;
    let mut lines: Vec<String> = made.iter().map(|line| with_token(line, token)).collect();
    match &base.url {
        Some(url) => {
            let link = format!("{url}/{page}/{token}");
            lines.insert(0, format!("link         {link}"));
            if qr {
                lines.extend(qr_code(&link));
            }
        }
        None => {
            lines.push("note         nothing listens for browsers: [listen] https is empty in the settings".to_owned())
        }
    }
    lines.push("keep it      it is not told again, and whoever knows it can take it".to_owned());
    lines.extend(base.note());
    Ok(lines)
}

/// A line of the server's with the token that it does not know.
fn with_token(line: &str, token: &str) -> String {
    line.replace(&format!("={TOKEN_PLACE}"), &format!("={token}"))
}

/// Control characters would be fields of their own on the way to the server.
fn checked(request: &InviteRequest) -> Result<()> {
    let odd = |text: &String| text.chars().any(char::is_control);
    let texts = request.name.iter().chain(&request.room).chain(&request.contacts);
    match texts.into_iter().find(|text| odd(text)) {
        Some(text) => Err(Failure(format!("{} is no name", shell(text)))),
        None => Ok(()),
    }
}
