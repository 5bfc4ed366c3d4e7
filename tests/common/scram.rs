//! The client's half of SCRAM, word by word, so that a test can bend each of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

pub const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";

/// One attempt to log in.
pub struct Scram {
    pub mechanism: &'static str,
    pub sha1: bool,
    pub gs2: String,
    pub binding: Vec<u8>,
    pub bare: String,
    pub password: &'static str,
}

impl Scram {
    /// `gs2`: the header that names the channel binding; `binding`: the data of it.
    pub fn new(mechanism: &'static str, gs2: &str, binding: Vec<u8>, name: &str, password: &'static str) -> Scram {
        let (sha1, bare) = (mechanism.contains("SHA-1"), format!("n={name},r=abcdefgh"));
        Scram { mechanism, sha1, gs2: gs2.into(), binding, bare, password }
    }

    fn hmac(&self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let algorithm = if self.sha1 { hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY } else { hmac::HMAC_SHA256 };
        hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec()
    }

    fn hash(&self, data: &[u8]) -> Vec<u8> {
        let algorithm = if self.sha1 { &digest::SHA1_FOR_LEGACY_USE_ONLY } else { &digest::SHA256 };
        digest::digest(algorithm, data).as_ref().to_vec()
    }

    pub fn first(&self) -> String {
        format!(
            "<auth {SASL} mechanism='{}'>{}</auth>",
            self.mechanism,
            STANDARD.encode(format!("{}{}", self.gs2, self.bare))
        )
    }

    /// The answer to a challenge, without the proof; the proof; and what the server has to prove.
    pub fn last(&self, challenge: &str) -> (String, Vec<u8>, String) {
        let server_first = data(challenge, "challenge");
        let nonce = field(&server_first, "r=");
        let binding = [self.gs2.as_bytes(), &self.binding].concat();
        let unproven = format!("c={},r={nonce}", STANDARD.encode(binding));
        let (proof, server) = self.prove(challenge, &unproven);
        (unproven, proof, server)
    }

    /// The proof for an answer to a challenge, and that of the server.
    pub fn prove(&self, challenge: &str, unproven: &str) -> (Vec<u8>, String) {
        let server_first = data(challenge, "challenge");
        let salt = STANDARD.decode(field(&server_first, "s=")).unwrap();
        let algorithm = if self.sha1 { pbkdf2::PBKDF2_HMAC_SHA1 } else { pbkdf2::PBKDF2_HMAC_SHA256 };
        let mut salted = vec![0; if self.sha1 { 20 } else { 32 }];
        let iterations: u32 = field(&server_first, "i=").parse().unwrap();
        pbkdf2::derive(algorithm, iterations.try_into().unwrap(), &salt, self.password.as_bytes(), &mut salted);
        let key = self.hmac(&salted, b"Client Key");
        let signed = format!("{},{server_first},{unproven}", self.bare);
        let signature = self.hmac(&self.hash(&key), signed.as_bytes());
        let proof = key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let server = self.hmac(&self.hmac(&salted, b"Server Key"), signed.as_bytes());
        (proof, format!("v={}", STANDARD.encode(server)))
    }

    pub fn response(unproven: &str, proof: &[u8]) -> String {
        response(&format!("{unproven},p={}", STANDARD.encode(proof)))
    }
}

pub fn response(text: &str) -> String {
    format!("<response {SASL}>{}</response>", STANDARD.encode(text))
}

/// An attribute of a SCRAM message.
pub fn field<'a>(message: &'a str, name: &str) -> &'a str {
    message.split(',').find_map(|part| part.strip_prefix(name)).unwrap()
}

/// The data in an element that was written.
pub fn data(out: &str, name: &str) -> String {
    let inside = out.split_once(&format!("<{name} {SASL}>")).unwrap_or_else(|| panic!("{out}")).1;
    let inside = inside.split_once(&format!("</{name}>")).unwrap().0;
    String::from_utf8(STANDARD.decode(inside).unwrap()).unwrap()
}
