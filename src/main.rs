//! The `inglenook` command.

use argh::FromArgs;
use inglenook::service::config::words;
use inglenook::service::disk::data::Data;
use inglenook::service::manager::Manager;
use inglenook::service::owner::{
    avahi, backup, check, command,
    control::{InviteRequest, Request},
    find::{self, Surroundings},
    invite, notify, peer, reset, restore, root, salvage,
    setup::{self, SetUp, Talk},
    status, user,
};
use inglenook::service::serve::{Options, Server};
use inglenook::service::{Failure, Result, config, logging};
use inglenook::store::sled_engine;
use inglenook::wire::typed::{steers, visible};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The first argument of a process that only looks whether a database can be opened.
const PROBE: &str = "--probe-database";

/// The XMPP server for small appliances.
#[derive(FromArgs)]
struct Args {
    /// print name and version
    #[argh(switch, short = 'V')]
    version: bool,
    #[argh(subcommand)]
    verb: Option<Verb>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    Setup(Setup),
    Serve(Serve),
    User(User),
    Invite(Invite),
    Qr(Qr),
    Room(RoomCommand),
    Peer(PeerCommand),
    Notify(NotifyCommand),
    Cert(Cert),
    Config(PrintConfig),
    Check(Check),
    Status(Status),
    Backup(Backup),
    Restore(Restore),
    Salvage(Salvage),
    Reset(Reset),
}

/// Ask a few questions, have the server run with the box, and show the code for the first account.
#[derive(FromArgs)]
#[argh(subcommand, name = "setup")]
struct Setup {
    /// the data folder; else the only one that is there, else that of the service, else ./inglenook-data
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
}

/// Run the server. Needs no other argument and no file.
#[derive(FromArgs)]
#[argh(subcommand, name = "serve")]
struct Serve {
    /// the data folder; else $STATE_DIRECTORY, else ./inglenook-data
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings; else DIR/inglenook.toml if it is there
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// the domain; else the setting, else the data's, else HOSTNAME.local
    #[argh(option, arg_name = "name")]
    domain: Option<String>,
}

/// Make, change, list and remove accounts, whether the server runs or not.
#[derive(FromArgs)]
#[argh(subcommand, name = "user")]
struct User {
    #[argh(subcommand)]
    verb: UserVerb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum UserVerb {
    Add(UserAdd),
    Passwd(UserPasswd),
    Reset(UserReset),
    Admin(UserAdmin),
    List(UserList),
    Remove(UserRemove),
}

/// Make an account. Without --password-stdin a strong password is made and printed once.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct UserAdd {
    /// the address: NAME@DOMAIN, or NAME alone
    #[argh(positional)]
    jid: String,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// take the password from the first line of standard input
    #[argh(switch)]
    password_stdin: bool,
}

/// Give an account another password. Without --password-stdin a strong one is made and printed once.
#[derive(FromArgs)]
#[argh(subcommand, name = "passwd")]
struct UserPasswd {
    /// the address: NAME@DOMAIN, or NAME alone
    #[argh(positional)]
    jid: String,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// take the password from the first line of standard input
    #[argh(switch)]
    password_stdin: bool,
}

