"""What Prometheus makes of the numbers: its linter, a parser that is strict, and a Prometheus that scrapes as from another box."""

import asyncio
import contextlib
import json
import math
import re
import socket
import subprocess
import time

import aiohttp
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text

from house import DOMAIN, PATIENCE, WEB_PORTS, House, Report, equal
from scene import Scene
from terminal import Relay
from web import session

TOKEN = "what-only-the-nurse-knows"
# The formats.
TEXT = "text/plain;version=0.0.4"
OPEN = "application/openmetrics-text;version=1.0.0"


def address():
    """One of this box that is not its loopback; none, where there is no network."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # To an address for documentation (RFC 5737); nothing is sent.
        probe.connect(("198.51.100.1", 9))
        return probe.getsockname()[0]


async def page(house, accept):
    """The numbers as this format."""
    async with session(house) as http:
        async with http.get(f"https://{DOMAIN}:{house.ports['https']}/metrics", headers={"Accept": accept}) as got:
            equal((got.status, got.headers["Content-Type"].split("; charset")[0].replace(" ", "")), (200, accept))
            return await got.text()


class Prometheus:
    """Debian's, with a folder and a port of its own; `jobs`: what it scrapes, as its name, its port and its settings."""

    def __init__(self, house, jobs):
        self.house, self.jobs = house, jobs

    async def __aenter__(self):
        folder = self.house.folder / "prometheus"
        folder.mkdir()
        jobs = [
            {"job_name": name, "scheme": "https", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}], **settings}
            | {"tls_config": {"ca_file": str(self.house.ca), "server_name": DOMAIN}}
            for name, port, settings in self.jobs
        ]
        # JSON is YAML, too.
        file = folder / "prometheus.json"
        file.write_text(json.dumps({"global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"}, "scrape_configs": jobs}))
        words = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:0"]
        self.process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.log = []
        self.reading = None
        try:
            self.port = await asyncio.wait_for(self.listening(), PATIENCE)
        except BaseException as e:
            await self.__aexit__()
            raise Exception(f"Prometheus does not listen: {self.log}") from e
        self.reading = asyncio.create_task(self.process.stderr.read())
        return self

    async def __aexit__(self, *_):
        if self.reading:
            self.reading.cancel()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def listening(self):
        async for line in self.process.stderr:
            self.log.append(line.decode())
            if found := re.search(r'msg="Listening on".* address=127\.0\.0\.1:(\d+)', self.log[-1]):
                return int(found[1])
        raise Exception("it has ended")

    async def ask(self, path, **query):
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", params=query) as got:
            answer = await got.json()
        equal(answer["status"], "success", f"{path} {query}")
        return answer["data"]

    async def value(self, query):
        """The one value of this query; none, if there is none yet."""
        found = (await self.ask("query", query=query))["result"]
        return float(found[0]["value"][1]) if len(found) == 1 else None

    async def targets(self):
        """Of each job, how the last scrape was, and why."""
        return {t["labels"]["job"]: (t["health"], t["lastError"]) for t in (await self.ask("targets"))["activeTargets"]}

    async def becomes(self, query, wanted):
        """Waits until the value is this, or is one for which this is true."""
        true = wanted if callable(wanted) else lambda value: value == wanted
        await self.until(lambda: self.value(query), lambda value: value is not None and true(value), query)

    async def until(self, get, true, what):
        """Waits until what it has is as it should be: it scrapes in its own time."""
        deadline = time.monotonic() + PATIENCE
        while not true(value := await get()):
            if time.monotonic() > deadline:
                raise Exception(f"{what} is {value}: {await self.targets()}")
            await asyncio.sleep(0.1)


async def linted(house, prometheus, romeo, juliet):
    """promtool has nothing to say; it knows this format alone."""
    words = ["promtool", "check", "metrics"]
    done = subprocess.run(words, input=await page(house, TEXT), capture_output=True, text=True, timeout=PATIENCE)
    equal((done.returncode, done.stdout, done.stderr), (0, "", ""))


async def same_in_both_formats(house, prometheus, romeo, juliet):
    pages = [parse(await page(house, accept)) for parse, accept in ((text, TEXT), (open_metrics, OPEN))]
    both = [{f.name: (f.type, f.documentation, {(s.name, *sorted(s.labels)) for s in f.samples}) for f in p} for p in pages]
    equal(both[0], both[1])
    assert len(both[0]) > 20, both[0]


async def scraped(house, prometheus, romeo, juliet):
    await prometheus.becomes('up{job="house"}', 1)
    # A counter has this name in OpenMetrics, and ends with _total otherwise.
    (counter,) = await prometheus.ask("targets/metadata", match_target='{job="house"}', metric="inglenook_logins")
    equal(counter["type"], "counter")


async def not_without_the_token(house, prometheus, romeo, juliet):
    # Where there is no network, all are on this box, and nobody has to show anything.
    for job in ("nobody", "somebody") if address() else ():
        await prometheus.becomes(f'up{{job="{job}"}}', 0)
        refused = "down", "server returned HTTP status 404 Not Found"
        await prometheus.until(prometheus.targets, lambda targets: targets[job] == refused, job)


async def series(house, prometheus, romeo, juliet):
    of = '{job="house"}'
    await prometheus.becomes(f"inglenook_accounts{of}", house.users)
    await prometheus.becomes('inglenook_sessions{job="house",state="connected"}', 2)
    messages = 'inglenook_stanzas_total{job="house",kind="message",way="in"}'
    before = await prometheus.value(messages)
    for n in range(5):
        await romeo.say(juliet.boundjid.bare, f"good night {n}")
        await juliet.hears_only(f"good night {n}")
    await prometheus.becomes(messages, before + 5)
    await prometheus.becomes(f"histogram_quantile(0.5, inglenook_commit_seconds_bucket{of})", lambda v: 0 < v and math.isfinite(v))
    await prometheus.becomes(f"inglenook_certificate_expires_timestamp_seconds{of} - time()", lambda v: v > 365 * 24 * 3600)


async def main():
    report = Report()
    with House(ports=WEB_PORTS, more=f"metrics_token = '{TOKEN}'\n") as house:
        scene = Scene(house, direct=True)
        romeo, juliet = await scene.two()
        async with Relay(house, "https", source=address()) as relay:
            shown = {"authorization": {"credentials": TOKEN}}
            wrong = {"authorization": {"credentials": TOKEN[:-1]}}
            jobs = [("house", relay.port, shown), ("nobody", relay.port, {}), ("somebody", relay.port, wrong)]
            async with Prometheus(house, jobs) as prometheus:
                for check in (linted, same_in_both_formats, scraped, not_without_the_token, series):
                    with report.check(check.__name__):
                        await asyncio.wait_for(check(house, prometheus, romeo, juliet), 2 * PATIENCE)
        await scene.close()
    report.end()


asyncio.run(main())
