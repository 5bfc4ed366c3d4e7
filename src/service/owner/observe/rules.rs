//! The tests: what each makes of the facts, what it counts, and the exact fix.

use super::chain::ChainSeen;
use super::grade::{Graded, Letter, REACHED, Test};
use super::raw_hello::SSL3;
use super::seen::{Audience, ForeignAlpn, PortSeen};

/// What is not tried, and why; told, so that nobody takes it for tested.
const NOT_TRIED: &str = "not tried: SSL 2.0; the protection against downgrades (XEP-0474), which only who logs in is told; a handshake that is slow and \
     30 seconds of silence, which would take as long; tickets across a change of certificate; EXTERNAL with a certificate of an authority \
     that the server trusts";
/// What owners of this server do about what should never be.
const REPORT: &str = "this should never be: something stands in between that is not this server, or it is a fault of Inglenook; please report it";

/// Why there is no letter where nobody should answer.
pub const NO_PORT: &str = "no port of theirs was looked at";

/// What a rule says of one port.
enum Finding {
    /// It has nothing to say there.
    Nothing,
    /// As it should be.
    Fine,
    /// It was not answered, so that nothing can be said.
    Unseen(String),
    /// The owner should know.
    Note(String),
    /// What is wrong, what is left of the grade, and the fix.
    Fault(Letter, String, String),
}

use Finding::{Fault, Fine, Note, Nothing, Unseen};

/// A test of ports.
struct PortTest {
    id: &'static str,
    /// What is told where all is well.
    fine: &'static str,
    rule: fn(&PortSeen, u64) -> Vec<Finding>,
}

/// In the order in which they are told.
const PORT_TESTS: [PortTest; 14] = [
    PortTest { id: "starttls", fine: "nothing is said before TLS but that it comes", rule: before_tls },
    PortTest { id: "old-tls", fine: "no TLS older than 1.2", rule: old_versions },
    PortTest { id: "new-tls", fine: "TLS 1.3 and 1.2", rule: new_versions },
    PortTest { id: "suites", fine: "only suites with ECDHE and AEAD; nothing is compressed", rule: suites },
    PortTest { id: "key", fine: "keys and signatures are strong", rule: key },
    PortTest { id: "chain", fine: "the certificate is whole, and holds today", rule: chain },
    PortTest { id: "names", fine: "the certificate is for this domain", rule: names },
    PortTest { id: "trust", fine: "the certificate is one that everybody trusts", rule: trust },
    PortTest { id: "usage", fine: "the certificate is for what it is used for", rule: usage },
    PortTest { id: "alpn", fine: "ALPN and SNI are taken as they should be", rule: alpn },
    PortTest { id: "inside", fine: "a stream begins inside TLS", rule: inside_tls },
    PortTest { id: "mechanisms", fine: "passwords are proved, not sent, and bound to the channel", rule: mechanisms },
    PortTest { id: "early-data", fine: "nothing is taken before the handshake is done", rule: early_data },
    PortTest { id: "limits", fine: "what is too long is refused before a login", rule: limits },
];

/// What one side is told of its ports. `now`: seconds since 1970.
pub fn tests(ports: &[PortSeen], now: u64) -> Vec<Test> {
    let mut all = Vec::new();
    for (side, is_of) in [
        (Graded::Clients, (|audience| audience != Audience::Servers) as fn(Audience) -> bool),
        (Graded::Servers, |audience| audience == Audience::Servers),
    ] {
        let ports: Vec<&PortSeen> = ports.iter().filter(|port| is_of(port.audience)).collect();
        of_side(side, &ports, now, &mut all);
    }
    all.push(Test::skipped(Graded::House, "not-tried", NOT_TRIED));
    all
}

