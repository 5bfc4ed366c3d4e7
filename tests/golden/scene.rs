//! What golden data is made of: every kind of row there is, every value of every stored choice, by what clients do.
//!
//! It only grows: what is added goes to the end of a part, and what golden data of older versions does not have is not asked for in
//! [`crate::seen`].

use crate::client::{Client, DOMAIN, Login, open, password};
use crate::common::binary::{Dir, Server, greet, ok, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minidom::Element;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::io::Write;

pub const PEOPLE: [&str; 3] = ["juliet", "romeo", "nurse"];
pub const ROOMS: &str = "conference.example.org";
pub const GARDEN: &str = "garden@conference.example.org";
pub const CHANNEL: &str = "square@conference.example.org";
pub const SERVICE: &str = "pubsub.example.org";
/// Messages that wait for nurse.
pub const WAITING: usize = 4;
/// The client that has a token.
pub const DEVICE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";

/// Nothing in here goes by what day it is, or by the size of a disk.
pub const SETTINGS: &str = "domain = \"example.org\"\nadmins = [\"prince@example.org\"]\nplain = true\nscram_iterations = 4096\n\
                            archive_days = 0\narchive_bytes = 268435456\n";

/// Long texts: a segment of the log (2 MiB) is full of them, and they compress well.
const LONG_BYTES: usize = 200_000;
const LONG: usize = 11;

fn fields(form_type: &str, fields: &[(&str, &[&str])]) -> String {
    let value = |value: &&str| format!("<value>{value}</value>");
    let field = |(var, values): &(&str, &[&str])| {
        format!("<field var='{var}'>{}</field>", values.iter().map(value).collect::<String>())
    };
    let fields: String = fields.iter().map(field).collect();
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>{form_type}</value></field>{fields}</x>"
    )
}

fn chat(to: &str, text: &str) -> String {
    format!("<message type='chat' to='{to}@{DOMAIN}' id='{}'><body>{text}</body></message>", text.len())
}

/// Fills a folder, up to the last message.
pub struct Scene<'a> {
    dir: &'a Dir,
    server: Server,
}

