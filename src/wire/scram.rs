//! The keys that SCRAM stores in place of a password (RFC 5802 §3), and what is computed from them.

use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;
use subtle::ConstantTimeEq;

/// The longest password, in bytes, before and after preparation.
pub const PASSWORD_BYTES: usize = 1024;
/// The longest password that can be chosen, in bytes.
pub const CHOSEN_PASSWORD_BYTES: usize = 1023;
/// The shortest password that somebody may choose, in characters. One that an account has already goes on to work.
pub const PASSWORD_CHARS: usize = 8;

/// The length of a salt, in bytes: of those made for accounts, and so of [`Credentials::fake`]'s.
pub const SALT_BYTES: usize = 16;

/// The hash functions in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Hash {
    Sha1,
    Sha256,
}

/// What is stored for one hash function: no password, and nothing that logs in elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// How often the password was hashed.
    pub iterations: u32,
    /// The salt, in plain bytes.
    pub salt: Box<[u8]>,
    /// `StoredKey` (RFC 5802 §3).
    pub stored: Box<[u8]>,
    /// `ServerKey` (RFC 5802 §3).
    pub server: Box<[u8]>,
}

/// What is stored for an account.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// For SCRAM-SHA-1 and -PLUS.
    pub sha1: Keys,
    /// For SCRAM-SHA-256 and -PLUS.
    pub sha256: Keys,
}

/// Why a password cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PasswordError(pub &'static str);

/// Whether a password has nothing but spaces, of whatever kind.
pub fn is_blank(password: &str) -> bool {
    let used = prepare(password).map_or_else(|_| password.to_owned(), |used| used.to_string());
    !used.is_empty() && used.trim().is_empty()
}

/// Whether a password may be chosen for an account.
///
/// # Errors
/// When it is too short, or of spaces alone, in words for a person.
pub fn long_enough(password: &str) -> Result<(), String> {
    if is_blank(password) {
        return Err("a password of spaces alone is none: put letters into it".into());
    }
    // As it is used: some characters are nothing then, and eight of them would be no password.
    let used = prepare(password).map_or_else(|_| password.to_owned(), |used| used.to_string());
    match used.chars().nth(PASSWORD_CHARS - 1) {
        Some(_) => Ok(()),
        None => Err(format!("a password has at least {PASSWORD_CHARS} characters")),
    }
}

/// Whether a password can be used, however it is to be shown ([`Credentials::derive`]).
///
/// # Errors
/// Why not.
pub fn allowed(password: &str) -> Result<(), PasswordError> {
    prepare(password).map(|_| ())
}

impl std::fmt::Display for PasswordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for PasswordError {}

impl Hash {
    /// How many bytes its output has.
    pub fn bytes_len(self) -> usize {
        match self {
            Hash::Sha1 => digest::SHA1_OUTPUT_LEN,
            Hash::Sha256 => digest::SHA256_OUTPUT_LEN,
        }
    }

    /// `H(data)`.
    pub fn digest(self, data: &[u8]) -> Box<[u8]> {
        let algorithm = match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
        };
        digest::digest(algorithm, data).as_ref().into()
    }

    /// `HMAC(key, data)`.
    pub fn hmac(self, key: &[u8], data: &[u8]) -> Box<[u8]> {
        let algorithm = match self {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().into()
    }

    /// `Hi(password, salt, iterations)`; no iterations count as one.
    fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Box<[u8]> {
        let algorithm = match self {
            Hash::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Hash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        };
        let mut out = vec![0; self.bytes_len()];
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(algorithm, iterations, salt, password, &mut out);
        out.into()
    }

    /// `ClientKey` of a password that is prepared.
    #[cfg(test)]
    fn client_key(self, password: &str, salt: &[u8], iterations: u32) -> Box<[u8]> {
        self.hmac(&self.salted(password.as_bytes(), salt, iterations), b"Client Key")
    }
}

impl Keys {
    /// Of a password that is prepared.
    fn derive(hash: Hash, password: &str, salt: &[u8], iterations: u32) -> Keys {
        Keys::salted(hash, &hash.salted(password.as_bytes(), salt, iterations), salt, iterations)
    }

    fn salted(hash: Hash, salted: &[u8], salt: &[u8], iterations: u32) -> Keys {
        let stored = hash.digest(&hash.hmac(salted, b"Client Key"));
        Keys { iterations, salt: salt.into(), stored, server: hash.hmac(salted, b"Server Key") }
    }

