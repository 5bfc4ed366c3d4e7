//! What people see of their data: all of it, in words that stay the same whatever serves it.

use crate::client::{Client, DOMAIN, Login, open, password};
use crate::common::binary::{Dir, LONG, Server, greet, ok, until};
use crate::scene::{CHANNEL, DEVICE, GARDEN, PEOPLE, ROOMS, SERVICE, WAITING};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minidom::{Element, Node};
use ring::hmac;
use std::collections::BTreeSet;
use std::io::Write;
use std::time::Instant;

/// The id of a message that is no part of the data.
const COME: &str = "come";

/// Texts longer than this are shown by their length and their beginning, in bytes.
const SHOWN: usize = 200;

/// Lines, with a title above each part.
#[derive(Default)]
struct Seen(String);

impl Seen {
    fn title(&mut self, title: &str) {
        self.0 += &format!("\n# {title}\n");
    }
    fn line(&mut self, line: impl AsRef<str>) {
        self.0 += &format!("{}\n", line.as_ref());
    }
    fn sorted(&mut self, lines: impl IntoIterator<Item = String>) {
        let mut lines: Vec<String> = lines.into_iter().collect();
        lines.sort();
        lines.iter().for_each(|line| self.line(line));
    }
}

/// What of stanzas is golden; what servers will add to them some day is not looked at.
const NAMESPACES: &[&str] = &[
    "jabber:client",
    "jabber:x:data",
    "http://jabber.org/protocol/muc#user",
    "http://jabber.org/protocol/pubsub#event",
    "urn:xmpp:delay",
    "urn:xmpp:hats:0",
    "urn:xmpp:message-retract:1",
    "urn:xmpp:occupant-id:0",
    "urn:xmpp:sid:0",
    "vcard-temp:x:update",
];

/// An element in one form: attributes in order, without those called so.
fn form(element: &Element, without: &[&str]) -> String {
    let mut out = format!("{}{{{}}}", element.name(), element.ns());
    let attrs = element.attrs().iter().map(|((ns, name), value)| (name.as_str(), ns.as_str(), value));
    let attrs: BTreeSet<_> = attrs.filter(|(name, ..)| !without.contains(name)).collect();
    for (name, ns, value) in attrs {
        out += &format!(" {ns}{}{name}={value:?}", if ns.is_empty() { "" } else { ":" });
    }
    let stanza = ["message", "presence"].contains(&element.name()) && element.ns() == "jabber:client";
    let inside: Vec<String> = element
        .nodes()
        .filter(|node| !stanza || node.as_element().is_some_and(|child| NAMESPACES.contains(&&*child.ns())))
        .map(|node| match node {
            Node::Element(child) => form(child, &[]),
            Node::Text(text) if text.len() > SHOWN => format!("{} bytes: {:?}", text.len(), &text[..20]),
            Node::Text(text) => format!("{text:?}"),
        })
        .collect();
    if inside.is_empty() { out } else { format!("{out} ({})", inside.join(" ")) }
}

fn plain(element: &Element) -> String {
    form(element, &[])
}

/// The elements below an answer, however deep, that are called so.
fn all<'a>(element: &'a Element, name: &str, found: &mut Vec<&'a Element>) {
    for child in element.children() {
        if child.name() == name {
            found.push(child);
        }
        all(child, name, found);
    }
}

fn named<'a>(element: &'a Element, name: &str) -> Vec<&'a Element> {
    let mut found = Vec::new();
    all(element, name, &mut found);
    found
}

/// The content of an answer in one form; errors by their condition. That there is nothing is told in one way or the other.
fn answer(iq: &Element) -> String {
    match iq.get_child("error", "jabber:client") {
        Some(error) if error.children().any(|child| child.name() == "item-not-found") => "nothing".into(),
        None if iq.children().all(|child| child.nodes().next().is_none()) => "nothing".into(),
        Some(error) => format!("error: {}", error.children().map(Element::name).collect::<Vec<_>>().join(" ")),
        None => iq.children().map(plain).collect::<Vec<_>>().join(" "),
    }
}

