//! The invitation to the first account, which administers the server: whoever looks after the box finds it in what the first start says.

use super::hub::Hub;
use super::{Result, random};
use crate::core::{Command, Input, Job, WantedInvitation, invitation_token, token_digest};
use std::sync::Arc;

/// How long an invitation is good that makes an administrator, or sets a password, in days.
pub const DAYS_OF_ADMIN: u32 = 1;

/// On a box without accounts, but for those that strangers have made for themselves: the token of an invitation to the first one. It is another one at each start, as only its SHA-256 is kept;
/// and good for nothing once there is an account. Storage gets it as soon as it runs.
///
/// # Errors
/// When the system gives no random numbers.
pub fn invite(hub: &Arc<Hub>) -> Result<Option<String>> {
    if hub.has_people() {
        return Ok(None);
    }
    let token = invitation_token(&random()?);
    let (days, admin, first) = (DAYS_OF_ADMIN, true, true);
    let wanted = WantedInvitation { days, admin, first, ..WantedInvitation::new(token_digest(&token)) };
    // Nobody waits for the answer: without accounts there is none but this.
    hub.handle(Input::Command(Job(0), Command::Invite(Box::new(wanted))));
    Ok(Some(token))
}
