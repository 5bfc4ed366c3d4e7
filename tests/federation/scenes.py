"""The checks, by scene: each a world of its own. `scenes.py NAME...` plays some of them, without names all."""

import asyncio
import sys
import traceback

import talk
from authority import CLIENT, SERVER
from house import PATIENCE
from world import Ejabberd, Ours, Prosody, World, until

NOTIFY = [talk.METADATA]


class Scene:
    """One world, and the checks in it."""

    passed = failed = 0

    def __init__(self, name):
        self.name = name

    async def check(self, what, play, patience=3 * PATIENCE):
        try:
            await asyncio.wait_for(play, patience)
        except Exception:
            traceback.print_exc()
            print(f"FAILED {self.name}: {what}", flush=True)
            Scene.failed += 1
            raise
        print(f"ok {self.name}: {what}", flush=True)
        Scene.passed += 1

    async def both(self, world, ours, theirs, plays=talk.ALL):
        """Two people, and each play in both directions."""
        for play in plays:
            for a_at, b_at in ((ours, theirs), (theirs, ours)):
                a = await world.enter(a_at, "a", notify=NOTIFY if play is talk.avatar else ())
                b = await world.enter(b_at, "b")
                kind = type(b_at).__name__
                await self.check(f"{play.__name__}, {'towards' if b_at is theirs else 'from'} {type(theirs).__name__}", play(a, b))
                await world.leave()


def made(ours, proof, number=1):
    """So many streams of this kind, or more, were made or taken by ours."""
    return ours.said().count(f"proved by {proof}") >= number


async def prosody(scene, world):
    """Certificates for both uses, STARTTLS, one stream each way."""
    names = ["prosody.test", "conference.prosody.test", "push.prosody.test"]
    office = ["office.test", "conference.office.test", "pubsub.office.test"]
    theirs = Prosody(world, "prosody.test", 4, world.authority.certificate(*names), ways=("xmpp-server",))
    ours = Ours(world, "office.test", 2, world.authority.certificate(*office), federation="policy = 'open'", ways=("xmpp-server",))
    world.start(theirs, ours)
    await scene.both(world, ours, theirs)
    assert ":5301 for" in ours.said(), "STARTTLS was not used"


SCENES = {scene.__name__: scene for scene in (prosody,)}


async def main(names):
    for name in names or SCENES:
        with World() as world:
            try:
                await SCENES[name](Scene(name), world)
            except Exception:
                traceback.print_exc()
                # Told by the world's end, with what its servers say.
                raise
            finally:
                for client in world.clients:
                    client.abort()


try:
    asyncio.run(main(sys.argv[1:]))
except Exception:
    pass
finally:
    print(f"{Scene.passed} passed, {Scene.failed} failed", flush=True)
sys.exit(1 if Scene.failed or not Scene.passed else 0)