/// Starts what serves the folder, and looks at everything; what waits for people is gone then.
pub fn look(dir: &Dir, token: &str) -> String {
    let mut seen = Seen::default();
    seen.title("accounts");
    seen.line(ok(dir, &["user", "list"], "").trim_end());
    let server = Server::start(dir, &[]);
    push(&mut seen, &server, dir);
    for (name, how) in PEOPLE.into_iter().zip([Login::Sha256, Login::Sha1, Login::Plain]) {
        person(&mut seen, &server, dir, name, how);
    }
    room(&mut seen, &server, dir, GARDEN);
    room(&mut seen, &server, dir, CHANNEL);
    service(&mut seen, &server, dir);
    by_token(&mut seen, &server, dir, token);
    name_again(&mut seen, &server, dir);
    // What was delivered is not kept; that is stored in a moment.
    let begun = Instant::now();
    while !ok(dir, &["status"], "").contains("messages     0 wait") {
        assert!(begun.elapsed() < LONG, "messages wait that nobody gets");
    }
    assert!(server.stop().success());
    seen.0
}

/// What is an account's own.
fn person(seen: &mut Seen, server: &Server, dir: &Dir, name: &str, how: Login) {
    let mut client = Client::new(server, dir, name, "look", how);
    seen.title(&format!("{name}: contacts"));
    let roster = client.get(None, "<query xmlns='jabber:iq:roster'/>");
    seen.sorted(named(&roster, "item").into_iter().map(plain));
    seen.title(&format!("{name}: blocked"));
    let blocked = client.get(None, "<blocklist xmlns='urn:xmpp:blocking'/>");
    seen.sorted(named(&blocked, "item").into_iter().map(plain));
    seen.title(&format!("{name}: private, vCard, preferences"));
    for question in [
        "<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'/></query>",
        "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>",
        "<vCard xmlns='vcard-temp'/>",
        "<prefs xmlns='urn:xmpp:mam:2'/>",
    ] {
        seen.line(answer(&client.iq("get", None, question)));
    }
    let own = format!("{name}@{DOMAIN}");
    nodes(seen, &mut client, &own);
    seen.title(&format!("{name}: what waited"));
    waited(seen, client.available(waiting(name)));
    seen.title(&format!("{name}: archive"));
    archive(seen, &mut client, None);
    client.close();
    seen.title(&format!("{name}: what waits when they come again"));
    let mut client = Client::new(server, dir, name, "look", how);
    waited(seen, client.available(0));
    client.close();
}

/// Messages that wait for somebody: those of the scene, and what a notification told of.
fn waiting(name: &str) -> usize {
    match name {
        "juliet" => 1,
        "nurse" => WAITING,
        _ => 0,
    }
}

/// Presence and requests in any order; then messages in theirs.
fn waited(seen: &mut Seen, news: Vec<Element>) {
    let kind =
        |name: &'static str| news.iter().filter(move |stanza| stanza.name() == name && stanza.attr("id") != Some(COME));
    // Who is there and who is not is no data.
    let presence = kind("presence").filter(|stanza| !matches!(stanza.attr("type"), None | Some("unavailable")));
    let mut lines: Vec<String> = presence.map(plain).collect();
    lines.sort();
    lines.dedup();
    seen.sorted(lines);
    let (told, written): (Vec<_>, Vec<_>) = kind("message").partition(|stanza| stanza.attr("type") == Some("headline"));
    seen.sorted(told.into_iter().map(|stanza| form(stanza, &["id"])));
    written.into_iter().for_each(|stanza| seen.line(plain(stanza)));
}

/// All of an archive, page by page.
fn archive(seen: &mut Seen, client: &mut Client, of: Option<&str>) {
    let mut after = String::new();
    loop {
        let query = format!(
            "<query xmlns='urn:xmpp:mam:2' queryid='q'><set xmlns='http://jabber.org/protocol/rsm'><max>7</max>{after}</set></query>"
        );
        let fin = client.iq("set", of, &query);
        let news = std::mem::take(&mut client.news);
        let results = news.iter().filter_map(|message| message.get_child("result", "urn:xmpp:mam:2"));
        results.for_each(|result| seen.line(form(result, &["queryid"])));
        let last = named(&fin, "last").first().map(|last| last.text());
        let complete = fin.children().next().and_then(|fin| fin.attr("complete"));
        match last.filter(|_| complete != Some("true")) {
            Some(last) => after = format!("<after>{last}</after>"),
            None => return,
        }
    }
}

