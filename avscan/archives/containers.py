"""Containers: what kinds there are, known by their first bytes, and their members one by one.

A member is bytes that come once. Directories, links and devices hold none, and are passed over;
nothing here ever makes a file. Whatever lies behind a container's end is a member too.
"""

from __future__ import annotations

import codecs
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import cast

from avscan.archives import streams
from avscan.archives.streams import Stream

HEAD = 512  # bytes that tell a kind
RPM = b"\xed\xab\xee\xdb"
SURE = 2 * tarfile.BLOCKSIZE  # bytes that tell whether clamscan knows a tar for one
HEADERS = 1 << 20  # bytes of headers that one tar member may have; each is read into memory
GLOBALS = 1000  # global pax records that a tar may have
REST = "(after the end)"  # how a container's trailing data is called

_TAR_END = bytes(tarfile.BLOCKSIZE)
# A header with its magic, its size in plain octal, and a usual type: clamscan 1.4 reads these as
# tarfile does, and stops in silence at some others (no magic, a size in base 256).
_PLAIN_HEADER = re.compile(rb"[^\0].{123}[0-7]{11}[\0 ].{20}[\x000-6xgLK].{100}ustar", re.DOTALL)
_WITH_PAYLOAD = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_WITH_CONTENT = (tarfile.REGTYPE, tarfile.AREGTYPE)
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_PROGRAMS = (
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xca\xfe\xba\xbe",
    b"\xca\xfe\xba\xbf",
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
)
_CONTROLS = frozenset(range(0x20)) - frozenset(b"\t\n\r") | {0x7F}
_DIGITS = frozenset(b"01234567")
_SCRIPT = 32  # bytes of text that a script begins with, at least, or a shorter line


