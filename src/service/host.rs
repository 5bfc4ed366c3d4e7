//! What the box knows of itself: its name, its addresses, its clock.

use crate::wire::host_name;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// No later than this the program was made, in seconds since 1970 (2026-01-01): a clock that shows less is not set.
pub(crate) const EARLIEST: u64 = 1_767_225_600;

/// Addresses that are named in a certificate: a box with more has them for something else (containers, tunnels).
pub(crate) const ADDRESSES: usize = 16;

/// The most descriptors that are asked for: more connections than anybody has on a small box.
const DESCRIPTORS: u64 = 65_536;

/// What the clock shows, in seconds since 1970; it may not be set.
pub(crate) fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Whether the clock shows a time that can be true.
pub(crate) fn clock_is_set() -> bool {
    clock() >= EARLIEST
}

/// The time for certificates, in seconds since 1970. Without a set clock it is the latest that is known to be over: the program was
/// made by then, and its file written.
pub(crate) fn now() -> u64 {
    if clock_is_set() { clock() } else { EARLIEST.max(written()) }
}

/// When this program's file was last written, in seconds since 1970; 0 where nobody knows.
fn written() -> u64 {
    let modified = std::env::current_exe().and_then(std::fs::metadata).and_then(|meta| meta.modified());
    modified.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |at| at.as_secs())
}

/// Memory that this process may use, in bytes: what the machine has, or less if its control group has a limit. Without either: 64 MiB.
pub(crate) fn memory_bytes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| meminfo(&text));
    let groups = read("/proc/self/cgroup").map(|text| memory_limits(&text)).unwrap_or_default();
    let limits = groups.iter().filter_map(|path| read(path)?.trim().parse().ok());
    machine.into_iter().chain(limits).min().unwrap_or(64 << 20)
}

/// Descriptors that this process may have. The first call raises that to what the system allows.
pub(crate) fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if limit.current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

/// What this process uses.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct ProcessUsage {
    /// Processor time.
    pub cpu_seconds: f64,
    /// Memory, pages of the program included.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub descriptors: usize,
}

/// As far as the system tells.
pub(crate) fn process_usage() -> ProcessUsage {
    let a_second = rustix::param::clock_ticks_per_second().max(1) as f64;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name of the program, which can have spaces in it (proc_pid_stat(5)).
    let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    let cpu_seconds = (ticks() + ticks()) / a_second;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count());
    ProcessUsage { cpu_seconds, resident_bytes: pages * rustix::param::page_size() as u64, descriptors }
}

/// The size of the file system of a folder, in bytes; 0 where nobody knows.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize))
}

/// `MemTotal` in `/proc/meminfo`, in bytes.
fn meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files that may limit the memory of a process in these control groups, by `/proc/self/cgroup`: of its own group, and of all around
/// it. Version 2 has one tree of groups, version 1 one for memory.
fn memory_limits(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (tree, file) = match controllers {
            "" => ("", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => ("/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let mut group = path.trim_end_matches('/');
        loop {
            files.push(format!("/sys/fs/cgroup{tree}{group}/{file}"));
            let Some((around, _)) = group.rsplit_once('/') else { break };
            group = around;
        }
    }
    files
}

/// The host's name, as it calls itself; with hyphens for what no name has ([`host_name::valid`]), such as the `_` of `my_pi`.
pub(crate) fn name() -> String {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|s| host_name::valid(s.trim()));
    let fits =
        |name: &String| name.is_ascii() && name.split('.').all(|l| !l.is_empty() && l.len() <= 63) && name.len() <= 253;
    let found = read("/proc/sys/kernel/hostname").filter(fits);
    found.or_else(|| read("/etc/hostname").filter(fits)).unwrap_or_else(|| "localhost".into())
}

/// The host's name up to its first dot.
pub(crate) fn label() -> String {
    name().split('.').next().unwrap_or("localhost").to_owned()
}

/// The addresses under which others may reach the box: neither loopback, nor link-local, nor those that IPv6 makes for a
/// day (RFC 8981).
pub(crate) fn addresses() -> Vec<IpAddr> {
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
    fn memory_is_the_least_that_anything_allows() {
        assert_eq!(meminfo("MemTotal:       24612348 kB\nMemFree:  1 kB\n"), Some(24_612_348 * 1024));
        assert_eq!(meminfo("MemFree: 1 kB"), None);
        let (two, one) = (memory_limits("0::/house/chat\n"), memory_limits("5:cpu,memory:/chat\n1:cpu:/other\n"));
        assert_eq!(two, ["/house/chat", "/house", ""].map(|group| format!("/sys/fs/cgroup{group}/memory.max")));
        assert_eq!(one, ["/chat", ""].map(|group| format!("/sys/fs/cgroup/memory{group}/memory.limit_in_bytes")));
        assert_eq!(memory_limits("0::/"), ["/sys/fs/cgroup/memory.max"]);
        assert!(memory_bytes() > 1 << 20);
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