/// Make a link with which somebody who has forgotten their password sets another, within a day.
#[derive(FromArgs)]
#[argh(subcommand, name = "reset")]
struct UserReset {
    /// the address: NAME@DOMAIN, or NAME alone
    #[argh(positional)]
    jid: String,
    /// show the code also where standard output is no terminal
    #[argh(switch)]
    qr: bool,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Have an account administer the server from its apps, or not any more. The setting "admins" names others.
#[derive(FromArgs)]
#[argh(subcommand, name = "admin")]
struct UserAdmin {
    /// the address: NAME@DOMAIN, or NAME alone
    #[argh(positional)]
    jid: String,
    /// not any more
    #[argh(switch)]
    off: bool,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// List the accounts.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct UserList {
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Remove an account with all that is stored for it.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct UserRemove {
    /// the address: NAME@DOMAIN, or NAME alone
    #[argh(positional)]
    jid: String,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// List and remove rooms and say who owns them, whether the server runs or not.
#[derive(FromArgs)]
#[argh(subcommand, name = "room")]
struct RoomCommand {
    #[argh(subcommand)]
    verb: RoomVerb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum RoomVerb {
    List(RoomList),
    Owner(RoomOwner),
    Remove(RoomRemove),
}

/// List the rooms: what each is, how many belong to it, and who owns it.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct RoomList {
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Make an account an owner of a room, besides those that it has.
#[derive(FromArgs)]
#[argh(subcommand, name = "owner")]
struct RoomOwner {
    /// the room: NAME@conference.DOMAIN, or NAME alone
    #[argh(positional)]
    room: String,
    /// the account: NAME@DOMAIN, or NAME alone
    #[argh(positional)]
    jid: String,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Remove a room with all that is stored for it.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct RoomRemove {
    /// the room: NAME@conference.DOMAIN, or NAME alone
    #[argh(positional)]
    room: String,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Let this server and another know each other by their keys: without DNS, authorities and clocks.
#[derive(FromArgs)]
#[argh(subcommand, name = "peer")]
struct PeerCommand {
    #[argh(subcommand)]
    verb: PeerVerb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum PeerVerb {
    Show(PeerShow),
    Add(PeerAdd),
    List(PeerList),
    Remove(PeerRemove),
}

/// Print the line to type on the other server, and a code of it to scan.
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct PeerShow {
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Trust this key for the other server's domain from now on.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct PeerAdd {
    /// the other server's domain
    #[argh(positional)]
    domain: String,
    /// its key, as `inglenook peer show` prints it there
    #[argh(positional)]
    key: String,
    /// where it is, HOST:PORT; else DNS says so, or it connects to this one
    #[argh(positional)]
    address: Option<String>,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// List the servers whose keys are known.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct PeerList {
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Forget the key of another server.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct PeerRemove {
    /// the other server's domain
    #[argh(positional)]
    domain: String,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Make a link with which somebody makes an account, and print it once, also as a code to scan.
#[derive(FromArgs)]
#[argh(subcommand, name = "invite")]
struct Invite {
    /// the name that is kept for them; else they choose one
    #[argh(positional)]
    name: Option<String>,
    /// somebody whose contact they become, and who is theirs; may be said several times
    #[argh(option, arg_name = "jid")]
    contact: Vec<String>,
    /// a room that they become a member of
    #[argh(option, arg_name = "room")]
    room: Option<String>,
    /// how many people may use the link; 1 if nothing is said
    #[argh(option, arg_name = "number", default = "1")]
    uses: u32,
    /// for how many days it is good; 7 if nothing is said, for an administrator 1
    #[argh(option, arg_name = "number")]
    days: Option<u32>,
    /// they administer the server
    #[argh(switch)]
    admin: bool,
    /// show the code also where standard output is no terminal
    #[argh(switch)]
    qr: bool,
    /// list the invitations that are open, and make none
    #[argh(switch)]
    list: bool,
    /// take back the one that the list calls so, and make none
    #[argh(option, arg_name = "id")]
    revoke: Option<String>,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Show the code of your newest open invitation, with a new link in place of the old one.
#[derive(FromArgs)]
#[argh(subcommand, name = "qr")]
struct Qr {
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Let programs say something in a room or to a person, by curl or by what they have for that.
#[derive(FromArgs)]
#[argh(subcommand, name = "notify")]
struct NotifyCommand {
    #[argh(subcommand)]
    verb: NotifyVerb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum NotifyVerb {
    Add(NotifyAdd),
    List(NotifyList),
    Remove(NotifyRemove),
}

/// Make a URL, print it once, and say what is posted there in a room or to a person.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct NotifyAdd {
    /// a room, NAME@conference.DOMAIN or NAME alone; or a person, NAME@DOMAIN
    #[argh(positional)]
    to: String,
    /// what it is called in the list; else after the room or the person
    #[argh(option, arg_name = "name")]
    name: Option<String>,
    /// the account that writes to the person; else the server itself does
    #[argh(option, arg_name = "jid")]
    from: Option<String>,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// List the URLs by their names: whom each tells, and whether they are still there.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct NotifyList {
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Remove a URL: nothing is said any more with it.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct NotifyRemove {
    /// its name in the list
    #[argh(positional)]
    name: String,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Look at the certificates, renew the server's own, or install yours.
#[derive(FromArgs)]
#[argh(subcommand, name = "cert")]
struct Cert {
    #[argh(subcommand)]
    verb: CertVerb,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum CertVerb {
    Show(CertShow),
    Renew(CertRenew),
    Install(CertInstall),
}

/// Names, fingerprints and ends; where the authority's file is.
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct CertShow {
    /// print the authority's certificate instead, to install on phones and computers
    #[argh(switch)]
    pem: bool,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Make another certificate now; its key stays.
#[derive(FromArgs)]
#[argh(subcommand, name = "renew")]
struct CertRenew {
    /// make another authority, too, which must be installed on every device again: asks first
    #[argh(switch)]
    authority: bool,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Use your own certificate from now on.
#[derive(FromArgs)]
#[argh(subcommand, name = "install")]
struct CertInstall {
    /// the chain, PEM, the server's certificate first
    #[argh(positional)]
    cert: PathBuf,
    /// its key, PEM
    #[argh(positional)]
    key: PathBuf,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Print every setting with its default and meaning, as TOML.
#[derive(FromArgs)]
#[argh(subcommand, name = "config")]
struct PrintConfig {
    /// print instead what avahi can tell the network of the server, for /etc/avahi/services/inglenook.service
    #[argh(switch)]
    avahi: bool,
    /// with --avahi: the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// with --avahi: the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Say what is wrong, and the exact fix.
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
struct Check {
    /// look at the server of this domain, as strangers see it, rather than at this installation
    #[argh(option, arg_name = "name")]
    of: Option<String>,
    /// with --of: where that is, rather than where its DNS says: ADDRESS:PORT, with one of c2s=, c2s_tls=, s2s=, s2s_tls= before it
    /// if the port does not say so; can be repeated
    #[argh(option, arg_name = "place")]
    at: Vec<String>,
    /// print one object of JSON
    #[argh(switch)]
    json: bool,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Say how the server is: people, messages, and what was written to the memory card.
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
struct Status {
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Copy everything the server has into one file, whether it runs or not. The file holds secrets.
#[derive(FromArgs)]
#[argh(subcommand, name = "backup")]
struct Backup {
    /// the file to make; it must not be there yet
    #[argh(positional)]
    file: PathBuf,
    /// leave out the photos and files that people have sent
    #[argh(switch)]
    without_files: bool,
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

/// Check a backup and put it in the place of the data folder, which is kept beside. The server must not run.
#[derive(FromArgs)]
#[argh(subcommand, name = "restore")]
struct Restore {
    /// the backup
    #[argh(positional)]
    file: PathBuf,
    /// the data folder to make or to replace; else the one that is there, else ./inglenook-data
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
    /// the settings
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// the domain that the backup must be of; else the setting, else the data's that is there
    #[argh(option, arg_name = "name")]
    domain: Option<String>,
}

/// Put what is readable of a damaged data folder into a new one, and say what is lost. The server must not run.
#[derive(FromArgs)]
#[argh(subcommand, name = "salvage")]
struct Salvage {
    /// the damaged data folder
    #[argh(positional)]
    dir: PathBuf,
    /// the folder to make; else DIR.salvaged
    #[argh(option, arg_name = "dir")]
    to: Option<PathBuf>,
}

/// Begin anew: move all accounts, messages and certificates aside, and keep the settings. Asks first. The server must not run.
#[derive(FromArgs)]
#[argh(subcommand, name = "reset")]
struct Reset {
    /// the data folder; else $STATE_DIRECTORY, else the only one that is there
    #[argh(option, arg_name = "dir")]
    data: Option<PathBuf>,
}

fn main() -> ExitCode {
    // What we make is for this user alone, whatever makes it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if let [_, first, dir] = &words[..]
        && first == PROBE
    {
        return match sled_engine::probe(Path::new(dir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                // For the process that asked, which puts it into a sentence of its own.
                complain(&e.to_string());
                ExitCode::from(1)
            }
        };
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let args = match Args::from_args(&["inglenook"], words.get(1..).unwrap_or_default()) {
        Ok(args) => args,
        Err(early) if early.status.is_ok() => return finish(print(&early.output)),
        Err(early) => return misused(early.output.trim_end(), words.get(1..).unwrap_or_default()),
    };
    match args {
        Args { version: true, .. } => finish(say(&[format!("inglenook {}", env!("CARGO_PKG_VERSION"))])),
        Args { verb: Some(verb), .. } => finish(run(verb)),
        Args { verb: None, .. } => misused("A command is missing.", &[]),
    }
}

/// Wrong usage: what was wrong, and what may have been meant.
fn misused(what: &str, words: &[&str]) -> ExitCode {
    let meant = words::meant(words).map(|meant| format!("Did you mean `inglenook {meant}`?\n")).unwrap_or_default();
    let what = words.iter().fold(what.to_owned(), |what, word| match word.chars().any(steers) {
        true => what.replace(word, &visible(word)),
        false => what,
    });
    let text = format!("{what}\n{meant}Run inglenook --help for what there is.");
    text.lines().for_each(complain);
    ExitCode::from(2)
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Setup(Setup { data }) => {
            let (out, answers) = (&mut std::io::stdout(), &mut std::io::stdin().lock());
            match setup::run(&options(data, None), &Surroundings::of_process(), &mut Talk::new(out, answers))? {
                SetUp::Installed => Ok(()),
                SetUp::Serve(options) => serve(become_owner(options)?),
            }
        }
        Verb::Serve(Serve { data, config, domain }) => {
            serve(Options { domain, ..become_owner(options(data, config))? })
        }
        Verb::User(User { verb }) => match verb {
            UserVerb::Add(UserAdd { jid, data, config, password_stdin }) => {
                let options = told(warned(owner(data, config)?.of_running(true)));
                with_password(&options, password_stdin, |password| Request::Add(jid, password))
            }
            UserVerb::Passwd(UserPasswd { jid, data, config, password_stdin }) => {
                with_password(&told(asking(owner(data, config)?)), password_stdin, |password| {
                    Request::Password(jid, password)
                })
            }
            UserVerb::Reset(UserReset { jid, qr, data, config }) => {
                let request = InviteRequest { reset: true, name: Some(jid), uses: 1, ..InviteRequest::default() };
                say(&invite::invite(&told(asking(owner(data, config)?)), request, shows(qr))?)
            }
            UserVerb::Admin(UserAdmin { jid, off, data, config }) => {
                say(&user::run(&told(asking(owner(data, config)?)), &Request::Admin(jid, !off))?)
            }
            UserVerb::List(UserList { data, config }) => list(&asking(owner(data, config)?), &Request::List),
            UserVerb::Remove(UserRemove { jid, data, config }) => {
                say(&user::run(&told(asking(owner(data, config)?)), &Request::Remove(jid))?)
            }
        },
        Verb::Invite(wanted) => invitation(wanted),
        Verb::Qr(Qr { data, config }) => say(&invite::renew(&told(asking(owner(data, config)?)), true)?),
        Verb::Room(RoomCommand { verb }) => match verb {
            RoomVerb::List(RoomList { data, config }) => list(&asking(owner(data, config)?), &Request::RoomList),
            RoomVerb::Owner(RoomOwner { room, jid, data, config }) => {
                say(&user::run(&told(asking(owner(data, config)?)), &Request::RoomOwner(room, jid))?)
            }
            RoomVerb::Remove(RoomRemove { room, data, config }) => {
                say(&user::run(&told(asking(owner(data, config)?)), &Request::RoomRemove(room))?)
            }
        },
        Verb::Peer(PeerCommand { verb }) => match verb {
            PeerVerb::Show(PeerShow { data, config }) => say(&peer::show(&owner(data, config)?)?),
            PeerVerb::Add(PeerAdd { domain, key, address, data, config }) => {
                say(&peer::add(&told(owner(data, config)?), &domain, &key, address.as_deref())?)
            }
            PeerVerb::List(PeerList { data, config }) => listed(&peer::list(&owner(data, config)?)?),
            PeerVerb::Remove(PeerRemove { domain, data, config }) => {
                say(&peer::remove(&told(owner(data, config)?), &domain)?)
            }
        },
        Verb::Notify(NotifyCommand { verb }) => notifiers(verb),
        Verb::Cert(Cert { verb }) => match verb {
            CertVerb::Show(CertShow { pem: true, data, config }) => print(&command::cert_pem(&owner(data, config)?)?),
            CertVerb::Show(CertShow { pem: false, data, config }) => say(&command::cert_show(&owner(data, config)?)?),
            CertVerb::Renew(CertRenew { authority: false, data, config }) => {
                say(&command::cert_renew(&told(owner(data, config)?))?)
            }
            CertVerb::Renew(CertRenew { authority: true, data, config }) => {
                let (options, ask) = (told(owner(data, config)?), &mut std::io::stderr());
                say(&command::cert_renew_authority(&options, ask, &mut std::io::stdin().lock())?)
            }
            CertVerb::Install(CertInstall { cert, key, data, config }) => {
                say(&command::cert_install(&told(owner(data, config)?), &cert, &key)?)
            }
        },
        Verb::Status(Status { data, config }) => say(&status::run(&asking(owner(data, config)?))?),
        Verb::Backup(Backup { file, without_files, data, config }) => {
            say(&backup::run(&told(asking(existing(data, config)?)), &file, !without_files)?)
        }
        Verb::Restore(Restore { file, data, config, domain }) => {
            let dir = find::to_replace(data.as_deref(), &Surroundings::of_process())?.dir().to_owned();
            let options = Options { domain, found: data.is_none(), ..options(Some(dir), config) };
            say(&restore::run(&told(options), &file)?)
        }
        Verb::Salvage(Salvage { dir, to }) => {
            say(&salvage::run(restore::renamable(&Data::locate(Some(&dir)))?.dir(), to.as_deref())?)
        }
        Verb::Reset(Reset { data }) => {
            say(&reset::run(&existing(data, None)?, &mut std::io::stderr(), &mut std::io::stdin().lock())?)
        }
        Verb::Config(PrintConfig { avahi: true, data, config }) => {
            print(&avahi::run(&asking(prepared(data, config)?))?)
        }
        Verb::Config(PrintConfig { data: None, config: None, .. }) => print(&config::print()),
        Verb::Config(_) => Err(Failure::new(
            "`inglenook config` prints all settings and their defaults, which are the same everywhere: leave out --data and --config",
        )),
        Verb::Check(wanted) => checked(wanted),
    }
}

fn checked(wanted: Check) -> Result<()> {
    let Check { of, at, json, data, config } = wanted;
    let report = match of {
        None if !at.is_empty() => return Err(Failure::new("--at says where the server of --of NAME is: give both")),
        None => check::run(&prepared(data, config)?),
        Some(_) if data.is_some() || config.is_some() => {
            return Err(Failure::new("--of NAME looks at a server from outside: leave out --data and --config"));
        }
        Some(name) => match check::of(&name, &at) {
            Err(e) if json => check::Report { wrong: vec![e.0], ..check::Report::default() },
            found => found?,
        },
    };
    match json {
        true => say(&[report.json()])?,
        false => say(&report.lines())?,
    }
    report.fault().map_or(Ok(()), |why| Err(Failure(why)))
}

fn invitation(wanted: Invite) -> Result<()> {
    let Invite { name, contact, room, uses, days, admin, qr, list: lists, revoke, data, config } = wanted;
    let wants = name.is_some() || !contact.is_empty() || room.is_some() || uses != 1 || days.is_some() || admin;
    if wants && (lists || revoke.is_some()) || lists && revoke.is_some() {
        return Err(Failure::new("--list and --revoke stand alone: they make no invitation"));
    }
    let options = asking(owner(data, config)?);
    if lists {
        return list(&options, &Request::InvitationList);
    }
    let options = told(options);
    if let Some(id) = revoke {
        return say(&user::run(&options, &Request::InvitationRevoke(id))?);
    }
    if days == Some(0) {
        return Err(Failure::new("an invitation lasts for a day at least"));
    }
    let days = days.unwrap_or_default();
    let request = InviteRequest { name, contacts: contact, room, uses, days, admin, ..InviteRequest::default() };
    say(&invite::invite(&options, request, shows(qr))?)
}

/// Whether a code is shown: where somebody looks at it, or wants it.
fn shows(wanted: bool) -> bool {
    wanted || std::io::stdout().is_terminal()
}

fn notifiers(verb: NotifyVerb) -> Result<()> {
    match verb {
        NotifyVerb::Add(NotifyAdd { to, name, from, data, config }) => {
            let options = told(asking(owner(data, config)?));
            say(&notify::add(&options, &to, name.as_deref(), from.as_deref())?)
        }
        NotifyVerb::List(NotifyList { data, config }) => list(&asking(owner(data, config)?), &Request::NotifierList),
        NotifyVerb::Remove(NotifyRemove { name, data, config }) => {
            say(&user::run(&told(asking(owner(data, config)?)), &Request::NotifierRemove(name))?)
        }
    }
}

fn serve(options: Options) -> Result<()> {
    logging::to_stderr();
    raise_file_limit();
    let dir = Data::locate(options.data.as_deref()).dir().to_owned();
    let opened = Server::open(Options { manager: Manager::of_environment(), ..options });
    let server = opened.map_err(|e| Failure(find::with_stop(&e.0, &dir)))?;
    server.heed_signals()?;
    say(&server.greeting(shows(false))?)?;
    server.run()
}

/// Gives an account a password: that on standard input, or else one that is made and told.
fn with_password(options: &Options, from_stdin: bool, request: impl FnOnce(String) -> Request) -> Result<()> {
    let password = if from_stdin { user::read_password()? } else { user::make_password()? };
    let mut lines = user::run(options, &request(password.clone()))?;
    let added = lines.iter().find_map(|line| line.strip_prefix("added "));
    let mut entry = added.map_or(Ok(Vec::new()), |account| user::entry(options, account))?;
    if !from_stdin {
        entry.insert(entry.len().min(1), format!("password     {password}"));
    }
    // What else is told of it comes last.
    let notes = lines.split_off(lines.len().min(1));
    lines.append(&mut entry);
    lines.extend(notes);
    say(&lines)
}

/// Prints a list. That it is empty is for people, not for what reads it.
fn list(options: &Options, request: &Request) -> Result<()> {
    listed(&user::run(options, request)?)
}

fn listed(lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        complain("none");
    }
    say(lines)
}

fn options(data: Option<PathBuf>, config: Option<PathBuf>) -> Options {
    Options { data, config, probe: Some(probe), ..Options::default() }
}

/// Of a command that makes no data folder: of the one that is there.
fn existing(data: Option<PathBuf>, config: Option<PathBuf>) -> Result<Options> {
    let dir = find::existing(data.as_deref(), &Surroundings::of_process())?.dir().to_owned();
    Ok(Options { found: data.is_none(), ..options(Some(dir), config) })
}

/// The same, after we have become the owner of the data folder. Not for what has to do with folders of other people, too.
fn owner(data: Option<PathBuf>, config: Option<PathBuf>) -> Result<Options> {
    become_owner(existing(data, config)?)
}

/// The same of a command that reads settings, which can be there before the first start.
fn prepared(data: Option<PathBuf>, config: Option<PathBuf>) -> Result<Options> {
    let is_prepared = data.as_ref().is_some_and(|dir| dir.join("inglenook.toml").exists());
    if is_prepared { become_owner(options(data, config)) } else { owner(data, config) }
}

/// Of a command that asks the server, if one runs.
fn asking(options: Options) -> Options {
    warned(options.of_running(false))
}

fn warned((options, warning): (Options, Option<String>)) -> Options {
    if let Some(warning) = warning {
        complain(&format!("inglenook: warning: {warning}"));
    }
    options
}

fn become_owner(options: Options) -> Result<Options> {
    let became = root::become_owner(&Data::locate(options.data.as_deref()))?;
    Ok(Options { sudo: became && std::env::var_os("SUDO_USER").is_some(), ..options })
}

/// Of a command that changes or copies something: nobody should wonder later where, and of whom.
fn told(options: Options) -> Options {
    let data = Data::locate(options.data.as_deref());
    if options.found
        && let Ok(Some(domain)) = data.domain()
    {
        complain(&format!("inglenook: the data folder is {}, of {domain}", data.dir().display()));
    }
    options
}

/// This very program, to look at a database in a process of its own.
fn probe() -> Option<Command> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    command.arg(PROBE);
    Some(command)
}

/// A connection is an open file: as many as the system lets us have.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        log::warn!("no more than {:?} files can be open: {e}", limit.current);
    }
}

/// What has many lines, on stdout.
fn print(text: &str) -> Result<()> {
    say(&text.trim_end().lines().map(str::to_owned).collect::<Vec<_>>())
}

/// Lines for the person, on stdout. Nobody there to read them is no failure.
fn say(lines: &[String]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        match writeln!(out, "{}", visible(line)).and_then(|()| out.flush()) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => return Err(Failure(format!("stdout: {e}"))),
            _ => {}
        }
    }
    Ok(())
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", visible(text));
}

fn finish(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&format!("inglenook: {failure}"));
            ExitCode::from(1)
        }
    }
}
