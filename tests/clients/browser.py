"""Converse.js as a person uses it in a browser, at the server's own door, and slixmpp as the other one."""

import asyncio
import hashlib

from converse import Chromium, bosh, websocket
from house import PATIENCE, WEB_PORTS, House, Report, equal
from peer import ROOMS
from picture import HEIGHT, WIDTH, picture
from scene import Scene
from terminal import Relay
from web import session, trust

# Where browsers get in, and what a session there is known by.
DOORS = {websocket: "session.get('smacks_stream_id')", bosh: "api.connection.get()._proto.sid"}
ROOM = f"balcony@{ROOMS}"
LINES = ["I take thee at thy word", "How camest thou hither?", "Art thou there?", "By love", "And what love can do"]


class Play:
    """The page and the other one, the page's way to the server, and what was said between them and in their room."""

    def __init__(self, scene, door, page, relay, romeo, juliet):
        self.scene, self.door, self.page, self.relay = scene, door, page, relay
        self.romeo, self.juliet = romeo, juliet
        self.her = juliet.boundjid.bare
        self.said, self.said_in_room = [], []

    async def session(self):
        return await self.page.until(DOORS[self.door])

    async def he_says(self, text):
        self.said.append(text)
        await self.page.turn_to(self.her)
        await self.page.say(self.her, text)

    async def she_says(self, text):
        self.said.append(text)
        await self.juliet.say(self.romeo, text)

    async def she_says_in_room(self, text):
        self.said_in_room.append(text)
        await self.juliet.say_in(ROOM, text)

    async def he_says_in_room(self, text):
        self.said_in_room.append(text)
        await self.page.turn_to(ROOM)
        await self.page.say(ROOM, text)
        heard = await self.juliet.until("message", lambda m: m["from"] == f"{ROOM}/romeo" and m["body"])
        equal(heard["body"], text)

    async def all_is_shown(self):
        """Each once and in order."""
        for jid, said in ((self.her, self.said), (ROOM, self.said_in_room)):
            await self.page.turn_to(jid)
            await self.page.sees(jid, said[-1])
            equal([text for _, text in await self.page.shown(jid)], said)


async def logged_in(play):
    await play.page.online()
    equal((await play.page.run("api.user.jid()")).partition("/")[0], play.romeo)


async def chat(play):
    await play.he_says("Shall I hear more?")
    message = await play.juliet.hear("message", body="Shall I hear more?")
    equal(message["from"].bare, play.romeo)
    await play.she_says("What man art thou?")
    await play.page.sees(play.her, "What man art thou?")
    equal([text for _, text in await play.page.shown(play.her)], play.said)


async def found_by_itself(play):
    """A page that knows an address and a password alone asks the domain where to get in (XEP-0156)."""
    nurse = await (await play.page.browser.open(play.scene.house.user("nurse"))).online()
    await nurse.turn_to(play.her)
    await nurse.say(play.her, "Madam!")
    await play.juliet.hear("message", body="Madam!")


async def room(play):
    """He opens it, so it is his, and asks her in; what he says is on his page once, though the room sends it back to him."""
    page, juliet = play.page, play.juliet
    await page.enter(ROOM, "romeo", membersonly=True, persistentroom=True, whois="anyone")
    equal(await page.run(f"api.rooms.get('{ROOM}').then(r => r.getOwnAffiliation())"), "owner")
    # Its invitation makes her a member, too, but does not wait until she is one.
    member = f"r.updateMemberLists([{{jid: '{play.her}', affiliation: 'member'}}])"
    await page.run(f"api.rooms.get('{ROOM}').then(r => {member}).then(() => true)")
    await page.run(f"api.rooms.get('{ROOM}').then(r => r.directInvite('{play.her}')).then(() => true)")
    await juliet.invited(ROOM)
    await juliet.join(ROOM, "juliet")
    await play.he_says_in_room(LINES[0])
    await play.she_says_in_room(LINES[1])
    await play.page.sees(ROOM, LINES[1])
    equal([text for _, text in await page.shown(ROOM)], play.said_in_room)