impl<'a> Scene<'a> {
    /// Accounts, and a server.
    pub fn new(dir: &'a Dir) -> Scene<'a> {
        for name in PEOPLE.iter().chain(&["tybalt", "prince"]) {
            ok(dir, &["user", "add", name, "--password-stdin"], &format!("{}\n", password(name)));
        }
        Scene { dir, server: Server::start(dir, &[]) }
    }

    /// All of it; what a client that logs in by a token needs.
    pub fn play(self) -> String {
        let [mut juliet, mut romeo, mut nurse, mut tybalt] =
            ["juliet", "romeo", "nurse", "tybalt"].map(|name| self.client(name));
        contacts(&mut juliet, &mut romeo, &mut nurse, &mut tybalt);
        own(&mut juliet, &mut romeo);
        nodes(&mut juliet, &mut romeo, &mut nurse);
        chats(&mut juliet, &mut romeo, &mut nurse, &mut tybalt);
        garden(&mut juliet, &mut romeo, &mut nurse);
        square(&mut romeo, &mut nurse);
        preferences(&mut juliet, &mut romeo, &mut nurse);
        tybalt.close();
        ok(self.dir, &["user", "remove", "tybalt"], "");
        self.lost(nurse, &mut romeo);
        waiting(&mut juliet, &mut romeo);
        self.told();
        let token = self.token();
        juliet.close();
        romeo.close();
        assert!(self.server.stop().success());
        token
    }

    fn client(&self, name: &str) -> Client {
        let mut client = Client::new(&self.server, self.dir, name, "phone", Login::Plain);
        client.say("<presence/>");
        client.heard();
        client
    }

    /// A message that was written to a client which is gone (XEP-0198), and waits as one that it may have.
    fn lost(&self, mut nurse: Client, romeo: &mut Client) {
        nurse.say("<enable xmlns='urn:xmpp:sm:3'/>");
        nurse.until(|stanza| stanza.name() == "enabled");
        romeo.say(&chat("nurse", "Is she at home?"));
        nurse.until(|stanza| stanza.name() == "message");
        drop(nurse);
        let gone = |romeo: &mut Client| romeo.heard().iter().any(|stanza| stanza.attr("type") == Some("unavailable"));
        while !gone(romeo) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// What the server has to say to everybody, once (XEP-0133 §4.24); by somebody who is nobody otherwise, as an administrator may do
    /// everything.
    fn told(&self) {
        let mut prince = self.client("prince");
        let node = "http://jabber.org/protocol/admin#set-motd";
        let command = "command xmlns='http://jabber.org/protocol/commands'";
        let asked = prince.set(Some(DOMAIN), &format!("<{command} node='{node}'/>"));
        let session = asked.children().next().unwrap().attr("sessionid").unwrap().to_owned();
        let form = fields("http://jabber.org/protocol/admin", &[("motd", &["Rehearsal", "at noon"])]);
        prince.set(
            Some(DOMAIN),
            &format!("<{command} node='{node}' sessionid='{session}' action='complete'>{form}</command>"),
        );
        prince.close();
    }

    /// A token (XEP-0484).
    fn token(&self) -> String {
        let mut stream = open(&self.server, self.dir);
        greet(&mut stream);
        let xml = format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>{}</initial-response>\
             <user-agent id='{DEVICE}'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/></authenticate>",
            STANDARD.encode(format!("\0romeo\0{}", password("romeo")))
        );
        stream.write_all(xml.as_bytes()).unwrap();
        let said = until(&mut stream, "</success>");
        said.split_once(" token='").unwrap().1.split('\'').next().unwrap().to_owned()
    }
}

/// The last message, which the server has when this returns, and a client that asks for a promise knows.
pub fn last_message(dir: &Dir) -> Server {
    let server = Server::start(dir, &[]);
    let mut romeo = Client::new(&server, dir, "romeo", "phone", Login::Plain);
    romeo.say("<enable xmlns='urn:xmpp:sm:3'/>");
    romeo.until(|stanza| stanza.name() == "enabled");
    romeo.say(&(chat("nurse", "Stay, nurse") + "<r xmlns='urn:xmpp:sm:3'/>"));
    romeo.until(|stanza| stanza.name() == "a");
    server
}

/// Each bit of a row of the roster, for people here.
fn contacts(juliet: &mut Client, romeo: &mut Client, nurse: &mut Client, tybalt: &mut Client) {
    let item = |jid: &str, inner: &str| {
        format!("<query xmlns='jabber:iq:roster'><item jid='{jid}@{DOMAIN}'{inner}</item></query>")
    };
    let name = " name='Romeo &lt;3 &amp; &quot;co&quot;'><group>Friends</group><group>Verona &amp; Co</group>";
    juliet.set(None, &item("romeo", name));
    juliet.set(None, &item("nurse", " name='Angelica'><group>House</group>"));
    romeo.set(None, &item("benvolio", ">"));
    let say = |who: &mut Client, ty: &str, to: &str| {
        who.say(&format!("<presence type='{ty}' to='{to}@{DOMAIN}'/>"));
        who.heard();
    };
    say(juliet, "subscribe", "romeo");
    say(romeo, "subscribed", "juliet");
    say(romeo, "subscribe", "juliet");
    say(juliet, "subscribed", "romeo");
    say(romeo, "subscribe", "nurse");
    say(nurse, "subscribed", "romeo");
    say(juliet, "subscribe", "nurse");
    say(romeo, "subscribed", "friar");
    say(tybalt, "subscribe", "juliet");
    say(juliet, "subscribed", "tybalt");
    nurse.say(&format!(
        "<presence type='subscribe' to='romeo@{DOMAIN}'><status>A word with you, sir</status></presence>"
    ));
    nurse.heard();
    let block = "<item jid='example.com'/><item jid='iago@example.org'/><item jid='paris@example.org/tomb'/>";
    juliet.set(None, &format!("<block xmlns='urn:xmpp:blocking'>{block}</block>"));
}

/// Private data and vCards, a large one and one with a picture; a registration for notifications.
fn own(juliet: &mut Client, romeo: &mut Client) {
    juliet.set(
        None,
        "<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'><nick>J &amp; R</nick></exodus></query>",
    );
    romeo.set(
        None,
        &format!(
            "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'><conference jid='{GARDEN}' name='Garden' \
             autojoin='true'><nick>romeo</nick></conference></storage></query>"
        ),
    );
    let note = "Wherefore art thou? ".repeat(500);
    juliet.set(None, &format!("<vCard xmlns='vcard-temp'><FN>Juliet Capulet</FN><NOTE>{note}</NOTE></vCard>"));
    romeo.set(
        None,
        "<vCard xmlns='vcard-temp'><FN>Romeo Montague</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>iVBORw0KGgo=</BINVAL></PHOTO></vCard>",
    );
    let options = fields("http://jabber.org/protocol/pubsub#publish-options", &[("secret", &["a&lt;b"])]);
    juliet
        .set(None, &format!("<enable xmlns='urn:xmpp:push:0' jid='romeo@{DOMAIN}/maker' node='n1'>{options}</enable>"));
}

const OWNER: &str = "http://jabber.org/protocol/pubsub#owner";

fn publish(who: &mut Client, to: Option<&str>, node: &str, id: &str, payload: &str) {
    let item = format!("<publish node='{node}'><item id='{id}'>{payload}</item></publish>");
    who.set(to, &format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{item}</pubsub>"));
}

fn create(who: &mut Client, to: Option<&str>, node: &str, options: &[(&str, &[&str])]) {
    let form = fields("http://jabber.org/protocol/pubsub#node_config", options);
    who.set(
        to,
        &format!(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='{node}'/><configure>{form}</configure></pubsub>"
        ),
    );
}

fn affiliate(who: &mut Client, to: Option<&str>, node: &str, people: &[(&str, &str)]) {
    let people: String =
        people.iter().map(|(jid, what)| format!("<affiliation jid='{jid}' affiliation='{what}'/>")).collect();
    who.set(to, &format!("<pubsub xmlns='{OWNER}'><affiliations node='{node}'>{people}</affiliations></pubsub>"));
}

fn subscribe(who: &mut Client, to: &str, node: &str) {
    let bare = who.jid.split('/').next().unwrap().to_owned();
    let subscribe = format!("<subscribe node='{node}' jid='{bare}'/>");
    who.set(Some(to), &format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{subscribe}</pubsub>"));
}

/// Every value of what a node can be like is at one of them.
fn nodes(juliet: &mut Client, romeo: &mut Client, nurse: &mut Client) {
    let picture = [&b"\x89PNG\r\n\x1a\n"[..], &[0; 30_000]].concat();
    let sha1: String =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &picture).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let data = STANDARD.encode(&picture);
    publish(juliet, None, "urn:xmpp:avatar:data", &sha1, &format!("<data xmlns='urn:xmpp:avatar:data'>{data}</data>"));
    let info = format!("<info id='{sha1}' type='image/png' bytes='{}'/>", picture.len());
    let metadata = format!("<metadata xmlns='urn:xmpp:avatar:metadata'>{info}</metadata>");
    publish(juliet, None, "urn:xmpp:avatar:metadata", &sha1, &metadata);
    publish(
        juliet,
        None,
        "http://jabber.org/protocol/nick",
        "current",
        "<nick xmlns='http://jabber.org/protocol/nick'>J</nick>",
    );
    create(
        juliet,
        None,
        "urn:xmpp:bookmarks:1",
        &[("pubsub#access_model", &["whitelist"]), ("pubsub#max_items", &["max"])],
    );
    for (room, name) in [(GARDEN, "Garden"), (CHANNEL, "Square")] {
        let conference = format!(
            "<conference xmlns='urn:xmpp:bookmarks:1' name='{name}' autojoin='true'><nick>juliet</nick></conference>"
        );
        publish(juliet, None, "urn:xmpp:bookmarks:1", room, &conference);
    }
    let entry = |text: &str| format!("<entry xmlns='urn:x:entry'>{text} &lt;&amp;&gt;</entry>");
    create(
        juliet,
        None,
        "urn:x:diary",
        &[
            ("pubsub#title", &["Diary &amp; letters"]),
            ("pubsub#description", &["What nobody may know"]),
            ("pubsub#type", &["urn:x:entry"]),
            ("pubsub#language", &["it"]),
            ("pubsub#contact", &["nurse@example.org", "friar@example.org"]),
            ("pubsub#access_model", &["whitelist"]),
            ("pubsub#publish_model", &["open"]),
            ("pubsub#max_items", &["7"]),
            ("pubsub#max_payload_size", &["1234"]),
            ("pubsub#publish_node_full", &["reject"]),
            ("pubsub#send_last_published_item", &["never"]),
            ("pubsub#itemreply", &["publisher"]),
            ("pubsub#notification_type", &["normal"]),
            ("pubsub#notify_retract", &["1"]),
            ("pubsub#notify_sub", &["1"]),
        ],
    );
    let juliets = format!("juliet@{DOMAIN}");
    affiliate(
        juliet,
        None,
        "urn:x:diary",
        &[("romeo@example.org", "publisher"), ("nurse@example.org", "member"), ("paris@example.net", "outcast")],
    );
    publish(juliet, None, "urn:x:diary", "1", &entry("one"));
    publish(romeo, Some(&juliets), "urn:x:diary", "2", &entry("two"));
    subscribe(nurse, &juliets, "urn:x:diary");
    create(
        juliet,
        None,
        "urn:x:friends",
        &[
            ("pubsub#access_model", &["roster"]),
            ("pubsub#roster_groups_allowed", &["Friends"]),
            ("pubsub#publish_model", &["subscribers"]),
            ("pubsub#publish_node_full", &["discard-oldest"]),
            ("pubsub#send_last_published_item", &["on_sub"]),
            ("pubsub#deliver_payloads", &["0"]),
        ],
    );
    create(
        romeo,
        Some(SERVICE),
        "news",
        &[
            ("pubsub#access_model", &["authorize"]),
            ("pubsub#itemreply", &["none"]),
            ("pubsub#notification_type", &["headline"]),
            ("pubsub#notify_config", &["1"]),
            ("pubsub#notify_delete", &["1"]),
            ("pubsub#send_last_published_item", &["on_sub_and_presence"]),
        ],
    );
    let people = [
        ("juliet@example.org", "publisher"),
        ("paris@example.net", "publish-only"),
        ("friar@example.net", "member"),
        ("iago@example.net", "outcast"),
    ];
    affiliate(romeo, Some(SERVICE), "news", &people);
    subscribe(nurse, SERVICE, "news");
    subscribe(juliet, SERVICE, "news");
    publish(romeo, Some(SERVICE), "news", "a", &entry("first"));
    publish(juliet, Some(SERVICE), "news", "b", &entry("second"));
    create(
        juliet,
        Some(SERVICE),
        "board",
        &[
            ("pubsub#access_model", &["open"]),
            ("pubsub#publish_model", &["open"]),
            ("pubsub#deliver_notifications", &["0"]),
            ("pubsub#subscribe", &["0"]),
        ],
    );
    publish(nurse, Some(SERVICE), "board", "c", &entry("third"));
}

/// Enough for a segment of the log, and a few words.
fn chats(juliet: &mut Client, romeo: &mut Client, nurse: &mut Client, tybalt: &mut Client) {
    tybalt.say(&chat("juliet", "Cousin"));
    tybalt.heard();
    for n in 0..LONG {
        romeo.say(&chat("juliet", &format!("{n} {}", "x".repeat(LONG_BYTES))));
        juliet.until(|stanza| {
            stanza.name() == "message" && stanza.attr("from").is_some_and(|from| from.starts_with("romeo"))
        });
    }
    for (from, to, text) in
        [(1, "juliet", "Lady, by yonder &lt;moon&gt; I swear"), (0, "romeo", "O, swear not by the moon")]
    {
        let who = if from == 0 { &mut *juliet } else { &mut *romeo };
        who.say(&chat(to, text));
        who.heard();
    }
    nurse.say(&chat("romeo", "Anon, anon"));
    nurse.heard();
    settle([juliet, romeo, nurse]);
}

/// What has come so far is nothing to anybody.
fn settle(all: [&mut Client; 3]) {
    all.into_iter().for_each(|who| drop(who.heard()));
}

const MUC: &str = "http://jabber.org/protocol/muc";

fn enter(who: &mut Client, room: &str, nick: &str) {
    who.say(&format!("<presence to='{room}/{nick}'><x xmlns='{MUC}'><password>orchard</password></x></presence>"));
    who.heard();
}

fn configure(who: &mut Client, room: &str, options: &[(&str, &[&str])]) {
    let form = fields("http://jabber.org/protocol/muc#roomconfig", options);
    who.set(Some(room), &format!("<query xmlns='{MUC}#owner'>{form}</query>"));
}

fn administer(who: &mut Client, room: &str, items: &str) {
    who.set(Some(room), &format!("<query xmlns='{MUC}#admin'>{items}</query>"));
}

fn groupchat(who: &mut Client, room: &str, inner: &str) -> Vec<Element> {
    who.say(&format!("<message type='groupchat' to='{room}' id='g'>{inner}</message>"));
    who.until(|stanza| stanza.attr("type") == Some("groupchat"))
}

fn hat(who: &mut Client, what: &str, values: &[(&str, &[&str])]) {
    let form = fields("urn:xmpp:hats:commands", values);
    let node = format!("urn:xmpp:hats:commands:{what}");
    who.set(
        Some(GARDEN),
        &format!(
            "<command xmlns='http://jabber.org/protocol/commands' action='execute' node='{node}'>{form}</command>"
        ),
    );
}

/// A closed room with everything.
fn garden(juliet: &mut Client, romeo: &mut Client, nurse: &mut Client) {
    enter(romeo, GARDEN, "romeo");
    configure(
        romeo,
        GARDEN,
        &[
            ("muc#roomconfig_roomname", &["Garden &amp; orchard"]),
            ("muc#roomconfig_roomdesc", &["Under the balcony"]),
            ("muc#roomconfig_lang", &["it"]),
            ("muc#roomconfig_pubsub", &["xmpp:pubsub.example.org?;node=news"]),
            ("muc#roomconfig_membersonly", &["1"]),
            ("muc#roomconfig_moderatedroom", &["1"]),
            ("muc#roomconfig_changesubject", &["0"]),
            ("muc#roomconfig_allowinvites", &["0"]),
            ("muc#roomconfig_whois", &["anyone"]),
            ("muc#roomconfig_allowpm", &["participants"]),
            ("muc#roomconfig_presencebroadcast", &["moderator", "participant"]),
            ("muc#roomconfig_getmemberlist", &["moderator"]),
            ("muc#roomconfig_passwordprotectedroom", &["1"]),
            ("muc#roomconfig_roomsecret", &["orchard"]),
            ("muc#roomconfig_maxusers", &["20"]),
            ("muc#maxhistoryfetch", &["10"]),
        ],
    );
    let said = |text: &str| format!("<body>{text}</body>");
    groupchat(romeo, GARDEN, &said("Before she was let in again"));
    administer(
        romeo,
        GARDEN,
        &format!("<item jid='nurse@{DOMAIN}' affiliation='outcast'><reason>Talks</reason></item>"),
    );
    administer(romeo, GARDEN, &format!("<item jid='nurse@{DOMAIN}' affiliation='none'/>"));
    let people = [
        "<item jid='nurse@example.org' affiliation='member' nick='Angelica'/>",
        "<item jid='juliet@example.org' affiliation='admin'/>",
        "<item jid='friar@example.net' affiliation='owner'/>",
        "<item jid='paris@example.net' affiliation='member'/>",
        "<item jid='iago@example.net' affiliation='outcast'><reason>Other play</reason></item>",
        "<item jid='example.com' affiliation='outcast'/>",
    ];
    administer(romeo, GARDEN, &people.concat());
    enter(juliet, GARDEN, "juliet");
    enter(nurse, GARDEN, "Angelica");
    hat(romeo, "create", &[("hats#title", &["Host"]), ("hats#uri", &["urn:x:host"]), ("hats#hue", &["327.2"])]);
    hat(romeo, "assign", &[("hats#jid", &["juliet@example.org"]), ("hats#uri", &["urn:x:host"])]);
    romeo.set(
        Some(GARDEN),
        "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>iVBORw0KGgo=</BINVAL></PHOTO></vCard>",
    );
    settle([juliet, romeo, nurse]);
    let news = groupchat(juliet, GARDEN, &said("What man art thou?"));
    let id =
        news.iter().find_map(|stanza| stanza.get_child("stanza-id", "urn:xmpp:sid:0")).unwrap().attr("id").unwrap();
    romeo.set(
        Some(GARDEN),
        &format!("<moderate xmlns='urn:xmpp:message-moderate:1' id='{id}'><retract xmlns='urn:xmpp:message-retract:1'/><reason>Too loud</reason></moderate>"),
    );
    settle([juliet, romeo, nurse]);
    groupchat(nurse, GARDEN, &said("Madam!"));
    groupchat(romeo, GARDEN, "<subject>The moon &amp; vows</subject>");
    for who in [juliet, romeo, nurse] {
        who.say(&format!("<presence to='{GARDEN}/x' type='unavailable'/>"));
        who.heard();
    }
}

/// An open one, where somebody registers.
fn square(romeo: &mut Client, nurse: &mut Client) {
    enter(romeo, CHANNEL, "romeo");
    configure(
        romeo,
        CHANNEL,
        &[
            ("muc#roomconfig_roomname", &["Square"]),
            ("muc#roomconfig_publicroom", &["1"]),
            ("muc#roomconfig_membersonly", &["0"]),
            ("muc#roomconfig_whois", &["moderators"]),
            ("muc#roomconfig_allowpm", &["none"]),
        ],
    );
    let form = fields("http://jabber.org/protocol/muc#register", &[("muc#register_roomnick", &["Angelica"])]);
    nurse.set(Some(CHANNEL), &format!("<query xmlns='jabber:iq:register'>{form}</query>"));
    groupchat(romeo, CHANNEL, "<body>A plague</body>");
    romeo.say(&format!("<presence to='{CHANNEL}/romeo' type='unavailable'/>"));
    romeo.heard();
}

/// Each policy of an archive (XEP-0441).
fn preferences(juliet: &mut Client, romeo: &mut Client, nurse: &mut Client) {
    for (who, default, always, never) in
        [(juliet, "roster", "friar", "nurse"), (romeo, "always", "juliet", "paris"), (nurse, "never", "friar", "iago")]
    {
        let lists = format!("<always><jid>{always}@{DOMAIN}</jid></always><never><jid>{never}@{DOMAIN}</jid></never>");
        who.set(None, &format!("<prefs xmlns='urn:xmpp:mam:2' default='{default}'>{lists}</prefs>"));
    }
}

/// What waits for nurse: messages, one of them too large for a row.
fn waiting(juliet: &mut Client, romeo: &mut Client) {
    juliet.say(&chat("nurse", "What says he of our marriage?"));
    juliet.heard();
    romeo.say(&chat("nurse", &"y".repeat(50_000)));
    romeo.heard();
}