/// Fields of a form that golden data has; those that are added later are not looked at.
const FIELDS: &[&str] = &[
    "muc#roomconfig_persistentroom",
    "muc#roomconfig_publicroom",
    "muc#roomconfig_membersonly",
    "muc#roomconfig_moderatedroom",
    "muc#roomconfig_changesubject",
    "muc#roomconfig_allowinvites",
    "muc#roomconfig_enablearchiving",
    "muc#roomconfig_roomname",
    "muc#roomconfig_roomdesc",
    "muc#roomconfig_lang",
    "muc#roomconfig_pubsub",
    "muc#roomconfig_presencebroadcast",
    "muc#roomconfig_getmemberlist",
    "muc#roomconfig_maxusers",
    "muc#maxhistoryfetch",
    "muc#roomconfig_whois",
    "muc#roomconfig_allowpm",
    "muc#roomconfig_passwordprotectedroom",
    "muc#roomconfig_roomsecret",
    "muc#roomconfig_roomadmins",
    "muc#roomconfig_roomowners",
    "pubsub#title",
    "pubsub#description",
    "pubsub#type",
    "pubsub#language",
    "pubsub#contact",
    "pubsub#access_model",
    "pubsub#roster_groups_allowed",
    "pubsub#publish_model",
    "pubsub#subscribe",
    "pubsub#persist_items",
    "pubsub#max_items",
    "pubsub#publish_node_full",
    "pubsub#max_payload_size",
    "pubsub#deliver_notifications",
    "pubsub#deliver_payloads",
    "pubsub#notification_type",
    "pubsub#send_last_published_item",
    "pubsub#itemreply",
    "pubsub#notify_retract",
    "pubsub#notify_delete",
    "pubsub#notify_config",
    "pubsub#notify_sub",
];

/// The values of a form.
fn fields(seen: &mut Seen, answer: &Element) {
    for field in named(answer, "field") {
        let var = field.attr("var").unwrap_or_default();
        if FIELDS.contains(&var) {
            let values: Vec<String> =
                field.children().filter(|child| child.name() == "value").map(Element::text).collect();
            seen.line(format!("{var} = {values:?}"));
        }
    }
}

/// All nodes of an account or the service: their items, and what their owner sees.
fn nodes(seen: &mut Seen, client: &mut Client, of: &str) {
    let list = client.get(Some(of), "<query xmlns='http://jabber.org/protocol/disco#items'/>");
    let mut names: Vec<String> =
        named(&list, "item").iter().filter_map(|item| item.attr("node")).map(str::to_owned).collect();
    names.sort();
    for node in names {
        seen.title(&format!("node {node} of {of}"));
        let items = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{node}'/></pubsub>");
        let items = client.iq("get", Some(of), &items);
        named(&items, "item").into_iter().for_each(|item| seen.line(plain(item)));
        let mut owner = |what: &str| {
            let question =
                format!("<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><{what} node='{node}'/></pubsub>");
            client.iq("get", Some(of), &question)
        };
        let configuration = owner("configure");
        if configuration.attr("type") == Some("error") {
            seen.line(answer(&configuration));
            continue;
        }
        fields(seen, &configuration);
        seen.sorted(named(&owner("affiliations"), "affiliation").into_iter().map(plain));
        seen.sorted(named(&owner("subscriptions"), "subscription").into_iter().map(plain));
    }
}

/// What the owner of a room sees, and what somebody does who comes in.
fn room(seen: &mut Seen, server: &Server, dir: &Dir, room: &str) {
    let mut romeo = Client::new(server, dir, "romeo", "look", Login::Sha256);
    seen.title(&format!("{room}: configuration"));
    fields(seen, &romeo.get(Some(room), "<query xmlns='http://jabber.org/protocol/muc#owner'/>"));
    seen.title(&format!("{room}: people"));
    for affiliation in ["owner", "admin", "member", "outcast"] {
        let list =
            format!("<query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='{affiliation}'/></query>");
        let list = romeo.get(Some(room), &list);
        seen.sorted(named(&list, "item").into_iter().map(plain));
    }
    seen.line(answer(&romeo.iq("get", Some(room), "<vCard xmlns='vcard-temp'/>")));
    seen.title(&format!("{room}: archive"));
    archive(seen, &mut romeo, Some(room));
    romeo.close();
    for name in PEOPLE {
        seen.title(&format!("{room}: {name} comes in"));
        let mut client = Client::new(server, dir, name, "look", Login::Sha1);
        client.say(&format!(
            "<presence to='{room}/{name}'><x xmlns='http://jabber.org/protocol/muc'><password>orchard</password></x></presence>"
        ));
        // The subject comes behind the history (XEP-0045 §7.2.15).
        let mut news = client.until(|stanza| stanza.has_child("subject", "jabber:client"));
        news.retain(|stanza| stanza.name() != "iq");
        news.iter().for_each(|stanza| seen.line(plain(stanza)));
        let own = client.get(Some(room), "<query xmlns='jabber:iq:register'/>");
        named(&own, "username").iter().for_each(|name| seen.line(format!("registered as {}", name.text())));
        client.close();
    }
    // Whoever was let in again sees nothing of before.
    seen.title(&format!("{room}: what nurse reads of the archive"));
    let mut nurse = Client::new(server, dir, "nurse", "look", Login::Sha1);
    archive(seen, &mut nurse, Some(room));
    nurse.close();
}

