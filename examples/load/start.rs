//! How long a server takes to start, and what it takes when nobody is there.

use super::idle::rest;
use super::login::{Manner, log_in, log_out};
use super::net::Net;
use super::report::Report;
use super::system::Process;
use super::{Result, Target};
use argh::FromArgs;
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Start the server by a command and log in as soon as it lets us. It is ended when that is measured.
#[derive(FromArgs)]
#[argh(subcommand, name = "start")]
pub struct Start {
    /// seconds until its memory is looked at, when nobody is logged in any more (2)
    #[argh(option, default = "2.0")]
    settle: f64,
    /// the command and its arguments
    #[argh(positional, greedy)]
    command: Vec<String>,
}

/// A server that ends with us.
struct Server(Child);

impl Server {
    /// Asks it to end, and does not ask any more after fifteen seconds.
    fn end(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        let began = Instant::now();
        while self.0.try_wait()?.is_none() && began.elapsed() < Duration::from_secs(15) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Start {
    pub fn run(&self, target: &Target) -> Result<Report> {
        if TcpStream::connect(target.address).is_ok() {
            return Err(format!("somebody listens at {} already", target.address).into());
        }
        let (program, words) = self.command.split_first().ok_or("the server's command is missing")?;
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let mut server = Server(command.spawn().map_err(|e| format!("{program}: {e}"))?);
        let (mut net, sessions) = loop {
            let mut net = Net::new()?;
            match log_in(&mut net, target, &[target.first], Manner::default()) {
                Ok(sessions) => break (net, sessions),
                Err(e) if began.elapsed() > Duration::from_secs(30) => return Err(e),
                Err(_) => {}
            }
            if let Some(status) = server.0.try_wait()? {
                return Err(format!("the server ended: {status}").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let seconds = began.elapsed().as_secs_f64();
        let process = Process(server.0.id());
        let cpu = process.cpu();
        log_out(&mut net, &sessions)?;
        rest(&mut net, self.settle)?;
        let memory = process.memory();
        server.end()?;
        let mut report = Report::new("start");
        report.add("seconds", " s", seconds);
        report.add("cpu", " s", cpu);
        report.add("rss_mb", " MB", memory.rss as f64 / 1e6);
        report.add("pss_mb", " MB", memory.pss as f64 / 1e6);
        Ok(report)
    }
}
