"""Bytes read of a 2 GB WebDataset archive for its first rows, against what its first samples hold.

Usage: tar.py [MEMBER_KB ...]     (build the node with --release before, or set NODE)
The archive is sparse: its samples are real headers with contents of zeros, so that it takes little disk. The features
come from the first 5 samples, the rows from the first 100 and the next one, which tells that there are more.
"""

import sys
import tarfile
import tempfile
from pathlib import Path

from node import Node

ARCHIVE_BYTES = 2 * 1024**3
SAMPLES_READ = 101
BLOCK_BYTES_MAX = 4 * 1024**2


def add(file, name, content, hole):
    member = tarfile.TarInfo(name)
    member.size = len(content) + hole
    file.write(member.tobuf(tarfile.USTAR_FORMAT))
    file.write(content)
    file.seek(hole + -member.size % 512, 1)


def make(path, member_bytes):
    """Writes the archive; returns where its first samples end."""
    count = ARCHIVE_BYTES // (member_bytes + 2048)
    first_end = 0
    with open(path, "wb") as file:
        for index in range(count):
            add(file, f"{index:08}.bin", b"", member_bytes)
            add(file, f"{index:08}.cls", str(index).encode(), 0)
            if index + 1 == min(SAMPLES_READ, count):
                first_end = file.tell()
        file.seek(1023, 1)
        file.write(b"\0")
    return first_end


def main():
    sizes = [int(size) for size in sys.argv[1:]] or [4, 64, 250, 1000]
    print("| member | archive | first %d samples | bytes read | above the samples |" % SAMPLES_READ)
    print("|---|---|---|---|---|")
    for kilobytes in sizes:
        with tempfile.TemporaryDirectory(dir=Path(__file__).parent.parent / "target") as folder:
            dataset = Path(folder) / "hub" / "bench" / "tar"
            dataset.mkdir(parents=True)
            archive = dataset / "train.tar"
            first_end = make(archive, kilobytes * 1024)
            node = Node(Path(folder) / "hub", Path(folder) / "data", port=8357)
            node.until(lambda: node.idle(1), "idle")
            jobs = list(node.jobs())
            node.stop()
            print("jobs:", [(job["job.kind"], job["bytes_read"], job["outcome"]) for job in jobs], file=sys.stderr)
            read = next(job["bytes_read"] for job in jobs if job["job.kind"] == "split-first-rows")
            over = read - first_end
            verdict = "ok" if over <= BLOCK_BYTES_MAX else "TOO MUCH"
            print(f"| {kilobytes} KiB | {archive.stat().st_size:,} | {first_end:,} | {read:,} | {over:,} {verdict} |")


if __name__ == "__main__":
    main()
