//! What the `cert` commands do and say.

use crate::service::cert::{Certificates, Facts, Names};
use crate::service::disk::{data::Data, wear::date};
use crate::service::owner::{
    control::{self, Request},
    domain, find, reset,
};
use crate::service::serve::{Options, Place};
use crate::service::{Result, host};
use crate::wire::Jid;
use crate::wire::typed::shell;
use std::io::{BufRead, Write};
use std::path::Path;

/// Names, fingerprints and ends of what clients see, and where the authority is.
///
/// # Errors
/// When there is no certificate yet.
pub fn cert_show(options: &Options) -> Result<Vec<String>> {
    let Place { data, .. } = options.place()?;
    let certificates = Certificates::of(&data);
    let (pair, facts) = certificates.current()?;
    let mut lines = vec![facts.line(pair.installed)];
    lines.extend(describe(&facts));
    if pair.installed {
        lines.push(format!("  back       {}", back(&data, &certificates)));
    } else {
        lines.push(format!("  renewed    {}", date(facts.renewed_at())));
        let ca = certificates.ca()?;
        lines.push(certificates.authority_line()?);
        lines.extend(describe(&ca));
        let how = "Debian: copy it to /usr/local/share/ca-certificates/inglenook.crt, then update-ca-certificates; phones: mail it \
                   there, then look for \"certificate\" in the settings; all others: the page /trust of the server";
        lines.push(format!("  how        {how}"));
    }
    Ok(lines)
}

fn describe(facts: &Facts) -> Vec<String> {
    let mut lines = vec![format!("  subject    {}", facts.subject)];
    if !facts.names.is_empty() {
        lines.push(format!("  names      {}", facts.names.join(", ")));
    }
    lines.push(format!("  until      {} ({} days)", facts.until, facts.days_left(host::now())));
    lines
}

/// The authority's certificate, as PEM.
///
/// # Errors
/// When there is none yet.
pub fn cert_pem(options: &Options) -> Result<String> {
    let path = Certificates::of(&options.place()?.data).ca_path();
    std::fs::read_to_string(&path).map_err(|e| {
        crate::service::Failure(format!(
            "{} cannot be read: {e}. The first `inglenook serve` makes it.",
            path.display()
        ))
    })
}

/// How the server's own certificate comes back after another was installed.
fn back(data: &Data, certificates: &Certificates) -> String {
    let sudo = find::sudo();
    let reload = if control::runs(data) { format!(" && {sudo}{}", find::reload(data)) } else { String::new() };
    format!(
        "`{sudo}rm {}{reload}` takes the server's own certificate again",
        shell(&certificates.installed_path().display().to_string())
    )
}

/// Makes another certificate with the same key.
///
/// # Errors
/// When it cannot be made.
pub fn cert_renew(options: &Options) -> Result<Vec<String>> {
    let (data, domain) = prepared(options)?;
    let certificates = Certificates::of(&data);
    certificates.renew(&Names::of_host(domain.as_str()), certificates.now())?;
    renewed(&data, &certificates, "renewed the server's own certificate; its key is the same".to_owned())
}

/// Makes another authority and a certificate of it. Asks first, if there is one: it is on people's devices.
///
/// # Errors
/// When the answer is another, or it cannot be made: then nothing was changed.
pub fn cert_renew_authority(options: &Options, ask: &mut dyn Write, answer: &mut dyn BufRead) -> Result<Vec<String>> {
    let domain = options.place()?.domain;
    let path = Certificates::of(&Data::locate(options.data.as_deref())).ca_path();
    if path.exists() {
        let what = format!(
            "This makes another authority in the place of {}: whoever has installed that must install the new one, on every device; apps \
             that were not told ask, or refuse the server.",
            path.display()
        );
        reset::confirm(&what, domain.as_str(), ask, answer)?;
    }
    let (data, domain) = prepared(options)?;
    let certificates = Certificates::of(&data);
    certificates.renew_authority(&Names::of_host(domain.as_str()), certificates.now())?;
    let made = format!("made another authority: install {} on every device", path.display());
    renewed(&data, &certificates, made)
}

/// The folder, made for its domain.
fn prepared(options: &Options) -> Result<(Data, Jid)> {
    let place = options.place()?;
    place.data.make()?;
    domain::keep(&place)?;
    Ok((place.data, place.domain))
}

/// What is told when our own is another one: that it is shown, or that an installed one still is.
fn renewed(data: &Data, certificates: &Certificates, made: String) -> Result<Vec<String>> {
    let own = certificates.own()?;
    let mut lines = vec![made, format!("it is good {}, SHA-256 {}", own.told(), own.fingerprint)];
    let used = use_it(data)?;
    match certificates.is_installed() {
        true => lines.push(format!("apps are still shown the installed one: {}", back(data, certificates))),
        false => lines.extend(used),
    }
    Ok(lines)
}

/// Takes the administrator's own certificate.
///
/// # Errors
/// When it cannot serve the domain.
pub fn cert_install(options: &Options, chain: &Path, key: &Path) -> Result<Vec<String>> {
    let (data, domain) = prepared(options)?;
    let certificates = Certificates::of(&data);
    let remarks = certificates.install(chain, key, domain.as_str(), certificates.now())?;
    let facts = certificates.current()?.1;
    let mut lines = vec![format!(
        "installed the certificate of {}, until {}, SHA-256 {}",
        facts.subject, facts.until, facts.fingerprint
    )];
    lines.extend(remarks.iter().map(|remark| format!("note: {remark}")));
    lines.extend(use_it(&data)?);
    Ok(lines)
}

/// Has the running server take it.
fn use_it(data: &Data) -> Result<Option<String>> {
    let told = control::ask(data, &Request::Reload)?;
    Ok(told.map(|_| "the running server shows it from now on".to_owned()))
}