/// The service of rooms, and that of nodes.
fn service(seen: &mut Seen, server: &Server, dir: &Dir) {
    seen.title("what is found");
    let mut romeo = Client::new(server, dir, "romeo", "look", Login::Sha256);
    for service in [ROOMS, SERVICE] {
        let list = romeo.get(Some(service), "<query xmlns='http://jabber.org/protocol/disco#items'/>");
        seen.sorted(named(&list, "item").into_iter().map(plain));
    }
    nodes(seen, &mut romeo, SERVICE);
    romeo.close();
    let mut juliet = Client::new(server, dir, "juliet", "look", Login::Sha256);
    nodes(seen, &mut juliet, SERVICE);
    juliet.close();
    for name in PEOPLE {
        let mut client = Client::new(server, dir, name, "look", Login::Sha256);
        for what in ["subscriptions", "affiliations"] {
            seen.title(&format!("{SERVICE}: {what} of {name}"));
            let list = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><{what}/></pubsub>");
            let list = client.get(Some(SERVICE), &list);
            seen.sorted(list.children().next().unwrap().children().flat_map(Element::children).map(plain));
        }
        client.close();
    }
}

/// A token that romeo's client got (XEP-0484). One that is too old is known as such, one that is not there is wrong.
fn by_token(seen: &mut Seen, server: &Server, dir: &Dir, token: &str) {
    seen.title("a login by token");
    let said = |token: &str| {
        let mut stream = open(server, dir);
        greet(&mut stream);
        let hash = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()), b"Initiator");
        let proof = STANDARD.encode([b"romeo\0", hash.as_ref()].concat());
        let xml = format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'><initial-response>{proof}</initial-response>\
             <user-agent id='{DEVICE}'/><fast xmlns='urn:xmpp:fast:0'/></authenticate>"
        );
        stream.write_all(xml.as_bytes()).unwrap();
        let mut said = String::new();
        while !["</success>", "</failure>"].iter().any(|end| said.contains(end)) {
            said += &until(&mut stream, ">");
        }
        said
    };
    let right = said(token);
    let known = right.contains("<success") || right.contains("<credentials-expired");
    seen.line(if known { "the token is known" } else { "the token is not known" });
    assert!(said("another").contains("<not-authorized"));
}

/// Juliet's registration (XEP-0357) is at a client of romeo's, which gets what the service of a maker would. What it is told of is in
/// nobody's archive, and not looked at later.
fn push(seen: &mut Seen, server: &Server, dir: &Dir) {
    seen.title("a notification of juliet's client");
    let mut maker = Client::new(server, dir, "romeo", "maker", Login::Sha256);
    let mut nurse = Client::new(server, dir, "nurse", "look", Login::Sha256);
    nurse.say(&format!("<message type='chat' to='juliet@{DOMAIN}' id='{COME}'><body>Come</body></message>"));
    let news = maker.until(|stanza| stanza.name() == "iq");
    news.iter().filter(|stanza| stanza.name() == "iq").for_each(|stanza| seen.line(form(stanza, &["id"])));
    nurse.close();
    maker.close();
}

/// Tybalt was removed. Whoever takes the name sees nothing of his.
fn name_again(seen: &mut Seen, server: &Server, dir: &Dir) {
    ok(dir, &["user", "add", "tybalt", "--password-stdin"], &format!("{}\n", password("tybalt")));
    person(seen, server, dir, "tybalt", Login::Sha256);
}
