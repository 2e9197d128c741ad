"""Tars written header by header, so that every field can be given another value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from differential.content import content, name

BLOCK = 512
END = bytes(2 * BLOCK)
DIALECTS = ("v7", "ustar", "gnu", "pax")
SPARSE = ("gnu", "0.0", "0.1", "1.0")

FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "gid": (116, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "checksum": (148, 8),
    "kind": (156, 1),
    "link": (157, 100),
    "magic": (257, 8),
    "uname": (265, 32),
    "gname": (297, 32),
    "major": (329, 8),
    "minor": (337, 8),
    "prefix": (345, 155),
    "sparse": (386, 96),
    "extended": (482, 1),
    "realsize": (483, 12),
}
MAGIC = {"v7": bytes(8), "ustar": b"ustar\x0000", "gnu": b"ustar  \0", "pax": b"ustar\x0000"}

Checksum = Callable[[bytes], bytes]
Piece = tuple[int, bytes]


def unsigned(head: bytes) -> int:
    """Return the sum of a header's bytes, its checksum taken for blanks."""
    return sum(head[:148]) + 8 * 0x20 + sum(head[156:])


def signed(head: bytes) -> int:
    """Return the sum as old programs computed it, with signed bytes."""
    return unsigned(head) - 256 * sum(byte > 0x7F for byte in head[:148] + head[156:])


def right(head: bytes) -> bytes:
    """Return the checksum as most programs write it."""
    return b"%06o\0 " % unsigned(head)


def padded(data: bytes) -> bytes:
    """Fill the last block with zeros."""
    return data + bytes(-len(data) % BLOCK)


def octal(value: int, width: int) -> bytes:
    """Return a number as GNU tar writes it, in base 256 if it is too large for octal digits."""
    digits = b"%0*o" % (width - 1, value)
    if len(digits) < width:
        return digits + b"\0"
    return base256(value, width)


def base256(value: int, width: int) -> bytes:
    """Return a number as GNU tar writes large and negative ones."""
    raw = bytearray((value & ((1 << 8 * width) - 1)).to_bytes(width, "big"))
    raw[0] = 0xFF if value < 0 else 0x80 | raw[0]
    return bytes(raw)


@dataclass
class Entry:
    """A header, and what stands behind it; `checksum` computes the header's checksum."""

    head: bytearray
    data: bytes = b""
    checksum: Checksum = right
    before: bytes = b""

    def __getitem__(self, key: str) -> bytes:
        offset, size = FIELDS[key]
        return bytes(self.head[offset : offset + size])

    def __setitem__(self, key: str, value: bytes) -> None:
        offset, size = FIELDS[key]
        self.head[offset : offset + size] = value[:size].ljust(size, b"\0")

    def encode(self) -> bytes:
        head = bytearray(self.head)
        offset, size = FIELDS["checksum"]
        head[offset : offset + size] = self.checksum(bytes(head))[:size].ljust(size, b"\0")
        return self.before + bytes(head) + padded(self.data)


@dataclass
class Tar:
    """A tar before it is written; `edits` change the bytes of the finished one."""

    dialect: str
    entries: list[Entry] = field(default_factory=list)
    tail: bytes = END
    edits: list[Callable[[bytearray], None]] = field(default_factory=list)

    def encode(self) -> bytes:
        data = bytearray(b"".join(entry.encode() for entry in self.entries) + self.tail)
        for edit in self.edits:
            edit(data)
        return bytes(data)


def entry(
    dialect: str,
    called: bytes,
    data: bytes = b"",
    *,
    kind: bytes = b"0",
    link: bytes = b"",
    size: int | None = None,
) -> Entry:
    """Return one header with what stands behind it."""
    made = Entry(bytearray(BLOCK), data)
    made["name"], made["link"] = called, link
    made["mode"] = b"0000755\0" if kind == b"5" else b"0000644\0"
    made["uid"], made["gid"] = b"0001750\0", b"0001750\0"
    made["size"] = octal(len(data) if size is None else size, 12)
    made["mtime"] = b"14716274533\0"
    made["kind"], made["magic"] = kind, MAGIC[dialect]
    if dialect != "v7":
        made["uname"], made["gname"] = b"dev", b"dev"
        made["major"], made["minor"] = b"0000000\0", b"0000000\0"
    return made


