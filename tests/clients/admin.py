"""Ad-hoc commands: what administrators and users can do from their client's menus."""

import asyncio

from house import ADMIN, DOMAIN, PASSWORD, PATIENCE, equal
from scene import play

NODE = "http://jabber.org/protocol/admin"


async def run(client, node, values=None, to=DOMAIN):
    """Runs a command, fills in its form, if it has one, and returns the last answer; an error is raised."""
    done = asyncio.get_running_loop().create_future()

    def failed(iq, session):
        done.set_exception(Exception(f"{node}: {iq['error']}"))

    def step(iq, session):
        if iq["command"]["status"] == "completed":
            return done.set_result(iq["command"])
        form = iq["command"]["form"]
        form["type"] = "submit"
        form["values"] = values
        session["payload"] = form
        client.plugin["xep_0050"].complete_command(session)

    client.plugin["xep_0050"].start_command(to, node, {"next": step, "error": failed})
    return await asyncio.wait_for(done, PATIENCE)


async def nurse(scene):
    jid = ADMIN if ADMIN in scene.house.command("user", "list") else scene.house.account(ADMIN)
    client = await scene.enter(jid)
    client.register_plugin("xep_0050")
    return client


async def users(scene):
    client = await nurse(scene)
    items = (await client.plugin["xep_0050"].get_commands(DOMAIN))["disco_items"]["items"]
    assert f"{NODE}#add-user" in [item[1] for item in items], items
    paris = f"paris@{DOMAIN}"
    await run(client, f"{NODE}#add-user", {"accountjid": paris, "password": PASSWORD, "password-verify": PASSWORD})
    other = await scene.enter(paris)
    listed = (await run(client, f"{NODE}#get-registered-users-list"))["form"]["values"]["registereduserjids"]
    assert paris in listed, listed
    await run(client, f"{NODE}#announce", {"announcement": "The theatre closes\nat <ten>."})
    equal((await other.next("message"))["body"], "The theatre closes\nat <ten>.")
    await run(client, f"{NODE}#change-user-password", {"accountjid": paris, "password": "a better one"})
    await run(client, f"{NODE}#end-user-session", {"accountjids": [paris]})
    await other.next("lost")
    other.cancel_connection_attempt()
    again = await scene.enter(paris, password="a better one")
    await run(client, f"{NODE}#delete-user", {"accountjids": [paris]})
    await again.next("lost")
    again.cancel_connection_attempt()
    assert paris not in scene.house.command("user", "list")


async def own_password(scene):
    romeo = await scene.enter(scene.house.user("romeo"))
    romeo.register_plugin("xep_0050")
    bare = romeo.boundjid.bare
    new = {"password": "wherefore", "password-verify": "wherefore"}
    await run(romeo, "urn:inglenook:commands#password", new, to=bare)
    again = await scene.enter(bare, password="wherefore")
    sessions = (await run(romeo, "urn:inglenook:commands#sessions", to=bare))["form"]["values"]["sessions"]
    assert again.boundjid.resource in str(sessions), sessions


play([users, own_password])
