"""Zips written record by record, so that every field can be given another value."""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from differential.content import content, name
from differential.gzips import deflated

STORED, DEFLATED = 0, 8
BY_DESCRIPTOR = 1 << 3
MASKED = 0xFFFFFFFF

LOCAL = {
    "signature": "I",
    "version": "H",
    "flags": "H",
    "method": "H",
    "time": "I",
    "crc": "I",
    "packed": "I",
    "size": "I",
    "name length": "H",
    "extra length": "H",
}
CENTRAL = {
    "signature": "I",
    "made by": "H",
    "version": "H",
    "flags": "H",
    "method": "H",
    "time": "I",
    "crc": "I",
    "packed": "I",
    "size": "I",
    "name length": "H",
    "extra length": "H",
    "comment length": "H",
    "disk": "H",
    "internal": "H",
    "external": "I",
    "offset": "I",
}
END = {
    "signature": "I",
    "disk": "H",
    "directory disk": "H",
    "entries here": "H",
    "entries": "H",
    "directory size": "I",
    "directory offset": "I",
    "comment length": "H",
}
END64 = {
    "signature": "I",
    "record size": "Q",
    "made by": "H",
    "version": "H",
    "disk": "I",
    "directory disk": "I",
    "entries here": "Q",
    "entries": "Q",
    "directory size": "Q",
    "directory offset": "Q",
}
_BITS = {"H": 16, "I": 32, "Q": 64}


def packed_record(layout: Mapping[str, str], values: Mapping[str, int]) -> bytes:
    """Return a record of a layout; too large values lose their highest bits."""
    cut = [values[key] & ((1 << _BITS[code]) - 1) for key, code in layout.items()]
    return struct.pack("<" + "".join(layout.values()), *cut)


class Descriptor(enum.Enum):
    """What stands behind the data of an entry."""

    NONE = enum.auto()
    USUAL = enum.auto()
    UNSIGNED = enum.auto()
    ZIP64 = enum.auto()


@dataclass
class ZipEntry:
    """An entry before it is written; `local` and `central` hold what is told wrongly."""

    name: bytes
    content: bytes
    method: int = DEFLATED
    data: bytes | None = None
    flags: int = 0
    descriptor: Descriptor = Descriptor.NONE
    zip64: bool = False
    listed: bool = True
    local: dict[str, int] = field(default_factory=dict)
    central: dict[str, int] = field(default_factory=dict)
    local_name: bytes | None = None
    local_extra: bytes = b""
    central_extra: bytes = b""
    comment: bytes = b""
    before: bytes = b""
    after_data: bytes | None = None
    offset: int = 0

    @property
    def packed(self) -> bytes:
        if self.data is not None:
            return self.data
        return deflated(self.content) if self.method == DEFLATED else self.content

    def _common(self) -> dict[str, int]:
        return {
            "version": 45 if self.zip64 else 20,
            "flags": self.flags | (BY_DESCRIPTOR if self.descriptor is not Descriptor.NONE else 0),
            "method": self.method,
            "time": 0x5A21_6000,
            "crc": zlib.crc32(self.content),
            "packed": len(self.packed),
            "size": len(self.content),
        }

    def encode_local(self) -> bytes:
        """Return the local header, the data, and what stands behind it."""
        data = self.packed
        called = self.name if self.local_name is None else self.local_name
        values = self._common()
        extra = self.local_extra
        if self.descriptor is not Descriptor.NONE:
            values |= {"crc": 0, "packed": 0, "size": 0}
        if self.zip64:
            sizes = (values["size"], values["packed"])
            extra = struct.pack("<HHQQ", 1, 16, *sizes) + extra
            values |= {"packed": MASKED, "size": MASKED}
        values |= {
            "signature": 0x04034B50,
            "name length": len(called),
            "extra length": len(extra),
        }
        head = packed_record(LOCAL, values | self.local)
        behind = self._descriptor() if self.after_data is None else self.after_data
        return head + called + extra + data + behind

    def _descriptor(self) -> bytes:
        sums = zlib.crc32(self.content), len(self.packed), len(self.content)
        match self.descriptor:
            case Descriptor.NONE:
                return b""
            case Descriptor.USUAL:
                return b"PK\7\x08" + struct.pack("<III", *sums)
            case Descriptor.UNSIGNED:
                return struct.pack("<III", *sums)
            case Descriptor.ZIP64:
                return b"PK\7\x08" + struct.pack("<IQQ", *sums)

    def encode_central(self, offset: int) -> bytes:
        """Return the directory's record of the entry."""
        extra = self.central_extra
        values = self._common()
        if self.zip64:
            extra = struct.pack("<HHQQQ", 1, 24, values["size"], values["packed"], offset) + extra
            values |= {"packed": MASKED, "size": MASKED}
            offset = MASKED
        values |= {
            "signature": 0x02014B50,
            "made by": 3 << 8 | 30,
            "name length": len(self.name),
            "extra length": len(extra),
            "comment length": len(self.comment),
            "disk": 0,
            "internal": 0,
            "external": (0o40755 << 16 | 0x10) if self.name.endswith(b"/") else 0o100644 << 16,
            "offset": offset,
        }
        return packed_record(CENTRAL, values | self.central) + self.name + extra + self.comment


