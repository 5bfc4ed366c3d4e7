//! The administrator's own certificate, which goes before ours.

use super::Certificates;
use super::facts::*;
use crate::ext::SERVICES;
use crate::service::disk::data;
use crate::service::{Failure, Result, tls};
use std::path::Path;

impl Certificates {
    /// Takes the administrator's own certificate. Returns remarks that do not stand in the way.
    ///
    /// # Errors
    /// When it cannot serve this domain now, with the reason.
    pub(crate) fn install(&self, chain: &Path, key: &Path, domain: &str, now: u64) -> Result<Vec<String>> {
        let (chain_pem, key_pem) = (clean(&read(chain)?), clean(&read(key)?));
        let certificates = parse_all(chain, &chain_pem)?;
        for pair in certificates.windows(2) {
            if pair[0].issuer != pair[1].subject {
                return Err(Failure(format!(
                    "{} is out of order: \"{}\" is issued by \"{}\", but \"{}\" follows. Put the server's certificate first, then \
                     each issuer's behind the one it issued.",
                    chain.display(),
                    pair[0].subject,
                    pair[0].issuer,
                    pair[1].subject
                )));
            }
        }
        if let Some(why) = no_key(key, &key_pem) {
            return Err(Failure(why));
        }
        tls::Acceptor::new(&chain_pem, &key_pem).map_err(|e| match e.0.contains("failed to parse private key") {
            true => Failure(format!("{} is damaged, or of a kind that does not work. {KINDS}", key.display())),
            false => Failure(format!("{} and {} do not work together: {e}.", chain.display(), key.display())),
        })?;
        signatures(&ders(&chain_pem)).map_err(|e| Failure(format!("{} is damaged: {e}", chain.display())))?;
        let leaf = &certificates[0];
        if !leaf.covers(domain) {
            return Err(Failure(format!(
                "{} is for {}, not for {domain}, which this server serves. Get one for {domain}.",
                chain.display(),
                if leaf.names.is_empty() { leaf.subject.clone() } else { leaf.names.join(", ") }
            )));
        }
        if leaf.not_after <= now {
            return Err(Failure(format!("{} ended on {}. Renew it first.", chain.display(), leaf.until)));
        }
        if leaf.not_before > now {
            return Err(Failure(format!(
                "{} is not valid yet by this box's clock. Set the clock, or wait.",
                chain.display()
            )));
        }
        let _alone = self.alone()?;
        let both = [&chain_pem[..], b"\n", &key_pem[..]].concat();
        data::write(&self.dir.join("installed.pem"), &both)?;
        let lacking = SERVICES.iter().map(|s| format!("{s}.{domain}")).filter(|name| !leaf.covers(name));
        let mut remarks: Vec<String> = lacking.map(|name| format!("it does not cover {name}")).collect();
        if certificates.len() == 1 && leaf.issuer != leaf.subject {
            remarks.push(
                "it comes without its issuer's certificate; most providers give a \"full chain\" file: use that".into(),
            );
        }
        if leaf.ends_soon(now) {
            remarks.push(format!("it ends on {}", leaf.until));
        }
        Ok(remarks)
    }
}
