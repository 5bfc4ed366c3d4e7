//! External components (XEP-0114) on the real binary: a gateway as a bare socket, and a user who has contacts behind it.

#![allow(clippy::unwrap_used)]

mod common;

use common::binary::{Dir, Server, Tls, fails, login, ok, ping, run, until};
use inglenook::wire::Secret;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;

const SECRET: &str = "neither-Montague-nor-Capulet";
const NAME: &str = "gateway.example.org";

fn settings(dir: &Dir, components: &[(&str, &str)]) {
    std::fs::create_dir_all(dir.data()).unwrap();
    let mut text = "domain = \"example.org\"\nplain = true\ncommit_window_ms = 0\n[listen]\ns2s = []\ns2s_tls = []\nhttps = []\nc2s = []\nc2s_tls = [\"127.0.0.1:0\"]\n\
                    component = [\"127.0.0.1:0\"]\n[components]\n"
        .to_owned();
    components.iter().for_each(|(name, secret)| text += &format!("\"{name}\" = \"{secret}\"\n"));
    std::fs::write(dir.data().join("inglenook.toml"), text).unwrap();
}

/// A server with one component in its settings, and juliet's account.
fn house() -> (Dir, Server) {
    let dir = Dir::new();
    settings(&dir, &[(NAME, SECRET)]);
    let server = Server::start(&dir, &[]);
    ok(&dir, &["user", "add", "juliet@example.org", "--password-stdin"], "a long secret\n");
    (dir, server)
}

fn connect(server: &Server) -> TcpStream {
    common::binary::connect(server, "component")
}

/// Opens the stream; the id of the server's.
fn open(socket: &mut TcpStream, name: &str) -> String {
    let header = format!(
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{name}'>"
    );
    socket.write_all(header.as_bytes()).unwrap();
    let answer = until(socket, "streams'>");
    answer.split(" id='").nth(1).unwrap().split('\'').next().unwrap().to_owned()
}

/// The component's side of the handshake, and what comes back.
fn prove(socket: &mut TcpStream, name: &str, secret: &str, end: &str) -> String {
    let id = open(socket, name);
    let proof = Secret::new(secret).unwrap().handshake(&id);
    say(socket, &format!("<handshake>{proof}</handshake>"));
    until(socket, end)
}

fn attach(server: &Server) -> TcpStream {
    let mut socket = connect(server);
    assert_eq!(prove(&mut socket, NAME, SECRET, "<handshake/>"), "<handshake/>");
    socket
}

fn say(stream: &mut impl Write, xml: &str) {
    stream.write_all(xml.as_bytes()).unwrap();
}

/// Waits until the gateway has answered a question to it: all that was sent to it before is there.
fn reaches(user: &mut Tls, gateway: &mut TcpStream) -> String {
    say(user, &format!("<iq type='get' id='over' to='{NAME}'><ping xmlns='urn:xmpp:ping'/></iq>"));
    until(gateway, "id='over'><ping xmlns='urn:xmpp:ping'/></iq>")
}

#[test]
fn stanzas_go_both_ways() {
    let (dir, server) = house();
    let mut gateway = attach(&server);
    let mut juliet = login(&server, &dir, "juliet", "a long secret");
    say(
        &mut juliet,
        "<iq type='get' id='1' to='example.org'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
    );
    let items = until(&mut juliet, "</iq>");
    assert!(items.contains("<item jid='gateway.example.org' name='gateway.example.org'/>"), "{items}");

    say(&mut juliet, "<message to='romeo@gateway.example.org' type='chat' id='m1'><body>Ay me</body></message>");
    let heard = until(&mut gateway, "</message>");
    assert!(heard.starts_with("<message to='romeo@gateway.example.org' from='juliet@example.org/"), "{heard}");
    assert!(heard.contains("type='chat' id='m1'") && heard.contains("<body>Ay me</body>"), "{heard}");
    say(
        &mut gateway,
        "<message from='romeo@gateway.example.org/orchard' to='juliet@example.org' type='chat'><body>She speaks</body></message>",
    );
    let heard = until(&mut juliet, "</message>");
    assert!(heard.contains("from='romeo@gateway.example.org/orchard'") && heard.contains("She speaks"), "{heard}");

    // A request each way, and their answers.
    say(
        &mut gateway,
        "<iq from='gateway.example.org' to='example.org' type='get' id='q1'><ping xmlns='urn:xmpp:ping'/></iq>",
    );
    assert_eq!(until(&mut gateway, "/>"), "<iq to='gateway.example.org' from='example.org' type='result' id='q1'/>");
    reaches(&mut juliet, &mut gateway);

    // What cannot be delivered, or read, comes back.
    say(
        &mut gateway,
        "<message from='romeo@gateway.example.org' to='nobody@example.org' id='m2'><body>?</body></message>",
    );
    let refused = until(&mut gateway, "</message>");
    assert!(refused.contains("type='error'") && refused.contains("<service-unavailable"), "{refused}");
    say(&mut gateway, "<message from='romeo@gateway.example.org' to='@' id='m3'><body>?</body></message>");
    let refused = until(&mut gateway, "</message>");
    assert!(refused.contains("id='m3'") && refused.contains("<jid-malformed"), "{refused}");
    say(&mut gateway, "<iq from='gateway.example.org' to='example.org' type='get' id='q2'/>");
    let refused = until(&mut gateway, "</iq>");
    assert!(refused.contains("id='q2'") && refused.contains("<bad-request"), "{refused}");
    // Its own addresses are its own business.
    say(&mut gateway, "<message from='a@gateway.example.org' to='b@gateway.example.org'><body>x</body></message>");
    assert!(until(&mut gateway, "</message>").contains("to='b@gateway.example.org' from='a@gateway.example.org'"));
    assert!(server.stop().success());
    assert!(until(&mut gateway, "</stream:stream>").contains("<system-shutdown"));
}

