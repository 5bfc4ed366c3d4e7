"""What a team uses every day, as slixmpp plays it: rooms (XEP-0045), and what clients keep at their account (XEP-0163)."""

import base64
import hashlib

from slixmpp import JID
from slixmpp.xmlstream import ET

from history import kept
from house import DOMAIN, equal
from peer import MUC, ROOMS, statuses
from scene import play, refused

PUBSUB = "http://jabber.org/protocol/pubsub"
DATA = "jabber:x:data"
AVATAR, METADATA = "urn:xmpp:avatar:data", "urn:xmpp:avatar:metadata"
BOOKMARKS, DISPLAYED = "urn:xmpp:bookmarks:1", "urn:xmpp:mds:displayed:0"
# Of Conversations and many others, and of those that are newer.
OMEMO = ("eu.siacs.conversations.axolotl.devicelist", "urn:xmpp:omemo:2:devices")
# One red dot.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
PNG_ID, PNG_BYTES = hashlib.sha1(base64.b64decode(PNG)).hexdigest(), len(base64.b64decode(PNG))
# As Conversations configures a group that is private.
PRIVATE = {
    "muc#roomconfig_persistentroom": "1",
    "muc#roomconfig_membersonly": "1",
    "muc#roomconfig_publicroom": "0",
    "muc#roomconfig_whois": "anyone",
    "muc#roomconfig_changesubject": "0",
    "muc#roomconfig_allowinvites": "0",
    "muc#roomconfig_enablearchiving": "1",
    "mam": "1",
    "muc#roomconfig_roomname": "The balcony",
}
rooms = iter(range(1000))


# Rooms


def form(kind, fields):
    """A form that is filled in."""
    fields = {"FORM_TYPE": kind, **fields}
    lines = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in fields.items())
    return f"<x xmlns='{DATA}' type='submit'>{lines}</x>"


async def make(owner, nick="romeo", settings=PRIVATE):
    """Creates a room and configures it; returns its address."""
    room = f"room{next(rooms)}@{ROOMS}"
    seen, _ = await owner.join(room, nick)
    assert {"110", "201"} <= statuses(seen[-1]), seen[-1]
    config = await owner.ask("get", room, f"<query xmlns='{MUC}#owner'/>")
    known = {field.get("var") for field in config.xml.iter(f"{{{DATA}}}field")}
    wanted = {name: value for name, value in settings.items() if name in known}
    # Conversations leaves out what the form has not; most of it must be there.
    assert set(settings) - set(wanted) <= {"mam", "muc#roomconfig_allowinvites", "muc#roomconfig_enablearchiving"}, known
    await owner.ask("set", room, f"<query xmlns='{MUC}#owner'>{form(f'{MUC}#roomconfig', wanted)}</query>")
    return room


async def affiliate(owner, room, who, affiliation):
    item = f"<item jid='{who}' affiliation='{affiliation}'/>"
    await owner.ask("set", room, f"<query xmlns='{MUC}#admin'>{item}</query>")


async def affiliated(client, room, affiliation):
    answer = await client.ask("get", room, f"<query xmlns='{MUC}#admin'><item affiliation='{affiliation}'/></query>")
    return {item.get("jid") for item in answer.xml.iter(f"{{{MUC}#admin}}item")}


async def group(scene, *names, settings=PRIVATE, **options):
    """A room, and everybody in it; the first one is its owner."""
    everybody = [await scene.enter(scene.house.user(name), **options) for name in names]
    owner = everybody[0]
    room = await make(owner, names[0], settings)
    for client, name in zip(everybody[1:], names[1:]):
        await affiliate(owner, room, client.boundjid.bare, "member")
        await client.join(room, name)
        for other in everybody[: everybody.index(client)]:
            await other.hear("presence", sender=f"{room}/{name}", type="available")
    return room, everybody


