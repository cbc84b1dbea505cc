"""Writes the two archives of this dataset. Standard library only."""

import io
import json
import struct
import tarfile
import zlib
from pathlib import Path

WIDTH, HEIGHT = 48, 32
KINDS = ["stripes", "rings", "gradient"]


def pixel(kind, phase, x, y):
    if kind == "stripes":
        return (255, 120, 0) if (x + y + 3 * phase) // 6 % 2 else (20, 20, 60)
    if kind == "rings":
        radius = int(((x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2) ** 0.5)
        return (0, 90, 160) if (radius + phase) // 4 % 2 else (240, 240, 220)
    return (255 * x // WIDTH, 255 * y // HEIGHT, 40 * phase % 256)


def png(kind, phase):
    rows = b"".join(b"\0" + bytes(v for x in range(WIDTH) for v in pixel(kind, phase, x, y)) for y in range(HEIGHT))

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def archive(path, first, count):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for index in range(first, first + count):
            kind = KINDS[index % len(KINDS)]
            members = {
                "png": png(kind, index),
                "cls": str(index % len(KINDS)).encode(),
                "json": json.dumps({"kind": kind, "phase": index, "scale": index / 2}).encode(),
                "txt": f"{kind}, phase {index}".encode(),
            }
            for extension, content in members.items():
                member = tarfile.TarInfo(f"{index:04}.{extension}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    folder = Path(__file__).parent
    archive(folder / "train-0000.tar", 0, 6)
    archive(folder / "train-0001.tar", 6, 6)
