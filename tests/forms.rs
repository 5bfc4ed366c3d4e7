//! Every form that the server gives out: each field has the type that its registry says, what it shows can be chosen, and what is set
//! in a form that an owner fills in is what the form shows then.
#![allow(clippy::unwrap_used)]

mod house;

use house::House;
use inglenook::core::StreamId;
use inglenook::wire::xml::{Raw, Scope};
use inglenook::wire::{Jid, Node};
use std::collections::{BTreeMap, BTreeSet};

const ROOM: &str = "forms@conference.house.test";
const NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
const ROOM_CONFIG: &str = "http://jabber.org/protocol/muc#roomconfig";
const ADMIN: &str = "http://jabber.org/protocol/admin";

/// The registries: XEP-0045 §16.5, XEP-0060 §16.4, XEP-0133 §8, XEP-0157 §4, XEP-0313 §4.1.5 and §16, XEP-0401 §5; what stands in none is ours.
#[rustfmt::skip]
const REGISTRY: &[(&str, &[(&str, &str)])] = &[
    (NODE_CONFIG, &[
        ("list-single", "access_model itemreply language node_type notification_type publish_model publish_node_full send_last_published_item"),
        ("list-multi", "roster_groups_allowed"), ("jid-multi", "contact"),
        ("boolean", "deliver_notifications deliver_payloads notify_config notify_delete notify_retract notify_sub persist_items subscribe"),
        ("text-single", "description max_items max_payload_size title type"),
    ]),
    ("http://jabber.org/protocol/pubsub#meta-data", &[
        ("list-single", "access_model language publish_model"), ("jid-multi", "contact owner publisher"), ("jid-single", "creator"),
        ("text-single", "creation_date description max_items num_subscribers title type"),
    ]),
    ("http://jabber.org/protocol/pubsub#subscribe_authorization", &[
        ("boolean", "allow"), ("text-single", "node subid"), ("jid-single", "subscriber_jid"),
    ]),
    (ROOM_CONFIG, &[
        ("boolean", "allowinvites changesubject enablearchiving membersonly moderatedroom passwordprotectedroom persistentroom publicroom"),
        ("list-single", "allowpm maxusers whois"), ("list-multi", "getmemberlist presencebroadcast"),
        ("text-single", "lang pubsub roomdesc roomname maxhistoryfetch"), ("jid-multi", "roomadmins roomowners"),
        ("text-private", "roomsecret"),
    ]),
    ("http://jabber.org/protocol/muc#roominfo", &[
        ("jid-multi", "contactjid"), ("boolean", "subjectmod changesubject allowinvites membersonly moderatedroom"), ("text-multi", "avatarhash"),
        ("list-single", "allowpm"),
        ("text-single", "description lang ldapgroup logs occupants subject pubsub maxhistoryfetch roomname"),
    ]),
    ("http://jabber.org/protocol/muc#register", &[("boolean", "allow"), ("text-single", "roomnick"), ("jid-single", "jid")]),
    ("http://jabber.org/protocol/muc#request", &[
        ("boolean", "request_allow"), ("list-single", "role"), ("jid-single", "jid"), ("text-single", "roomnick"),
    ]),
    ("http://jabber.org/network/serverinfo", &[
        ("list-multi", "abuse-addresses admin-addresses feedback-addresses sales-addresses security-addresses status-addresses support-addresses"),
    ]),
    ("urn:xmpp:mam:2", &[
        ("jid-single", "with"), ("text-single", "start end before-id after-id"), ("list-multi", "ids"), ("boolean", "include-groupchat"),
    ]),
    (ADMIN, &[
        ("jid-single", "accountjid"), ("jid-multi", "accountjids activeuserjids idleuserjids onlineuserjids registereduserjids disableduserjids"),
        ("text-private", "password password-verify"), ("text-multi", "announcement motd welcome onlineresources"),
        ("text-single", "activeusersnum idleusersnum onlineusersnum registeredusersnum rostersize"),
    ]),
    ("urn:xmpp:channel-search:0:search-params", &[
        ("text-single", "q min_users"), ("boolean", "all sinname sindescription sinaddress"), ("list-multi", "types"), ("list-single", "key"),
    ]),
    ("urn:xmpp:invite#invitation", &[("text-single", "uri landing-url expire")]),
    ("urn:xmpp:hats:commands", &[("text-single", "title uri hue"), ("jid-single", "jid")]),
    // Forms without a type: the command says what it is.
    ("", &[
        ("text-private", "password password-verify"), ("list-multi", "sessions invitations"), ("text-multi", "sessions"), ("text-single", "username"),
        ("boolean", "roster-subscription"),
    ]),
];

