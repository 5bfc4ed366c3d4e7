//! What the `notify` commands do and say: who may say something by HTTP because they know a token. The token is made here, and told here, once:
//! the server gets its SHA-256 alone.

use super::control::Request;
use super::link_base::LinkBase;
use super::user;
use crate::core::token_digest;
use crate::service::cert::Certificates;
use crate::service::serve::Options;
use crate::service::{Result, random};
use crate::wire::typed::shell;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Random bytes in a token.
const TOKEN_BYTES: usize = 16;

/// Makes a token that says something in a room or to a person, and tells its URL.
///
/// # Errors
/// What of it cannot be.
pub fn add(options: &Options, to: &str, name: Option<&str>, from: Option<&str>) -> Result<Vec<String>> {
    let token = URL_SAFE_NO_PAD.encode(&random()?[..TOKEN_BYTES]);
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let request =
        Request::NotifierAdd { to: to.to_owned(), name: owned(name), from: owned(from), digest: token_digest(&token) };
    let mut lines = user::run(options, &request)?;
    let place = options.place()?;
    let base = LinkBase::of(&place)?;
    let url = format!("{}/notify/{token}", base.url.as_deref().unwrap_or("https://..."));
    let certificates = Certificates::of(&place.data);
    let trust = match certificates.is_installed() {
        true => String::new(),
        false => format!("--cacert {} ", shell(&certificates.ca_path().display().to_string())),
    };
    lines.push(format!("url          {url}"));
    lines.push(format!("try          curl {trust}-d \"disk full\" {url}"));
    lines.push("keep it      it is not told again, and whoever knows it can say something there".to_owned());
    lines.extend(base.note());
    if base.url.is_none() {
        lines.push("note         nothing listens for it: [listen] https is empty in the settings".to_owned());
    }
    Ok(lines)
}
