"""What the checks with slixmpp play in: a server, clients, and both ways to connect, trusting the house's authority alone."""

import asyncio

from slixmpp.exceptions import IqError

from house import PATIENCE, House, Report, equal
from peer import Client


class Scene:
    """What a check plays with: clients of accounts that are its own."""

    def __init__(self, house, direct):
        self.house, self.direct = house, direct
        self.clients = []

    def client(self, jid, **options):
        client = Client(self.house, jid, direct=self.direct, **options)
        self.clients.append(client)
        return client

    async def enter(self, jid, available=True, **options):
        return await self.client(jid, **options).online(available)

    async def two(self, **options):
        return [await self.enter(self.house.user(name), **options) for name in ("romeo", "juliet")]

    async def friends(self, **options):
        """Two who see each other's presence."""
        romeo, juliet = await self.two(**options)
        for asks, agrees in ((romeo, juliet), (juliet, romeo)):
            asks.send_presence_subscription(agrees.boundjid.bare)
            await agrees.hear("presence", type="subscribe", sender=asks.boundjid.bare)
            agrees.send_presence_subscription(asks.boundjid.bare, ptype="subscribed")
            await asks.hear("presence", type="subscribed", sender=agrees.boundjid.bare)
            await asks.hear("presence", type="available", sender=agrees.boundjid)
        return romeo, juliet

    async def restart(self):
        """The server is killed and starts again; everybody's connection is gone."""
        self.house.kill()
        for client in self.clients:
            client.abort()
        self.house.start()

    async def close(self):
        for client in self.clients:
            await client.disconnect()


async def refused(request, *conditions):
    """This request is answered with this error, or one of these."""
    try:
        await request
    except IqError as e:
        assert e.condition in conditions, f"{conditions} wanted: {e.iq}"
    else:
        raise Exception(f"no error, {conditions} wanted")


async def _play(checks, ways, ports):
    report = Report()
    for direct in ways:
        with House(ports=ports) as house:
            for check in checks:
                name = f"{check.__name__} ({'direct TLS' if direct else 'STARTTLS'})"
                with report.check(name):
                    scene = Scene(house, direct)
                    await asyncio.wait_for(check(scene), 3 * PATIENCE)
                    await scene.close()
    report.end()


def play(checks, ways=(False, True), ports=None):
    """Each check, once with STARTTLS and once with direct TLS, in this order; `ways`: or not all of that; `ports`: other ports."""
    asyncio.run(_play(checks, ways, ports))
