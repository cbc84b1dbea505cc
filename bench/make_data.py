"""Writes the folder Hub that the first-rows benchmark reads: a 10 MB csv, a 10 MB jsonl, two 50 MB parquets of 10 row groups.

One parquet is as pyarrow writes it by default: dictionaries and pages of up to 1 MB, of which a row needs one of each per column.
The other has pages of 16 kB and dictionaries where they help, so that its first row group allows to read little.

Usage: make_data.py FOLDER      (needs pyarrow)
Contents are pseudo-random from a fixed seed, so every run writes the same bytes.
"""

import json
import random
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

WORDS = [f"{a}{b}{c}" for a in ("ka", "lo", "mi", "nu", "re") for b in ("ta", "so", "ri") for c in ("n", "st", "", "x")]


def sentence(rng, words):
    return " ".join(rng.choice(WORDS) for _ in range(words))


def row(rng, index):
    return {
        "id": index,
        "score": round(rng.random() * 100, 4),
        "flag": rng.random() < 0.5,
        "label": rng.choice(["alpha", "beta", "gamma"]),
        "text": sentence(rng, 18),
        "date": f"2024-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
    }


def write_csv(path, bytes_wanted):
    rng = random.Random(1)
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write("id,score,flag,label,text,date\n")
        index = 0
        while out.tell() < bytes_wanted:
            for _ in range(1000):
                cells = row(rng, index)
                cells["text"] = '"' + cells["text"].replace(" ", ", ", 1) + '"'
                out.write(",".join(str(cell) for cell in cells.values()) + "\n")
                index += 1


def write_jsonl(path, bytes_wanted):
    rng = random.Random(2)
    with path.open("w", encoding="utf-8") as out:
        index = 0
        while out.tell() < bytes_wanted:
            for _ in range(1000):
                cells = row(rng, index) | {"meta": {"source": rng.choice(WORDS), "tags": [rng.choice(WORDS) for _ in range(3)]}}
                out.write(json.dumps(cells) + "\n")
                index += 1


def write_parquet(path, row_groups, rows_per_group, **pages):
    rng = random.Random(3)
    writer = None
    for group in range(row_groups):
        rows = [row(rng, group * rows_per_group + i) | {"blob": rng.randbytes(400)} for i in range(rows_per_group)]
        table = pa.Table.from_pylist(rows)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="snappy", **pages)
        writer.write_table(table)
    writer.close()


def main():
    hub = Path(sys.argv[1]) / "bench"
    for name in ("csv-10mb", "jsonl-10mb", "parquet-50mb", "parquet-50mb-small-pages"):
        (hub / name).mkdir(parents=True, exist_ok=True)
    write_csv(hub / "csv-10mb" / "data.csv", 10_000_000)
    write_jsonl(hub / "jsonl-10mb" / "data.jsonl", 10_000_000)
    write_parquet(hub / "parquet-50mb" / "data.parquet", 10, 10_700)
    small = {"data_page_size": 16 * 1024, "write_page_index": True, "use_dictionary": ["label", "date"]}
    write_parquet(hub / "parquet-50mb-small-pages" / "data.parquet", 10, 10_700, **small)
    for file in sorted(hub.glob("*/data.*")):
        print(f"{file.relative_to(hub)}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
