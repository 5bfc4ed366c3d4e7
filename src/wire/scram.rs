//! The keys that SCRAM stores in place of a password (RFC 5802 §3), and what is computed from them.

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

impl Credentials {
    /// From a password (prepared by SASLprep, RFC 4013). Takes tens of milliseconds on a small board.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Result<Credentials, PasswordError> {
        let _ = (password, salt, iterations);
        todo!()
    }

    /// What an unknown user is answered with: the same for the same name and secret, and no password fits.
    pub fn fake(secret: &[u8; 32], user: &str, iterations: u32) -> Credentials {
        let _ = (secret, user, iterations);
        todo!()
    }

    /// Whether a password is the one (for PLAIN), in constant time.
    pub fn check(&self, password: &str) -> bool {
        let _ = password;
        todo!()
    }
}
