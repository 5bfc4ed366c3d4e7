//! Who else on this box answers multicast DNS: of two responders for one host name each takes the other for a conflict.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Where avahi reads what it is to tell of.
pub(crate) const AVAHI_SERVICE: &str = "/etc/avahi/services/inglenook.service";
/// 5353, as the kernel's tables of sockets have it.
const PORT: &str = ":14E9";

/// Another responder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Neighbour {
    /// avahi-daemon.
    Avahi,
    /// systemd-resolved with MulticastDNS=yes.
    Resolved,
}

impl Neighbour {
    /// Who runs now, if anybody does. Blocks for a moment.
    pub(crate) fn look() -> Option<Neighbour> {
        let sockets = ["/proc/net/udp", "/proc/net/udp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
        match () {
            () if avahi(Path::new("/run/avahi-daemon")) => Some(Neighbour::Avahi),
            () if resolved(Path::new("/run/systemd/resolve"), &sockets) => Some(Neighbour::Resolved),
            () => None,
        }
    }

    /// What is done instead of answering ourselves, for the owner.
    pub(crate) fn told(self) -> String {
        match self {
            Neighbour::Avahi if Path::new(AVAHI_SERVICE).exists() => {
                format!("avahi answers for this box, and tells of this server: {AVAHI_SERVICE}")
            }
            Neighbour::Avahi => format!(
                "avahi answers for this box. It tells of this server, too, after `inglenook config --avahi | sudo tee {AVAHI_SERVICE}`"
            ),
            Neighbour::Resolved => {
                "systemd-resolved answers for this box, but tells of no services; mdns = \"on\" does that".into()
            }
        }
    }
}

/// Whether avahi lives: its process does, or somebody takes calls at its socket.
fn avahi(folder: &Path) -> bool {
    let pid = std::fs::read_to_string(folder.join("pid")).ok().and_then(|text| text.trim().parse().ok());
    let lives = |pid| matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM));
    pid.and_then(Pid::from_raw).is_some_and(lives) || UnixStream::connect(folder.join("socket")).is_ok()
}

/// Whether its user, whose folder this is, has the port.
fn resolved(folder: &Path, sockets: &[String]) -> bool {
    let Ok(owner) = std::fs::metadata(folder) else { return false };
    sockets.iter().flat_map(|table| table.lines()).any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let has_port = words.get(1).is_some_and(|local| local.ends_with(PORT));
        has_port && words.get(7).and_then(|uid| uid.parse().ok()) == Some(owner.uid())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("inglenook-neighbour-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn avahi_is_there_if_it_lives() {
        let dir = folder("avahi");
        assert!(!avahi(&dir) && !avahi(&dir.join("none")));
        std::fs::write(dir.join("pid"), format!("{}\n", std::process::id())).unwrap();
        assert!(avahi(&dir));
        // What it leaves behind when it is killed.
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        std::fs::write(dir.join("pid"), ended.id().to_string()).unwrap();
        assert!(!avahi(&dir));
        let socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
        assert!(avahi(&dir));
        drop(socket);
        assert!(!avahi(&dir));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn resolved_is_there_if_it_has_the_port() {
        let dir = folder("resolved");
        let uid = std::fs::metadata(&dir).unwrap().uid();
        let line = |port, uid| {
            vec![format!("  sl  local_address\n  9: 00000000:{port} 00000000:0000 07 0:0 00:0 0 {uid} 0 1\n")]
        };
        assert!(resolved(&dir, &line("14E9", uid)));
        assert!(!resolved(&dir, &line("0035", uid)) && !resolved(&dir, &line("14E9", uid + 1)) && !resolved(&dir, &[]));
        assert!(!resolved(&dir.join("none"), &line("14E9", uid)));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
