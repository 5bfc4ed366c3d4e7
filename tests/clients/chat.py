"""slixmpp against the real server: all that it offers but sessions that come back and archives."""

import asyncio
import time
from datetime import datetime

from slixmpp import JID

from house import DOMAIN, PATIENCE, equal
from scene import play, refused


async def login(scene):
    client = await scene.enter(scene.house.user("romeo"))
    equal(client.boundjid.domain, DOMAIN)
    equal(client.socket.version(), "TLSv1.3", "TLS")
    equal(client.plugin["feature_mechanisms"].mech.name, "SCRAM-SHA-256")


async def login_with_tls_1_2(scene):
    client = await scene.client(scene.house.user("romeo"), tls_1_2=True).online()
    equal(client.socket.version(), "TLSv1.2", "TLS")
    # It tried `tls-unique` with both hashes, which is not offered, before it did without.
    equal(client.queues["refused"].qsize(), 2, "refusals")


async def wrong_password(scene):
    reason = await scene.client(scene.house.user("romeo"), password="wrong").refusal()
    equal(reason["condition"], "not-authorized")


async def no_such_user(scene):
    reason = await scene.client(f"nobody@{DOMAIN}").refusal()
    equal(reason["condition"], "not-authorized")


async def unknown_authority(scene):
    reason = await scene.client(f"romeo@{DOMAIN}", ca=False).refusal()
    assert "self-signed certificate in certificate chain" in str(reason), reason


async def another_name(scene):
    client = scene.client(f"romeo@{DOMAIN}")
    client.default_domain = "other.test"
    reason = await client.refusal()
    assert "Hostname mismatch" in str(reason), reason


async def roster(scene):
    romeo, other = scene.client(scene.house.user("romeo")), None
    await romeo.online()
    other = await scene.enter(romeo.boundjid.bare)
    await romeo.update_roster(f"friar@{DOMAIN}", name="Friar Laurence", groups=["Clergy"])
    for client in (romeo, other):
        push = await client.next("push")
        item = push["roster"]["items"][f"friar@{DOMAIN}"]
        equal((push["type"], item["name"], item["groups"]), ("set", "Friar Laurence", ["Clergy"]))
    got = await scene.enter(romeo.boundjid.bare)
    equal(got.client_roster[f"friar@{DOMAIN}"]["name"], "Friar Laurence")
    await romeo.del_roster_item(f"friar@{DOMAIN}")
    push = await other.next("push")
    equal(push["roster"]["items"][f"friar@{DOMAIN}"]["subscription"], "remove")


async def subscribe_both_ways(scene):
    romeo, juliet = await scene.friends()
    for who, contact in ((romeo, juliet), (juliet, romeo)):
        again = await scene.enter(who.boundjid.bare)
        equal(again.client_roster[contact.boundjid.bare]["subscription"], "both")


async def presence(scene):
    romeo, juliet = await scene.friends()
    romeo.send_presence(pshow="away", pstatus="Banished")
    seen = await juliet.hear("presence", sender=romeo.boundjid, type="away")
    equal(seen["status"], "Banished")
    await romeo.disconnect()
    await juliet.hear("presence", sender=romeo.boundjid, type="unavailable")
    again = await scene.enter(romeo.boundjid.bare)
    await juliet.hear("presence", sender=again.boundjid, type="available")
    await again.hear("presence", sender=juliet.boundjid, type="available")


async def chat(scene):
    romeo, juliet = await scene.two()
    await romeo.say(juliet.boundjid.bare, "She speaks")
    heard = await juliet.hears_only("She speaks")
    equal(heard["from"], romeo.boundjid)
    await juliet.say(romeo.boundjid.full, "Ay me & <you> \N{ROSE}")
    await romeo.hears_only("Ay me & <you> \N{ROSE}")


