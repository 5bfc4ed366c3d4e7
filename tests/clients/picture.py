"""Pictures that differ from each other."""

import hashlib
import os
import struct
import zlib

WIDTH, HEIGHT = 320, 200


def picture(path):
    """Writes a PNG that nobody has seen before; returns its SHA-256."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    # A line is its filter, and three bytes for each dot.
    lines = b"".join(b"\0" + os.urandom(3 * WIDTH) for _ in range(HEIGHT))
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