async def features(client, jid):
    info = (await client.plugin["xep_0030"].get_info(jid, local=False, cached=False))["disco_info"]
    return set(info["features"])


async def hears_in(client, room, number):
    """So many messages of this room, as (nick, body, archive id)."""
    heard = []
    while len(heard) < number:
        message = await client.until("message", lambda m: m["from"].bare == room and m["body"])
        (id,) = [e.get("id") for e in message.xml.findall("{urn:xmpp:sid:0}stanza-id") if e.get("by") == room]
        heard.append((message["from"].resource, message["body"], id))
    return heard


async def found(scene):
    """The services are listed, and say what they are."""
    romeo = await scene.enter(scene.house.user("romeo"))
    items = (await romeo.plugin["xep_0030"].get_items(DOMAIN, local=False))["disco_items"]["items"]
    assert {ROOMS, f"pubsub.{DOMAIN}"} <= {str(jid) for jid, _, _ in items}, items
    assert MUC in await features(romeo, ROOMS)
    assert PUBSUB in await features(romeo, f"pubsub.{DOMAIN}")
    assert "urn:xmpp:mam:2" in await features(romeo, await make(romeo))


async def private_group(scene):
    """As Conversations makes it: configured, one invited by the room, one by a message, and nobody else gets in."""
    romeo, juliet = await scene.two()
    nurse, tybalt = [await scene.enter(scene.house.user(name)) for name in ("nurse", "tybalt")]
    room = await make(romeo)
    wanted = {"muc_membersonly", "muc_nonanonymous", "muc_persistent", "muc_hidden", "muc_unmoderated", "muc_unsecured"}
    has = await features(romeo, room)
    assert wanted <= has, wanted - has

    await affiliate(romeo, room, juliet.boundjid.bare, "member")
    direct = romeo.make_message(mto=juliet.boundjid.bare)
    direct.append(ET.fromstring(f"<x xmlns='jabber:x:conference' jid='{room}'/>"))
    direct.send()
    # The room has asked her in already, because she is a member now (§9.3).
    await juliet.until("message", lambda m: m["from"] == romeo.boundjid and m.xml.find("{jabber:x:conference}x") is not None)

    mediated = romeo.make_message(mto=room)
    mediated.append(ET.fromstring(f"<x xmlns='{MUC}#user'><invite to='{nurse.boundjid.bare}'><reason>Hear us</reason></invite></x>"))
    mediated.send()
    invited = await nurse.invited(room)
    equal(invited["from"], room)
    invite = invited.xml.find(f"{{{MUC}#user}}x/{{{MUC}#user}}invite")
    equal((JID(invite.get("from")).bare, invite.findtext("{*}reason")), (romeo.boundjid.bare, "Hear us"))

    # Whom an owner invites is a member (§7.8.2), and that the room shows everybody's address is said at once.
    for client, nick in ((juliet, "juliet"), (nurse, "nurse")):
        seen, _ = await client.join(room, nick)
        assert "100" in statuses(seen[-1]), seen[-1]
        items = {p["from"].resource: p.xml.find(f"{{{MUC}#user}}x/{{{MUC}#user}}item") for p in seen}
        equal(JID(items["romeo"].get("jid")), romeo.boundjid)
        equal((items["romeo"].get("affiliation"), items[nick].get("affiliation")), ("owner", "member"))
    equal(await affiliated(romeo, room, "member"), {juliet.boundjid.bare, nurse.boundjid.bare})
    await refused(tybalt.join(room, "tybalt"), "registration-required")
    # Members may know the members, because they see each other's address; strangers may not.
    equal(await affiliated(juliet, room, "member"), {juliet.boundjid.bare, nurse.boundjid.bare})
    await refused(affiliated(tybalt, room, "member"), "forbidden")


