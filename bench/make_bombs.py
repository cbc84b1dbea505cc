"""Small programs that write hostile datasets, one folder each: what claims, expands or nests far more than it should.

Used by bombs.py. Needs pyarrow. Everything is repeated, streamed or sparse, so that each takes seconds and less than 3 GB of disk.
"""

import bz2
import gzip
import io
import json
import lzma
import struct
import zlib

import pyarrow as pa
import pyarrow.parquet as pq

MIB = 1 << 20
GIB = 1 << 30
PIECE = 16 * MIB
TEN_GB = 640  # pieces of PIECE bytes
BOMBS = {}


def bomb(name, says):
    """Registers a bomb; `says` is what its error must contain where it has no rows (a regular expression)."""

    def register(make):
        BOMBS[name] = (make, says)
        return make

    return register


def repeated(path, piece, times, head=b"", tail=b""):
    with open(path, "wb") as out:
        out.write(head)
        for _ in range(times):
            out.write(piece)
        out.write(tail)


def sparse(path, size, head=b""):
    with open(path, "wb") as out:
        out.write(head)
        out.truncate(size)

# compressed files
PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    "lz4": lambda data: pa.compress(data, codec="lz4", asbytes=True),
}


def packed(kind, inner, content, says):
    """10 GB of `content`, as packed members one after the other."""
    name = f"{kind}-{inner}-{'zeros' if content == 0 else 'line'}"

    def make(folder):
        repeated(folder / f"data.{inner}.{kind}", PACKERS[kind](bytes([content]) * PIECE), TEN_GB)

    BOMBS[name] = (make, says)


LONG = r"longer than|more than"
for _kind in PACKERS:
    packed(_kind, "csv", ord("x"), LONG)
    packed(_kind, "txt", 0, LONG)
packed("gz", "csv", 0, LONG)
packed("gz", "jsonl", 0, r"JSON|parse|longer")
packed("gz", "jsonl", ord(" "), LONG)
packed("zst", "jsonl", ord("["), r"nested")
packed("gz", "parquet", 0, r"[Pp]arquet")
packed("gz", "xml", ord("x"), LONG)


def deflated_forever(data, times):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * times + b"\x03\x00"


def zip_file(path, members, repeat_names=None):
    """Writes (name, deflated bytes, claimed size) as a zip; `repeat_names` makes entries that share the first member's bytes."""
    directory = io.BytesIO()
    count = 0
    with open(path, "wb") as out:

        def entry(name, packed_size, size, at):
            directory.write(struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 8, 0, 33, 0, packed_size, size, len(name), 0, 0, 0, 0, 0, at))
            directory.write(name)

        for name, data, size in members:
            at = out.tell()
            out.write(struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 8, 0, 33, 0, len(data), size, len(name), 0) + name + data)
            entry(name, len(data), size, at)
            count += 1
        for name in repeat_names or ():
            entry(name, len(members[0][1]), members[0][2], 0)
            count += 1
        start = out.tell()
        out.write(directory.getvalue())
        length = directory.tell()
        end64 = out.tell()
        out.write(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, length, start))
        out.write(struct.pack("<IIQI", 0x07064B50, 0, end64, 1))
        small = min(count, 0xFFFF)
        out.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, small, small, length, 0xFFFFFFFF if count > 0xFFFE else start, 0))


def zipped(inner, content):
    def make(folder):
        data = deflated_forever(bytes([content]) * PIECE, 255)
        zip_file(folder / "data.zip", [(f"m{index}.{inner}".encode(), data, 255 * PIECE) for index in range(3)])

    BOMBS[f"zip-{inner}"] = (make, LONG + r"|JSON|image|crc|CRC|identify")


zipped("csv", ord("x"))
zipped("jsonl", ord(" "))
zipped("txt", 0)
zipped("png", 0)


