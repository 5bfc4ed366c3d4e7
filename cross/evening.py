"""What `try` plays with a binary: enough to know that it works on its processor."""

import asyncio
import time

from house import House, equal
from scene import Scene

BEGAN = time.monotonic()


def tell(what):
    print(f"{time.monotonic() - BEGAN:6.1f} s  {what}", flush=True)



async def archived(client):
    return [
        result["mam_result"]["forwarded"]["stanza"]["body"]
        async for result in client.plugin["xep_0313"].iterate()
    ]


async def evening(house):
    tell("the server listens")
    scene = Scene(house, direct=False)
    romeo = await scene.enter(house.user("romeo"), sm=True)
    tell(f"an account is made; logged in with STARTTLS, {romeo.socket.version()}, {romeo.socket.cipher()[0]}")
    scene.direct = True
    juliet = await scene.enter(house.user("juliet"), tls_1_2=True)
    tell(f"another; logged in with direct TLS, {juliet.socket.version()}, {juliet.socket.cipher()[0]}")
    await romeo.say(juliet.boundjid.bare, "But soft")
    await juliet.hears_only("But soft")
    equal(await romeo.acknowledged(1), ["But soft"])
    tell("a message is received, and acknowledged as stored")
    await scene.restart()
    tell("killed, and started again")
    for jid in (romeo.boundjid.bare, juliet.boundjid.bare):
        equal(await archived(await scene.enter(jid)), ["But soft"])
    tell("the message is in both archives")
    backup = house.folder.parent / f"{house.folder.name}.backup"
    try:
        house.command("backup", backup)
    finally:
        backup.unlink(missing_ok=True)
    tell("a backup is made and checked")
    await scene.close()
    house.stop()
    tell("ended in order")


with House() as house:
    asyncio.run(evening(house))