fn of_side(side: Graded, ports: &[&PortSeen], now: u64, all: &mut Vec<Test>) {
    let (reached, others): (Vec<&PortSeen>, Vec<&PortSeen>) = ports.iter().partition(|port| port.is_there());
    // Where nobody is, there is nothing to grade; where one of several is not, half of those who come are lost.
    for (port, why) in others.iter().filter_map(|port| Some((port, port.reached.as_ref().err()?))) {
        all.push(match (reached.is_empty(), port.own) {
            (true, false) => Test::skipped(side, REACHED, why.clone()),
            (_, own) => {
                let grade = if own { Letter::F } else { Letter::B };
                let fix = format!("let {} be reached, or take it out of the DNS", port.place);
                Test::fault(side, REACHED, grade, why.clone(), fix)
            }
        });
    }
    if reached.is_empty() {
        let why = if ports.is_empty() { NO_PORT } else { "no port of theirs is open" };
        return all.push(Test::skipped(side, REACHED, why));
    }
    let places: Vec<&str> = reached.iter().map(|port| port.place.as_str()).collect();
    all.push(Test::fine(side, REACHED, format!("connected to {}", places.join(", "))));
    for (port, why) in reached.iter().filter_map(|port| Some((port, port.reached.as_ref().err()?))) {
        let fix = "let the handshake of TLS come to its end; the log of that server says why it does not";
        all.push(Test::fault(side, "tls", Letter::F, format!("no TLS can be made at {}: {why}", port.place), fix));
    }
    for test in &PORT_TESTS {
        let mut found: Vec<Test> = Vec::new();
        let mut is_fine = false;
        for port in &reached {
            for finding in (test.rule)(port, now) {
                let one = match finding {
                    Nothing => continue,
                    Fine => {
                        is_fine = true;
                        continue;
                    }
                    Unseen(what) => Test::skipped(side, test.id, format!("not seen: {what}")),
                    Note(what) => Test::note(side, test.id, what),
                    Fault(grade, what, fix) => Test::fault(side, test.id, grade, what, fix),
                };
                merge(&mut found, one, port);
            }
        }
        if is_fine && found.is_empty() {
            found.push(Test::fine(side, test.id, test.fine));
        }
        all.append(&mut found);
    }
    same_certificate(side, &reached, all);
    if side == Graded::Servers {
        // Where there is no TLS, nobody was refused for what they are.
        all.extend(reached.iter().filter(|port| port.reached.is_ok()).flat_map(|port| attempts(port)));
    }
    features(side, &reached, all);
}

/// The same at several ports is told once, with all of their places.
fn merge(found: &mut Vec<Test>, one: Test, port: &PortSeen) {
    let place = &port.place;
    match found.iter_mut().find(|test| test.what.starts_with(&format!("{} (", one.what)) && test.grade == one.grade) {
        Some(test) => {
            test.what.pop();
            test.what.push_str(&format!(", {place})"));
        }
        None => found.push(Test { what: format!("{} ({place})", one.what), ..one }),
    }
}

/// 1: RFC 6120 §5, §6.5.4, RFC 7590 §3.1.
fn before_tls(port: &PortSeen, _: u64) -> Vec<Finding> {
    let Some(before) = &port.before else { return vec![Nothing] };
    let fix = |text: &str| if port.own { REPORT.to_owned() } else { text.to_owned() };
    let mut found = Vec::new();
    match before.starttls {
        None => found.push(Fault(
            Letter::F,
            "no STARTTLS is offered: all is said in the open, or somebody in between takes TLS away".into(),
            fix("turn STARTTLS on and require it"),
        )),
        Some(false) if port.own => found.push(Fault(Letter::F, "STARTTLS is not required".into(), REPORT.into())),
        Some(false) => found.push(Note("STARTTLS is offered, and not said to be required".into())),
        Some(true) => {}
    }
    if !before.mechanisms.is_empty() {
        let list = before.mechanisms.iter().map(|name| super::chain::plain(name)).collect::<Vec<_>>().join(", ");
        let what = format!("a login is offered before TLS: {list}");
        found.push(Fault(Letter::F, what, fix("require TLS before authentication (c2s_require_encryption)")));
    }
    if before.registration {
        let what = "an account can be made before TLS, with its password in the open".into();
        found.push(Fault(Letter::F, what, fix("require TLS before registration")));
    }
    if before.takes_password {
        let what = "a password is looked at that comes without TLS".into();
        found.push(Fault(Letter::F, what, fix("require TLS before authentication (c2s_require_encryption)")));
    }
    if before.answers_stanza {
        found.push(Fault(Letter::F, "a stanza is answered before TLS".into(), fix("require TLS before anything else")));
    }
    if found.is_empty() { vec![Fine] } else { found }
}

/// 2: RFC 8996, RFC 7568.
fn old_versions(port: &PortSeen, _: u64) -> Vec<Finding> {
    let name = |version: &u16| match version & 0xff {
        0 => "SSL 3.0".to_owned(),
        minor => format!("TLS 1.{}", minor - 1),
    };
    if port.old.is_empty() {
        return vec![match (port.has_tls(), port.old_unseen) {
            (true, true) => Unseen("whether there is a TLS older than 1.2, which is not answered".into()),
            (true, false) => Fine,
            (false, _) => Nothing,
        }];
    }
    let names = port.old.iter().map(name).collect::<Vec<_>>().join(", ");
    let worst = if port.own || port.old.contains(&SSL3) { Letter::F } else { Letter::C };
    let fix = if port.own { REPORT } else { "allow TLS 1.2 and 1.3 alone" };
    vec![Fault(worst, format!("{names} is offered, which is not safe any more"), fix.into())]
}