async def one_order(scene):
    """Who speaks at the same time is heard by all in the same order, which is that of the archive."""
    names = "romeo", "juliet", "nurse"
    room, everybody = await group(scene, *names)
    for n in range(20):
        for name, client in zip(names, everybody):
            await client.say_in(room, f"{name} {n}")
    heard = [await hears_in(client, room, 60) for client in everybody]
    for other in heard[1:]:
        equal(other, heard[0])
    for name in names:
        equal([body for nick, body, _ in heard[0] if nick == name], [f"{name} {n}" for n in range(20)])
    for client in everybody:
        equal([(m.sender.resource, m.body, m.id) for m in await kept(client, jid=room)], heard[0])
    # The one who comes later is told the last ones, with the same ids.
    late = await scene.enter(everybody[1].boundjid.bare)
    _, told = await late.join(room, "late", history=5)
    equal([message["body"] for message in told[:-1]], [body for _, body, _ in heard[0][-5:]])


async def occupant_ids(scene):
    """Who somebody is stays known when the nick changes and when they come back (XEP-0421)."""
    room, (romeo, juliet) = await group(scene, "romeo", "juliet")

    async def id_of(body):
        await juliet.say_in(room, body)
        message = await romeo.hear("message", body=body)
        return message.xml.find("{urn:xmpp:occupant-id:0}occupant-id").get("id")

    first = await id_of("as juliet")
    juliet.send_presence(pto=f"{room}/jule")
    await romeo.hear("presence", sender=f"{room}/jule", type="available")
    equal(await id_of("as jule"), first)
    await juliet.leave(room, "jule")
    await juliet.join(room, "capulet")
    equal(await id_of("as capulet"), first)
    await romeo.say_in(room, "mine")
    own = await juliet.hear("message", body="mine")
    assert own.xml.find("{urn:xmpp:occupant-id:0}occupant-id").get("id") != first


async def in_private(scene):
    """A private message in the room reaches one occupant; a nick is taken; an occupant can ask whether it still is one."""
    room, (romeo, juliet, nurse) = await group(scene, "romeo", "juliet", "nurse")
    await juliet.say(f"{room}/romeo", "for you alone")
    message = await romeo.hear("message", body="for you alone")
    equal((message["from"], message["type"]), (f"{room}/juliet", "chat"))
    await juliet.say_in(room, "for all")
    equal((await nurse.until("message", lambda m: m["body"]))["body"], "for all")
    await nurse.plugin["xep_0199"].send_ping(JID(f"{room}/nurse"))
    await nurse.leave(room, "nurse")
    await refused(nurse.plugin["xep_0199"].send_ping(JID(f"{room}/nurse")), "not-acceptable")
    await refused(nurse.join(room, "juliet"), "conflict")


async def thrown_out(scene):
    """Kicked, banned, and let in again; nothing from between is heard."""
    # In a room for members alone, an outcast is also no member: two reasons, and nothing says which one is told.
    room, (romeo, juliet) = await group(scene, "romeo", "juliet", settings=PRIVATE | {"muc#roomconfig_membersonly": "0"})
    await romeo.ask("set", room, f"<query xmlns='{MUC}#admin'><item nick='juliet' role='none'><reason>Hush</reason></item></query>")
    gone = await juliet.hear("presence", sender=f"{room}/juliet", type="unavailable")
    assert {"110", "307"} <= statuses(gone), gone
    await juliet.join(room, "juliet")
    await affiliate(romeo, room, juliet.boundjid.bare, "outcast")
    gone = await juliet.hear("presence", sender=f"{room}/juliet", type="unavailable")
    assert "301" in statuses(gone), gone
    await romeo.say_in(room, "behind her back")
    await romeo.hear("message", body="behind her back")
    await refused(juliet.join(room, "juliet"), "forbidden")
    await refused(juliet.ask("set", room, "<query xmlns='urn:xmpp:mam:2'/>"), "forbidden")
    await affiliate(romeo, room, juliet.boundjid.bare, "member")
    await juliet.join(room, "juliet")
    await romeo.say_in(room, "welcome")
    await juliet.until("message", lambda m: m["from"].bare == room and m["body"] == "welcome")
    equal(juliet.queues["message"].qsize(), 0, "messages from between")