def records(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Return pax records."""
    return b"".join(record(key, value) for key, value in pairs)


def record(key: bytes, value: bytes) -> bytes:
    """Return one pax record, whose length counts itself."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def pax(pairs: list[tuple[bytes, bytes]], kind: bytes = b"x") -> Entry:
    """Return a pax header."""
    return entry("pax", b"PaxHeaders/0", records(pairs), kind=kind)


def long_name(called: bytes, kind: bytes = b"L") -> Entry:
    """Return a GNU header for a long name or link."""
    return entry("gnu", b"././@LongLink", called + b"\0", kind=kind)


def sparse_map(rng: Random) -> tuple[list[Piece], int]:
    """Return pieces of data with their offsets, and the whole size."""
    pieces: list[Piece] = []
    at = 0
    for _ in range(rng.choice((1, 2, 3, 4, 6, 30))):
        at += BLOCK * rng.randrange(4)
        data = rng.randbytes(BLOCK * rng.randrange(1, 4))
        pieces.append((at, data))
        at += len(data) + BLOCK
    return pieces, at + BLOCK * rng.randrange(3)


def sparse(how: str, called: bytes, pieces: list[Piece], size: int) -> list[Entry]:
    """Return a sparse file in one of the four ways of GNU tar."""
    packed = b"".join(data for _, data in pieces)
    table = [*((at, len(data)) for at, data in pieces), (size, 0)]
    number = b"%d"
    if how == "gnu":
        return [sparse_old(called, table, packed, size)]
    if how == "0.0":
        pairs = [
            (b"GNU.sparse.size", number % size),
            (b"GNU.sparse.numblocks", number % len(table)),
        ]
        for at, length in table:
            pairs += [
                (b"GNU.sparse.offset", number % at),
                (b"GNU.sparse.numbytes", number % length),
            ]
        return [pax(pairs), entry("pax", called, packed)]
    if how == "0.1":
        listed = b",".join(b"%d,%d" % piece for piece in table)
        pairs = [
            (b"GNU.sparse.size", number % size),
            (b"GNU.sparse.numblocks", number % len(table)),
            (b"GNU.sparse.name", called),
            (b"GNU.sparse.map", listed),
        ]
        return [pax(pairs), entry("pax", b"GNUSparseFile.0/" + called, packed)]
    pairs = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", called),
        (b"GNU.sparse.realsize", number % size),
    ]
    listed = b"%d\n" % len(table) + b"".join(b"%d\n%d\n" % piece for piece in table)
    return [pax(pairs), entry("pax", b"GNUSparseFile.0/" + called, padded(listed) + packed)]


def sparse_old(called: bytes, table: list[tuple[int, int]], packed: bytes, size: int) -> Entry:
    """Return a sparse file whose map stands in the header, and in blocks behind it."""
    described = [octal(at, 12) + octal(length, 12) for at, length in table]
    first, rest = described[:4], described[4:]
    extensions = b""
    for start in range(0, len(rest), 21):
        more = b"\1" if start + 21 < len(rest) else b"\0"
        extensions += (b"".join(rest[start : start + 21]).ljust(504, b"\0") + more).ljust(
            BLOCK, b"\0"
        )
    made = entry("gnu", called, extensions + packed, kind=b"S", size=len(packed))
    made["sparse"] = b"".join(first)
    made["extended"] = b"\1" if rest else b"\0"
    made["realsize"] = octal(size, 12)
    return made


def file(rng: Random, dialect: str, data: bytes | None = None) -> list[Entry]:
    """Return a file with the headers that belong to it."""
    data = content(rng) if data is None else data
    called = name(rng)
    kind = b"\0" if dialect == "v7" else b"0"
    if dialect == "gnu" and rng.random() < 0.2:
        called = b"l" * rng.randrange(101, 200) + called.replace(b"/", b"_")
        return [long_name(called), entry(dialect, called[:100], data)]
    if dialect == "pax" and rng.random() < 0.3:
        pairs = [(b"mtime", b"1700000000.25"), (b"path", b"p/" + called)]
        if rng.random() < 0.3:
            pairs.append((b"size", b"%d" % len(data)))
        return [pax(rng.sample(pairs, len(pairs))), entry(dialect, called, data)]
    made = entry(dialect, called, data, kind=kind)
    if dialect == "ustar" and rng.random() < 0.2:
        made["prefix"] = b"a/long/prefix"
    return [made]


def other(rng: Random, dialect: str) -> list[Entry]:
    """Return something that is no plain file."""
    choices = ["folder", "symlink", "link"]
    if dialect != "v7":
        choices += ["fifo"]
    if dialect == "gnu":
        choices += ["sparse gnu", "long link"]
    if dialect == "pax":
        choices += ["sparse 0.0", "sparse 0.1", "sparse 1.0", "global"]
    choice = rng.choice(choices)
    called = name(rng)
    if choice.startswith("sparse"):
        return sparse(choice.partition(" ")[2], called, *sparse_map(rng))
    if choice == "global":
        return [pax([(b"comment", b"%040x" % rng.getrandbits(160))], b"g")]
    if choice == "long link":
        target = b"t" * 150
        return [
            long_name(target, b"K"),
            entry(dialect, called, kind=b"2", link=target[:100]),
        ]
    if choice == "folder":
        kind = b"\0" if dialect == "v7" else b"5"
        return [entry(dialect, called + b".d/", kind=kind)]
    if choice == "link":
        return [
            entry(dialect, called, content(rng), kind=b"\0" if dialect == "v7" else b"0"),
            entry(dialect, called + b".link", kind=b"1", link=called),
        ]
    kind = {"symlink": b"2", "fifo": b"6"}[choice]
    return [entry(dialect, called, kind=kind, link=b"nowhere" if kind == b"2" else b"")]


def valid(rng: Random, inner: bytes | None = None) -> Tar:
    """Return a tar that any program should read in the same way, around `inner` if there is one."""
    dialect = rng.choice(DIALECTS)
    groups = [file(rng, dialect) for _ in range(rng.randrange(1, 4))]
    groups += [other(rng, dialect) for _ in range(rng.choice((0, 0, 1, 1, 2)))]
    if inner is not None:
        groups.append(file(rng, dialect, inner))
    rng.shuffle(groups)
    made = Tar(dialect, [each for group in groups for each in group])
    if rng.random() < 0.5:
        made.tail = bytes(-(len(made.encode()) - len(made.tail)) % 10_240 or 10_240)
        if len(made.tail) < 2 * BLOCK:
            made.tail += bytes(10_240)
    return made