/// 3.
fn new_versions(port: &PortSeen, _: u64) -> Vec<Finding> {
    let fix = if port.own { REPORT } else { "a library of TLS from after 2018, with TLS 1.3 turned on" };
    match (port.tls13, port.tls12) {
        // There is none at all.
        _ if port.reached.is_err() || port.is_plain() => vec![Nothing],
        (Some(true), Some(true)) => vec![Fine],
        (Some(true), Some(false)) => vec![Note("TLS 1.3 alone: apps from before 2018 do not connect".into())],
        (Some(false), Some(true)) => vec![Fault(Letter::B, "there is no TLS 1.3".into(), fix.into())],
        (None, None) => vec![Unseen("whether there is TLS 1.3 or 1.2, which is not answered".into())],
        (None, _) => vec![Unseen("whether there is TLS 1.3, which is not answered".into())],
        (_, None) => vec![Unseen("whether there is TLS 1.2, which is not answered".into())],
        (Some(false), Some(false)) => {
            vec![Fault(Letter::C, "there is neither TLS 1.3 nor a TLS 1.2 that is safe".into(), fix.into())]
        }
    }
}

/// 4: RFC 9325 §4.2, §3.3, RFC 5746.
fn suites(port: &PortSeen, _: u64) -> Vec<Finding> {
    let fix = |text: &str| if port.own { REPORT.to_owned() } else { text.to_owned() };
    let mut found = Vec::new();
    for open in [true, false] {
        let names: Vec<&str> = port.weak.iter().filter(|kind| kind.open == open).map(|kind| kind.name).collect();
        if !names.is_empty() {
            let grade = if open { Letter::F } else { Letter::C };
            let fix = fix("allow only ECDHE with AES-GCM or ChaCha20 (ECDHE+AESGCM:ECDHE+CHACHA20)");
            found.push(Fault(grade, format!("weak suites are offered: {}", names.join("; ")), fix));
        }
    }
    if port.compresses {
        found.push(Fault(Letter::C, "TLS compresses what it says".into(), fix("turn compression of TLS off")));
    }
    if port.renegotiates_safely == Some(false) {
        let what = "renegotiation is not safe (RFC 5746)".into();
        found.push(Fault(Letter::C, what, fix("a library of TLS from after 2010")));
    }
    match found.is_empty() {
        true if !port.has_tls() => vec![Nothing],
        true if port.suites_unseen => {
            vec![Unseen("all weak suites of TLS 1.2, and compression: not all is answered".into())]
        }
        true => vec![Fine],
        false => found,
    }
}

/// 5 to 9 look at the certificate.
fn of_chain(port: &PortSeen, rule: impl FnOnce(&ChainSeen) -> Vec<Finding>) -> Vec<Finding> {
    let found = port.chain.as_ref().map(rule).unwrap_or_else(|| vec![Nothing]);
    if found.is_empty() { vec![Fine] } else { found }
}

/// 5.
fn key(port: &PortSeen, _: u64) -> Vec<Finding> {
    of_chain(port, |chain| {
        let mut found = Vec::new();
        if chain.key_is_short {
            let what = format!("the certificate's key can be guessed: {}", chain.key);
            found.push(Fault(
                Letter::F,
                what,
                "a key of ECDSA with 256 bits, or RSA from 2048 bits on, and a new certificate for it".into(),
            ));
        }
        if let Some(key) = &chain.short_above {
            let what = format!("a key that has signed the certificate can be guessed: {key}");
            let fix =
                "a new certificate of an authority whose keys are of ECDSA with 256 bits, or RSA from 2048 bits on";
            found.push(Fault(Letter::F, what, fix.into()));
        }
        if chain.hash_is_old {
            let what = "a certificate is signed with MD5 or SHA-1, which can be forged".into();
            found.push(Fault(Letter::F, what, "a new certificate, signed with SHA-256".into()));
        }
        found
    })
}

/// 6.
fn chain(port: &PortSeen, now: u64) -> Vec<Finding> {
    let renew = if port.own { "`inglenook cert renew`, or install the next one" } else { "renew the certificate" };
    of_chain(port, |chain| {
        let mut found = Vec::new();
        if now >= chain.until {
            found.push(Fault(Letter::F, format!("the certificate has ended on {}", chain.last_day), renew.into()));
        } else if now < chain.from {
            let what = "the certificate begins in the future, or a clock is wrong".into();
            found.push(Fault(Letter::F, what, "set the clocks of both, and then renew the certificate".into()));
        } else if chain.until - now < (chain.until - chain.from) / 3 && (!port.own || chain.trusted.is_ok()) {
            found.push(Note(format!("the certificate ends on {}: it is time for the next", chain.last_day)));
        }
        if let Some(name) = &chain.over_above {
            let what = format!("a certificate in between does not hold today: {name}");
            let fix = "put the one that its authority gives out now behind the server's own, in one file";
            found.push(Fault(Letter::F, what, fix.into()));
        }
        if let Some(issuer) = &chain.missing {
            let what = format!("the chain is not whole: {issuer} has signed it, and is neither shown nor known here");
            found.push(Fault(
                Letter::B,
                what,
                "put the certificates in between behind the server's own, in one file".into(),
            ));
        }
        found
    })
}

