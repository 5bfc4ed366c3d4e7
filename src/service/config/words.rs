//! What somebody meant who typed a word that is none of ours.

/// The commands, and those of a command.
pub const COMMANDS: [(&str, &[&str]); 17] = [
    ("setup", &[]),
    ("serve", &[]),
    ("user", &["add", "passwd", "reset", "admin", "list", "remove"]),
    ("invite", &[]),
    ("qr", &[]),
    ("room", &["list", "owner", "remove"]),
    ("peer", &["show", "add", "list", "remove"]),
    ("notify", &["add", "list", "remove"]),
    ("cert", &["show", "renew", "install"]),
    ("config", &[]),
    ("check", &[]),
    ("status", &[]),
    ("backup", &[]),
    ("restore", &[]),
    ("salvage", &[]),
    ("reset", &[]),
    ("help", &[]),
];

/// What other programs call it, and what it is here.
const ALIASES: [(&str, &[&str]); 19] = [
    ("setup", &["init", "install", "begin", "configure", "quickstart"]),
    ("invite", &["invites", "invitation", "invitations", "token", "link", "onboard"]),
    ("qr", &["code", "qrcode", "qr-code", "scan"]),
    ("serve", &["start", "run", "up", "server", "daemon", "launch"]),
    ("user add", &["adduser", "useradd", "register", "add", "create", "new"]),
    ("user remove", &["deluser", "userdel", "unregister", "remove", "del", "delete", "rm"]),
    ("user passwd", &["passwd", "password", "pass"]),
    ("user list", &["users", "accounts", "list", "ls", "who"]),
    ("room list", &["rooms", "muc", "groups", "channels"]),
    ("peer list", &["peers", "federation", "servers", "s2s"]),
    ("notify list", &["notifications", "webhook", "webhooks", "hook", "hooks", "alerts", "ntfy"]),
    ("cert show", &["certs", "certificate", "certificates", "fingerprint", "ca"]),
    ("config", &["settings", "configure", "configuration"]),
    ("check", &["doctor", "test", "verify", "diagnose"]),
    ("status", &["info", "stats", "state", "ps"]),
    ("backup", &["dump", "export", "save"]),
    ("restore", &["load"]),
    ("--version", &["version"]),
    ("reset", &["purge", "wipe", "clean", "uninstall"]),
];

/// The same of what is done to accounts, rooms and certificates.
const VERBS: [(&str, &[&str]); 8] = [
    ("add", &["create", "new", "make", "register", "invite"]),
    ("remove", &["del", "delete", "rm", "erase", "unregister", "destroy", "drop", "ban"]),
    ("passwd", &["password", "pass", "pw", "change-password", "set-password"]),
    ("list", &["ls", "show", "all", "get"]),
    ("reset", &["forgot", "forgotten", "recover", "lost"]),
    ("show", &["ls", "list", "info", "get", "print", "view"]),
    ("owner", &["owners", "own", "chown", "admin", "grant", "give", "add"]),
    ("renew", &["make", "new", "refresh", "update", "create"]),
];

/// How far a word may be from one of ours, in letters that are wrong, so that it is believed to be that.
const FAR: usize = 2;

/// What was meant with words that are no command: the command to type, as far as that can be told.
pub fn meant(words: &[&str]) -> Option<String> {
    let words: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
    let (first, second) = (words.first()?.to_lowercase(), words.get(1).map(|word| word.to_lowercase()));
    let Some((command, verbs)) = COMMANDS.iter().find(|(command, _)| *command == first) else {
        let alias = aliases(&ALIASES, &first).next();
        return alias.or_else(|| nearest(&first, COMMANDS.iter().map(|(command, _)| *command))).map(str::to_owned);
    };
    if words.first() != Some(command) {
        return Some((*command).to_owned());
    }
    let second = second.filter(|second| !verbs.contains(&second.as_str()))?;
    let alias = aliases(&VERBS, &second).find(|verb| verbs.contains(verb));
    let verb = alias.or_else(|| nearest(&second, verbs.iter().copied()))?;
    Some(format!("{command} {verb}"))
}

fn aliases<'a>(table: &'a [(&'static str, &[&str])], word: &'a str) -> impl Iterator<Item = &'static str> + 'a {
    table.iter().filter(move |(_, others)| others.contains(&word)).map(|(ours, _)| *ours)
}

fn nearest<'a>(word: &str, ours: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, one) = ours.map(|one| (distance(word, one), one)).min()?;
    (distance <= FAR && distance < one.len()).then_some(one)
}

/// Levenshtein's distance: how many letters must be put in, taken out or replaced.
pub fn distance(a: &str, b: &str) -> usize {
    // A name of a file is bounded before it costs time.
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let here = (corner + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], here);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_told() {
        for (typed, ours) in [
            ("user del juliet", "user remove"),
            ("user delete juliet", "user remove"),
            ("user rm", "user remove"),
            ("user create", "user add"),
            ("user new --data x", "user add"),
            ("user password juliet", "user passwd"),
            ("user ls", "user list"),
            ("user lsit", "user list"),
            ("user ADDD", "user add"),
            ("room delete", "room remove"),
            ("room owners", "room owner"),
            ("room show", "room list"),
            ("cert list", "cert show"),
            ("start", "serve"),
            ("run", "serve"),
            ("init", "setup"),
            ("install", "setup"),
            ("adduser juliet", "user add"),
            ("del juliet", "user remove"),
            ("users", "user list"),
            ("stats", "status"),
            ("statsu", "status"),
            ("bakcup", "backup"),
            ("Serve", "serve"),
            ("version", "--version"),
        ] {
            let words: Vec<&str> = typed.split(' ').collect();
            assert_eq!(meant(&words).as_deref(), Some(ours), "{typed}");
        }
        for typed in ["", "sing", "user", "user add", "user sing", "serve x", "--sing"] {
            let words: Vec<&str> = typed.split_whitespace().collect();
            assert_eq!(meant(&words), None, "{typed}");
        }
    }
}
