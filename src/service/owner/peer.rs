//! What the `peer` commands do and say: servers whose keys the owner knows, so that two offices find and trust each other with nothing else.

use super::control::{self, Request};
use super::qr::qr_code;
use crate::service::cert::Certificates;
use crate::service::config::{self, PEERS_FILE};
use crate::service::disk::data::{self, Data};
use crate::service::federation::{Pinned, Policy};
use crate::service::net::dial::PeerAddress;
use crate::service::net::listeners::{S2S, S2S_TLS};
use crate::service::serve::{Options, Place};
use crate::service::tls::PeerKey;
use crate::service::{Failure, Result, host};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// What the file begins with.
const HEAD: &str =
    "# Other servers whose keys are known, as `inglenook peer add` and `inglenook peer remove` write them.\n";

/// The line that the owner of the other server types, or scans.
///
/// # Errors
/// When there is no certificate yet.
pub fn show(options: &Options) -> Result<Vec<String>> {
    let Place { data, config, domain } = options.place()?;
    let (pair, _) = Certificates::of(&data).current()?;
    let key = PeerKey::of_pem(&pair.chain).ok_or_else(|| Failure::new("the certificate is not readable"))?;
    let address = reachable(config.addresses(S2S)).or_else(|| reachable(config.addresses(S2S_TLS)));
    let place = address.map(|address| format!(" {address}")).unwrap_or_default();
    let line = format!("inglenook peer add {domain} {key}{place}");
    let mut lines = vec![line.clone()];
    lines.extend(qr_code(&line));
    lines.push(
        "Type the first line on the other server, or scan the code and paste it there; and the other server's here."
            .into(),
    );
    match address {
        Some(address) => lines.push(format!(
            "If the other server cannot connect to {address}, name an address that it can, or leave it out there: then this one connects."
        )),
        None => lines.push("Other servers are not listened for: this one connects to them.".into()),
    }
    if config.federation.policy == Policy::Off {
        lines.push("Now no other server is talked to: federation.policy is \"off\" in the settings.".into());
    }
    Ok(lines)
}

/// Where another box in the same network would find this one, if it is listened on some address.
fn reachable(listened: &[SocketAddr]) -> Option<SocketAddr> {
    let of_box = || {
        let fine = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(_) => false,
        };
        host::addresses().into_iter().find(fine)
    };
    listened.iter().find_map(|at| match at.ip().is_unspecified() {
        true => of_box().map(|ip| SocketAddr::new(ip, at.port())),
        false => Some(*at).filter(|at| !at.ip().is_loopback()),
    })
}

/// Pins a server's key from now on.
///
/// # Errors
/// What of it cannot be, or that the file cannot be written.
pub fn add(options: &Options, domain: &str, key: &str, address: Option<&str>) -> Result<Vec<String>> {
    let place = options.place()?;
    let name =
        config::domain(domain).ok_or_else(|| Failure(format!("\"{domain}\" is no domain, such as office.example")))?;
    if name == place.domain {
        return Err(Failure(format!("{name} is this very server: type its line on the other one")));
    }
    let key: PeerKey = key.parse().map_err(|e| Failure(format!("{e}")))?;
    let address = address.map(str::parse::<PeerAddress>).transpose().map_err(|e| Failure(format!("{e}")))?;
    if in_settings(&place).iter().any(|pinned| pinned.domain == name) {
        return Err(Failure(format!("{name} is a [[peer]] in the settings: change it there")));
    }
    let mut all = in_file(&place.data)?;
    let before = all.iter().position(|pinned| pinned.domain == name).map(|at| all.remove(at));
    let what = match &before {
        None => "added",
        Some(before) if before.key != key => "changed the key of",
        Some(before) if before.address != address => "changed the address of",
        Some(_) => "knew before",
    };
    all.push(Pinned { domain: name.clone(), key, address });
    write(&place.data, &all)?;
    let mut lines = vec![format!("{what} {name}, {key}")];
    lines.push(format!(
        "the other server needs this one's line, too: `inglenook peer show`, for `inglenook peer add {} ...` there",
        place.domain
    ));
    lines.extend(use_it(&place.data)?);
    Ok(lines)
}

/// The pinned servers.
///
/// # Errors
/// When the settings cannot be read.
pub fn list(options: &Options) -> Result<Vec<String>> {
    let place = options.place()?;
    let file = in_file(&place.data)?;
    let whence = |pinned: &Pinned| if file.contains(pinned) { "" } else { "  (settings)" };
    let line = |pinned: &Pinned| {
        let address = pinned.address.as_ref().map_or("-".into(), PeerAddress::to_string);
        format!("{}  {}  {address}{}", pinned.domain, pinned.key, whence(pinned))
    };
    Ok(place.config.federation.pinned.iter().map(line).collect())
}