/// 7: RFC 6120 §13.7.2.
fn names(port: &PortSeen, _: u64) -> Vec<Finding> {
    let fix = |what: &str| {
        let how = if port.own { "`inglenook cert renew`, or install one" } else { "a certificate" };
        format!("{how} that names {what}")
    };
    of_chain(port, |chain| {
        if !chain.is_for_domain {
            let what = format!("the certificate is for somebody else: {}", chain.names);
            return vec![Fault(Letter::F, what, fix("the domain"))];
        }
        let list = chain.lacks.join(", ");
        if list.is_empty() {
            Vec::new()
        } else {
            vec![Fault(Letter::B, format!("the certificate lacks {list}"), fix(&list))]
        }
    })
}

/// 8.
fn trust(port: &PortSeen, _: u64) -> Vec<Finding> {
    of_chain(port, |chain| {
        match &chain.trusted {
        Ok(()) => Vec::new(),
        Err(_) if chain.by_itself => vec![Fault(
            Letter::T,
            "the certificate is signed by itself: good for those who know its fingerprint, and for nobody else".into(),
            "a certificate of an authority".into(),
        )],
        Err(_) if port.own && port.audience == Audience::Servers => vec![Fault(
            Letter::T,
            "the certificate is of this house's own authority: good, for servers that know its key".into(),
            "`inglenook peer show` tells what other offices need; for everybody else a public certificate \
             (`inglenook cert install CERT KEY`)"
                .into(),
        )],
        Err(_) if port.own => vec![Fault(
            Letter::T,
            "the certificate is of this house's own authority: good, for those who installed the authority".into(),
            "the page /trust tells each device what to do; for everybody else a public certificate (`inglenook cert install CERT KEY`)"
                .into(),
        )],
        Err(why) => vec![Fault(
            Letter::T,
            format!("good, for those who installed the authority: {why}"),
            "a certificate that everybody trusts; or install that authority where it is to be trusted".into(),
        )],
    }
    })
}

/// 9: RFC 5280 §4.2.1.12.
fn usage(port: &PortSeen, _: u64) -> Vec<Finding> {
    of_chain(port, |chain| {
        if !chain.for_servers {
            let what = "the certificate is not for servers (serverAuth)".into();
            return vec![Fault(Letter::F, what, "a certificate with serverAuth".into())];
        }
        match port.audience == Audience::Servers && !chain.for_clients {
            true => vec![Note(
                "the certificate is for who is connected to alone, as all public ones are: to old servers (ejabberd before 25) the proof is dialback".into(),
            )],
            false => Vec::new(),
        }
    })
}

/// 10: XEP-0368 §4, RFC 7301 §3.2.
fn alpn(port: &PortSeen, _: u64) -> Vec<Finding> {
    let fix = |text: &str| if port.own { REPORT.to_owned() } else { text.to_owned() };
    let mut found = Vec::new();
    if let Some(protocols) = port.protocols {
        let is_ignored = protocols.foreign == Some(ForeignAlpn::Ignored);
        if !protocols.own && is_ignored {
            let what = "ALPN is ignored".into();
            found.push(Fault(Letter::B, what, fix("turn ALPN on, with xmpp-client or xmpp-server")));
        } else if !protocols.own {
            let what = "its own protocol is not agreed on in ALPN".into();
            found.push(Fault(Letter::B, what, fix("turn ALPN on, with xmpp-client or xmpp-server")));
        }
        if protocols.own && is_ignored {
            let what = "a protocol of somebody else is not refused in ALPN, but ignored".into();
            found.push(Fault(Letter::B, what, fix("refuse protocols that are not xmpp-client or xmpp-server")));
        }
        if protocols.foreign == Some(ForeignAlpn::Taken) {
            let what = "a protocol of somebody else is taken in ALPN".into();
            found.push(Fault(Letter::B, what, fix("refuse protocols that are not xmpp-client or xmpp-server")));
        }
        if protocols.none == Some(false) {
            let what = "who says nothing of ALPN is refused".into();
            found.push(Fault(Letter::B, what, fix("let those in who send no ALPN")));
        }
    }
    if port.takes_other_name == Some(false) {
        let what = "who asks for an unknown name (SNI) is refused".into();
        found.push(Fault(Letter::B, what, fix("show the usual certificate for unknown names")));
    }
    let has_answered = port.takes_other_name.is_some()
        && port.protocols.is_none_or(|protocols| protocols.foreign.is_some() && protocols.none.is_some());
    match found.is_empty() {
        true if has_answered => vec![Fine],
        true if port.has_tls() => {
            vec![Unseen("what becomes of other names (SNI) and protocols (ALPN), which is not answered".into())]
        }
        true => vec![Nothing],
        false => found,
    }
}

