"""The house's own pages in Chromium, as people see and use them; their codes as a phone reads them, and what is made there as an app sees it."""

import asyncio
import base64
import json
import os
import pathlib
import plistlib
import re
import subprocess

from converse import Chromium, Page
from house import PASSWORD, PATIENCE, WEB_PORTS, House, Report, equal
from scene import Scene
from web import curl

LANGUAGES = ("en", "de", "fr", "es")
SCHEMES = ("light", "dark")
# Width, height, and whether it is a phone.
SMALL, PHONE, DESKTOP, WALL = (320, 568, True), (360, 640, True), (1920, 1080, False), (3840, 2160, False)
AGENTS = {
    True: "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Mobile Safari/537.36",
    False: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
}
AXE = pathlib.Path(os.environ["NODE_MODULES"]) / "axe-core/axe.min.js"
# Where screenshots go, for people to look at.
SHOTS = os.environ.get("SHOTS")


class Visit(Page):
    """A window that somebody looks at our pages with."""

    @classmethod
    async def begin(cls, browser, size, language="en", scheme="light", scripts=True):
        visit = cls(browser, await browser.window())
        width, height, phone = size
        await visit.do("Network.enable")
        await visit.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        await visit.do("Emulation.setUserAgentOverride", userAgent=AGENTS[phone], acceptLanguage=language)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await visit.do("Emulation.setEmulatedMedia", features=features)
        await visit.do("Emulation.setScriptExecutionDisabled", value=not scripts)
        visit.name = f"{width}-{language}-{scheme}"
        return visit

    async def do(self, method, **params):
        return await self.browser.do(method, self.session, **params)

    async def go(self, url):
        answer = await self.do("Page.navigate", url=url)
        if answer.get("errorText"):
            raise Exception(f"{url}: {answer['errorText']}")
        await self.loaded()
        return self

    async def loaded(self):
        await self.until("document.readyState == 'complete' && !!document.querySelector('footer')")

    async def unfold(self):
        await self.run("document.querySelectorAll('details').forEach(d => d.open = true)")

    async def heading(self):
        return await self.run("document.querySelector('h1').innerText")

    async def text(self, of="main"):
        return await self.run(f"document.querySelector({json.dumps(of)})?.innerText ?? ''")

    async def type(self, field, text):
        await self.run(f"(f => {{ f.focus(); f.select() }})(document.getElementById({json.dumps(field)}))")
        await self.do("Input.insertText", text=text)

    async def press(self, selector):
        """A click where it is on the screen, which leads to another page."""
        find = f"document.querySelector({json.dumps(selector)})"
        box = await self.run(f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] }})({find})")
        await self.run("document.documentElement.dataset.old = '1'")
        for type in ("mousePressed", "mouseReleased"):
            await self.do("Input.dispatchMouseEvent", type=type, x=box[0], y=box[1], button="left", clickCount=1)
        await self.turned()

    async def turned(self):
        """Waits for the page behind the one that was marked as old. Between the two there is none."""
        await self.until("!!document.documentElement && !document.documentElement.dataset.old")
        await self.loaded()

    async def shot(self, clip=None):
        shot = await self.do("Page.captureScreenshot", captureBeyondViewport=True, **({"clip": clip} if clip else {}))
        return base64.b64decode(shot["data"])

    async def keep(self, what):
        if SHOTS:
            size = await self.run("[document.documentElement.clientWidth, document.documentElement.scrollHeight]")
            clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
            (pathlib.Path(SHOTS) / f"{what}-{self.name}.png").write_bytes(await self.shot(clip))

    async def code(self, folder):
        """What a phone reads that is pointed at the code on the page."""
        box = await self.run("(b => [b.x + scrollX, b.y + scrollY, b.width, b.height])(document.querySelector('.qr').getBoundingClientRect())")
        clip = dict(zip(("x", "y", "width", "height"), box), scale=1)
        path = folder / "code.png"
        path.write_bytes(await self.shot(clip))
        done = subprocess.run(["zbarimg", "--quiet", "--raw", path], capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout.strip()

    async def fits(self, what):
        """Nothing has to be scrolled sideways, and what is pressed is large enough for a finger."""
        await self.unfold()
        sizes = await self.run("[document.documentElement.scrollWidth, innerWidth]")
        assert sizes[0] <= sizes[1], f"{what}: {sizes}"
        pressed = "[...document.querySelectorAll('button, .go, .apps a, nav a, summary, input:not([type=hidden])')]"
        small = await self.run(f"{pressed}.filter(e => e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML)")
        equal(small, [], what)

    async def accessible(self, what):
        if not await self.run("!!window.axe"):
            await self.run(AXE.read_text() + ";true")
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        options = json.dumps({"runOnly": {"type": "tag", "values": tags}})
        found = await self.run(f"axe.run(document, {options}).then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html)]))")
        equal(found, [], what)

    def has_asked_only(self, *hosts):
        """Nothing was loaded from elsewhere, and the page has broken none of its own rules."""
        urls = [url for url in self.browser.asked[self.session] if not url.startswith("data:")]
        assert urls, "nothing was asked for"
        for url in urls:
            assert any(url.startswith(host) for host in hosts), url
        said = [text for text in self.browser.said[self.session] if "Content Security Policy" in text or "Refused" in text]
        equal(said, [])


class Pages:
    def __init__(self, scene, browser):
        self.scene, self.browser, self.house = scene, browser, scene.house
        self.base = f"https://{self.house.domain}:{self.house.ports['https']}"
        self.names = iter(range(1, 1000))

    def name(self):
        return f"guest{next(self.names)}"

    def link(self, *words):
        """An invitation, or a link for another password, as its owner gets it."""
        said = self.house.command(*(words or ("invite",)))
        return self.base + re.search(r"https://[^/\s]+(/(?:invite|reset)/\S+)", said)[1]

    async def visit(self, url, size, **options):
        return await (await Visit.begin(self.browser, size, **options)).go(url)

    async def logs_in(self, address, password=PASSWORD):
        client = await self.scene.enter(address, password=password)
        await client.disconnect()


async def fill(visit, name, password, again=None):
    if name is not None:
        await visit.type("name", name)
    await visit.type("password", password)
    await visit.type("again", password if again is None else again)
    await visit.press("form button")


async def every_kind(pages, visit, language):
    """Shows each page there is to the visitor; gives what each is called, one after the other."""
    yield "start", await visit.go(f"{pages.base}/")
    yield "trust", await visit.go(f"{pages.base}/trust")
    yield "gone", await visit.go(f"{pages.base}/invite/none")
    yield "invite", await visit.go(pages.link())
    await fill(visit, "a b", PASSWORD, "another secret")
    equal(await visit.run("document.getElementById('name').value"), "a b")
    equal(await visit.run("document.getElementById('password').value + document.getElementById('again').value"), "")
    yield "fault", visit
    name = pages.name()
    await fill(visit, name, PASSWORD)
    address = f"{name}@{pages.house.domain}"
    assert address in await visit.text(), await visit.text()
    yield "done", visit
    yield "reset", await visit.go(pages.link("user", "reset", address))
    await fill(visit, None, "quite another secret")
    assert address in await visit.text(), await visit.text()
    yield "reset-done", visit


async def fit_and_accessible(pages):
    """On all sizes, in all languages, light and dark."""
    for language in LANGUAGES:
        for size, scheme in ((SMALL, "light"), (PHONE, "dark"), (DESKTOP, "light"), (WALL, "dark")):
            visit = await Visit.begin(pages.browser, size, language=language, scheme=scheme)
            async for kind, _ in every_kind(pages, visit, language):
                what = f"{kind} {visit.name}"
                equal(await visit.run("document.documentElement.lang"), language, what)
                await visit.keep(kind)
                await visit.fits(what)
                await visit.accessible(what)
                # In the other colours, too.
                other = SCHEMES[SCHEMES.index(scheme) - 1]
                await visit.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": other}])
                await visit.accessible(f"{what}, {other}")
                await visit.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            visit.has_asked_only(pages.base)


async def account_by_a_page(pages, scripts):
    """From the link to an app that has logged in."""
    for size in (PHONE, DESKTOP):
        visit = await pages.visit(pages.link(), size, scripts=scripts)
        name = pages.name()
        # What a person may type.
        secret = "corr\N{LATIN SMALL LETTER E WITH ACUTE}ct & \"horse\" <battery> 100% +1"
        await fill(visit, name, secret)
        address = f"{name}@{pages.house.domain}"
        assert address in await visit.text(), await visit.text()
        equal(await visit.run("document.querySelector('.go').getAttribute('href')"), f"xmpp:{address}")
        await pages.logs_in(address, secret)
        visit.has_asked_only(pages.base)


async def by_keyboard(pages):
    """Whoever uses no mouse sees where they are, and gets through the whole form."""
    visit = await pages.visit(pages.link(), DESKTOP)

    async def key(name, code, **more):
        for type in ("keyDown", "keyUp"):
            await visit.do("Input.dispatchKeyEvent", type=type, key=name, code=name, windowsVirtualKeyCode=code, **more)

    for field, text in (("name", name := pages.name()), ("password", PASSWORD), ("again", PASSWORD)):
        for _ in range(20):
            await key("Tab", 9)
            seen = "(e => [e.id, parseFloat(getComputedStyle(e).outlineWidth) >= 2])(document.activeElement)"
            focused, outlined = await visit.run(seen)
            assert outlined, await visit.run("document.activeElement.outerHTML")
            if focused == field:
                break
        equal(focused, field)
        await visit.do("Input.insertText", text=text)
    await visit.run("document.documentElement.dataset.old = '1'")
    await key("Enter", 13, text="\r")
    await visit.turned()
    assert f"{name}@{pages.house.domain}" in await visit.text(), await visit.text()


async def back_and_again(pages):
    """Whoever goes back and sends the form again, or opens the link again, is told that all is well."""
    link, name = pages.link(), pages.name()
    visit = await pages.visit(link, DESKTOP)
    await fill(visit, name, PASSWORD)
    made = await visit.heading()
    history = await visit.do("Page.getNavigationHistory")
    before = history["entries"][history["currentIndex"] - 1]["id"]
    await visit.do("Page.navigateToHistoryEntry", entryId=before)
    await visit.until("location.pathname.startsWith('/invite/') && document.readyState == 'complete' && !!document.querySelector('h1')")
    await visit.loaded()
    assert f"{name}@{pages.house.domain}" in await visit.text(), await visit.text()
    again = await visit.heading()
    assert again != made, again
    other = await pages.visit(link, PHONE)
    equal(await other.heading(), again)
    await pages.logs_in(f"{name}@{pages.house.domain}")


async def codes_are_read(pages):
    folder = pages.house.folder
    for scheme in SCHEMES:
        link, name = pages.link(), pages.name()
        visit = await pages.visit(link, DESKTOP, scheme=scheme)
        read = await visit.code(folder)
        equal(read.partition("/invite/")[2], link.partition("/invite/")[2])
        # As a phone that has read it.
        phone = await pages.visit(read, PHONE, scheme=scheme)
        equal(await phone.run("document.querySelectorAll('.qr').length"), 0)
        opens = await phone.run("document.querySelector('.go').getAttribute('href')")
        equal(opens, f"xmpp:{pages.house.domain}?register;preauth={link.partition('/invite/')[2]}")
        await fill(phone, name, PASSWORD)
        equal(await phone.code(folder), f"xmpp:{name}@{pages.house.domain}")


async def files_of_trust(pages):
    """As Apple's and other systems read them."""
    _, fields, profile = await curl(pages.house, f"{pages.base}/trust/inglenook.mobileconfig")
    equal(fields["content-type"], "application/x-apple-aspen-config")
    (payload,) = plistlib.loads(profile)["PayloadContent"]
    equal(payload["PayloadType"], "com.apple.security.root")
    _, _, der = await curl(pages.house, f"{pages.base}/trust/ca.crt")
    equal(payload["PayloadContent"], der)
    _, _, pem = await curl(pages.house, f"{pages.base}/trust/ca.pem")
    visit = await pages.visit(f"{pages.base}/trust", DESKTOP)
    for form, content in (("DER", der), ("PEM", pem)):
        words = ["openssl", "x509", "-inform", form, "-noout", "-fingerprint", "-sha256"]
        said = subprocess.run(words, input=content, capture_output=True, check=True, timeout=PATIENCE).stdout.decode()
        assert said.strip().partition("=")[2] in await visit.text(), said


CHECKS = [files_of_trust, codes_are_read, by_keyboard, back_and_again, fit_and_accessible]


async def main():
    report = Report()
    with House(ports=WEB_PORTS) as house:
        scene = Scene(house, direct=True)
        async with Chromium(house) as browser:
            pages = Pages(scene, browser)
            for scripts in (True, False):
                with report.check(f"account_by_a_page ({'with' if scripts else 'without'} scripts)"):
                    await asyncio.wait_for(account_by_a_page(pages, scripts), 2 * PATIENCE)
            for check in CHECKS:
                with report.check(check.__name__):
                    await asyncio.wait_for(check(pages), 6 * PATIENCE)
        await scene.close()
    report.end()


asyncio.run(main())