async def carbons(scene):
    romeo, juliet = await scene.two()
    balcony = await scene.enter(juliet.boundjid.bare)
    await juliet.plugin["xep_0280"].enable()
    await balcony.plugin["xep_0280"].enable()
    await romeo.say(juliet.boundjid.full, "to one")
    equal((await juliet.next("message"))["body"], "to one")
    copy = (await balcony.next("message"))["carbon_received"]
    equal((copy["body"], copy["from"]), ("to one", romeo.boundjid))
    await juliet.say(romeo.boundjid.bare, "from one")
    await romeo.hears_only("from one")
    copy = (await balcony.next("message"))["carbon_sent"]
    equal((copy["body"], copy["to"]), ("from one", romeo.boundjid.bare))
    await balcony.plugin["xep_0280"].disable()
    await romeo.say(juliet.boundjid.full, "to one alone")
    await juliet.hears_only("to one alone")
    await romeo.say(balcony.boundjid.full, "to the other")
    await balcony.hears_only("to the other")


async def publish_card(romeo):
    card = romeo.plugin["xep_0054"].make_vcard()
    card["FN"] = "Romeo Montague"
    await romeo.plugin["xep_0054"].publish_vcard(card)


async def sees_card(who, romeo):
    """As the server has it."""
    got = await who.plugin["xep_0054"].get_vcard(romeo.boundjid.bare, local=False)
    equal(got["vcard_temp"]["FN"], "Romeo Montague")


async def vcard(scene):
    romeo, juliet = await scene.two()
    await publish_card(romeo)
    # Of others, and one's own.
    for who in (juliet, romeo):
        await sees_card(who, romeo)


async def blocking(scene):
    romeo, juliet = await scene.friends()
    await juliet.plugin["xep_0191"].block(romeo.boundjid.bare)
    equal(await juliet.plugin["xep_0191"].get_blocked_jids(), {JID(romeo.boundjid.bare)})
    await romeo.hear("presence", sender=juliet.boundjid, type="unavailable")
    await romeo.say(juliet.boundjid.bare, "Let me in")
    error = await romeo.hear("message", type="error")
    equal(error["error"]["condition"], "service-unavailable")
    await juliet.say(romeo.boundjid.bare, "Go away")
    error = await juliet.hear("message", type="error")
    equal(error["error"]["condition"], "not-acceptable")
    await juliet.plugin["xep_0191"].unblock(romeo.boundjid.bare)
    equal(await juliet.plugin["xep_0191"].get_blocked_jids(), set())
    await romeo.hear("presence", sender=juliet.boundjid, type="available")
    await romeo.say(juliet.boundjid.bare, "At last")
    await juliet.hears_only("At last")


async def ping(scene):
    romeo, juliet = await scene.friends()
    await romeo.plugin["xep_0199"].send_ping(DOMAIN)
    await romeo.plugin["xep_0199"].send_ping(romeo.boundjid.bare)
    # The server asks nobody here: her client answers.
    await romeo.plugin["xep_0199"].send_ping(juliet.boundjid.full)


async def disco(scene):
    romeo = await scene.enter(scene.house.user("romeo"))
    info = (await romeo.plugin["xep_0030"].get_info(DOMAIN, local=False))["disco_info"]
    assert ("server", "im") in [identity[:2] for identity in info["identities"]], info
    for feature in ("urn:xmpp:ping", "urn:xmpp:blocking", "urn:xmpp:carbons:2", "vcard-temp", "msgoffline"):
        assert feature in info["features"], f"no {feature} in {info}"
    info = (await romeo.plugin["xep_0030"].get_info(romeo.boundjid.bare, local=False))["disco_info"]
    assert ("account", "registered") in [identity[:2] for identity in info["identities"]], info


async def version(scene):
    romeo = await scene.enter(scene.house.user("romeo"))
    got = (await romeo.plugin["xep_0092"].get_version(DOMAIN))["software_version"]
    equal(got["name"], "Inglenook")
    assert got["version"], got
    equal(got["os"], "", "the operating system")


async def last_activity(scene):
    romeo, juliet = await scene.friends()
    uptime = await romeo.plugin["xep_0012"].get_last_activity(DOMAIN)
    assert 0 <= uptime["last_activity"]["seconds"] < 600, uptime
    juliet.send_presence(ptype="unavailable", pstatus="Asleep")
    await romeo.hear("presence", sender=juliet.boundjid, type="unavailable")
    gone = await romeo.plugin["xep_0012"].get_last_activity(juliet.boundjid.bare)
    assert 0 <= gone["last_activity"]["seconds"] < 60, gone
    equal(gone["last_activity"]["status"], "Asleep")
    stranger = await scene.enter(scene.house.user("paris"))
    await refused(stranger.plugin["xep_0012"].get_last_activity(juliet.boundjid.bare), "forbidden")


