//! What the `cert` commands do and say.

use super::admin::{self, Request};
use super::cert::{Certificates, Facts, Names};
use super::serve::{Options, Place};
use super::wear::date;
use super::{Result, domain, host};
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
    if !pair.installed {
        lines.push(format!("  renewed    {}", date(facts.renewed_at())));
        let ca = certificates.ca()?;
        lines.push(certificates.authority_line()?);
        lines.extend(describe(&ca));
        let how = "Debian: copy it to /usr/local/share/ca-certificates/inglenook.crt, then update-ca-certificates; phones: mail it \
                   there, then look for \"certificate\" in the settings; all others: cross/trust.md";
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
        super::Failure(format!("{} cannot be read: {e}. The first `inglenook serve` makes it.", path.display()))
    })
}

/// Makes another certificate with the same key; with `authority`, of another authority, which is made, too.
///
/// # Errors
/// When it cannot be made.
pub fn cert_renew(options: &Options, authority: bool) -> Result<Vec<String>> {
    let place = options.place()?;
    place.data.make()?;
    domain::keep(&place)?;
    let Place { data, domain, .. } = place;
    let certificates = Certificates::of(&data);
    let (names, now) = (Names::of_host(domain.as_str()), certificates.now());
    let mut lines = Vec::new();
    if authority {
        certificates.renew_authority(&names, now)?;
        lines.push(format!("made another authority: install {} on every device", certificates.ca_path().display()));
    } else {
        certificates.renew(&names, now)?;
        lines.push("renewed the server's own certificate; its key is the same".to_owned());
    }
    let own = certificates.own()?;
    lines.push(format!("it is good {}, SHA-256 {}", own.told(), own.fingerprint));
    if certificates.is_installed() {
        lines.push("the one in use is the installed one: `inglenook cert install` replaces that".to_owned());
    }
    lines.extend(use_it(&data)?);
    Ok(lines)
}

/// Takes the administrator's own certificate.
///
/// # Errors
/// When it cannot serve the domain.
pub fn cert_install(options: &Options, chain: &Path, key: &Path) -> Result<Vec<String>> {
    let place = options.place()?;
    place.data.make()?;
    domain::keep(&place)?;
    let Place { data, domain, .. } = place;
    let certificates = Certificates::of(&data);
    let remarks = certificates.install(chain, key, domain.as_str(), certificates.now())?;
    let facts = certificates.current()?.1;
    let mut lines = vec![format!("installed the certificate of {}, until {}", facts.subject, facts.until)];
    lines.extend(remarks.iter().map(|remark| format!("note: {remark}")));
    lines.extend(use_it(&data)?);
    Ok(lines)
}

/// Has the running server take it.
fn use_it(data: &super::data::Data) -> Result<Option<String>> {
    let told = admin::ask(data, &Request::Reload)?;
    Ok(told.map(|_| "the running server shows it from now on".to_owned()))
}