/// RFC 6121 §3.2.2, §3.3: a gateway need not carry the presence of somebody who has no account any more.
#[test]
fn contacts_behind_a_gateway_hear_that_an_account_is_gone() {
    let (dir, server) = house();
    let mut gateway = attach(&server);
    let mut juliet = login(&server, &dir, "juliet", "a long secret");
    say(&mut juliet, "<presence type='subscribe' to='romeo@gateway.example.org'/>");
    until(&mut gateway, "type='subscribe'/>");
    say(&mut gateway, "<presence from='romeo@gateway.example.org' to='juliet@example.org' type='subscribed'/>");
    say(&mut gateway, "<presence from='romeo@gateway.example.org' to='juliet@example.org' type='subscribe'/>");
    until(&mut juliet, "type='subscribe'");
    say(&mut juliet, "<presence type='subscribed' to='romeo@gateway.example.org'/>");
    until(&mut gateway, "type='subscribed'/>");
    ok(&dir, &["user", "remove", "juliet"], "");
    let told = until(&mut gateway, "type='unsubscribed'/>");
    assert!(told.contains("to='romeo@gateway.example.org' from='juliet@example.org' type='unsubscribe'/>"), "{told}");
    assert!(server.stop().success());
}

#[test]
fn presence_goes_both_ways() {
    let (dir, server) = house();
    let mut gateway = attach(&server);
    let mut juliet = login(&server, &dir, "juliet", "a long secret");
    say(&mut juliet, "<presence to='romeo@gateway.example.org' type='subscribe'/>");
    let asked = until(&mut gateway, "/>");
    assert_eq!(asked, "<presence to='romeo@gateway.example.org' from='juliet@example.org' type='subscribe'/>");
    say(
        &mut gateway,
        "<presence from='romeo@gateway.example.org' to='juliet@example.org' type='subscribed'/>\
         <presence from='romeo@gateway.example.org/x' to='juliet@example.org'><show>chat</show></presence>\
         <presence from='romeo@gateway.example.org' to='juliet@example.org' type='subscribe'/>",
    );
    let heard = until(&mut juliet, "type='subscribe'");
    assert!(heard.contains("type='subscribed'") && heard.contains("<show>chat</show>"), "{heard}");
    say(&mut juliet, "<presence to='romeo@gateway.example.org' type='subscribed'/>");
    let heard = reaches(&mut juliet, &mut gateway);
    assert!(heard.contains("to='romeo@gateway.example.org' from='juliet@example.org' type='subscribed'"), "{heard}");
    assert!(heard.contains("<presence to='romeo@gateway.example.org' from='juliet@example.org/"), "{heard}");

    // She leaves, and comes back.
    say(&mut juliet, "</stream:stream>");
    until(&mut juliet, "</stream:stream>");
    let heard = until(&mut gateway, "type='unavailable'");
    assert!(heard.contains("to='romeo@gateway.example.org' from='juliet@example.org/"), "{heard}");
    let mut juliet = login(&server, &dir, "juliet", "a long secret");
    let heard = reaches(&mut juliet, &mut gateway);
    assert!(heard.contains("type='probe'"), "{heard}");
    let own = heard.matches("<presence to='romeo@gateway.example.org' from='juliet@example.org/").count();
    assert_eq!(own, 2, "the probe, and her presence: {heard}");
    // It asks for hers.
    say(&mut gateway, "<presence from='romeo@gateway.example.org' to='juliet@example.org' type='probe'/>");
    let heard = until(&mut gateway, "/>");
    assert!(heard.starts_with("<presence to='romeo@gateway.example.org' from='juliet@example.org/"), "{heard}");
    // And for that of somebody who shows it to nobody, and of nobody.
    for who in ["juliet", "nobody"] {
        let probe = format!("<presence from='mercutio@gateway.example.org' to='{who}@example.org' type='probe'/>");
        say(&mut gateway, &probe);
        assert_eq!(
            until(&mut gateway, "/>"),
            format!("<presence to='mercutio@gateway.example.org' from='{who}@example.org' type='unsubscribed'/>")
        );
    }
}

