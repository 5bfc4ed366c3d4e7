"""Debian's Profanity in a terminal, as a person uses it: the keys are typed and the screen is read, through tmux."""

import asyncio
import subprocess

from house import DOMAIN, PASSWORD, PATIENCE, House, Report, equal
from peer import ROOMS, Client
from terminal import Relay, Terminal


def connect(terminal, house, direct, port=None):
    port = port or house.ports["c2s_tls" if direct else "c2s"]
    terminal.type(f"/connect romeo@{DOMAIN} server 127.0.0.1 port {port} tls {'legacy' if direct else 'force'}")


async def unknown_authority(terminal, house, juliet, direct):
    """Profanity shows the authority's certificate and asks; who says no is not connected."""
    connect(terminal, house, direct)
    await terminal.sees("Enter password:")
    terminal.type(PASSWORD)
    screen = await terminal.sees("Use '/tls deny' to reject this certificate.")
    assert "TLS certificate verification failed: self-signed certificate in certificate chain" in screen, screen
    assert "Common name        : Inglenook CA" in screen, screen
    terminal.type("/tls deny")
    await terminal.sees("Login failed.")
    await terminal.clear()


async def accepted_by_hand(terminal, house, juliet, direct):
    connect(terminal, house, direct)
    await terminal.sees("Enter password:")
    terminal.type(PASSWORD)
    await terminal.sees("Use '/tls deny' to reject this certificate.")
    terminal.type("/tls allow")
    await terminal.sees("logged in successfully")
    screen = await terminal.sees("[online]")
    assert "[TLS]" in screen, screen
    await leave(terminal)


async def leave(terminal):
    terminal.type("/disconnect")
    await terminal.sees("logged out successfully")
    await terminal.clear()


async def trusted_authority(terminal, house, juliet, direct):
    """With the authority's file among the trusted ones, nobody is asked."""
    folder = house.folder / "trusted"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(house.ca.read_bytes())
    subprocess.run(["openssl", "rehash", folder], check=True)
    terminal.type(f"/tls certpath set {folder}")
    await terminal.sees("Certificate path set to")
    await terminal.clear()
    await log_in(terminal, house, direct)


async def log_in(terminal, house, direct):
    connect(terminal, house, direct)
    await terminal.sees("Enter password:")
    terminal.type(PASSWORD)
    screen = await terminal.sees("logged in successfully")
    assert "certificate" not in screen, screen
    await terminal.sees("[TLS]")


async def chat(terminal, house, juliet, direct):
    terminal.type(f"/msg juliet@{DOMAIN} Shall I hear more?")
    message = await juliet.hear("message", body="Shall I hear more?")
    equal(message["from"].bare, f"romeo@{DOMAIN}")
    await juliet.say(message["from"], "What man art thou?")
    await terminal.sees("What man art thou?")


async def room(terminal, house, juliet, direct):
    """He opens a room, makes her a member and asks her in; both are heard, and he once."""
    room = f"balcony@{ROOMS}"
    terminal.type(f"/join {room} nick romeo")
    await terminal.sees("/room accept")
    terminal.type("/room accept")
    await terminal.sees("Room unlocked")
    terminal.type(f"/affiliation set member {juliet.boundjid.bare}")
    # That it worked, it does not say.
    terminal.type("/affiliation list member")
    await terminal.sees(f"  {juliet.boundjid.bare}")
    terminal.type(f"/invite send {juliet.boundjid.bare}")
    await juliet.invited(room)
    await juliet.join(room, "juliet")
    terminal.type("I take thee at thy word")
    heard = await juliet.until("message", lambda m: m["from"] == f"{room}/romeo" and m["body"])
    equal(heard["body"], "I take thee at thy word")
    await juliet.say_in(room, "How camest thou hither?")
    await terminal.sees("juliet: How camest thou hither?")
    equal(terminal.screen().count("I take thee at thy word"), 1)
    terminal.type("/close")
    await juliet.hear("presence", sender=f"{room}/romeo", type="unavailable")


async def offline_over_a_kill(terminal, house, juliet, direct):
    terminal.type("/win 1")
    await leave(terminal)
    for line in ("First", "Second", "Third"):
        await juliet.say(f"romeo@{DOMAIN}", f"{line} word")
    # A change is answered when it is stored, and all before it is stored, too.
    await juliet.update_roster(f"nurse@{DOMAIN}")
    house.kill()
    juliet.abort()
    house.start()
    await log_in(terminal, house, direct)
    terminal.type(f"/msg juliet@{DOMAIN}")
    screen = await terminal.sees("Third word")
    places = [screen.find(f"{line} word") for line in ("First", "Second", "Third")]
    assert -1 not in places and places == sorted(places), screen


async def resumed(terminal, house, juliet, direct):
    """Profanity enables stream management by itself. Where its connection breaks, it comes back to its session."""
    terminal.type("/win 1")
    await leave(terminal)
    # Seconds: the least it can wait before it tries again.
    terminal.type("/reconnect 1")
    await terminal.sees("Reconnect interval set to 1 seconds.")
    lines = "Good night", "Parting is", "Such sweet", "Sorrow"
    async with Relay(house, "c2s_tls" if direct else "c2s") as relay:
        # It wrote down where it connected to first, and comes back to nothing else.
        terminal.type(f"/account set romeo@{DOMAIN} port {relay.port}")
        await terminal.sees("Updated port for account")
        terminal.type("/xmlconsole")
        connect(terminal, house, direct, relay.port)
        await terminal.sees("Enter password:")
        terminal.type(PASSWORD)
        await terminal.sees("<enabled")
        # Its presence comes back: now it is available, and not only says so. Before, its carbons would bring what the server
        # also keeps for whoever is available next.
        await terminal.sees(f'to="romeo@{DOMAIN}" from="romeo@{DOMAIN}/')
        relay.cut()
        for line in lines[:-1]:
            await juliet.say(f"romeo@{DOMAIN}", line)
        await terminal.sees("<resumed")
        terminal.type(f"/msg juliet@{DOMAIN}")
        await juliet.say(f"romeo@{DOMAIN}", lines[-1])
        screen = await terminal.sees(lines[-1])
        equal([screen.count(line) for line in lines], [1] * len(lines), screen)
        places = [screen.find(line) for line in lines]
        equal(places, sorted(places), screen)
        terminal.type("/win 1")
        await leave(terminal)
    await log_in(terminal, house, direct)


# Its `/mam on` is not tried: version 0.13.1 looks for urn:xmpp:mam:2 among the features of the server alone, not among those
# of the account, where XEP-0313 §7 has it, and says "Server doesn't support MAM".
CHECKS = [unknown_authority, accepted_by_hand, trusted_authority, chat, room, resumed, offline_over_a_kill]


async def main():
    report = Report()
    for direct in (False, True):
        with House() as house, Terminal("profanity") as terminal:
            for name in ("romeo", "juliet"):
                house.command("user", "add", f"{name}@{DOMAIN}", "--password-stdin", input=PASSWORD + "\n")
            juliet = await Client(house, f"juliet@{DOMAIN}").online()
            await terminal.sees("[offline]")
            for check in CHECKS:
                with report.check(f"{check.__name__} ({'direct TLS' if direct else 'STARTTLS'})"):
                    await check(terminal, house, juliet, direct)
    report.end()


asyncio.run(main())