async def room_over_a_kill(scene):
    """What was acknowledged is there: the room, its settings, its people, its subject and its archive."""
    room, (romeo, juliet) = await group(scene, "romeo", "juliet", sm=True)
    before = await features(romeo, room)
    await affiliate(romeo, room, f"tybalt@{DOMAIN}", "outcast")
    romeo.send_message(mto=room, msubject="Two houses", mtype="groupchat")
    for n in range(10):
        await romeo.say_in(room, f"line {n}")
    # The first one is the subject.
    await romeo.acknowledged(11)
    ids = await hears_in(juliet, room, 10)
    await scene.restart()
    romeo, juliet = [await scene.enter(client.boundjid.bare) for client in (romeo, juliet)]
    # He is no occupant any more, but still the owner.
    equal(await features(romeo, room), before)
    equal(await affiliated(romeo, room, "outcast"), {f"tybalt@{DOMAIN}"})
    equal(await affiliated(romeo, room, "member"), {juliet.boundjid.bare})
    _, told = await juliet.join(room, "juliet", history=3)
    equal([message["body"] for message in told[:-1]], [f"line {n}" for n in range(7, 10)])
    equal(told[-1]["subject"], "Two houses")
    equal([(m.sender.resource, m.body, m.id) for m in await kept(juliet, jid=room) if m.body], ids)


# What clients keep at their account


async def publish(client, node, payload, id="current", **options):
    """As clients do, saying what the node must be like."""
    names = {f"pubsub#{name}": value for name, value in options.items()}
    wanted = f"<publish-options>{form(f'{PUBSUB}#publish-options', names)}</publish-options>" if options else ""
    item = f"<publish node='{node}'><item id='{id}'>{payload}</item></publish>"
    await client.ask("set", None, f"<pubsub xmlns='{PUBSUB}'>{item}{wanted}</pubsub>")


async def items(client, jid, node):
    """What is there, by id."""
    answer = await client.ask("get", jid, f"<pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub>")
    return {item.get("id"): item[0] for item in answer.xml.iter(f"{{{PUBSUB}}}item")}


async def notified(client, node, sender):
    """The next change of this node: ids of what is new, and of what is gone."""

    def of_node(message):
        changed = message.xml.find(f"{{{PUBSUB}#event}}event/{{{PUBSUB}#event}}items")
        return changed is not None and changed.get("node") == node and message["from"] == sender

    changed = (await client.until("message", of_node)).xml.find(f"{{{PUBSUB}#event}}event/{{{PUBSUB}#event}}items")
    return [[e.get("id") for e in changed.findall(f"{{{PUBSUB}#event}}{name}")] for name in ("item", "retract")]


async def avatar(scene):
    """A new picture is seen by friends at once, by their other devices later, and by those who know vCards alone."""
    romeo, juliet = await scene.friends(notify=[METADATA])
    me = romeo.boundjid.bare
    await publish(romeo, AVATAR, f"<data xmlns='{AVATAR}'>{PNG}</data>", PNG_ID)
    info = f"<info id='{PNG_ID}' type='image/png' bytes='{PNG_BYTES}'/>"
    await publish(romeo, METADATA, f"<metadata xmlns='{METADATA}'>{info}</metadata>", PNG_ID)
    for client in (romeo, juliet):
        equal(await notified(client, METADATA, me), [[PNG_ID], []])
    await scene.restart()
    juliet = await scene.enter(juliet.boundjid.bare, notify=[METADATA])
    # He is not here. His account tells her all the same what was last.
    equal(await notified(juliet, METADATA, me), [[PNG_ID], []])
    equal((await items(juliet, me, AVATAR))[PNG_ID].text, PNG)
    vcard = await juliet.plugin["xep_0054"].get_vcard(JID(me))
    equal(vcard.xml.findtext(".//{vcard-temp}BINVAL").strip(), PNG)