#[test]
fn what_is_sent_to_one_that_is_not_there_comes_back() {
    let (dir, server) = house();
    let mut juliet = login(&server, &dir, "juliet", "a long secret");
    for stanza in [
        "<message to='romeo@gateway.example.org' id='1'><body>x</body></message>",
        "<iq to='gateway.example.org' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
        "<presence to='romeo@gateway.example.org' id='1' type='subscribe'/>",
    ] {
        say(&mut juliet, stanza);
        let error = until(&mut juliet, "</error>");
        assert!(error.contains("<error type='wait'><service-unavailable"), "{stanza}: {error}");
    }
    say(&mut juliet, "<presence to='romeo@gateway.example.org'/>");
    assert!(!ping(&mut juliet).contains("type='error'"));
    say(
        &mut juliet,
        "<iq type='get' id='2' to='example.org'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
    );
    assert!(!until(&mut juliet, "</iq>").contains("gateway"));
}

#[test]
fn one_at_a_time_and_as_the_settings_say() {
    let (dir, server) = house();
    let mut first = attach(&server);
    let mut second = connect(&server);
    let refused = prove(&mut second, NAME, SECRET, "</stream:stream>");
    assert!(refused.starts_with("<stream:error><conflict"), "{refused}");
    assert_eq!(second.read(&mut [0; 16]).unwrap(), 0);
    say(&mut first, "</stream:stream>");
    assert_eq!(until(&mut first, "</stream:stream>"), "</stream:stream>");
    server.logs("the component gateway.example.org is gone");
    let mut first = attach(&server);
    // Another one is new, and this one goes on.
    let reload = |components: &[(&str, &str)]| {
        settings(&dir, components);
        server.signal(Signal::HUP);
        server.logs("reloaded the own certificate");
    };
    reload(&[(NAME, SECRET), ("bot.example.org", "a bot that counts to ten")]);
    let mut bot = connect(&server);
    prove(&mut bot, "bot.example.org", "a bot that counts to ten", "<handshake/>");
    say(&mut bot, "<message from='bot.example.org' to='gateway.example.org'><body>One</body></message>");
    assert!(until(&mut first, "</message>").contains("<body>One</body>"));
    // Another secret, and none at all.
    reload(&[(NAME, "Capulet, after all, or not"), ("bot.example.org", "a bot that counts to ten")]);
    assert!(until(&mut first, "</stream:stream>").contains("<stream:error><not-authorized"));
    let refused = prove(&mut connect(&server), NAME, SECRET, "</stream:stream>");
    assert!(refused.contains("<not-authorized"), "{refused}");
    reload(&[(NAME, SECRET)]);
    assert!(until(&mut bot, "</stream:stream>").contains("<stream:error><host-gone"));
    let mut bot = connect(&server);
    say(
        &mut bot,
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='bot.example.org'>",
    );
    assert!(until(&mut bot, "</stream:stream>").contains("<host-unknown"));
    attach(&server);
}

#[test]
fn what_is_wrong_ends_the_stream() {
    let (_dir, server) = house();
    let ends = |mut socket: TcpStream, bytes: &str, condition: &str| {
        // It may hang up before it has read all.
        let _ = socket.write_all(bytes.as_bytes());
        let end = until(&mut socket, "</stream:stream>");
        assert!(end.contains(&format!("<stream:error><{condition} ")), "{bytes:.100}: {end}");
        assert_eq!(socket.read(&mut [0; 16]).unwrap_or(0), 0);
    };
    let opened = || {
        let mut socket = connect(&server);
        open(&mut socket, NAME);
        socket
    };
    ends(opened(), "<handshake>0000000000000000000000000000000000000000</handshake>", "not-authorized");
    ends(opened(), "<message from='gateway.example.org' to='juliet@example.org'/>", "not-authorized");
    ends(opened(), &format!("<handshake>{}", "x".repeat(10_000)), "policy-violation");
    ends(connect(&server), "<stream:stream to='gateway.example.org'>", "not-well-formed");
    for (bytes, condition) in [
        (
            "<message from='juliet@example.org' to='juliet@example.org'><body>x</body></message>".to_owned(),
            "invalid-from",
        ),
        ("<message from='gateway.example.org' to='juliet@example.org'></x>".into(), "not-well-formed"),
        (
            format!("<message from='gateway.example.org' to='juliet@example.org'>{}", "x".repeat(300_000)),
            "policy-violation",
        ),
    ] {
        ends(attach(&server), &bytes, condition);
        server.logs("the component gateway.example.org is gone");
    }
}

