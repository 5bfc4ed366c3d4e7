//! What iPhones, iPads and Macs install: a profile with the authority in it.

use super::{Authority, House, Lang};
use crate::wire::xml::escaped;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The profile, a property list. There is no account in it: the one payload for XMPP accounts that Apple had (`com.apple.jabber.account`)
/// was for macOS alone, and nothing reads it any more.
pub fn profile(house: &House, authority: &Authority, lang: Lang) -> String {
    let texts = lang.texts();
    // The same authority gives the same profile: who installs it again replaces it, and has not two.
    let (own, inner) = (uuid(&authority.fingerprint, 0), uuid(&authority.fingerprint, 1));
    let (name, title) = (escaped(&authority.name), super::plain(texts.chat_of, &[("house", &house.called)]));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict>\n\
         <key>PayloadType</key><string>Configuration</string>\n<key>PayloadVersion</key><integer>1</integer>\n\
         <key>PayloadIdentifier</key><string>inglenook.{own}</string>\n<key>PayloadUUID</key><string>{own}</string>\n\
         <key>PayloadDisplayName</key><string>{}</string>\n\
         <key>PayloadDescription</key><string>{}</string>\n<key>PayloadContent</key>\n<array>\n<dict>\n\
         <key>PayloadType</key><string>com.apple.security.root</string>\n\
         <key>PayloadVersion</key><integer>1</integer>\n\
         <key>PayloadIdentifier</key><string>inglenook.{own}.{inner}</string>\n\
         <key>PayloadUUID</key><string>{inner}</string>\n<key>PayloadDisplayName</key><string>{name}</string>\n\
         <key>PayloadCertificateFileName</key><string>ca.crt</string>\n\
         <key>PayloadContent</key><data>{}</data>\n</dict>\n</array>\n</dict>\n</plist>\n",
        escaped(&title),
        escaped(texts.trust_text),
        STANDARD.encode(&authority.der)
    )
}

/// A UUID made of a fingerprint (RFC 9562 §5.8).
fn uuid(fingerprint: &str, n: u8) -> String {
    let mut bytes = [0; 16];
    let digits = fingerprint.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok());
    bytes.iter_mut().zip(digits.skip(usize::from(n) * 16)).for_each(|(byte, digit)| *byte = digit);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
