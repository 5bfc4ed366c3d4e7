"""Two people send each other a photo: one with Gajim, the other one with Converse.js in Chromium."""

import asyncio

from converse import Chromium, websocket
from desktop import Gajim
from house import PATIENCE, House, Report, equal
from picture import HEIGHT, WIDTH, picture

# Everybody finds this by its name, without a name service.
DOMAIN = "localhost"


async def from_gajim(house, gajim, page, romeo, juliet):
    path = house.folder / "rose \N{ROSE} 50%.png"
    wanted = picture(path)
    await gajim.send(juliet, path)
    await page.turn_to(romeo)
    url = await page.until(f"api.chats.get('{romeo}').then(c => c.messages.map(m => m.get('oob_url')).find(u => u))")
    equal(await page.picture(romeo, url), [WIDTH, HEIGHT])
    equal(await page.hash_of(url), wanted)


async def from_the_browser(house, gajim, page, romeo, juliet):
    path = house.folder / "night.png"
    wanted = picture(path)
    await page.attach(romeo, path)
    url = (await gajim.hears("sender", juliet))["heard"]
    shown = await gajim.picture(juliet, url)
    # Gajim draws it smaller.
    equal(round(shown["width"] / shown["height"], 2), WIDTH / HEIGHT, f"{shown}")
    equal(shown["sha256"], wanted)


async def main():
    report = Report()
    with House(ports={"c2s": 0, "https": 0}, domain=DOMAIN) as house:
        romeo, juliet = house.user("romeo"), house.user("juliet")
        with report.check("logged_in"):
            gajim = await Gajim(house, romeo).__aenter__()
        try:
            async with Chromium(house) as chromium:
                page = await (await chromium.open(juliet, websocket(house))).online()
                for check in (from_gajim, from_the_browser):
                    with report.check(check.__name__):
                        await asyncio.wait_for(check(house, gajim, page, romeo, juliet), 2 * PATIENCE)
        finally:
            await gajim.__aexit__()
    report.end()


asyncio.run(main())
