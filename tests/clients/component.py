"""A gateway made of slixmpp's ComponentXMPP, and users who have contacts behind it."""

import asyncio

import slixmpp

from house import GATEWAY, PATIENCE, SECRET, equal
from scene import play, refused


class Gateway(slixmpp.ComponentXMPP):
    """What arrives waits in queues until it is asked for."""

    def __init__(self, house, secret=SECRET):
        super().__init__(GATEWAY, secret, "127.0.0.1", house.ports["component"])
        # Everybody may see everybody; the library remembers who may, and refuses the probes of others.
        self.roster.auto_authorize = True
        self.roster.auto_subscribe = True
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0199")
        self.queues = {name: asyncio.Queue() for name in ("message", "presence", "start", "end")}
        for name in ("message", "presence"):
            match = slixmpp.MatchXPath(f"{{jabber:component:accept}}{name}")
            self.register_handler(slixmpp.Callback(f"all {name}s", match, self.queues[name].put_nowait))
        self.add_event_handler("session_start", self.queues["start"].put_nowait)
        self.add_event_handler("disconnected", self.queues["end"].put_nowait)

    async def next(self, queue):
        return await asyncio.wait_for(self.queues[queue].get(), PATIENCE)

    async def hear(self, type, sender):
        while True:
            presence = await self.next("presence")
            if (presence["type"], presence["from"]) == (type, sender):
                return presence

    async def enter(self):
        self.connect()
        await self.next("start")
        return self


async def gateway(scene):
    return await Gateway(scene.house).enter()


async def chat(scene):
    component, romeo = await gateway(scene), await scene.enter(scene.house.user("romeo"))
    await romeo.say(f"juliet@{GATEWAY}", "Ay me & <you> \N{ROSE}")
    heard = await component.next("message")
    equal((heard["body"], heard["from"], heard["to"]), ("Ay me & <you> \N{ROSE}", romeo.boundjid, f"juliet@{GATEWAY}"))
    component.send_message(mto=heard["from"], mfrom=f"juliet@{GATEWAY}/balcony", mbody="Romeo, <Romeo>", mtype="chat")
    equal((await romeo.hears_only("Romeo, <Romeo>"))["from"], f"juliet@{GATEWAY}/balcony")
    await component.disconnect()


async def contacts(scene):
    component, romeo = await gateway(scene), await scene.enter(scene.house.user("romeo"))
    juliet, bare = f"juliet@{GATEWAY}", romeo.boundjid.bare
    romeo.send_presence_subscription(juliet)
    await component.hear("subscribe", bare)
    await romeo.hear("presence", type="subscribed", sender=juliet)
    await romeo.hear("presence", type="subscribe", sender=juliet)
    component.send_presence(pto=bare, pfrom=f"{juliet}/balcony", pshow="chat")
    await romeo.hear("presence", type="chat", sender=f"{juliet}/balcony")
    romeo.send_presence_subscription(juliet, ptype="subscribed")
    await component.hear("subscribed", bare)
    await component.hear("available", romeo.boundjid)
    romeo.send_presence(pshow="away")
    await component.hear("away", romeo.boundjid)
    await romeo.disconnect()
    await component.hear("unavailable", romeo.boundjid)
    again = await scene.enter(bare)
    equal(again.client_roster[juliet]["subscription"], "both")
    await component.hear("probe", again.boundjid)
    await component.hear("available", again.boundjid)
    await component.disconnect()


async def questions(scene):
    component, romeo = await gateway(scene), await scene.enter(scene.house.user("romeo"))
    component.plugin["xep_0030"].add_identity(category="gateway", itype="irc", name="The Globe")
    items = await romeo.plugin["xep_0030"].get_items(jid=romeo.boundjid.domain)
    assert GATEWAY in [item[0] for item in items["disco_items"]["items"]], items
    info = await romeo.plugin["xep_0030"].get_info(jid=GATEWAY)
    assert ("gateway", "irc", None, "The Globe") in info["disco_info"]["identities"], info
    await component.plugin["xep_0199"].ping(romeo.boundjid.domain, ifrom=GATEWAY)
    await component.plugin["xep_0199"].ping(romeo.boundjid.full, ifrom=f"juliet@{GATEWAY}/balcony")
    await component.disconnect()
    # It is gone once nobody answers for it any more.
    while True:
        try:
            await romeo.plugin["xep_0199"].ping(GATEWAY)
        except slixmpp.exceptions.IqError as e:
            equal(e.condition, "service-unavailable")
            break


async def wrong_secret(scene):
    component = Gateway(scene.house, secret="Montague and Capulet")
    component.connect()
    await component.next("end")
    assert component.queues["start"].empty()
    component.cancel_connection_attempt()


async def not_there(scene):
    romeo = await scene.enter(scene.house.user("romeo"))
    await refused(romeo.plugin["xep_0199"].ping(GATEWAY), "service-unavailable")


play([chat, contacts, questions, wrong_secret, not_there])
