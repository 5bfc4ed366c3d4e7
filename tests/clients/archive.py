"""The archive (XEP-0313) and its preferences (XEP-0441) as slixmpp reads them, beside what arrives live."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

from slixmpp import JID

from history import bodies, kept
from house import DOMAIN, equal
from scene import play, refused

VERONA = timezone(timedelta(hours=1))
# Two pages and a half: the library asks for ten messages at once.
NUMBERS = [str(n) for n in range(25)]


async def talk(romeo, juliet, lines=NUMBERS):
    """He and she by turns; returns what she heard, by body."""
    heard = {}
    for n, line in enumerate(lines):
        speaker, hearer = (juliet, romeo) if n % 2 else (romeo, juliet)
        await speaker.say(hearer.boundjid.bare, line)
        message = await hearer.hears_only(line)
        if hearer is juliet:
            heard[line] = message
    return heard


def stanza_id(client, message):
    """The only one, and it is from the own account."""
    (element,) = message.xml.findall("{urn:xmpp:sid:0}stanza-id")
    equal(element.get("by"), client.boundjid.bare)
    return element.get("id")


async def pages(scene):
    romeo, juliet = await scene.two()
    equal(await kept(juliet), [])
    heard = await talk(romeo, juliet)
    for client in (romeo, juliet):
        all = await kept(client)
        equal(bodies(all), NUMBERS)
        equal(len({message.id for message in all}), len(NUMBERS), "ids")
        equal([message.stamp for message in all], sorted(message.stamp for message in all))
        equal([message.sender.bare for message in all][:2], [romeo.boundjid.bare, juliet.boundjid.bare])
        # Pages of other sizes, one of them the size of all; the other end first.
        for size in (1, 24, 25, 26):
            equal([m.id for m in await kept(client, rsm={"max": size})], [m.id for m in all], f"pages of {size}")
        equal([m.id for m in await kept(client, reverse=True)], [m.id for m in reversed(all)])
    # What arrived live has the id that it has in the archive.
    ids = {message.body: message.id for message in await kept(juliet)}
    equal({body: stanza_id(juliet, message) for body, message in heard.items()}, {body: ids[body] for body in heard})


async def filters(scene):
    romeo, juliet = await scene.two()
    nurse = await scene.enter(scene.house.user("nurse"))
    lines = NUMBERS[:12]
    await talk(romeo, juliet, lines[:6])
    # The next ones are later, however coarse the stamps are.
    await asyncio.sleep(0.01)
    await talk(nurse, juliet, ["Madam!"])
    await talk(romeo, juliet, lines[6:])
    all = await kept(juliet)
    equal(bodies(all), [*lines[:6], "Madam!", *lines[6:]])
    equal(bodies(await kept(juliet, with_jid=romeo.boundjid.bare)), lines)
    equal(bodies(await kept(juliet, with_jid=nurse.boundjid.full)), ["Madam!"])
    equal(bodies(await kept(juliet, with_jid=f"nobody@{DOMAIN}")), [])
    since = all[6].stamp
    equal(bodies(await kept(juliet, start=since)), ["Madam!", *lines[6:]])
    equal(bodies(await kept(juliet, start=since, with_jid=romeo.boundjid.bare)), lines[6:])
    equal(bodies(await kept(juliet, end=since - timedelta(milliseconds=1))), lines[:6])
    equal(bodies(await kept(juliet, start=all[0].stamp, end=all[-1].stamp)), bodies(all))
    equal(bodies(await kept(juliet, start=datetime.now(UTC) + timedelta(days=1))), [])
    # The same moment in another zone.
    equal(bodies(await kept(juliet, start=since.astimezone(VERONA))), ["Madam!", *lines[6:]])


async def described(scene):
    """What can be asked, what there is, and whose it is."""
    romeo, juliet = await scene.two()
    info = (await juliet.plugin["xep_0030"].get_info(juliet.boundjid.bare, local=False))["disco_info"]
    for feature in ("urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:sid:0"):
        assert feature in info["features"], f"no {feature} in {info}"
    fields = (await juliet.plugin["xep_0313"].get_fields()).get_fields()
    assert {"with", "start", "end", "before-id", "after-id", "ids"} <= set(fields), fields
    await talk(romeo, juliet, ["first", "between", "last"])
    all = await kept(juliet)
    metadata = (await juliet.plugin["xep_0313"].get_archive_metadata())["mam_metadata"]
    for end, message in (("start", all[0]), ("end", all[-1])):
        equal((metadata[end]["id"], metadata[end]["timestamp"]), (message.id, message.stamp))
    await refused(romeo.plugin["xep_0313"].retrieve(jid=juliet.boundjid.bare), "forbidden")


async def once_with_carbons(scene):
    """Each of her clients has each message once: live or as a copy, and by its id in the archive."""
    romeo, juliet = await scene.two()
    balcony = await scene.enter(juliet.boundjid.bare)
    for client in (juliet, balcony):
        await client.plugin["xep_0280"].enable()
    said = []
    for n in range(4):
        for body, speaker, hearer in (
            (f"{n} to all", romeo, juliet.boundjid.bare),
            (f"{n} to one", romeo, juliet.boundjid.full),
            (f"{n} to the other", romeo, balcony.boundjid.full),
            (f"{n} from one", juliet, romeo.boundjid.bare),
            (f"{n} from the other", balcony, romeo.boundjid.full),
        ):
            await speaker.say(hearer, body)
            # Whoever of hers did not say it.
            for client in (juliet, balcony):
                if client is not speaker:
                    message = await client.next("message")
                    for way in ("carbon_received", "carbon_sent"):
                        if message.get_plugin(way, check=True):
                            message = message[way]
                    equal(message["body"], body)
                    id = stanza_id(client, message)
                    if not said or said[-1] != (body, id):
                        said.append((body, id))
    # The same id at both, and in the archive; nothing else has come since.
    for client in (juliet, balcony):
        equal([(message.body, message.id) for message in await kept(client)], said)
        assert client.queues["message"].empty(), "something else came"


async def while_away(scene):
    """What came while she was away arrives once, whether she reads the archive first or says first that she is there,
    and whether she acknowledges by stream management or by answering the server's ping."""
    romeo, lines = await scene.enter(scene.house.user("romeo"), sm=True), NUMBERS[:12]
    for sm in (True, False):
        for archive_first in (True, False):
            jid = scene.house.user("juliet")
            for line in lines:
                await romeo.say(jid, line)
            equal(await romeo.acknowledged(len(lines)), lines)
            juliet = await scene.enter(jid, available=False, sm=sm)
            if archive_first:
                ids = [message.id for message in await kept(juliet)]
                if not sm:
                    # After each page that has something.
                    await juliet.next("ping")
                    await juliet.next("ping")
                juliet.send_presence()
                # She has them, so they are not handed out.
                await juliet.hear("presence", sender=juliet.boundjid)
            else:
                juliet.send_presence()
                ids = [stanza_id(juliet, await juliet.hears_only(line)) for line in lines]
            equal([message.id for message in await kept(juliet)], ids)
            equal(len(set(ids)), len(lines))
            await juliet.say(jid, "to myself")
            await juliet.hears_only("to myself")
            # The next time, neither the archive nor the server has them as something new.
            if sm:
                juliet.plugin["xep_0198"].send_ack()
            elif not archive_first:
                await juliet.next("ping")
            await juliet.disconnect()
            again = await scene.enter(jid, sm=sm)
            equal(bodies(await kept(again)), [*lines, "to myself"])
            assert again.queues["message"].empty(), "something came again"