    /// Of a `SaltedPassword` that a client has made (XEP-0480 §3). `None`: it is none.
    pub fn of_salted(hash: Hash, salted: &[u8], salt: &[u8], iterations: u32) -> Option<Keys> {
        (salted.len() == hash.bytes_len()).then(|| Keys::salted(hash, salted, salt, iterations))
    }
}

/// SASLprep (RFC 4013), and the limits of a password.
fn prepare(password: &str) -> Result<String, PasswordError> {
    if password.len() > PASSWORD_BYTES {
        return Err(PasswordError("the password is too long"));
    }
    match stringprep::saslprep(password) {
        Err(_) => Err(PasswordError("the password has a character that SASLprep forbids")),
        Ok(prepared) if prepared.is_empty() => Err(PasswordError("the password is empty")),
        Ok(prepared) if prepared.len() > PASSWORD_BYTES => Err(PasswordError("the password is too long")),
        Ok(prepared) => Ok(prepared.into_owned()),
    }
}

impl Credentials {
    /// From a password (prepared by SASLprep, RFC 4013). Takes tens of milliseconds on a small board.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Result<Credentials, PasswordError> {
        let password = prepare(password)?;
        let keys = |hash| Keys::derive(hash, &password, salt, iterations);
        Ok(Credentials { sha1: keys(Hash::Sha1), sha256: keys(Hash::Sha256) })
    }

    /// What an unknown user is answered with: the same for the same name and secret, and no password fits.
    pub fn fake(secret: &[u8; 32], user: &str, iterations: u32) -> Credentials {
        Credentials::fake_among(secret, user, [(iterations, iterations)])
    }

    /// The same, with iterations (of SHA-1 and SHA-256) that accounts have, so that nobody can tell by them: the name decides which,
    /// and as long as they are among them it has the same. None count as one.
    pub fn fake_among(secret: &[u8; 32], user: &str, there: impl IntoIterator<Item = (u32, u32)>) -> Credentials {
        // One salt for both, as accounts have; keys that are no hash of anything a client could send.
        let made = |hash: Hash, what: &str| hash.hmac(secret, format!("{what}\0{user}").as_bytes());
        let drawn = |both: &(u32, u32)| made(Hash::Sha256, &format!("iterations {} {}", both.0, both.1));
        let (sha1, sha256) = there.into_iter().max_by_key(drawn).unwrap_or((1, 1));
        let salt: Box<[u8]> = made(Hash::Sha256, "salt")[..SALT_BYTES].into();
        let keys = |hash, iterations| {
            let (stored, server) = (made(hash, "stored"), made(hash, "server"));
            Keys { iterations, salt: salt.clone(), stored, server }
        };
        Credentials { sha1: keys(Hash::Sha1, sha1), sha256: keys(Hash::Sha256, sha256) }
    }

    /// The keys for a hash function.
    pub fn keys(&self, hash: Hash) -> &Keys {
        match hash {
            Hash::Sha1 => &self.sha1,
            Hash::Sha256 => &self.sha256,
        }
    }

    /// Whether a password is the one (for PLAIN), in constant time.
    pub fn check(&self, password: &str) -> bool {
        let Ok(password) = prepare(password) else { return false };
        let keys = Keys::derive(Hash::Sha256, &password, &self.sha256.salt, self.sha256.iterations);
        keys.stored.ct_eq(&self.sha256.stored).into()
    }
}