async def server_time(scene):
    romeo = await scene.enter(scene.house.user("romeo"))
    got = (await romeo.plugin["xep_0202"].get_entity_time(DOMAIN))["entity_time"]
    # As it stands there: the library's own reader adds a second Z.
    utc = datetime.fromisoformat(got.xml.findtext("{urn:xmpp:time}utc"))
    assert abs(utc.timestamp() - time.time()) < 60, utc


async def private_xml(scene):
    romeo = await scene.enter(scene.house.user("romeo"))
    bookmarks = romeo.plugin["xep_0048"].stanza.Bookmarks()
    bookmarks.add_conference(f"balcony@conference.{DOMAIN}", "Romeo", autojoin=True)
    await romeo.plugin["xep_0048"].set_bookmarks(bookmarks, method="xep_0049")
    elsewhere = await scene.enter(romeo.boundjid.bare)
    got = await elsewhere.plugin["xep_0048"].get_bookmarks(method="xep_0049")
    rooms = list(got["private"]["bookmarks"]["conferences"])
    equal([(str(room["jid"]), room["nick"]) for room in rooms], [(f"balcony@conference.{DOMAIN}", "Romeo")])


async def password_change(scene):
    romeo = await scene.enter(scene.house.user("romeo"))
    await romeo.plugin["xep_0077"].change_password("calliope", jid=DOMAIN)
    await romeo.disconnect()
    reason = await scene.client(romeo.boundjid.bare).refusal()
    equal(reason["condition"], "not-authorized")
    await scene.client(romeo.boundjid.bare, password="calliope").online()


async def offline_over_kills(scene):
    romeo, juliet = scene.house.user("romeo"), scene.house.user("juliet")
    sender = await scene.enter(romeo)
    before = time.time()
    for n in range(20):
        await sender.say(juliet, f"{n}")
    # A change is answered when it is stored, and all before it is stored, too.
    await sender.update_roster(f"friar@{DOMAIN}")
    await scene.restart()

    receiver = await scene.enter(juliet)
    for n in range(20):
        message = await receiver.hears_only(f"{n}")
        stamp = message["delay"]["stamp"].timestamp()
        assert before - 1 <= stamp <= time.time(), f"{message}"
        equal(message["from"].bare, romeo)
    # She answers the server's question whether they arrived, and a change of hers is stored behind that.
    await receiver.next("ping")
    await receiver.update_roster(f"nurse@{DOMAIN}")
    await scene.restart()

    receiver = await scene.enter(juliet)
    await receiver.say(juliet, "to myself")
    await receiver.hears_only("to myself")


async def all_stored_over_a_kill(scene):
    """What is kept for an account, not only its messages."""
    romeo, juliet = await scene.friends()
    await publish_card(romeo)
    await romeo.plugin["xep_0191"].block(f"tybalt@{DOMAIN}")
    await romeo.plugin["xep_0077"].change_password("calliope", jid=DOMAIN)
    await scene.restart()

    again = await scene.client(romeo.boundjid.bare, password="calliope").online()
    equal(again.client_roster[juliet.boundjid.bare]["subscription"], "both")
    equal(await again.plugin["xep_0191"].get_blocked_jids(), {JID(f"tybalt@{DOMAIN}")})
    await sees_card(again, romeo)


async def goodbye(scene):
    """A server that is stopped says so; last, because it is gone then."""
    romeo = await scene.enter(scene.house.user("romeo"))
    heard = asyncio.get_running_loop().create_future()
    romeo.add_event_handler("stream_error", heard.set_result)
    await asyncio.to_thread(scene.house.stop)
    error = await asyncio.wait_for(heard, PATIENCE)
    equal(error["condition"], "system-shutdown")


CHECKS = [login, login_with_tls_1_2, wrong_password, no_such_user, unknown_authority, another_name, roster]
CHECKS += [subscribe_both_ways, presence, chat, carbons, vcard, blocking, ping, disco, version, last_activity]
CHECKS += [server_time, private_xml, password_change, offline_over_kills, all_stored_over_a_kill, goodbye]


play(CHECKS)
