//! `tls-exporter` (RFC 9266): 32 bytes that both ends of a TLS connection can compute, and nobody else.
//!
//! The unbuffered connection of the TLS crate has no method for them. It tells the secret below them through its key log, while it
//! works on the handshake, on the same thread: [`ExporterSecrets`] catches it there, and nothing is written anywhere. What is left to do is
//! in RFC 8446 §7.5 and RFC 5705 §4.

use rustls::crypto::tls13::{HkdfExpander, OkmBlock};
use rustls::{KeyLog, SupportedCipherSuite};
use std::cell::Cell;

/// RFC 9266 §4.2.
pub(crate) const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

thread_local! {
    static CAUGHT: Cell<Option<ExporterSecret>> = const { Cell::new(None) };
}

/// Where the connections of a thread leave the secret of their handshake.
#[derive(Debug)]
pub(crate) struct ExporterSecrets;

impl KeyLog for ExporterSecrets {
    fn will_log(&self, label: &str) -> bool {
        matches!(label, "EXPORTER_SECRET" | "CLIENT_RANDOM")
    }

    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if self.will_log(label) {
            CAUGHT.set(Some(ExporterSecret { client_random: client_random.into(), secret: secret.into() }));
        }
    }
}

/// What the exporter is made from.
pub(crate) struct ExporterSecret {
    client_random: Box<[u8]>,
    secret: Box<[u8]>,
}

impl ExporterSecret {
    /// That of the connection which has worked on this thread last, once.
    pub(crate) fn take() -> Option<ExporterSecret> {
        CAUGHT.take()
    }

    /// The exporter's value. `hello`: the record of our ServerHello.
    pub(crate) fn export(&self, suite: SupportedCipherSuite, hello: &[u8]) -> Option<[u8; 32]> {
        let mut value = [0; 32];
        match suite {
            SupportedCipherSuite::Tls13(suite) => {
                let hash = suite.common.hash_provider;
                let empty = hash.hash(&[]);
                let mut derived = [0; 64];
                let derived = derived.get_mut(..hash.output_len())?;
                let expander = |secret: &[u8]| suite.hkdf_provider.expander_for_okm(&OkmBlock::new(secret));
                expand(&*expander(&self.secret), LABEL, empty.as_ref(), derived)?;
                expand(&*expander(derived), b"exporter", empty.as_ref(), &mut value)?;
            }
            SupportedCipherSuite::Tls12(suite) => {
                // Behind the headers of record and message, and the version.
                let server_random = hello.get(11..43)?;
                // The empty context, with its length.
                let seed = [&self.client_random, server_random, &[0, 0]].concat();
                suite.prf_provider.for_secret(&mut value, &self.secret, LABEL, &seed);
            }
        }
        Some(value)
    }
}

/// HKDF-Expand-Label (RFC 8446 §7.1).
fn expand(expander: &dyn HkdfExpander, label: &[u8], context: &[u8], out: &mut [u8]) -> Option<()> {
    const PREFIX: &[u8] = b"tls13 ";
    let len = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_len = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let context_len = [u8::try_from(context.len()).ok()?];
    expander.expand_slice(&[&len, &label_len, PREFIX, label, &context_len, context], out).ok()
}
