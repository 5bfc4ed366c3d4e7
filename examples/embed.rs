//! A program with a chat server inside.
//!
//! ```sh
//! cargo run --example embed            # in a folder of its own, gone with the program
//! cargo run --example embed -- chat    # in the folder `chat`, which stays
//! ```
//!
//! It makes an account if there is none, says where it listens, and stops on Enter, SIGTERM or Ctrl-C.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use inglenook::service::owner::control::Request;
use inglenook::service::owner::user;
use inglenook::service::serve::{Options, Order, Server};
use inglenook::service::{Failure, Result};
use std::path::Path;
use std::process::ExitCode;

/// On loopback, at ports that are free; a program for others to reach would leave `[listen]` out.
const SETTINGS: &str = "domain = \"house.test\"\n[listen]\ns2s = []\ns2s_tls = []\nhttps = []\nc2s = [\"127.0.0.1:0\"]\nc2s_tls = [\"127.0.0.1:0\"]\n";

fn main() -> ExitCode {
    let given = std::env::args_os().nth(1);
    let temporary = std::env::temp_dir().join(format!("inglenook-embed-{}", std::process::id()));
    let folder = given.as_ref().map_or(temporary.as_path(), Path::new);
    let done = open(folder).and_then(|server| {
        server.heed_signals()?;
        let orders = server.orders();
        std::thread::spawn(move || {
            // The end of the input is not Enter: without a terminal there is only the signal.
            if std::io::stdin().read_line(&mut String::new()).is_ok_and(|bytes| bytes > 0) {
                let _ = orders.try_send(Order::Stop);
            }
        });
        println!("Enter stops it.");
        server.run()
    });
    if given.is_none() {
        let _ = std::fs::remove_dir_all(&temporary);
    }
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// A server that is ready to run, and has an account.
pub fn open(folder: &Path) -> Result<Server> {
    let settings = folder.join("inglenook.toml");
    if !settings.exists() {
        let write = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&settings, SETTINGS));
        write.map_err(|e| Failure(format!("{} cannot be written: {e}", settings.display())))?;
    }
    let options = Options { data: Some(folder.into()), ..Options::default() };
    if user::run(&options, &Request::List)?.is_empty() {
        let password = user::make_password()?;
        for line in user::run(&options, &Request::Add("juliet".into(), password.clone()))? {
            println!("{line}, password {password}");
        }
    }
    let server = Server::open(options)?;
    for (setting, address) in server.addresses() {
        println!("{setting} listens on {address}");
    }
    println!("apps trust it with {}", server.ca_path().display());
    Ok(server)
}
