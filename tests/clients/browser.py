"""Converse.js as a person uses it in a browser, and slixmpp as the other one."""

import asyncio

from bridge import Bridge
from converse import Chromium
from house import PATIENCE, House, Report, equal
from peer import ROOMS
from scene import Scene

ROOM = f"balcony@{ROOMS}"
LINES = ["I take thee at thy word", "How camest thou hither?", "Art thou there?", "By love", "And what love can do"]


async def logged_in(scene, page, romeo, juliet):
    await page.online()
    equal((await page.run("api.user.jid()")).partition("/")[0], romeo)


async def chat(scene, page, romeo, juliet):
    await page.turn_to(juliet.boundjid.bare)
    await page.say(juliet.boundjid.bare, "Shall I hear more?")
    message = await juliet.hear("message", body="Shall I hear more?")
    equal(message["from"].bare, romeo)
    await juliet.say(message["from"].bare, "What man art thou?")
    await page.sees(juliet.boundjid.bare, "What man art thou?")
    lines = [text for _, text in await page.shown(juliet.boundjid.bare)]
    equal(lines, ["Shall I hear more?", "What man art thou?"])


async def room(scene, page, romeo, juliet):
    """He opens it, so it is his, and asks her in; what he says is on his page once, though the room sends it back to him."""
    await page.enter(ROOM, "romeo", membersonly=True, persistentroom=True, whois="anyone")
    equal(await page.run(f"api.rooms.get('{ROOM}').then(r => r.getOwnAffiliation())"), "owner")
    # Its invitation makes her a member, too, but does not wait until she is one.
    member = f"r.updateMemberLists([{{jid: '{juliet.boundjid.bare}', affiliation: 'member'}}])"
    await page.run(f"api.rooms.get('{ROOM}').then(r => {member}).then(() => true)")
    await page.run(f"api.rooms.get('{ROOM}').then(r => r.directInvite('{juliet.boundjid.bare}')).then(() => true)")
    await juliet.invited(ROOM)
    await juliet.join(ROOM, "juliet")
    await page.turn_to(ROOM)
    await page.say(ROOM, LINES[0])
    heard = await juliet.until("message", lambda m: m["from"] == f"{ROOM}/romeo" and m["body"])
    equal(heard["body"], LINES[0])
    await juliet.say_in(ROOM, LINES[1])
    await page.sees(ROOM, LINES[1])
    equal([text for _, text in await page.shown(ROOM)], LINES[:2])


async def after_a_kill(scene, page, romeo, juliet):
    """The page comes back by itself, and to the room, and shows once and in order what was said before and while it was away."""
    await scene.restart()
    juliet = await scene.enter(juliet.boundjid.bare)
    await juliet.join(ROOM, "juliet")
    await juliet.say_in(ROOM, LINES[2])
    await page.sees(ROOM, LINES[2])
    await page.until(f"api.rooms.get('{ROOM}').then(r => r.session.get('connection_status') == 5)")
    await page.say(ROOM, LINES[3])
    heard = await juliet.until("message", lambda m: m["from"] == f"{ROOM}/romeo" and m["body"])
    equal(heard["body"], LINES[3])
    await juliet.say_in(ROOM, LINES[4])
    await page.sees(ROOM, LINES[4])
    equal([text for _, text in await page.shown(ROOM)], LINES)


async def main():
    report = Report()
    with House() as house:
        scene = Scene(house, direct=True)
        async with Bridge(house) as bridge, Chromium() as chromium:
            romeo, juliet = house.user("romeo"), await scene.enter(house.user("juliet"))
            page = await chromium.open(romeo, bridge.address)
            for check in (logged_in, chat, room, after_a_kill):
                with report.check(check.__name__):
                    await asyncio.wait_for(check(scene, page, romeo, juliet), 3 * PATIENCE)
        await scene.close()
    report.end()


asyncio.run(main())