struct Field {
    ty: String,
    values: Vec<String>,
    options: Vec<String>,
}

/// The fields of all forms in an answer, by the type of the form and their names.
fn forms(xml: &str) -> Vec<(String, BTreeMap<String, Field>)> {
    let raw = Raw::parse(xml, Scope::client()).unwrap();
    let mut forms = Vec::new();
    collect(raw.root(), &mut forms);
    forms
}

fn collect(node: Node<'_>, forms: &mut Vec<(String, BTreeMap<String, Field>)>) {
    if node.name() != "x" || node.ns_uri() != "jabber:x:data" {
        return node.children().for_each(|child| collect(child, forms));
    }
    let values = |field: Node<'_>| -> Vec<String> {
        field.children().filter(|c| c.name() == "value").map(|value| value.text().into_owned()).collect()
    };
    let mut fields = BTreeMap::new();
    for field in node.children().filter(|c| c.name() == "field") {
        let options = field.children().filter(|c| c.name() == "option").flat_map(values).collect();
        let ty = field.attr("type").unwrap_or_default().into_owned();
        let Some(var) = field.attr("var") else { panic!("a field without a name: {}", field.xml()) };
        fields.insert(var.into_owned(), Field { ty, values: values(field), options });
    }
    let form_type = fields.remove("FORM_TYPE").map(|field| {
        assert_eq!(field.ty, "hidden");
        field.values[0].clone()
    });
    forms.push((form_type.unwrap_or_default(), fields));
}

/// Holds a form against its registry.
fn check(xml: &str) {
    let forms = forms(xml);
    assert!(!forms.is_empty(), "{xml}");
    for (form_type, fields) in forms {
        let (_, registry) =
            REGISTRY.iter().find(|(name, _)| *name == form_type).unwrap_or_else(|| panic!("{form_type}"));
        for (var, field) in fields {
            let short = ["pubsub#", "muc#roomconfig_", "muc#roominfo_", "muc#register_", "muc#", "hats#"]
                .iter()
                .fold(&*var, |var, prefix| var.strip_prefix(prefix).unwrap_or(var));
            let known = registry.iter().filter(|(_, vars)| vars.split(' ').any(|known| known == short));
            let types: Vec<&str> = known.map(|(ty, _)| *ty).collect();
            assert!(types.contains(&&*field.ty), "{form_type} {var} is {}, not {types:?}", field.ty);
            let ty = &field.ty;
            if !ty.ends_with("multi") {
                assert!(field.values.len() <= 1, "{form_type} {var} has several values");
            }
            if ty.starts_with("list-") && xml.contains("type='form'") {
                assert!(
                    field.values.iter().all(|v| field.options.contains(v)),
                    "{form_type} {var}: {:?}",
                    field.values
                );
            }
        }
    }
}

fn ask(house: &mut House, sid: StreamId, ty: &str, to: &str, payload: &str) -> String {
    house.settle();
    house.receive_all(sid);
    house.send(sid, &format!("<iq type='{ty}' id='ask' to='{to}'>{payload}</iq>"));
    house.settle();
    let all = house.receive_all(sid);
    all.into_iter().find(|xml| xml.starts_with("<iq ") && xml.contains(" id='ask'")).expect("an answer")
}

fn submit(form_type: &str, var: &str, values: &[String]) -> String {
    let values: String = values.iter().map(|value| format!("<value>{value}</value>")).collect();
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{form_type}</value></field>\
         <field var='{var}'>{values}</field></x>"
    )
}

/// Something else than what is there.
fn other(var: &str, field: &Field) -> Vec<String> {
    let now = &field.values;
    match &*field.ty {
        "boolean" => vec![if now == &["1"] { "0" } else { "1" }.into()],
        "list-single" | "list-multi" => {
            let choice = field.options.iter().find(|option| !now.contains(option) || field.ty == "list-multi");
            choice.into_iter().cloned().collect()
        }
        "jid-multi" => {
            let more = [format!("{}@house.test", var.rsplit(['#', '_']).next().unwrap())];
            now.iter().cloned().chain(more).collect::<BTreeSet<_>>().into_iter().collect()
        }
        _ if var == "muc#roomconfig_lang" => vec!["de".into()],
        _ if var.contains("max") => vec!["7".into()],
        _ => vec!["something".into()],
    }
}