async def preferences(scene):
    romeo, juliet = await scene.two()
    nurse = await scene.enter(scene.house.user("nurse"))
    settings = juliet.plugin["xep_0441"]
    equal(await settings.get_preferences(), ("always", set(), set()))
    await settings.set_preferences("always", always=[], never=[romeo.boundjid.bare])
    equal(await settings.get_preferences(), ("always", set(), {JID(romeo.boundjid.bare)}))
    await talk(romeo, juliet, ["not for the archive", "nor this"])
    await talk(nurse, juliet, ["Madam!"])
    equal(bodies(await kept(juliet)), ["Madam!"])
    # His own archive is his own affair.
    equal(bodies(await kept(romeo)), ["not for the archive", "nor this"])
    await settings.set_preferences("never", always=[romeo.boundjid.bare], never=[])
    await talk(romeo, juliet, ["for the archive"])
    await talk(nurse, juliet, ["Anon!"])
    equal(bodies(await kept(juliet)), ["Madam!", "for the archive"])
    # Only who is in her contact list. Kept over a kill, like all that was answered.
    await settings.set_preferences("roster", always=[], never=[])
    await juliet.update_roster(nurse.boundjid.bare)
    await scene.restart()
    juliet, romeo, nurse = [await scene.enter(client.boundjid.bare) for client in (juliet, romeo, nurse)]
    equal(await juliet.plugin["xep_0441"].get_preferences(), ("roster", set(), set()))
    await talk(romeo, juliet, ["nobody she knows"])
    await talk(nurse, juliet, ["By and by"])
    equal(bodies(await kept(juliet)), ["Madam!", "for the archive", "By and by"])


play([pages, filters, described, once_with_carbons, while_away, preferences])