/// Forgets a server's key.
///
/// # Errors
/// When it is not there, or the file cannot be written.
pub fn remove(options: &Options, domain: &str) -> Result<Vec<String>> {
    let place = options.place()?;
    let mut all = in_file(&place.data)?;
    let before = all.len();
    let name = config::domain(domain);
    all.retain(|pinned| Some(&pinned.domain) != name.as_ref());
    if all.len() == before {
        let settings = in_settings(&place).iter().any(|pinned| Some(&pinned.domain) == name.as_ref());
        let why = if settings { "is a [[peer]] in the settings: remove it there" } else { "is not pinned" };
        return Err(Failure(format!("{domain} {why}")));
    }
    write(&place.data, &all)?;
    let mut lines = vec![format!("removed {domain}")];
    lines.extend(use_it(&place.data)?);
    Ok(lines)
}

/// Those that a command has written.
fn in_file(data: &Data) -> Result<Vec<Pinned>> {
    config::read_peers(data.dir())
}

/// Those in the settings.
fn in_settings(place: &Place) -> Vec<Pinned> {
    let file = in_file(&place.data).unwrap_or_default();
    place.config.federation.pinned.iter().filter(|pinned| !file.contains(pinned)).cloned().collect()
}

fn write(data: &Data, all: &[Pinned]) -> Result<()> {
    data.make()?;
    let mut text = String::from(HEAD);
    for Pinned { domain, key, address } in all {
        // A domain has no quotes, and so has an address.
        let _ = write!(text, "\n[[peer]]\ndomain = \"{domain}\"\nkey = \"{key}\"\n");
        address.iter().for_each(|address| text.push_str(&format!("address = \"{address}\"\n")));
    }
    data::write(&data.dir().join(PEERS_FILE), text.as_bytes())
}

/// Has the running server take it.
fn use_it(data: &Data) -> Result<Option<String>> {
    let told = control::ask(data, &Request::Reload)?;
    Ok(told.map(|_| "the running server knows it from now on".to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::service::disk::data::tests::Temp;

    fn options(temp: &Temp) -> Options {
        Options { data: Some(temp.0.clone()), domain: Some("house.test".into()), ..Options::default() }
    }

    const KEY: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn peers_are_added_listed_and_removed() {
        let temp = Temp::new();
        let options = options(&temp);
        assert!(list(&options).unwrap().is_empty());
        assert_eq!(
            add(&options, "Office.test", KEY, Some("192.0.2.7:5269")).unwrap()[0],
            format!("added office.test, {KEY}")
        );
        add(&options, "branch.test", KEY, None).unwrap();
        // The usual port.
        for (address, is) in
            [("192.0.2.8", "192.0.2.8:5269"), ("office.test", "office.test:5269"), ("::1", "[::1]:5269")]
        {
            assert!(add(&options, "office.test", KEY, Some(address)).unwrap()[0].starts_with("changed the address of"));
            assert!(list(&options).unwrap()[1].ends_with(&format!("  {is}")), "{:?}", list(&options));
        }
        assert!(add(&options, "office.test", KEY, Some("::1")).unwrap()[0].starts_with("knew before"));
        assert_eq!(
            list(&options).unwrap(),
            [format!("branch.test  {KEY}  -"), format!("office.test  {KEY}  [::1]:5269")]
        );
        let other = KEY.replace("00", "77");
        assert!(add(&options, "office.test", &other, None).unwrap()[0].starts_with("changed the key of office.test"));
        assert_eq!(list(&options).unwrap().len(), 2);
        assert_eq!(options.place().unwrap().config.federation.pinned.len(), 2, "the server reads them");
        assert_eq!(remove(&options, "office.test").unwrap(), ["removed office.test"]);
        assert!(remove(&options, "office.test").unwrap_err().0.contains("is not pinned"));
        assert_eq!(list(&options).unwrap(), [format!("branch.test  {KEY}  -")]);
    }

    #[test]
    fn what_cannot_be_is_told() {
        let temp = Temp::new();
        let options = options(&temp);
        let error = |domain, key, address| add(&options, domain, key, address).unwrap_err().0;
        assert!(error("house.test", KEY, None).contains("this very server"));
        assert!(error("romeo@office.test", KEY, None).contains("is no domain"));
        assert!(error("office.test", "sha256:1", None).contains("64 hexadecimal digits"));
        assert!(error("office.test", KEY, Some("office:99999")).contains("an address is a host"));
        std::fs::write(temp.0.join("inglenook.toml"), format!("[[peer]]\ndomain = \"office.test\"\nkey = \"{KEY}\"\n"))
            .unwrap();
        assert!(error("office.test", KEY, None).contains("in the settings"));
        assert!(remove(&options, "office.test").unwrap_err().0.contains("in the settings"));
        assert!(list(&options).unwrap()[0].ends_with("(settings)"));
    }
}
