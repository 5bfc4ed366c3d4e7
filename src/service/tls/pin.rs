//! Public keys of other servers, as people write them down.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::digest::{SHA256, digest};
use std::fmt;
use std::str::FromStr;

/// In front of the digits.
const PREFIX: &str = "sha256:";
/// Characters that are looked at: 32 bytes in digits, with something between each two.
const TEXT_BYTES: usize = 256;

/// The SHA-256 of a public key with its algorithm (the SubjectPublicKeyInfo of RFC 5280 §4.1.2.7), as TLSA 3 1 1 has it, too. It stays the
/// same when the certificate is renewed with the same key.
///
/// It is written as `sha256:` and 64 hexadecimal digits: what can be typed and read aloud, without letters of two sizes. Base64 is
/// read, too, and digits with colons, hyphens or spaces between them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub [u8; 32]);

impl PeerKey {
    /// Of a SubjectPublicKeyInfo, as DER.
    pub fn of_public_key(spki: &[u8]) -> PeerKey {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, spki).as_ref());
        PeerKey(hash)
    }

    /// Of the key that the first certificate of a chain (PEM) is for; `None` if that is not readable.
    pub fn of_pem(chain: &[u8]) -> Option<PeerKey> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(chain).ok()?;
        PeerKey::of_certificate(&pem.contents)
    }

    /// Of the key that a certificate (DER) is for; `None` if that is not readable.
    pub fn of_certificate(der: &[u8]) -> Option<PeerKey> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(PeerKey::of_public_key(certificate.public_key().raw))
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a written key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoPeerKey;

impl fmt::Display for NoPeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a key is `sha256:` and 64 hexadecimal digits: what `inglenook peer show` prints on the other server",
        )
    }
}

impl std::error::Error for NoPeerKey {}

impl FromStr for PeerKey {
    type Err = NoPeerKey;

    fn from_str(text: &str) -> Result<PeerKey, NoPeerKey> {
        let text = text.trim();
        if text.len() > TEXT_BYTES {
            return Err(NoPeerKey);
        }
        let rest = match text.get(..PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => text[PREFIX.len()..].trim_start(),
            _ => text,
        };
        by_digits(rest).or_else(|| by_base64(rest)).map(PeerKey).ok_or(NoPeerKey)
    }
}

fn by_digits(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !matches!(c, ':' | '-') && !c.is_whitespace())
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

fn by_base64(text: &str) -> Option<[u8; 32]> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [STANDARD, URL_SAFE].iter().find_map(|alphabet| {
        GeneralPurpose::new(alphabet, config).decode(text).ok().and_then(|bytes| bytes.try_into().ok())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written_and_as_others_write_it() {
        let key = PeerKey(std::array::from_fn(|n| (n * 7 + 240) as u8));
        let written = key.to_string();
        assert_eq!((written.len(), &written[..11]), (71, "sha256:f0f7"));
        let digits = &written[7..];
        let pairs: Vec<&str> = (0..32).map(|n| &digits[2 * n..2 * n + 2]).collect();
        let forms = [
            written.clone(),
            written.to_uppercase(),
            digits.to_owned(),
            format!(" sha256: {} \n", pairs.join(":")),
            pairs.chunks(4).map(|four| four.concat()).collect::<Vec<_>>().join(" "),
            pairs.join("-"),
            format!("SHA256:{}", GeneralPurpose::new(&STANDARD, base64::engine::general_purpose::NO_PAD).encode(key.0)),
            GeneralPurpose::new(&STANDARD, base64::engine::general_purpose::PAD).encode(key.0),
            GeneralPurpose::new(&URL_SAFE, base64::engine::general_purpose::NO_PAD).encode(key.0),
        ];
        for form in &forms {
            assert_eq!(form.parse(), Ok(key), "{form}");
        }
        for bad in
            ["", "sha256:", &written[..70], &format!("{written}0"), "sha1:00", "ü", &"0".repeat(1000), &"é".repeat(32)]
        {
            assert_eq!(bad.parse::<PeerKey>(), Err(NoPeerKey), "{bad}");
        }
    }

    #[test]
    fn it_is_that_of_the_key_alone() {
        let key = rcgen::KeyPair::generate().unwrap();
        let of = |name: &str| {
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            PeerKey::of_certificate(params.self_signed(&key).unwrap().der())
        };
        assert_eq!(of("a.example"), of("b.example"));
        assert_eq!(of("a.example"), Some(PeerKey::of_public_key(&rcgen::PublicKeyData::subject_public_key_info(&key))));
        assert_eq!(PeerKey::of_certificate(b"nonsense"), None);
    }
}