/// Nothing is known of who says nothing: that is not as it should be.
fn inside_tls(port: &PortSeen, _: u64) -> Vec<Finding> {
    match (&port.inside, &port.nothing_inside) {
        (Some(_), _) => vec![Fine],
        (None, Some(why)) => vec![Fault(
            Letter::B,
            format!("it does not answer inside TLS: {why}"),
            "let a stream begin inside TLS, with its features; the log of that server says why it does not".into(),
        )],
        (None, None) => vec![Nothing],
    }
}

/// 11 and 14: RFC 6120 §13.8, RFC 9266, XEP-0440, XEP-0077.
fn mechanisms(port: &PortSeen, _: u64) -> Vec<Finding> {
    let Some(inside) = port.inside.as_ref().filter(|_| port.audience == Audience::Apps) else { return vec![Nothing] };
    let fix = |own: &str, others: &str| if port.own { own.to_owned() } else { others.to_owned() };
    let has = |name: &str| inside.mechanisms.iter().any(|mechanism| mechanism.eq_ignore_ascii_case(name));
    let mut found = Vec::new();
    if has("PLAIN") {
        let what = "PLAIN is offered: an app sends the password itself, to whoever has forged the certificate".into();
        found.push(Fault(Letter::C, what, fix("take `plain = true` out of the settings", "offer SCRAM alone")));
    }
    if has("ANONYMOUS") {
        let what = "everybody is let in without an account (ANONYMOUS)".into();
        found.push(Fault(Letter::B, what, fix(REPORT, "turn anonymous logins off")));
    }
    if !inside.mechanisms.iter().any(|name| name.to_ascii_uppercase().ends_with("-PLUS")) {
        let what = "no mechanism is bound to the channel (SCRAM-…-PLUS)".into();
        found.push(Fault(Letter::B, what, fix(REPORT, "turn channel binding on")));
    } else if !inside.bindings.iter().any(|kind| kind == "tls-exporter" || kind == "tls-server-end-point") {
        let what = "it is not told which channel bindings there are (XEP-0440)".into();
        found.push(Fault(Letter::B, what, fix(REPORT, "turn XEP-0440 on, with tls-exporter and tls-server-end-point")));
    }
    match (inside.registration, port.own) {
        (true, true) => found.push(Note("strangers can make accounts, as registration = true says".into())),
        // Both are offered by who lets in the invited alone, and by who lets in everybody.
        (true, false) if inside.by_token => {
            found.push(Note("accounts can be made, maybe with an invitation alone".into()));
        }
        (true, false) => {
            let what = "strangers may make accounts: spammers do where they can".into();
            found.push(Fault(Letter::B, what, "let people come by invitation".into()));
        }
        (false, _) => {}
    }
    if found.is_empty() { vec![Fine] } else { found }
}

/// 12: RFC 8446 §8, XEP-0388 §3.
fn early_data(port: &PortSeen, _: u64) -> Vec<Finding> {
    match (port.tls13 == Some(true) && port.nothing_inside.is_none(), port.early_data) {
        (true, false) => vec![Fine],
        (false, false) => vec![Nothing],
        (_, true) => vec![Fault(
            Letter::C,
            "what comes before the handshake is done is taken (0-RTT): it can be replayed".into(),
            if port.own { REPORT.into() } else { "turn early data off".into() },
        )],
    }
}

/// 13: RFC 6120 §13.12.
fn limits(port: &PortSeen, _: u64) -> Vec<Finding> {
    match (port.audience, port.refuses_large) {
        (Audience::Apps, Some(true)) => vec![Fine],
        (Audience::Apps, Some(false)) => vec![Fault(
            Letter::B,
            "100 KiB are taken from who has not logged in".into(),
            if port.own { REPORT.into() } else { "limit what is read before a login (10 KB do)".into() },
        )],
        (Audience::Apps, None) if port.inside.is_some() => {
            vec![Unseen("whether what is too long is refused before a login, which is not answered".into())]
        }
        _ => vec![Nothing],
    }
}

