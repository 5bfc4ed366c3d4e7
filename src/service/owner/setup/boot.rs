//! What starts the server with the box: systemd (systemd.service(5)) or OpenWrt's procd.

use super::talk::Talk;
use crate::service::disk::data::{self, Data};
use crate::service::owner::{control, find::PROCD, find::Package, find::SYSTEMD};
use crate::service::{Failure, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where the units look for the program.
const PROGRAM: &str = "/usr/bin/inglenook";
/// How long a server may take until it answers: the end of a message log is read again after a power cut.
const START: Duration = Duration::from_secs(60);

/// A service manager that is here.
pub(super) struct BootManager {
    pub package: &'static Package,
    /// The file that tells it of the server, where nobody else has brought one.
    unit: &'static str,
    mode: u32,
    /// What is typed once the files are there.
    commands: &'static [&'static [&'static str]],
}

static MANAGERS: [BootManager; 2] = [
    BootManager {
        package: &SYSTEMD,
        unit: include_str!("../../../../cross/inglenook.service"),
        mode: 0o644,
        commands: &[
            &["systemctl", "daemon-reload"],
            &["systemctl", "enable", "--quiet", "inglenook"],
            &["systemctl", "restart", "inglenook"],
        ],
    },
    BootManager {
        package: &PROCD,
        unit: include_str!("../../../../cross/openwrt/inglenook.init"),
        mode: 0o755,
        commands: &[&["/etc/init.d/inglenook", "enable"], &["/etc/init.d/inglenook", "restart"]],
    },
];

impl BootManager {
    /// The one of this box: systemd says by a folder that it runs (sd_booted(3)).
    pub fn of_box() -> Option<&'static BootManager> {
        let [systemd, procd] = &MANAGERS;
        if Path::new("/run/systemd/system").is_dir() {
            return Some(systemd);
        }
        (Path::new("/sbin/procd").exists() && Path::new("/etc/rc.common").exists()).then_some(procd)
    }

    /// Where the server's data is: OpenWrt's owner may have put it on a stick.
    ///
    /// # Errors
    /// When the stick is not there.
    pub fn dir(&self) -> Result<PathBuf> {
        let usual = PathBuf::from(self.package.dir);
        if self.package.dir != PROCD.dir {
            return Ok(usual);
        }
        let named = Command::new("uci").args(["-q", "get", "inglenook.server.data"]).stderr(Stdio::null()).output();
        let named = named.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
        match named.trim() {
            "" => Ok(usual),
            dir if dir == self.package.dir || Path::new(dir).is_dir() => Ok(dir.into()),
            dir => Err(Failure(format!(
                "{dir}, which `uci get inglenook.server.data` says, is not there: is its disk mounted? The first time: `mkdir -p {dir}`"
            ))),
        }
    }

    /// Has the server run now and with the box: puts program and unit where they belong, and waits until it answers.
    ///
    /// # Errors
    /// What of it cannot be.
    pub fn install(&self, data: &Data, talk: &mut Talk<'_>) -> Result<()> {
        let own = self.package.units.first().map(Path::new);
        let brought = self.package.units.iter().map(Path::new).find(|unit| unit.exists() && Some(*unit) != own);
        match (brought, own) {
            // A package looks after both.
            (Some(_), _) | (None, None) => {}
            (None, Some(unit)) => {
                let program = std::env::current_exe().and_then(std::fs::read);
                let program = program.map_err(|e| Failure(format!("this program cannot be read: {e}.")))?;
                put(Path::new(PROGRAM), &program, 0o755, talk)?;
                put(unit, self.unit.as_bytes(), self.mode, talk)?;
            }
        }
        for command in self.commands {
            talk.say(&format!("runs         {}", command.join(" ")));
            execute(command)?;
        }
        let until = Instant::now() + START;
        while !control::runs(data) {
            if Instant::now() > until {
                return Err(Failure(format!(
                    "the server does not answer after {} s: look at its log.",
                    START.as_secs()
                )));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

fn execute(command: &[&str]) -> Result<()> {
    let [program, arguments @ ..] = command else { return Ok(()) };
    let typed = command.join(" ");
    let run = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match run {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(Failure(format!("`{typed}` failed ({status}). Mend that, and type `inglenook setup` again.")))
        }
        Err(e) => Err(Failure(format!("`{typed}` cannot be run: {e}."))),
    }
}

/// Makes a file of the system's, whole or not at all. One that is so already stays.
pub(super) fn put(path: &Path, content: &[u8], mode: u32, talk: &mut Talk<'_>) -> Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    data::write_as(path, content, mode)?;
    talk.say(&format!("writes       {}", path.display()));
    Ok(())
}