@bomb("zip-million-members", r"members")
def zip_million(folder):
    small = deflated_forever(b"a\n1\n", 1)
    zip_file(folder / "data.zip", [(b"m%06d.csv" % index, small, 4) for index in range(1_000_000)])


@bomb("zip-overlapping", r"[Oo]verlap|differ|File name")
def zip_overlapping(folder):
    data = deflated_forever(b"a,b\n" * (PIECE // 4), 60)
    zip_file(folder / "data.zip", [(b"m000000.csv", data, 60 * PIECE)], (b"n%06d.csv" % index for index in range(50_000)))


@bomb("zip-nested", r"zip|No \(supported\) data files")
def zip_nested(folder):
    inner = folder / "inner"
    zip_file(inner, [(b"data.csv", deflated_forever(b"x" * PIECE, 60), 60 * PIECE)])
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = inner.read_bytes()
    zip_file(folder / "data.zip", [(b"inner.zip", packer.compress(data) + packer.flush(), len(data))])
    inner.unlink()

# README

def readme(folder, yaml):
    (folder / "README.md").write_text(f"---\n{yaml}\n---\n")
    (folder / "data.csv").write_text("a\n1\n")


@bomb("yaml-anchors", r"more than|anchor|alias")
def yaml_anchors(folder):
    lines = ["a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol,lol]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    readme(folder, "\n".join(lines) + "\nconfigs: *a29")


@bomb("yaml-deep", r"nested|depth")
def yaml_deep(folder):
    readme(folder, "configs: " + "[" * 200_000 + "]" * 200_000)


@bomb("yaml-deep-blocks", r"nested|depth")
def yaml_deep_blocks(folder):
    readme(folder, "\n".join(" " * n + "a:" for n in range(3_000)))


@bomb("readme-10mb-text", "more than")
def readme_text(folder):
    readme(folder, "license: mit")
    with open(folder / "README.md", "a") as out:
        out.write("text " * (10 * MIB // 5))


@bomb("readme-10mb-yaml", "more than")
def readme_yaml(folder):
    readme(folder, "tags:\n" + "\n".join(f"- tag{n}" for n in range(10 * MIB // 12)))


@bomb("yaml-10000-configs", "more than|limit")
def yaml_configs(folder):
    readme(folder, "configs:\n" + "\n".join(f"- config_name: c{n}\n  data_files: data.csv" for n in range(10_000)))

# parquet and arrow

@bomb("parquet-2gb-one-page", r"page")
def parquet_one_page(folder):
    cells = pa.array([bytes([65 + n]) * (19 * MIB) for n in range(100)], pa.large_binary())
    pq.write_table(pa.table({"b": cells}), folder / "data.parquet", compression="none", use_dictionary=False, data_page_size=2**31 - 1, write_batch_size=10**6, write_statistics=False)


@bomb("parquet-2gb-one-group", "nothing: it has rows")
def parquet_one_group(folder):
    schema = pa.schema([("id", pa.int64()), ("b", pa.large_binary())])
    cells = pa.array([bytes([n % 251]) * 10_000 for n in range(200_000)], pa.large_binary())
    table = pa.table([pa.array(range(200_000)), cells], schema=schema)
    pq.write_table(table, folder / "data.parquet", compression="none", use_dictionary=False, row_group_size=200_000)


@bomb("parquet-100000-columns", r"columns")
def parquet_columns(folder):
    table = pa.table([pa.array([n]) for n in range(100_000)], names=[f"c{n}" for n in range(100_000)])
    pq.write_table(table, folder / "data.parquet", write_statistics=False, store_schema=False)


@bomb("parquet-page-of-200mb-in-20-columns", r"pages")
def parquet_pages(folder):
    cells = pa.array([bytes(20 * MIB)] * 10, pa.large_binary())
    options = {"compression": "zstd", "use_dictionary": False, "data_page_size": 2**31 - 1, "write_statistics": False}
    pq.write_table(pa.table({f"c{n}": cells for n in range(20)}), folder / "data.parquet", **options)


@bomb("parquet-footer-2gb", r"footer|Parquet|parquet")
def parquet_footer(folder):
    sparse(folder / "data.parquet", 2 * GIB + 100, b"PAR1")
    with open(folder / "data.parquet", "ab") as out:
        out.write(struct.pack("<I", 0x7FFFFFF0) + b"PAR1")


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def thrift(*fields):
    """A compact struct of (id, kind, value): integers, texts, structs already encoded, lists of (kind, encoded items)."""
    out, last = b"", 0
    for number, kind, value in fields:
        out += bytes([(number - last) << 4 | {"i32": 5, "i64": 6, "text": 8, "list": 9, "struct": 12}[kind]])
        last = number
        if kind in ("i32", "i64"):
            out += varint(value << 1 if value >= 0 else (-value << 1) - 1)
        elif kind == "text":
            out += varint(len(value)) + value
        elif kind == "list":
            item, items = value
            count = len(items)
            out += (bytes([count << 4 | item]) if count < 15 else bytes([0xF0 | item]) + varint(count)) + b"".join(items)
        else:
            out += value
    return out + b"\0"


def crafted_parquet(path, page, rows, values, leaf_depth=0):
    group = [thrift((3, "i32", 1), (4, "text", b"g"), (5, "i32", 1))] * leaf_depth
    schema = [thrift((4, "text", b"schema"), (5, "i32", 1)), *group, thrift((1, "i32", 2), (3, "i32", 0), (4, "text", b"x"))]
    names = [varint(1) + b"g"] * leaf_depth + [varint(1) + b"x"]
    meta = thrift((1, "i32", 2), (2, "list", (5, [b"\0"])), (3, "list", (8, names)), (4, "i32", 0), (5, "i64", values), (6, "i64", len(page)), (7, "i64", len(page)), (9, "i64", 4))
    columns = [thrift((2, "i64", 4), (3, "struct", meta))]
    groups = [thrift((1, "list", (12, columns)), (2, "i64", len(page)), (3, "i64", rows))]
    footer = thrift((1, "i32", 1), (2, "list", (12, schema)), (3, "i64", rows), (4, "list", (12, groups)))
    path.write_bytes(b"PAR1" + page + footer + struct.pack("<I", len(footer)) + b"PAR1")


@bomb("parquet-dictionary-claims-2gb", r"page|Parquet|parquet|EOF|dictionary")
def parquet_dictionary(folder):
    header = thrift((1, "i32", 2), (2, "i32", 2**31 - 1), (3, "i32", 2**31 - 1), (7, "struct", thrift((1, "i32", 2**31 - 1), (2, "i32", 0))))
    crafted_parquet(folder / "data.parquet", header + bytes(64), 100, 100)


@bomb("parquet-counts-lie", r"page|Parquet|parquet|EOF|values|end|rows")
def parquet_counts(folder):
    header = thrift((1, "i32", 0), (2, "i32", 64), (3, "i32", 64), (5, "struct", thrift((1, "i32", 2**31 - 1), (2, "i32", 0), (3, "i32", 3), (4, "i32", 3))))
    crafted_parquet(folder / "data.parquet", header + bytes(64), 2**62, 2**62)


@bomb("parquet-nested-10000", r"nest|deep|depth")
def parquet_nested(folder):
    crafted_parquet(folder / "data.parquet", bytes(64), 1, 1, 10_000)


def arrow_file():
    sink = io.BytesIO()
    table = pa.table({"a": list(range(1000))})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytearray(sink.getvalue())


@bomb("arrow-metadata-claims-2gb", r"metadata|more than|[Aa]rrow|end")
def arrow_metadata(folder):
    data = arrow_file()
    data[4:8] = struct.pack("<i", 0x7FFFFFF0)
    (folder / "data.arrow").write_bytes(data)


@bomb("arrow-lengths-lie", r"more than|[Aa]rrow|end|body|buffer")
def arrow_lengths(folder):
    data = arrow_file().replace(struct.pack("<q", 8000), struct.pack("<q", 1 << 40)).replace(struct.pack("<q", 1000), struct.pack("<q", 1 << 40))
    (folder / "data.arrow").write_bytes(data)


@bomb("arrow-2gb-batch", r"more than")
def arrow_batch(folder):
    column = pa.array([bytes(10 * MIB)] * 200, pa.large_binary())
    with pa.OSFile(str(folder / "data.arrow"), "wb") as sink, pa.ipc.new_stream(sink, pa.schema([("b", pa.large_binary())])) as writer:
        writer.write_batch(pa.record_batch([column], names=["b"]))

# text

@bomb("csv-100000-columns", r"columns")
def csv_columns(folder):
    repeated(folder / "data.csv", b",".join([b"1"] * 100_000) + b"\n", 1000, b",".join(b"c%d" % n for n in range(100_000)) + b"\n")


@bomb("csv-header-of-commas", r"columns")
def csv_commas(folder):
    repeated(folder / "data.csv", b"," * MIB, 1024)


@bomb("csv-1gb-line", LONG)
def csv_line(folder):
    repeated(folder / "data.csv", b"x" * MIB, 1024, b"a\n")


@bomb("csv-open-quote", LONG + "|EOF")
def csv_quote(folder):
    repeated(folder / "data.csv", b"x\n" * (MIB // 2), 1024, b'a\n"')


@bomb("csv-long-cells", LONG)
def csv_cells(folder):
    repeated(folder / "data.csv", b"x" * (10 * MIB) + b"\n", 100, b"a\n")


@bomb("txt-long-lines", LONG)
def txt_cells(folder):
    repeated(folder / "data.txt", b"x" * (10 * MIB) + b"\n", 100)


@bomb("jsonl-long-lines", LONG)
def jsonl_cells(folder):
    repeated(folder / "data.jsonl", b'{"a":"' + b"x" * (10 * MIB) + b'"}\n', 100)


@bomb("jsonl-100000-keys", r"columns|keys|paths|more than")
def jsonl_keys(folder):
    row = json.dumps({f"k{n}": n for n in range(100_000)}).encode() + b"\n"
    repeated(folder / "data.jsonl", row, 500)


@bomb("jsonl-changing-keys", r"columns|keys|paths|more than")
def jsonl_changing(folder):
    with open(folder / "data.jsonl", "w") as out:
        for row in range(100_000):
            out.write(json.dumps({f"k{row}_{n}": n for n in range(50)}) + "\n")


@bomb("jsonl-values-of-one-byte", r"more than")
def jsonl_values(folder):
    repeated(folder / "data.jsonl", b'{"a":[' + b"1," * (5 * MIB) + b"1]}\n", 100)


@bomb("json-array-1gb-line", "nothing: it has rows")
def json_array(folder):
    repeated(folder / "data.json", b'{"a": 1, "text": "some words to fill the row"},' * 1000, 22_000, b"[", b'{"a": 2, "text": ""}]')


@bomb("json-array-2gb-long-items", LONG)
def json_items(folder):
    repeated(folder / "data.json", b'{"text":"' + b"x" * (50 * MIB) + b'"},', 40, b"[", b'{"text": ""}]')


@bomb("json-nested-million", r"nested")
def json_nested(folder):
    (folder / "data.json").write_bytes(b"[" * 1_000_000 + b"]" * 1_000_000)


@bomb("jsonl-nested-million", r"nested")
def jsonl_nested(folder):
    (folder / "data.jsonl").write_bytes(b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000)


@bomb("json-1gb-string", LONG)
def json_string(folder):
    repeated(folder / "data.json", b"x" * MIB, 1024, b'{"a": "', b'"}')


@bomb("json-frame-200mb", LONG)
def json_frame(folder):
    repeated(folder / "data.json", b"1," * MIB, 100, b'{"a": {"x": [\n', b'1]}, "b": 1}')


@bomb("txt-2gb-line", LONG)
def txt_line(folder):
    sparse(folder / "data.txt", 2 * GIB)


@bomb("txt-empty-lines", "nothing: it has rows")
def txt_empty(folder):
    repeated(folder / "data.txt", b"\n" * MIB, 1024)


@bomb("xml-1gb", LONG)
def xml(folder):
    repeated(folder / "data.xml", b"<a>text</a>\n" * MIB, 90)


@bomb("conll-1gb", LONG)
def conll(folder):
    repeated(folder / "data.conll", b"word NN B-NP O\n" * MIB, 70)


@bomb("pickle", r"No \(supported\) data files")
def pickles(folder):
    (folder / "data.pkl").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")

# media and archives of samples

@bomb("png-60000", r"more than|memory|pixels|large")
def png(folder):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = b"\x78\x9c" + deflated_forever(bytes(PIECE), 645)
    ends = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    (folder / "data.png").write_bytes(b"\x89PNG\r\n\x1a\n" + ends + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def wav_head(claimed):
    return b"RIFF" + struct.pack("<I", claimed) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 48_000, 192_000, 4, 16) + b"data" + struct.pack("<I", claimed - 36)


@bomb("wav-claims-4gb", r"more than|wav|audio")
def wav(folder):
    (folder / "data.wav").write_bytes(wav_head(0xFFFFFFF0) + bytes(1000))


@bomb("wav-2gb", r"more than|large|longer")
def wav_large(folder):
    sparse(folder / "data.wav", 2 * GIB, wav_head(2 * GIB - 8))


def tar_head(name, size):
    head = bytearray(512)
    head[: len(name)] = name
    head[100:108] = b"0000644\0"
    head[124:136] = b"%011o " % size
    head[148:156] = b"        "
    head[156:157] = b"0"
    head[257:265] = b"ustar\x0000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


@bomb("tar-member-claims-8gb", r"more than|end|tar|unexpected")
def tar_claims(folder):
    (folder / "data.tar").write_bytes(tar_head(b"a.txt", 8 * GIB - 1) + bytes(100_000))


@bomb("tar-member-2gb", r"more than")
def tar_large(folder):
    sparse(folder / "data.tar", 2 * GIB + 2048, tar_head(b"a.txt", 2 * GIB))


@bomb("tar-million-members-of-a-sample", r"more than|members|fields")
def tar_members(folder):
    with open(folder / "data.tar", "wb") as out:
        for index in range(1_000_000):
            out.write(tar_head(b"a.f%d.txt" % index, 0))


@bomb("tar-samples-of-20mb", r"more than")
def tar_samples(folder):
    with open(folder / "data.tar", "wb") as out:
        for index in range(100):
            out.write(tar_head(b"s%d.txt" % index, 20 * MIB) + b"x" * (20 * MIB))

# repositories

@bomb("repository-100000-files", r"more than")
def repository(folder):
    for index in range(100_000):
        if index % 1000 == 0:
            (folder / f"d{index // 1000}").mkdir()
        (folder / f"d{index // 1000}" / f"f{index}.csv").write_bytes(b"a\n1\n")


@bomb("names-of-weird-unicode", r"more than")
def names(folder):
    for name in ("\u202etxt.csv", "a\u0301\u0301\u0301.csv", "\U0001f4a3.csv", " .csv", "a\nb.csv", "%2e%2e.csv", "*[?].csv", "\ufeff.csv", "e" * 240 + ".csv"):
        (folder / name).write_bytes(b"a\n1\n")


def innocent(hub):
    """Datasets that must be served whatever else goes on; how many."""
    for index in range(5):
        folder = hub / "innocent" / f"d{index}"
        folder.mkdir(parents=True)
        (folder / "data.csv").write_text("id,text\n" + "".join(f"{row},some words {row}\n" for row in range(200)))
    return 5