/// 7: one leaf everywhere, so that who keeps it is asked once.
fn same_certificate(side: Graded, ports: &[&PortSeen], all: &mut Vec<Test>) {
    let leaves: Vec<(&str, &[u8])> =
        ports.iter().filter_map(|port| Some((port.place.as_str(), port.chain.as_ref()?.leaf.as_slice()))).collect();
    let Some((place, first)) = leaves.first() else { return };
    let other = leaves.iter().find(|(_, leaf)| leaf != first);
    all.extend(other.map(|(other, _)| {
        let what = format!("{place} and {other} show different certificates");
        Test::fault(side, "one-certificate", Letter::B, what, "show the same certificate at all ports")
    }));
}

/// 15: RFC 6120 §13.7, XEP-0178, XEP-0220.
fn attempts(port: &PortSeen) -> Vec<Test> {
    if port.attempts.is_empty() || port.nothing_inside.is_some() {
        return vec![Test::skipped(
            Graded::Servers,
            "strangers",
            format!("no stream could be begun at {}", port.place),
        )];
    }
    let taken = port.attempts.iter().filter(|(_, taken)| *taken);
    let found: Vec<Test> = taken
        .map(|(what, _)| {
            let fix = if port.own { REPORT } else { "ask servers for a valid certificate, or for dialback" };
            Test::fault(Graded::Servers, "strangers", Letter::F, format!("{what} is accepted ({})", port.place), fix)
        })
        .collect();
    if !found.is_empty() {
        return found;
    }
    let tried = port.attempts.iter().map(|(what, _)| *what).collect::<Vec<_>>().join(", ");
    vec![Test::fine(Graded::Servers, "strangers", format!("not accepted: {tried} ({})", port.place))]
}