/// No keys in logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({} iterations)", self.sha256.iterations)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::STANDARD};

    /// Computes a client's proof and the server's signature, and checks them with the stored keys as a server does.
    fn exchange(hash: Hash, salt: &str, auth: &str, proof: &str, signature: &str) {
        let salt = STANDARD.decode(salt).unwrap();
        let keys = Keys::derive(hash, "pencil", &salt, 4096);
        assert_eq!(keys.stored.len(), hash.bytes_len());
        let client = hash.hmac(&keys.stored, auth.as_bytes());
        let key = hash.client_key("pencil", &salt, 4096);
        let made: Vec<u8> = key.iter().zip(&client).map(|(a, b)| a ^ b).collect();
        assert_eq!(STANDARD.encode(&made), proof);
        let recovered: Vec<u8> = made.iter().zip(&client).map(|(a, b)| a ^ b).collect();
        assert_eq!(hash.digest(&recovered), keys.stored);
        assert_eq!(STANDARD.encode(hash.hmac(&keys.server, auth.as_bytes())), signature);
    }

    #[test]
    fn what_is_nothing_does_not_make_a_password_long() {
        assert!(
            long_enough("eight ch").is_ok() && long_enough("\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}").is_ok()
        );
        assert!(long_enough("seven c").is_err());
        for blank in ["        ", "\u{a0}\u{a0}\u{2003}\u{3000}    ", "    \u{ad}    "] {
            assert!(long_enough(blank).unwrap_err().contains("spaces"), "{blank:?}");
        }
        assert!(long_enough("       x").is_ok() && long_enough("").unwrap_err().contains("at least"));
        assert!(long_enough(&("\u{ad}".repeat(9) + "a")).is_err());
    }

    #[test]
    fn rfc_5802_section_5() {
        let auth = "n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,\
            c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
        exchange(Hash::Sha1, "QSXCR+Q6sek8bf92", auth, "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ=");
    }

    #[test]
    fn rfc_7677_section_3() {
        let auth = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,\
            i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let (proof, signature) =
            ("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        exchange(Hash::Sha256, "W22ZaJ0SNY7soEsUEjb6gQ==", auth, proof, signature);
    }

    #[test]
    fn passwords() {
        let derive = |password: &str| Credentials::derive(password, b"0123456789abcdef", 10);
        let credentials = derive("I\u{ad}X").unwrap();
        assert!(credentials.check("IX") && credentials.check("\u{2168}"), "prepared on both ways (RFC 4013 §3)");
        assert!(!credentials.check("ix") && !credentials.check("") && !credentials.check("\u{7}"));
        assert_eq!(credentials, derive("IX").unwrap());
        assert_ne!(credentials, Credentials::derive("IX", b"0123456789abcdeg", 10).unwrap());
        for refused in ["", "\u{ad}", "\u{7}", "\u{627}1", &"a".repeat(1025), &"\u{fdfa}".repeat(100)] {
            assert!(derive(refused).is_err(), "{refused:?}");
        }
        assert!(derive(&"a".repeat(1024)).is_ok());
        assert!(Credentials::derive("x", b"salt", 0).unwrap().check("x"));
    }

    #[test]
    fn fakes_are_stable_and_like_real_ones() {
        let fake = Credentials::fake(&[7; 32], "romeo", 4096);
        assert_eq!(fake, Credentials::fake(&[7; 32], "romeo", 4096));
        assert_ne!(fake.sha256.salt, Credentials::fake(&[7; 32], "juliet", 4096).sha256.salt);
        assert_ne!(fake.sha256.salt, Credentials::fake(&[8; 32], "romeo", 4096).sha256.salt);
        let real = Credentials::derive("x", &[1; SALT_BYTES], 4096).unwrap();
        for (fake, real) in [(&fake.sha1, &real.sha1), (&fake.sha256, &real.sha256)] {
            assert_eq!(
                (fake.salt.len(), fake.stored.len(), fake.server.len(), fake.iterations),
                (real.salt.len(), real.stored.len(), real.server.len(), real.iterations)
            );
        }
        assert_eq!(fake.sha1.salt, fake.sha256.salt);
        assert!(!fake.check("x"));
    }

    #[test]
    fn fakes_have_iterations_of_real_ones() {
        let of = |name: &str, there: &[(u32, u32)]| {
            let fake = Credentials::fake_among(&[7; 32], name, there.iter().copied());
            (fake.sha1.iterations, fake.sha256.iterations)
        };
        let names: Vec<String> = (0..200).map(|n| format!("u{n}")).collect();
        let (old, new) = ((4096, 4096), (4096, 10_000));
        let olds = names.iter().filter(|name| of(name, &[old, new]) == old).count();
        assert!((60..140).contains(&olds), "{olds}");
        for name in &names {
            assert_eq!(of(name, &[old]), old);
            // It does not change but to one that is new, or because there is none any more.
            let both = of(name, &[old, new]);
            let three = of(name, &[(1, 2), old, new]);
            assert!(three == both || three == (1, 2));
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Credentials::fake(&[0; 32], "x", 5)), "Credentials(5 iterations)");
    }
}