/// People of other networks have names that are no addresses here.
#[test]
fn a_stanza_with_an_unusable_sender_costs_that_stanza() {
    let (dir, server) = house();
    let mut gateway = attach(&server);
    let mut juliet = login(&server, &dir, "juliet", "a long secret");
    for from in ["from='user name@gateway.example.org'", "from='\u{1F600}&apos;@gateway.example.org/x'", ""] {
        say(&mut gateway, &format!("<message {from} to='juliet@example.org' id='m1'><body>x</body></message>"));
        let refused = until(&mut gateway, "</message>");
        assert!(refused.contains("id='m1'") && refused.contains("<jid-malformed"), "{from}: {refused}");
    }
    say(&mut gateway, "<message from='b@gateway.example.org' to='juliet@example.org'><body>y</body></message>");
    say(&mut juliet, "<presence/>");
    let heard = until(&mut juliet, "</message>");
    assert!(heard.contains("<body>y</body>") && !heard.contains("<body>x</body>"), "{heard}");
}

/// What a session sees of people behind the gateway, in order: their addresses, and whether they are there.
fn seen(user: &mut Tls) -> Vec<(String, bool)> {
    let heard = ping(user);
    let presences = heard.split("<presence ").skip(1);
    let from = |xml: &str| xml.split("from='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    presences.map(|xml| (from(xml), !xml.contains("type='unavailable'"))).collect()
}

/// A gateway that goes: those who were there through it are gone at once, for contacts, for others whom they told, and in rooms. When it
/// is back, it is asked for its people, and told who is here.
#[test]
fn whoever_was_there_through_a_gateway_goes_with_it() {
    let (dir, server) = house();
    let mut gateway = attach(&server);
    let mut juliet = login(&server, &dir, "juliet", "a long secret");
    say(&mut juliet, "<presence/><presence to='romeo@gateway.example.org' type='subscribe'/>");
    until(&mut gateway, "type='subscribe'/>");
    say(
        &mut gateway,
        "<presence from='romeo@gateway.example.org' to='juliet@example.org' type='subscribed'/>\
         <presence from='romeo@gateway.example.org' to='juliet@example.org' type='subscribe'/>\
         <presence from='romeo@gateway.example.org/x' to='juliet@example.org'/>\
         <presence from='romeo@gateway.example.org/y' to='juliet@example.org'/>\
         <presence from='romeo@gateway.example.org/y' to='juliet@example.org' type='unavailable'/>\
         <presence from='gateway.example.org' to='juliet@example.org'/>",
    );
    until(&mut juliet, "type='subscribe'");
    say(
        &mut juliet,
        "<presence to='romeo@gateway.example.org' type='subscribed'/>\
         <presence to='g@conference.example.org/Juliet'><x xmlns='http://jabber.org/protocol/muc'/></presence>\
         <iq type='set' id='c' to='g@conference.example.org'><query xmlns='http://jabber.org/protocol/muc#owner'>\
         <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
         <field var='muc#roomconfig_membersonly'><value>0</value></field></x></query></iq>",
    );
    until(&mut juliet, "id='c'");
    say(
        &mut gateway,
        "<presence from='bob@gateway.example.org/b' to='g@conference.example.org/Bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
    );
    until(&mut juliet, "/Bob'");
    ping(&mut juliet);

    drop(gateway);
    server.logs("the component gateway.example.org is gone");
    let mut gone = seen(&mut juliet);
    gone.sort();
    assert_eq!(
        gone,
        [
            ("g@conference.example.org/Bob".to_owned(), false),
            ("gateway.example.org".to_owned(), false),
            ("romeo@gateway.example.org/x".to_owned(), false)
        ]
    );
    let mut gateway = connect(&server);
    let heard = prove(&mut gateway, NAME, SECRET, "<handshake/>") + &reaches(&mut juliet, &mut gateway);
    let probe = "<presence to='romeo@gateway.example.org' from='juliet@example.org' type='probe'/>";
    assert!(heard.starts_with("<handshake/>") && heard.contains(probe), "{heard}");
    assert!(heard.contains("<presence to='romeo@gateway.example.org' from='juliet@example.org/"), "{heard}");
    say(&mut gateway, "<presence from='romeo@gateway.example.org/z' to='juliet@example.org'/>");
    until(&mut juliet, "romeo@gateway.example.org/z'");
    // Likewise when the owner takes it out of the settings.
    settings(&dir, &[]);
    server.signal(Signal::HUP);
    until(&mut gateway, "<host-gone");
    until(&mut juliet, "from='romeo@gateway.example.org/z' type='unavailable'/>");
}

/// The port is there from the start on or not at all: whoever adds the first component would wait for it.
#[test]
fn the_port_for_components_takes_a_restart() {
    for (before, after, what) in
        [(&[][..], &[(NAME, SECRET)][..], "restart to open"), (&[(NAME, SECRET)], &[], "restart to close")]
    {
        let dir = Dir::new();
        settings(&dir, before);
        let server = Server::start(&dir, &["--domain", "example.org"]);
        // Also if it was overlooked the first time.
        for _ in 0..2 {
            settings(&dir, after);
            server.signal(Signal::HUP);
            server.logs(&format!("{what} the port for components"));
        }
        settings(&dir, before);
        server.signal(Signal::HUP);
        server.logs("reloaded the own certificate");
        server.signal(Signal::TERM);
        let log = server.log.lock().unwrap();
        let rest: Vec<String> = std::iter::from_fn(|| log.recv().ok()).collect();
        assert!(rest.iter().all(|line| !line.contains("restart to")), "{rest:?}");
    }
}

#[test]
fn a_component_that_does_not_read_is_closed() {
    let (dir, server) = house();
    let _deaf = attach(&server);
    let mut juliet = login(&server, &dir, "juliet", "a long secret");
    let long = "x".repeat(200_000);
    // The system's buffers hold some of it.
    for n in 0..200 {
        say(&mut juliet, &format!("<message to='gateway.example.org'><body>{long}</body></message>"));
        if ping(&mut juliet).contains("<service-unavailable") {
            server.logs("does not read what waits for it");
            return;
        }
        assert!(n < 199, "it takes everything");
    }
}

/// A component says from whom its stanzas are: that makes nobody an administrator.
#[test]
fn a_component_does_not_administrate() {
    let dir = Dir::new();
    settings(&dir, &[(NAME, SECRET)]);
    let file = dir.data().join("inglenook.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("admins = [\"juliet@{NAME}\"]\n{text}")).unwrap();
    let server = Server::start(&dir, &[]);
    let mut gateway = attach(&server);
    for node in ["http://jabber.org/protocol/admin#get-registered-users-list", "urn:inglenook:commands#sessions"] {
        let command = format!("<command xmlns='http://jabber.org/protocol/commands' node='{node}'/>");
        say(&mut gateway, &format!("<iq from='juliet@{NAME}/x' to='example.org' type='set' id='1'>{command}</iq>"));
        let answer = until(&mut gateway, "</iq>");
        assert!(answer.contains("type='error'"), "{answer}");
    }
    say(
        &mut gateway,
        "<message from='juliet@gateway.example.org' to='example.org/announce/online' id='2'><body>Hark</body></message>",
    );
    assert!(until(&mut gateway, "</message>").contains("<service-unavailable"));
    // Nor is an account anybody's but its own.
    say(
        &mut gateway,
        "<iq from='juliet@gateway.example.org' to='example.org' type='set' id='3'><query xmlns='jabber:iq:register'>\
         <username>juliet</username><password>wherefore</password></query></iq>",
    );
    assert!(until(&mut gateway, "</iq>").contains("<registration-required"));
}

#[test]
fn settings_that_cannot_be() {
    let dir = Dir::new();
    settings(&dir, &[("conference.example.org", SECRET)]);
    assert!(fails(&dir, &["serve"], "").contains("conference.example.org"));
    settings(&dir, &[(NAME, "short")]);
    let said = fails(&dir, &["serve"], "");
    assert!(said.contains("inglenook.toml:12: components.\"gateway.example.org\" must be a secret of 16"), "{said}");
    let printed = run(&dir, &["config"], "").out;
    assert!(printed.contains("\n[components]\n") && printed.contains("\ncomponent = [\"127.0.0.1:5347\""), "{printed}");
}