async def a_picture_from_the_page(play):
    """The page's is another origin than the server: the browser asks first whether it may put a file there."""
    path = play.scene.house.folder / "rose \N{ROSE} 50%.png"
    wanted = picture(path)
    await play.page.turn_to(play.her)
    await play.page.attach(play.her, path)
    message = await play.juliet.until("message", lambda m: "/upload/" in m["body"])
    url = message["body"]
    equal(message.xml.findtext("{jabber:x:oob}x/{jabber:x:oob}url"), url)
    async with session(play.scene.house) as http, http.get(url) as got:
        equal((got.status, got.content_type, got.content_disposition.filename), (200, "image/png", path.name))
        equal(hashlib.sha256(await got.read()).hexdigest(), wanted)
    equal(await play.page.picture(play.her, url), [WIDTH, HEIGHT])


async def a_picture_for_the_page(play):
    path = play.scene.house.folder / "night.png"
    wanted = picture(path)
    trust(play.scene.house)
    play.juliet.register_plugin("xep_0363")
    url = await asyncio.wait_for(play.juliet.plugin["xep_0363"].upload_file(path), PATIENCE)
    await play.juliet.say(play.romeo, url)
    equal(await play.page.picture(play.her, url), [WIDTH, HEIGHT])
    equal(await play.page.hash_of(url), wanted)
    # Where pictures are, a text is not the same as what was said.
    play.said += [text for _, text in (await play.page.shown(play.her))[len(play.said) :]]


async def network_loses(play):
    """What the page says to a network that does not tell that it is gone comes to her all the same, and once."""
    lost, before = [f"the bark of yond pine {n}" for n in range(3)], await play.session()
    play.relay.lose()
    for text in lost:
        await play.he_says(text)
    play.relay.cut()
    equal([(await play.juliet.until("message", lambda m: m["body"] and m["type"] == "chat"))["body"] for _ in lost], lost)
    await play.she_says("I hear some noise within")
    await play.all_is_shown()
    equal(await play.session(), before)


async def network_breaks(play):
    """What is said while the page is away comes to it. What was resumed once, it does not resume again, but asks the archive
    (14.0.0); with BOSH, it is the same session all the time."""
    before = await play.session()
    play.relay.close()
    for n in range(20):
        await play.she_says(f"my bounty {n}")
        await play.she_says_in_room(f"as boundless {n}")
    play.relay.open.set()
    await play.page.turn_to(play.her)
    await play.page.sees(play.her, play.said[-1])
    await play.he_says_in_room("my love as deep")
    await play.all_is_shown()
    equal(await play.session() == before, play.door is bosh)


async def after_a_kill(play):
    """The page comes back by itself, and to the room, and shows once and in order what was said before and while it was away."""
    await play.scene.restart()
    play.relay.cut()
    play.juliet = await play.scene.enter(play.her)
    await play.juliet.join(ROOM, "juliet")
    await play.she_says_in_room(LINES[2])
    await play.page.sees(ROOM, LINES[2])
    await play.page.until(f"api.rooms.get('{ROOM}').then(r => r.session.get('connection_status') == 5)")
    await play.he_says_in_room(LINES[3])
    await play.she_says_in_room(LINES[4])
    await play.she_says("the more I give to thee")
    await play.all_is_shown()


PICTURES = [a_picture_from_the_page, a_picture_for_the_page]
CHECKS = [logged_in, chat, found_by_itself, room, *PICTURES, network_loses, network_breaks, after_a_kill]


async def main():
    report = Report()
    for door in DOORS:
        with House(ports=WEB_PORTS) as house:
            scene = Scene(house, direct=True)
            async with Relay(house, "https") as relay, Chromium(house) as chromium:
                romeo, juliet = house.user("romeo"), await scene.enter(house.user("juliet"))
                page = await chromium.open(romeo, door(relay))
                play = Play(scene, door, page, relay, romeo, juliet)
                for check in CHECKS:
                    with report.check(f"{check.__name__} ({door.__name__})"):
                        await asyncio.wait_for(check(play), 2 * PATIENCE)
            await scene.close()
    report.end()


asyncio.run(main())