/// Sets each field of a form alone, and reads back exactly that.
fn every_field(house: &mut House, sid: StreamId, to: &str, get: &str, form_type: &str, wrap: &dyn Fn(&str) -> String) {
    let read = |house: &mut House| {
        let xml = ask(house, sid, "get", to, get);
        check(&xml);
        forms(&xml).remove(0).1
    };
    for var in read(house).keys() {
        // A node is a leaf, and only that.
        if var == "pubsub#node_type" || var == "muc#roomconfig_passwordprotectedroom" {
            continue;
        }
        let before = read(house);
        let wanted = other(var, &before[var]);
        assert!(!wanted.is_empty() || before[var].options.is_empty(), "{var} has no other value");
        let answer = ask(house, sid, "set", to, &wrap(&submit(form_type, var, &wanted)));
        assert!(answer.contains("type='result'"), "{var} = {wanted:?}: {answer}");
        let after = read(house);
        assert_eq!(after[var].values, wanted, "{var}");
        for (name, field) in &after {
            let follows = (&**var, &**name) == ("muc#roomconfig_roomsecret", "muc#roomconfig_passwordprotectedroom");
            assert!(name == var || follows || field.values == before[name].values, "{var} changed {name}");
        }
    }
}

#[test]
fn rooms() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/r");
    house.send(romeo, &format!("<presence to='{ROOM}/Romeo'><x xmlns='http://jabber.org/protocol/muc'/></presence>"));
    let query = |inside: &str| format!("<query xmlns='http://jabber.org/protocol/muc#owner'>{inside}</query>");
    ask(&mut house, romeo, "set", ROOM, &query("<x xmlns='jabber:x:data' type='submit'/>"));
    check(&ask(&mut house, romeo, "get", ROOM, "<query xmlns='urn:xmpp:mam:2'/>"));
    every_field(&mut house, romeo, ROOM, &query(""), ROOM_CONFIG, &query);
    let disco = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    check(&ask(&mut house, romeo, "get", ROOM, disco));
    check(&ask(
        &mut house,
        romeo,
        "get",
        "conference.house.test",
        "<search xmlns='urn:xmpp:channel-search:0:search'/>",
    ));
    // A stranger registers, and the owner is asked.
    let open = submit(ROOM_CONFIG, "muc#roomconfig_passwordprotectedroom", &["0".into()]);
    ask(&mut house, romeo, "set", ROOM, &query(&open));
    let open = submit(ROOM_CONFIG, "muc#roomconfig_membersonly", &["0".into()]);
    ask(&mut house, romeo, "set", ROOM, &query(&open));
    let paris = house.login("paris@house.test/p");
    let form = ask(&mut house, paris, "get", ROOM, "<query xmlns='jabber:iq:register'/>");
    check(&form);
}

#[test]
fn nodes() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/r");
    ask(
        &mut house,
        romeo,
        "set",
        "romeo@house.test",
        "<query xmlns='jabber:iq:roster'><item jid='juliet@house.test'><group>Friends</group></item></query>",
    );
    for (to, node) in
        [("romeo@house.test", "urn:x"), ("romeo@house.test", "urn:xmpp:bookmarks:1"), ("pubsub.house.test", "y")]
    {
        let create = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='{node}'/></pubsub>");
        ask(&mut house, romeo, "set", to, &create);
        let wrap = |form: &str| {
            format!(
                "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='{node}'>{form}</configure></pubsub>"
            )
        };
        every_field(&mut house, romeo, to, &wrap(""), NODE_CONFIG, &wrap);
        let disco = format!("<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/>");
        check(&ask(&mut house, romeo, "get", to, &disco));
        check(&ask(
            &mut house,
            romeo,
            "get",
            to,
            "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><default/></pubsub>",
        ));
    }
}

#[test]
fn the_server_and_its_commands() {
    let mut house = House::with(|s| {
        s.admins = vec![Jid::parse("nurse@house.test").unwrap()];
        s.contacts = ["abuse", "admin", "support"]
            .iter()
            .flat_map(|kind| [(kind.to_string(), "xmpp:a@b".into()), (kind.to_string(), "xmpp:c@d".into())])
            .collect();
    });
    let nurse = house.login("nurse@house.test/n");
    check(&ask(&mut house, nurse, "get", "house.test", "<query xmlns='http://jabber.org/protocol/disco#info'/>"));
    check(&ask(&mut house, nurse, "get", "nurse@house.test", "<query xmlns='urn:xmpp:mam:2'/>"));
    let mut seen = 0;
    for to in ["house.test", "nurse@house.test"] {
        let list = "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>";
        let items = ask(&mut house, nurse, "get", to, list);
        for node in items.split(" node='").skip(2).map(|rest| rest.split('\'').next().unwrap()) {
            let command =
                format!("<command xmlns='http://jabber.org/protocol/commands' node='{node}' action='execute'/>");
            let answer = ask(&mut house, nurse, "set", to, &command);
            if answer.contains("jabber:x:data") {
                check(&answer);
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "{seen}");
}
