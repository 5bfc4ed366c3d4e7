//! What the box knows of itself: its name, its addresses, its clock.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

/// No later than this the program was made, in seconds since 1970 (2026-01-01): a clock that shows less is not set.
pub const EARLIEST: u64 = 1_767_225_600;

/// Addresses that are named in a certificate: a box with more has them for something else (containers, tunnels).
pub const ADDRESSES: usize = 16;

/// What the clock shows, in seconds since 1970; it may not be set.
pub fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Whether the clock shows a time that can be true.
pub fn clock_is_set() -> bool {
    clock() >= EARLIEST
}

/// The time for certificates, in seconds since 1970. Without a set clock it is the latest that is known to be over: the program was
/// made by then, and its file written.
pub fn now() -> u64 {
    if clock_is_set() { clock() } else { EARLIEST.max(written()) }
}

/// When this program's file was last written, in seconds since 1970; 0 where nobody knows.
fn written() -> u64 {
    let modified = std::env::current_exe().and_then(std::fs::metadata).and_then(|meta| meta.modified());
    modified.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |at| at.as_secs())
}

/// The host's name, as it calls itself; letters, digits, dots and hyphens only.
pub fn name() -> String {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|s| s.trim().to_ascii_lowercase());
    let fits = |name: &String| {
        !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
            && !name.split('.').any(|label| label.is_empty() || label.len() > 63 || label.starts_with('-'))
    };
    let found = read("/proc/sys/kernel/hostname").filter(fits);
    found.or_else(|| read("/etc/hostname").filter(fits)).unwrap_or_else(|| "localhost".into())
}

/// The host's name up to its first dot.
pub fn label() -> String {
    name().split('.').next().unwrap_or("localhost").to_owned()
}

/// The addresses under which others may reach the box: neither loopback, nor link-local, nor those that IPv6 makes for a
/// day (RFC 8981).
pub fn addresses() -> Vec<IpAddr> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut found: BTreeSet<IpAddr> = ipv4(&read("/proc/net/fib_trie")).map(IpAddr::V4).collect();
    found.extend(ipv6(&read("/proc/net/if_inet6")).map(IpAddr::V6));
    found.into_iter().take(ADDRESSES).collect()
}

/// The addresses of this host in Linux's routing tables: each is a line `|-- ADDRESS` before a line `/32 host LOCAL`.
fn ipv4(trie: &str) -> impl Iterator<Item = Ipv4Addr> + '_ {
    trie.lines().zip(trie.lines().skip(1)).filter(|(_, kind)| kind.trim() == "/32 host LOCAL").filter_map(
        |(line, _)| {
            let address: Ipv4Addr = line.trim().strip_prefix("|--")?.trim().parse().ok()?;
            (!address.is_loopback() && !address.is_link_local()).then_some(address)
        },
    )
}

/// The addresses in Linux's table: address, interface, length of the prefix, scope, flags, name.
fn ipv6(table: &str) -> impl Iterator<Item = Ipv6Addr> + '_ {
    const TEMPORARY: u32 = 0x01;
    table.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let address = Ipv6Addr::from(u128::from_str_radix(fields.next()?, 16).ok()?);
        let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
        let fine = !address.is_loopback() && !address.is_unicast_link_local() && flags & TEMPORARY == 0;
        fine.then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_read() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 192.168.1.5\n        \
                    /32 host LOCAL\n     |-- 192.168.1.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(ipv4(trie).collect::<Vec<_>>(), ["192.168.1.5".parse::<Ipv4Addr>().expect("an address")]);
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fe800000000000000000000000000001 02 40 20 80     eth0\n\
                     fd000000000000000000000000000005 02 40 00 80     eth0\n\
                     fd000000000000000000000000000006 02 40 00 01     eth0\n";
        assert_eq!(ipv6(table).collect::<Vec<_>>(), ["fd00::5".parse::<Ipv6Addr>().expect("an address")]);
    }

    #[test]
    fn the_name_fits_a_domain() {
        assert!(!label().is_empty() && !label().contains('.'));
    }

    #[test]
    fn the_clock_is_never_before_the_program() {
        assert!(now() >= EARLIEST && now() >= clock());
        assert!(written() >= EARLIEST, "this test was just built");
    }
}