/// 18.
fn features(side: Graded, ports: &[&PortSeen], all: &mut Vec<Test>) {
    let mut names: Vec<&str> = Vec::new();
    ports
        .iter()
        .filter_map(|port| port.inside.as_ref())
        .for_each(|inside| names.extend(inside.names.iter().map(|name| &**name)));
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        all.push(Test::fine(side, "features", format!("offered before a login: {}", names.join(", "))));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::grade::{TestStatus, letter};
    use super::super::raw_hello::{TLS11, WEAK};
    use super::super::seen::{BeforeTlsSeen, Offered, Protocols};
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 86_400;

    fn port(audience: Audience) -> PortSeen {
        PortSeen {
            place: "192.0.2.1:5222".into(),
            audience,
            direct: false,
            own: false,
            reached: Ok(()),
            before: Some(BeforeTlsSeen { starttls: Some(true), ..BeforeTlsSeen::default() }),
            tls13: Some(true),
            tls12: Some(true),
            old: Vec::new(),
            old_unseen: false,
            weak: Vec::new(),
            suites_unseen: false,
            compresses: false,
            renegotiates_safely: Some(true),
            chain: Some(ChainSeen {
                key: "ECDSA, 256 bits".into(),
                key_is_short: false,
                hash_is_old: false,
                short_above: None,
                over_above: None,
                from: NOW - DAY,
                until: NOW + 80 * DAY,
                last_day: "a day".into(),
                is_for_domain: true,
                names: "a.example".into(),
                lacks: Vec::new(),
                trusted: Ok(()),
                by_itself: false,
                missing: None,
                for_servers: true,
                for_clients: true,
                leaf: vec![1],
            }),
            protocols: Some(Protocols { own: true, foreign: Some(ForeignAlpn::Refused), none: Some(true) }),
            takes_other_name: Some(true),
            early_data: false,
            inside: Some(Offered {
                mechanisms: vec!["SCRAM-SHA-256-PLUS".into()],
                bindings: vec!["tls-exporter".into()],
                ..Offered::default()
            }),
            nothing_inside: None,
            refuses_large: Some(true),
            attempts: vec![("a stanza", false)],
        }
    }

    /// What one change makes of the grades: of an app's port, and of a server's; and whether something is to be known.
    fn graded(change: &dyn Fn(&mut PortSeen)) -> (Letter, Letter, bool) {
        let mut ports = [port(Audience::Apps), port(Audience::Servers)];
        ports.iter_mut().for_each(change);
        let tests = super::tests(&ports, NOW);
        let noted = tests.iter().any(|test| test.status == TestStatus::Note);
        for test in tests.iter().filter(|test| test.status == TestStatus::Fault) {
            assert!(!test.fix.is_empty(), "{test:?}");
        }
        (letter(&tests, Graded::Clients).unwrap(), letter(&tests, Graded::Servers).unwrap(), noted)
    }

    fn before(change: impl Fn(&mut BeforeTlsSeen)) -> impl Fn(&mut PortSeen) {
        move |port| change(port.before.as_mut().unwrap())
    }

    fn leaf(change: impl Fn(&mut ChainSeen)) -> impl Fn(&mut PortSeen) {
        move |port| change(port.chain.as_mut().unwrap())
    }

    fn inside(change: impl Fn(&mut Offered)) -> impl Fn(&mut PortSeen) {
        move |port| change(port.inside.as_mut().unwrap())
    }

    /// A change of one fact, what becomes of both letters, and whether something is noted.
    #[test]
    fn each_fault_counts_what_it_should() {
        use Letter::{A, B, C, F, T};
        type Row<'a> = (&'a str, Letter, Letter, bool, Box<dyn Fn(&mut PortSeen)>);
        let rows: Vec<Row<'_>> = vec![
            ("nothing", A, A, false, Box::new(|_| {})),
            ("no STARTTLS", F, F, false, Box::new(before(|b| b.starttls = None))),
            ("TLS breaks", F, F, false, Box::new(|p| p.reached = Err("x".into()))),
            ("not required", A, A, true, Box::new(before(|b| b.starttls = Some(false)))),
            ("login in the open", F, F, false, Box::new(before(|b| b.mechanisms = vec!["PLAIN".into()]))),
            ("password in the open", F, F, false, Box::new(before(|b| b.takes_password = true))),
            ("stanza in the open", F, F, false, Box::new(before(|b| b.answers_stanza = true))),
            ("TLS 1.1", C, C, false, Box::new(|p| p.old = vec![TLS11])),
            ("SSL 3", F, F, false, Box::new(|p| p.old = vec![TLS11, SSL3])),
            ("no TLS 1.3", B, B, false, Box::new(|p| p.tls13 = Some(false))),
            ("no TLS 1.2", A, A, true, Box::new(|p| p.tls12 = Some(false))),
            ("neither", C, C, false, Box::new(|p| (p.tls13, p.tls12) = (Some(false), Some(false)))),
            ("NULL", F, F, false, Box::new(|p| p.weak = vec![WEAK[0]])),
            ("RC4", C, C, false, Box::new(|p| p.weak = vec![WEAK[4]])),
            ("CBC", C, C, false, Box::new(|p| p.weak = vec![WEAK[8]])),
            ("compression", C, C, false, Box::new(|p| p.compresses = true)),
            ("renegotiation", C, C, false, Box::new(|p| p.renegotiates_safely = Some(false))),
            ("short key", F, F, false, Box::new(leaf(|c| c.key_is_short = true))),
            ("short key above", F, F, false, Box::new(leaf(|c| c.short_above = Some("RSA".into())))),
            ("over above", F, F, false, Box::new(leaf(|c| c.over_above = Some("X".into())))),
            ("old hash", F, F, false, Box::new(leaf(|c| c.hash_is_old = true))),
            ("over", F, F, false, Box::new(leaf(|c| c.until = NOW))),
            ("to come", F, F, false, Box::new(leaf(|c| c.from = NOW + 1))),
            ("ends soon", A, A, true, Box::new(leaf(|c| c.from = NOW - 161 * DAY))),
            ("not yet soon", A, A, false, Box::new(leaf(|c| c.from = NOW - 159 * DAY))),
            ("not whole", B, B, false, Box::new(leaf(|c| c.missing = Some("X".into())))),
            ("another's name", F, F, false, Box::new(leaf(|c| c.is_for_domain = false))),
            ("a service lacks", B, B, false, Box::new(leaf(|c| c.lacks = vec!["x".into()]))),
            ("not trusted", T, T, false, Box::new(leaf(|c| c.trusted = Err("why".into())))),
            ("by itself", T, T, false, Box::new(leaf(|c| (c.trusted, c.by_itself) = (Err("why".into()), true)))),
            ("not for servers", F, F, false, Box::new(leaf(|c| c.for_servers = false))),
            ("not for clients", A, A, true, Box::new(leaf(|c| c.for_clients = false))),
            ("ALPN", B, B, false, Box::new(|p| p.protocols.as_mut().unwrap().own = false)),
            (
                "foreign ALPN",
                B,
                B,
                false,
                Box::new(|p| p.protocols.as_mut().unwrap().foreign = Some(ForeignAlpn::Taken)),
            ),
            (
                "ignored ALPN",
                B,
                B,
                false,
                Box::new(|p| p.protocols.as_mut().unwrap().foreign = Some(ForeignAlpn::Ignored)),
            ),
            ("no ALPN", B, B, false, Box::new(|p| p.protocols.as_mut().unwrap().none = Some(false))),
            ("silence of old versions", A, A, false, Box::new(|p| p.old_unseen = true)),
            ("nothing inside", B, B, false, Box::new(|p| (p.inside, p.nothing_inside) = (None, Some("x".into())))),
            ("account in the open", F, F, false, Box::new(before(|b| b.registration = true))),
            ("by token", A, A, true, Box::new(inside(|i| (i.registration, i.by_token) = (true, true)))),
            ("SNI", B, B, false, Box::new(|p| p.takes_other_name = Some(false))),
            ("PLAIN", C, A, false, Box::new(inside(|i| i.mechanisms.push("PLAIN".into())))),
            ("ANONYMOUS", B, A, false, Box::new(inside(|i| i.mechanisms.push("ANONYMOUS".into())))),
            ("no -PLUS", B, A, false, Box::new(inside(|i| i.mechanisms = vec!["SCRAM-SHA-1".into()]))),
            ("no bindings told", B, A, false, Box::new(inside(|i| i.bindings.clear()))),
            ("registration", B, A, false, Box::new(inside(|i| i.registration = true))),
            ("0-RTT", C, C, false, Box::new(|p| p.early_data = true)),
            ("large", B, A, false, Box::new(|p| p.refuses_large = Some(false))),
            ("stanza of a stranger", A, F, false, Box::new(|p| p.attempts[0].1 = true)),
            // The worst counts.
            ("two", F, F, false, Box::new(|p| (p.tls13, p.old) = (Some(false), vec![SSL3]))),
        ];
        for (what, clients, servers, noted, change) in rows {
            assert_eq!(graded(&change), (clients, servers, noted), "{what}");
        }
    }

    /// What is silent was not seen: no claim, and no praise.
    #[test]
    fn silence_is_no_fact() {
        let mut silent = port(Audience::Apps);
        (silent.tls12, silent.old_unseen, silent.suites_unseen) = (None, true, true);
        (silent.takes_other_name, silent.protocols, silent.refuses_large) = (None, None, None);
        let tests = super::tests(&[silent], NOW);
        for id in ["old-tls", "new-tls", "suites", "alpn", "limits"] {
            let of_id: Vec<_> = tests.iter().filter(|test| test.id == id).collect();
            assert!(matches!(of_id[..], [one] if one.status == TestStatus::Skipped), "{of_id:?}");
        }
        let mut deaf = port(Audience::Apps);
        deaf.protocols = Some(Protocols { own: false, foreign: Some(ForeignAlpn::Ignored), none: Some(true) });
        let tests = super::tests(&[deaf], NOW);
        let told: Vec<&str> = tests.iter().filter(|test| test.id == "alpn").map(|test| &*test.what).collect();
        assert_eq!(told, ["ALPN is ignored (192.0.2.1:5222)"]);
    }

    #[test]
    fn our_own_is_judged_harder_where_it_knows_better() {
        let own = |change: fn(&mut PortSeen)| {
            graded(&move |port: &mut PortSeen| {
                port.own = true;
                change(port);
            })
        };
        assert_eq!(own(|_| {}), (Letter::A, Letter::A, false));
        assert_eq!(own(|p| p.old = vec![TLS11]).0, Letter::F);
        assert_eq!(own(|p| p.before.as_mut().unwrap().starttls = Some(false)).0, Letter::F);
        assert_eq!(own(|p| p.inside.as_mut().unwrap().registration = true), (Letter::A, Letter::A, true));
        assert_eq!(own(|p| p.reached = Err("x".into())).0, Letter::F);
    }

    #[test]
    fn of_several_ports_the_worst_counts_and_what_is_the_same_is_told_once() {
        let mut ports = vec![port(Audience::Apps), port(Audience::Apps), port(Audience::Browsers)];
        ports[1].place = "192.0.2.2:5222".into();
        ports[1].old = vec![TLS11];
        ports[0].old = vec![TLS11];
        let faults = |ports: &[PortSeen]| {
            let all = super::tests(ports, NOW).into_iter().filter(|test| test.status == TestStatus::Fault);
            all.map(|test| test.what).collect::<Vec<_>>()
        };
        let told = faults(&ports);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].ends_with("(192.0.2.1:5222, 192.0.2.2:5222)"), "{told:?}");
        ports[1].chain.as_mut().unwrap().leaf = vec![2];
        assert!(faults(&ports).iter().any(|what| what.contains("different certificates")));
        // Who has no TLS has refused nobody.
        let mut broken = [port(Audience::Servers)];
        broken[0].reached = Err("x".into());
        assert!(super::tests(&broken, NOW).iter().all(|test| test.id != "strangers"));
        // One of several that is not reached; all of them.
        let mut ports = vec![port(Audience::Apps), port(Audience::Apps)];
        for port in &mut ports {
            port.before = None;
        }
        ports[1].reached = Err("nobody".into());
        assert_eq!(letter(&super::tests(&ports, NOW), Graded::Clients), Some(Letter::B));
        ports[0].reached = Err("nobody".into());
        assert_eq!(letter(&super::tests(&ports, NOW), Graded::Clients), None);
        assert_eq!(letter(&super::tests(&ports, NOW), Graded::Servers), None);
    }
}
