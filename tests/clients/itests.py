"""slixmpp's own integration tests, as its source distribution carries them: `itests.py SOURCES`.

They find their server by its name and at the standard ports, so it has an address of loopback to itself, and the names lead there.
"""

import importlib
import logging
import os
import pathlib
import signal
import socket
import sys
import traceback
import unittest

import aiohttp
from slixmpp.plugins.xep_0363 import http_upload

from house import DOMAIN, GATEWAY, PASSWORD, PATIENCE, SECRET, House, Report
from web import Near

ADDRESS = "127.77.0.1"
PORTS = {"c2s": 5222, "c2s_tls": 5223, "component": 5347, "https": 5443}
# By module or whole name.
LEFT_OUT = {
    "test_sos": "the address of a status page (XEP-0455) is nothing that the server has",
    "test_last_activity": "it asks the client of a stranger, which XEP-0012 §4 makes the server refuse",
    "test_muc.TestMUC.test_nick_change_leave": "it takes the presence of the change for that of leaving, where it comes late",
    "test_moderate": "slixmpp 1.17.0 speaks the moderation of before 2023, urn:xmpp:message-moderate:0",
}


class TooLong(BaseException):
    """Not an `Exception`, so that no library takes it for a callback that went wrong."""


def too_long(*_):
    raise TooLong(f"longer than {PATIENCE} seconds")


def names_lead_home():
    """What DNS would say of the domain and of what is below it."""
    everywhere = socket.getaddrinfo

    def getaddrinfo(host, *rest, **options):
        ours = isinstance(host, str) and (host == DOMAIN or host.endswith("." + DOMAIN))
        return everywhere(ADDRESS if ours else host, *rest, **options)

    socket.getaddrinfo = getaddrinfo
    from slixmpp.xmlstream.xmlstream import XMLStream

    async def get_dns_records(stream, domain, port=None):
        services = (
            (stream.enable_direct_tls, stream.tls_services, "c2s_tls"),
            (stream.enable_starttls, stream.starttls_services, "c2s"),
        )
        return [(name, domain, domain, PORTS[port]) for on, names, port in services if on for name in names]

    XMLStream.get_dns_records = get_dns_records


def tests_of(name):
    module = importlib.import_module(f"itests.{name}")
    for suite in unittest.defaultTestLoader.loadTestsFromModule(module):
        yield from suite


def run(test):
    signal.alarm(PATIENCE)
    try:
        result = test.run()
    except TooLong as e:
        # Where it was waiting.
        traceback.print_exc()
        raise Exception(str(e)) from None
    finally:
        signal.alarm(0)
    for _, reason in result.skipped:
        raise Exception(f"skipped: {reason}")
    for _, trace in [*result.failures, *result.errors]:
        raise Exception(trace)


def main(sources):
    report, left_out = Report(), set()
    signal.signal(signal.SIGALRM, too_long)
    with House(ADDRESS, PORTS) as house:
        # Read by the libraries before the first test.
        os.environ.update(SSL_CERT_FILE=str(house.ca), CI_MUC_SERVER=f"conference.{DOMAIN}", CI="woodpecker")
        for n in (1, 2):
            os.environ[f"CI_ACCOUNT{n}"], os.environ[f"CI_ACCOUNT{n}_PASSWORD"] = house.user("ci"), PASSWORD
        names_lead_home()
        everywhere = aiohttp.ClientSession
        http_upload.ClientSession = aiohttp.ClientSession = lambda **options: everywhere(connector=Near(house), **options)
        sys.path.insert(0, str(sources))
        component = importlib.import_module("itests.test_component")
        component.CI_JID, component.CI_SECRET, component.CI_SERVER = GATEWAY, SECRET, DOMAIN
        for name in sorted(file.stem for file in (sources / "itests").glob("test_*.py")):
            for test in tests_of(name):
                whole = test.id().removeprefix("itests.")
                reason = next((n for n in LEFT_OUT if n in (name, whole)), None)
                if reason:
                    left_out.add(reason)
                    print(f"left out {whole}: {LEFT_OUT[reason]}")
                    continue
                with report.check(whole):
                    run(test)
    if set(LEFT_OUT) - left_out:
        raise Exception(f"no such tests: {set(LEFT_OUT) - left_out}")
    report.end()


logging.disable(logging.CRITICAL)
main(pathlib.Path(sys.argv[1]))
