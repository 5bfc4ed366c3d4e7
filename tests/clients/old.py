"""Clients that distributions ship still, with their default settings: slixmpp 1.8, and Poezio 0.14 on top of it."""

import asyncio
import logging
import sys

import slixmpp
from house import DOMAIN, PASSWORD, PATIENCE, House, Report, equal
from terminal import Terminal

logging.disable(logging.CRITICAL)


class Client(slixmpp.ClientXMPP):
    """One login; tells how it ended, and what it was refused on the way."""

    def __init__(self, house, password=PASSWORD):
        super().__init__(f"romeo@{DOMAIN}", password)
        self.ca_certs, self.house, self.refused = str(house.ca), house, []
        self.ended = asyncio.get_running_loop().create_future()
        self.add_event_handler("failed_auth", lambda failure: self.refused.append(failure["condition"]))
        for event in "session_start", "failed_all_auth", "disconnected":
            self.add_event_handler(event, lambda *_, event=event: self.end(event))

    def end(self, event):
        if not self.ended.done():
            self.ended.set_result(event)

    async def login(self):
        self.connect(("127.0.0.1", self.house.ports["c2s"]))
        ended = await asyncio.wait_for(self.ended, PATIENCE)
        mechanism = self.plugin["feature_mechanisms"].mech.name
        self.abort()
        return ended, mechanism


async def default_settings(house):
    client = Client(house)
    equal(await client.login(), ("session_start", "SCRAM-SHA-256"))
    # It binds the channel in its way with both hashes first.
    equal(client.refused, ["malformed-request", "malformed-request"])


async def wrong_password(house):
    client = Client(house, "wrong")
    equal((await client.login())[0], "failed_all_auth")
    equal(client.refused, ["not-authorized"] * 4)


async def poezio(house):
    settings = house.folder / "poezio.cfg"
    settings.write_text(
        f"[Poezio]\njid = romeo@{DOMAIN}\npassword = {PASSWORD}\ncustom_host = 127.0.0.1\n"
        f"custom_port = {house.ports['c2s']}\nca_cert_path = {house.ca}\n"
    )
    # It does not start as root, which `run` may be.
    start = "import os; os.getuid = os.geteuid = lambda: 1000; import poezio.__main__ as main; main.run()"
    with Terminal(sys.executable, "-c", start, "--file", settings) as terminal:
        await terminal.sees("Authentication success")
        await terminal.sees("Your JID is romeo@")


def main():
    equal(slixmpp.__version__, "1.8.3", "version")
    report = Report()
    with House() as house:
        house.account(f"romeo@{DOMAIN}")
        for check in default_settings, wrong_password, poezio:
            with report.check(check.__name__):
                asyncio.run(check(house))
    report.end()


main()