async def omemo(scene):
    """Keys are for everybody, also for strangers; the own devices hear of each other."""
    romeo = await scene.enter(scene.house.user("romeo"))
    phone = await scene.enter(romeo.boundjid.bare, notify=OMEMO)
    stranger = await scene.enter(scene.house.user("stranger"))
    me = romeo.boundjid.bare
    for node, name in zip(OMEMO, ("list", "devices")):
        ns = node.removesuffix(".devicelist").removesuffix(":devices")
        devices = f"<{name} xmlns='{ns}'><device id='31415'/><device id='27182'/></{name}>"
        bundles = f"{ns}.bundles:31415" if ns.startswith("eu") else f"{ns}:bundles"
        for _ in range(2):
            await publish(romeo, node, devices, access_model="open", persist_items="true")
        await publish(romeo, bundles, f"<bundle xmlns='{ns}'/>", "31415", access_model="open")
        equal(await notified(phone, node, me), [["current"], []])
        equal([device.get("id") for device in (await items(stranger, me, node))["current"]], ["31415", "27182"])
        equal(list(await items(stranger, me, bundles)), ["31415"])
        # The node is not what this one wants it to be.
        await refused(publish(phone, node, devices, access_model="whitelist"), "conflict")
    await refused(items(phone, me, "urn:example:none"), "item-not-found")
    await scene.restart()
    stranger = await scene.enter(stranger.boundjid.bare)
    for node in OMEMO:
        equal(len((await items(stranger, me, node))["current"]), 2)


async def kept_for_oneself(scene, node, payload, ids):
    """What only the own devices see: each change at once, and after a kill all that is not taken back."""
    romeo, stranger = await scene.enter(scene.house.user("romeo")), await scene.enter(scene.house.user("stranger"))
    phone = await scene.enter(romeo.boundjid.bare, notify=[node])
    me = romeo.boundjid.bare
    options = {"persist_items": "true", "max_items": "max", "send_last_published_item": "never", "access_model": "whitelist"}
    for id in ids:
        await publish(romeo, node, payload, id, **options)
        equal(await notified(phone, node, me), [[id], []])
    equal(set(await items(phone, me, node)), set(ids))
    retract = f"<retract node='{node}' notify='true'><item id='{ids[0]}'/></retract>"
    await romeo.ask("set", None, f"<pubsub xmlns='{PUBSUB}'>{retract}</pubsub>")
    equal(await notified(phone, node, me), [[], [ids[0]]])
    # XEP-0060 §6.5.9.8 has the first, which tells a stranger that there is something; Prosody 0.12 says the last.
    await refused(items(stranger, me, node), "not-allowed", "not-authorized", "forbidden")
    await scene.restart()
    romeo = await scene.enter(me, notify=[node])
    equal(set(await items(romeo, me, node)), set(ids[1:]))


async def bookmarks(scene):
    conference = f"<conference xmlns='{BOOKMARKS}' name='Verona' autojoin='true'><nick>romeo</nick></conference>"
    await kept_for_oneself(scene, BOOKMARKS, conference, [f"room{n}@{ROOMS}" for n in range(20)])


async def displayed(scene):
    seen = f"<displayed xmlns='{DISPLAYED}'><stanza-id xmlns='urn:xmpp:sid:0' by='{ROOMS}' id='1'/></displayed>"
    await kept_for_oneself(scene, DISPLAYED, seen, [f"juliet{n}@{DOMAIN}" for n in range(3)])


ROOM_CHECKS = [found, private_group, one_order, occupant_ids, in_private, thrown_out, room_over_a_kill]
if __name__ == "__main__":
    play([*ROOM_CHECKS, avatar, omemo, bookmarks, displayed], ways=[True])
