//! What `cross/trust.md` says for Debian, typed as it stands there, in a file system of its own: then OpenSSL trusts the server by what the system
//! trusts, and before it did not. Needs root, `update-ca-certificates` and `openssl`.
#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![cfg(target_os = "linux")]

mod common;

use common::binary::{Dir, Server, ok};
use std::process::Command;

/// The lines of the page's first block behind this heading.
fn lines(heading: &str) -> String {
    let page = include_str!("../cross/trust.md");
    let (_, behind) = page.split_once(&format!("## {heading}")).unwrap();
    let (_, block) = behind.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_lines_for_debian_make_the_system_trust_the_server() {
    let there = |program: &str| {
        Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
    };
    if !rustix::process::geteuid().is_root()
        || !["unshare", "update-ca-certificates", "openssl"].iter().all(|p| there(p))
    {
        return eprintln!("not as root on Debian: left out");
    }
    let dir = Dir::with("domain = \"example.org\"");
    let server = Server::start(&dir, &[]);
    std::fs::write(dir.0.join("ca.crt"), ok(&dir, &["cert", "show", "--pem"], "")).unwrap();
    let look = format!(
        "openssl s_client -connect {} -verify_hostname example.org -CApath /etc/ssl/certs </dev/null 2>/dev/null | grep -m 1 'Verify return code'",
        server.address("c2s_tls")
    );
    let script = format!(
        "mount -t tmpfs tmpfs /mnt && cp -a /etc/ssl /mnt/ssl && mount --bind /mnt/ssl /etc/ssl || exit 77\n\
         mkdir -p /mnt/local /usr/local/share/ca-certificates && mount --bind /mnt/local /usr/local/share/ca-certificates || exit 77\n\
         sudo() {{ \"$@\"; }}\nset -e\n{look}\n{}{look}\n",
        lines("Debian, ")
    );
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).current_dir(&dir.0).output().unwrap();
    if output.status.code() == Some(77) {
        return eprintln!("no mounts: left out");
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let codes: Vec<&str> = said.lines().filter(|line| line.contains("Verify return code")).collect();
    assert!(codes.len() == 2 && codes[0].contains("code: 19") && codes[1].contains("code: 0 (ok)"), "{output:?}");
    assert!(server.stop().success());
}