@dataclass
class Zip:
    """A zip before it is written; `end` and `end64` hold what is told wrongly."""

    entries: list[ZipEntry] = field(default_factory=list)
    prefix: bytes = b""
    adjusted: bool = True
    comment: bytes = b""
    zip64: bool = False
    in_front: bool = False
    other: list[ZipEntry] | None = None
    end: dict[str, int] = field(default_factory=dict)
    end64: dict[str, int] = field(default_factory=dict)
    before_directory: bytes = b""
    before_end: bytes = b""
    tail: bytes = b""
    edits: list[Callable[[bytearray], None]] = field(default_factory=list)

    def encode(self) -> bytes:
        """Return the whole zip.

        With `other`, the records of other entries make a second directory, to which the zip64
        record points, while the end record points to the first.
        """
        base = len(self.prefix) if self.adjusted else 0
        listed = [each for each in self.entries if each.listed]
        lead = sum(len(each.encode_central(0)) for each in listed) if self.in_front else 0
        locals_, at = b"", base + lead
        for each in self.entries:
            locals_ += each.before
            each.offset = at + len(locals_)
            locals_ += each.encode_local()
        for each in self.other or ():
            each.offset = at + len(locals_)
            locals_ += each.encode_local()
        directory = b"".join(each.encode_central(each.offset) for each in listed)
        body = (directory + locals_) if self.in_front else (locals_ + self.before_directory)
        start = base if self.in_front else base + len(body)
        if not self.in_front:
            body += directory
        values = {
            "disk": 0,
            "directory disk": 0,
            "entries here": len(listed),
            "entries": len(listed),
            "directory size": len(directory),
            "directory offset": start,
        }
        body += self._zip64(values, base + len(body))
        if self.zip64 and self.other is None:
            values |= {"entries": 0xFFFF, "entries here": 0xFFFF, "directory offset": MASKED}
        values |= {"signature": 0x06054B50, "comment length": len(self.comment)}
        end = packed_record(END, values | self.end) + self.comment
        data = bytearray(self.prefix + body + self.before_end + end + self.tail)
        for edit in self.edits:
            edit(data)
        return bytes(data)

    def _zip64(self, values: dict[str, int], at: int) -> bytes:
        if not self.zip64 and self.other is None:
            return b""
        second = b""
        if self.other is not None:
            second = b"".join(each.encode_central(each.offset) for each in self.other)
            values = values | {
                "entries here": len(self.other),
                "entries": len(self.other),
                "directory size": len(second),
                "directory offset": at,
            }
        own = {"signature": 0x06064B50, "record size": 44, "made by": 45, "version": 45}
        record = packed_record(END64, values | own | self.end64)
        locator = struct.pack("<IIQI", 0x07064B50, 0, at + len(second), 1)
        return second + record + locator


def entry(rng: Random, data: bytes | None = None) -> ZipEntry:
    """Return an entry as some ordinary program writes it."""
    made = ZipEntry(name(rng), content(rng) if data is None else data)
    made.method = rng.choice((STORED, DEFLATED, DEFLATED))
    if rng.random() < 0.3 and made.method == DEFLATED:
        made.descriptor = Descriptor.USUAL
    elif rng.random() < 0.2:
        made.zip64 = True
    if rng.random() < 0.3:  # times, as Info-ZIP writes them
        made.local_extra = made.central_extra = struct.pack("<HHBI", 0x5455, 5, 1, 1_700_000_000)
    return made


def folder(rng: Random) -> ZipEntry:
    """Return a folder."""
    return ZipEntry(name(rng) + b".d/", b"", STORED)


def valid(rng: Random, inner: bytes | None = None) -> Zip:
    """Return a zip that any program should read in the same way, around `inner` if there is one."""
    made = Zip([entry(rng) for _ in range(rng.randrange(1, 5))])
    if rng.random() < 0.3:
        made.entries.append(folder(rng))
    if inner is not None:
        made.entries.append(entry(rng, inner))
    rng.shuffle(made.entries)
    if rng.random() < 0.2:
        made.comment = b"made by a game studio"
    if rng.random() < 0.15:
        made.prefix = rng.choice((b"MZ\x90\0", b"#!/bin/sh\nexit\n")) + rng.randbytes(600)
        made.adjusted = rng.random() < 0.5
    if rng.random() < 0.15:
        made.zip64 = True
    return made
