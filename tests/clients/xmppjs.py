"""xmpp.js on a WebSocket, at the server's own door, and slixmpp as the other one."""

import asyncio

from converse import websocket
from house import PATIENCE, WEB_PORTS, House, Report, equal
from peer import ROOMS
from program import Program
from scene import Scene
from team import PRIVATE, affiliate, make
from terminal import Relay


class Play:
    """Romeo is the program; what is said between them and in their room, in its order."""

    def __init__(self, scene, romeo, juliet, relay):
        self.scene, self.romeo, self.juliet, self.relay = scene, romeo, juliet, relay
        self.his, self.her = f"{romeo.name}@{scene.house.domain}", juliet.boundjid.bare
        self.room = None
        self.said, self.said_in_room = [], []

    async def he_says(self, *texts):
        for text in texts:
            self.said.append(text)
            await self.romeo.say(self.her, text)

    async def she_hears(self, *texts):
        heard = [await self.juliet.until("message", lambda m: m["body"] and m["type"] == "chat") for _ in texts]
        equal([message["body"] for message in heard], list(texts))

    async def she_says(self, text):
        self.said.append(text)
        await self.juliet.say(self.his, text)

    async def she_says_in_room(self, text):
        self.said_in_room.append(text)
        await self.juliet.say_in(self.room, text)

    async def all_is_heard(self):
        """Each once and in order."""
        for other, said in ((self.her, self.said), (self.room, self.said_in_room)):
            if said:
                await self.romeo.hears(other, said[-1])
                equal(self.romeo.texts(other), said)


async def chat(play):
    await play.he_says("Shall I hear more?", "What man art thou? \N{ROSE} <&>")
    await play.she_hears(*play.said)
    await play.she_says("And all the world " * 200)
    await play.all_is_heard()


async def room(play):
    play.room = await make(play.juliet, "juliet", PRIVATE)
    await affiliate(play.juliet, play.room, play.his, "member")
    await play.romeo.enter(play.room, "romeo")
    await play.she_says_in_room("How camest thou hither?")
    # The room has heard her before he speaks.
    await play.juliet.until("message", lambda m: m["from"] == f"{play.room}/juliet" and m["body"])
    play.said_in_room.append("With love's light wings")
    await play.romeo.say(play.room, play.said_in_room[-1], "groupchat")
    heard = await play.juliet.until("message", lambda m: m["from"] == f"{play.room}/romeo" and m["body"])
    equal(heard["body"], play.said_in_room[-1])
    await play.all_is_heard()


async def network_loses(play):
    """What it says to a network that does not tell that it is gone comes to her all the same, and once: its session goes on."""
    lost = [f"the bark of yond pine {n}" for n in range(20)]
    said = play.romeo.told.count("said")
    play.relay.lose()
    await play.he_says(*lost)
    await play.romeo.until(lambda: play.romeo.told.count("said") == said + len(lost), "say all")
    play.relay.cut()
    await play.she_hears(*lost)
    await play.romeo.until(lambda: "resumed" in play.romeo.told, "resume its session")
    equal(play.romeo.told.count("online"), 1, "sessions")


async def network_breaks(play):
    """What is said while it is away comes to it."""
    resumed = play.romeo.told.count("resumed")
    play.relay.close()
    for n in range(20):
        await play.she_says(f"my bounty {n}")
        await play.she_says_in_room(f"as boundless {n}")
    play.relay.open.set()
    await play.romeo.until(lambda: play.romeo.told.count("resumed") == resumed + 1, "resume its session")
    await play.all_is_heard()
    equal(play.romeo.told.count("online"), 1, "sessions")


async def after_a_kill(play):
    """It comes back by itself, and to the room."""
    await play.scene.restart()
    play.relay.cut()
    play.juliet = await play.scene.enter(play.her)
    await play.juliet.join(play.room, "juliet")
    await play.romeo.until(lambda: play.romeo.told.count("joined") == 2, "come back to the room")
    await play.she_says_in_room("By whose direction found'st thou out this place?")
    await play.he_says("the more I give to thee")
    await play.she_hears("the more I give to thee")
    await play.she_says("the more I have")
    await play.all_is_heard()


async def main():
    report = Report()
    with House(ports=WEB_PORTS) as house:
        scene = Scene(house, direct=True)
        romeo, juliet = house.user("romeo"), await scene.enter(house.user("juliet"))
        async with Relay(house, "https") as relay:
            with report.check("logged_in"):
                program = await Program(house, romeo.partition("@")[0], websocket(relay)).__aenter__()
            try:
                play = Play(scene, program, juliet, relay)
                for check in (chat, room, network_loses, network_breaks, after_a_kill):
                    with report.check(check.__name__):
                        await asyncio.wait_for(check(play), 2 * PATIENCE)
            finally:
                await program.__aexit__()
        await scene.close()
    report.end()


asyncio.run(main())