class Kind(Enum):
    """The kinds that we open; `Kind.ZIP` is `avscan.archives.zips`'s."""

    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    LZMA = "lzma"
    ZSTD = "zstd"
    TAR = "tar"
    AR = "ar"
    ZIP = "zip"

    @property
    def squeezed(self) -> bool:
        """Whether its raw bytes mean nothing to anybody before they are unpacked.

        Of a tar or an ar that can't be said: one file can be a tar and a program at once. LZMA's
        header is too weak a sign.
        """
        return self in {Kind.GZIP, Kind.BZIP2, Kind.XZ, Kind.ZSTD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a container: open it before the next one is asked for.

    Without `open`, `closed` says why nobody can look into it. `seen` tells that clamscan does so by
    itself when it is given the container, unless this is longer unpacked than clamscan can take;
    `most` is how many bytes that can be. `rest` marks what lies behind the container's end.
    """

    name: str
    open: Callable[[], Stream] | None = None
    closed: str = ""
    seen: bool = False
    most: int = 0
    rest: bool = False


class NotWholeError(Exception):
    """A container is damaged in a way that has no error of its own."""


UNREADABLE: tuple[type[Exception], ...] = (
    NotWholeError,
    tarfile.TarError,
    *streams.DECODING_ERRORS,
    EOFError,
    OSError,
    ValueError,  # a malformed name or number
    OverflowError,
    RecursionError,  # headers of headers of headers
)
"""What opening or reading a damaged container raises."""


def sniff(head: bytes) -> Kind | None:
    """Tell the kind of container from the first `HEAD` bytes."""
    for magics, kind in _MAGICS.items():
        if head.startswith(magics):
            return kind
    if _is_gzip(head):
        return Kind.GZIP
    if _is_lzma(head):
        return Kind.LZMA
    return Kind.TAR if _is_tar(head) else None


def opaque(head: bytes) -> str:
    """Name the format of what neither clamscan 1.4 nor we can look into; empty if it is none."""
    if head.startswith(b"\x7fELF") and head[8:11] == b"AI\2":
        return "AppImage"  # a program with a squashfs behind it
    return next((name for magic, name in OPAQUE.items() if head.startswith(magic)), "")


def surely_tar(head: bytes) -> bool:
    """Tell whether clamscan is sure to take what begins with these two blocks for a tar.

    It goes by other formats' magic first: a tar is a GIF to it if its first member is named `GIF`,
    and a disk image if that one's content begins with `EFI PART`. Nothing begins with `./`.
    """
    first, second = head[: tarfile.BLOCKSIZE], head[tarfile.BLOCKSIZE : SURE]
    return (
        _PLAIN_HEADER.match(first) is not None
        and first.startswith(b"./")
        and not first[500:].strip(b"\0")  # where a disk has its mark
        and second.startswith(b"./")
    )


def passes_for_tar(begin: bytes) -> bool:
    """Tell whether clamscan takes a zip or a gzip for a tar, by its first `SURE` bytes."""
    return begin[257:262] == b"ustar"


def passes_for_disk(begin: bytes) -> bool:
    """Tell whether clamscan takes a gzip or a 7z for a disk, by its first `SURE` bytes."""
    return begin[512:520] == b"EFI PART"


def is_program(head: bytes) -> bool:
    """Tell whether some system runs what begins like this."""
    return head.startswith(_PROGRAMS)


def is_carrier(head: bytes) -> bool:
    """Tell whether archives may lie behind what begins like this: a program, a script, an rpm.

    A script needs no `#!`: a shell runs it without, and other systems have none.
    """
    script = _is_text(head) and sniff(head) is None  # an ar begins with text, and some tars do
    return script or is_program(head) or head.startswith(RPM)


def _is_text(head: bytes) -> bool:
    """Tell whether it begins with a line of text, or with enough of one.

    In whatever alphabet, but for its first letter: a script begins with a word or a mark of its
    language's.
    """
    begin = head.removeprefix(codecs.BOM_UTF8)[:_SCRIPT]
    line, newline, _ = begin.partition(b"\n")
    whole = bool(newline) or len(begin) == _SCRIPT
    return whole and line[:1].isascii() and _CONTROLS.isdisjoint(line)


def members(
    kind: Kind, stream: Stream, tick: Callable[[], None] = lambda: None
) -> Iterator[Member]:
    """Iterate over the members of a container that is not a zip.

    `tick` is called now and then while bytes are passed over that nobody reads.

    Raises (also from reading a member): one of UNREADABLE.
    """
    match kind:
        case Kind.TAR:
            return _tar(stream)
        case Kind.AR:
            return _ar(stream)
        case _ if kind in _SQUEEZED:
            return _squeezed(stream, *_SQUEEZED[kind], seen=kind is Kind.GZIP, tick=tick)
        case _:
            raise NotWholeError(f"no way to open {kind.value}")


_GZIP = (b"\x1f\x8b\x08",)
_BZIP2 = tuple(b"BZh%d" % level for level in range(1, 10))
_XZ = (b"\xfd7zXZ\0",)
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16)))

_SQUEEZED: dict[Kind, tuple[Callable[[], streams.Decoder], tuple[bytes, ...]]] = {
    Kind.GZIP: (streams.gzip_decoder, _GZIP),
    Kind.BZIP2: (streams.bzip2_decoder, _BZIP2),
    Kind.XZ: (streams.xz_decoder, _XZ),
    Kind.LZMA: (streams.lzma_decoder, ()),
} | ({Kind.ZSTD: (streams.zstd_decoder, _ZSTD)} if streams.zstd_decoder else {})

_MAGICS = {
    # The magic of bzip2 is followed by that of its first block, or of its end.
    tuple(level + block for level in _BZIP2 for block in (b"1AY&SY", b"\x17rE8P\x90")): Kind.BZIP2,
    _XZ: Kind.XZ,
    (_AR_MAGIC,): Kind.AR,
    (b"PK\3\4", b"PK\5\6", b"PK\7\x08PK\3\4"): Kind.ZIP,
} | ({_ZSTD: Kind.ZSTD} if streams.zstd_decoder else {})

# Each of these is `OK` to clamscan 1.4, which says nothing of it. That Debian's has no library for
# rar, others' may: it can't be asked.
OPAQUE = dict.fromkeys(_ZSTD, "zstd") | {
    **{b"\x1f\x9d" + bytes([0x80 | bits]): "compress" for bits in range(9, 17)},
    b"\x04\x22\x4d\x18": "lz4",
    b"LZIP\1": "lzip",
    b"\x89LZO\0\r\n\x1a\n": "lzop",
    b"Rar!\x1a\x07": "rar",
    b"MSWIM\0\0\0": "wim",
    b"hsqs": "squashfs",
    b"sqsh": "squashfs",
    b"\x45\x3d\xcd\x28": "cramfs",
    b"DWARFS": "DwarFS",
    b"ArC\1": "FreeArc",
    b"pbzx": "pbzx",
    b"LRZI": "lrzip",
    RPM: "rpm",
    b"-----BEGIN PGP MESSAGE-----": "PGP",
    b"age-encryption.org/v1\n": "age",
    b"Salted__": "openssl-enc",
}
"""What nobody looks into, by its first bytes."""


def _is_gzip(head: bytes) -> bool:
    """Three bytes of magic, and three flags that must be zero (RFC 1952)."""
    return head.startswith(_GZIP) and not head[3:4] > b"\x1f"


def _is_lzma(head: bytes) -> bool:
    """Judge as xz does: the usual properties, a round dictionary size, a size below 256 GiB."""
    dictionary, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    lowest = dictionary & -dictionary
    return (
        len(head) > 13  # noqa: PLR2004 - the header's length
        and head[0] == 0x5D  # noqa: PLR2004 - lc=3, lp=0, pb=2
        and dictionary >= 1 << 12
        and dictionary in {lowest, 3 * lowest}
        and (size == 2**64 - 1 or size < 1 << 38)
        and head[13] == 0  # the range coder's first byte
    )


def _is_tar(head: bytes) -> bool:
    """Look for a header whose sum is right: very old tars have no magic."""
    if _DIGITS.isdisjoint(head[148:156]):  # no sum at all, which is taken for 0
        return False
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


def _squeezed(
    stream: Stream,
    make: Callable[[], streams.Decoder],
    magics: tuple[bytes, ...],
    *,
    seen: bool,
    tick: Callable[[], None],
) -> Iterator[Member]:
    """One nameless member, however many streams it comes in, and what follows them."""
    content = streams.decoded(stream, make, magics=magics, tick=tick)
    yield Member(name="", open=lambda: content, seen=seen)
    while content.some(streams.CHUNK):
        tick()
    yield from _rest(stream)


def _rest(stream: Stream) -> Iterator[Member]:
    if stream.skip_zeros():
        yield Member(name=REST, open=lambda: stream, rest=True)


class _Tape:
    """What tarfile reads from: it goes forwards only, and measures the headers.

    Tarfile reads a header whole into memory, however long it says it is. `plain` tells that so far
    all headers were such that clamscan, which stops at one that it can't read, has not stopped.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.block = b""  # what was read last
        self.header = b""  # the last header of all that belong to a member
        self.plain = surely_tar(stream.peek(SURE))
        self._payload = False
        self._headers: int | None = HEADERS
        self.tell = stream.tell
        self.seek = stream.seek

    def read(self, size: int) -> bytes:
        if self._headers is not None:
            self._headers -= size
            if self._headers < 0:
                raise NotWholeError(f"a member has more than {HEADERS} bytes of headers")
        self.block = self.stream.read(size)
        if self._headers is not None and size > 1:  # one byte tells tarfile that it got there
            self._judge()
        return self.block

    def _judge(self) -> None:
        """Look at a header, unless it is the content of the one before."""
        if self._payload or self.block == _TAR_END:
            self._payload = False
            return
        self.header = self.block
        self.plain = self.plain and _PLAIN_HEADER.match(self.block) is not None
        self._payload = self.block[156:157] in _WITH_PAYLOAD
        if self._payload and not _size_in(self.block):  # clamscan loses its place here
            self.plain = self._payload = False

    def begin_header(self) -> None:
        self._headers = HEADERS

    def end_header(self) -> None:
        self._headers = None


def _tar(stream: Stream) -> Iterator[Member]:
    """Let tarfile find the members; it stops in silence at a header that it can't read."""
    tape = _Tape(stream)
    archive = tarfile.TarFile(fileobj=tape, encoding="utf-8", errors="surrogateescape")  # type: ignore[arg-type] # what it needs of a file
    kept = vars(archive)["members"]  # it keeps all that it gave, and a tar can have millions
    while (member := archive.next()) is not None:
        tape.end_header()
        if len(archive.pax_headers) > GLOBALS:
            raise NotWholeError(f"more than {GLOBALS} global headers")
        if member.isreg() or member.type not in tarfile.SUPPORTED_TYPES:
            if _hides(archive, tape.header, member):
                raise NotWholeError(f"{member.name} has more bytes than it tells")
            seen = (
                tape.plain and member.type in _WITH_CONTENT and not member.pax_headers.get("size")
            )
            yield Member(
                name=member.name, open=_extractor(archive, member), seen=seen, most=member.size
            )
        kept.clear()
        tape.begin_header()
    if tape.block not in {b"", _TAR_END}:
        damaged = len(tape.block)
        stream.unread(tape.block)
        yield from _rest(stream)
        raise NotWholeError(
            "a header is damaged" if damaged == tarfile.BLOCKSIZE else "it is cut short"
        )
    yield from _rest(stream)


def _size_in(header: bytes) -> int:
    """Read the size that a header tells itself, whatever other headers say of its member."""
    try:
        return tarfile.nti(header[124:136])  # type: ignore[attr-defined, no-any-return] # it has no types
    except tarfile.TarError:
        return 0


def _hides(archive: tarfile.TarFile, header: bytes, member: tarfile.TarInfo) -> bool:
    """Tell whether a member has bytes that its extraction passes over, and others' may not.

    A pax header can tell another size than the member's own `header`, and a map of holes another
    length than the member takes.
    """
    if member.sparse is None:
        return _size_in(header) > member.size
    holes = cast("list[tuple[int, int]]", member.sparse)
    content = sum(length for _, length in holes)
    if member.type == tarfile.GNUTYPE_SPARSE or member.pax_headers.get("GNU.sparse.major") == "1":
        # The map stands between the header and the content.
        blocks = -(-content // tarfile.BLOCKSIZE)
        return archive.offset - member.offset_data > blocks * tarfile.BLOCKSIZE
    return _size_in(header) > content


def _extractor(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], Stream]:
    def extract() -> Stream:
        file = archive.extractfile(member)
        if file is None:
            raise NotWholeError(f"{member.name} has no content")
        return Stream(file.read)

    return extract


def _ar(stream: Stream) -> Iterator[Member]:
    """Read the format of `.deb`: names of 16 bytes, sizes in decimal, even offsets (ar(5))."""
    stream.read(len(_AR_MAGIC))
    while header := stream.read(_AR_HEADER):
        if len(header) < _AR_HEADER or header[58:] != b"`\n":
            stream.unread(header)
            yield from _rest(stream)
            raise NotWholeError("a header is damaged")
        size = int(header[48:58])
        if size < 0:
            raise NotWholeError("a member has a size below zero")
        begin = stream.tell()
        name = header[:16].decode("utf-8", "surrogateescape").strip().rstrip("/")
        yield Member(name=name, open=lambda end=begin + size: until(stream, end))  # type: ignore[misc] # a default binds it now
        stream.seek(begin + size)
        if stream.tell() < begin + size:
            raise EOFError("it is cut short")
        stream.read(size % 2)


def until(stream: Stream, end: int) -> Stream:
    """Give the bytes of `stream` from where it stands up to the position `end`.

    Raises (from the reading) EOFError if it ends before.
    """

    def pull(size: int) -> bytes:
        wanted = min(size, end - stream.tell())
        if not wanted:
            return b""
        if not (data := stream.some(wanted)):
            raise EOFError("it is cut short")
        return data

    return Stream(pull)
