"""What an archive (XEP-0313) has, an account's or a room's, as slixmpp reads it."""


class Kept:
    """A message in an archive."""

    def __init__(self, result):
        forwarded = result["mam_result"]["forwarded"]
        self.id, self.stamp = result["mam_result"]["id"], forwarded["delay"]["stamp"]
        self.body, self.sender = forwarded["stanza"]["body"], forwarded["stanza"]["from"]


async def kept(client, **query):
    """All pages, with the library's own iterator. It goes on until a page is empty, and takes an error for the end
    (slixmpp 1.17.0): the callers know how much there must be."""
    return [Kept(result) async for result in client.plugin["xep_0313"].iterate(**query)]


def bodies(messages):
    return [message.body for message in messages]
