"""The walk over an artifact within small bounds, with an engine that does what clamscan does."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from avscan.archives import zips
from avscan.archives.bounds import Bounds
from avscan.archives.reader import UNREADABLE, Member
from avscan.findings import Examination, Findings
from support.examine import OneByOne, examined, items
from support.samples import EICAR

CEILING = 4096
SMALL = Bounds(unpacked_bytes=2_000_000, members=1000, depth=12, ceiling=CEILING, reserve=0)
ROOMY = replace(SMALL, ceiling=1 << 20)
FOUND = Findings(signatures=("Eicar",))
NOTHING = Examination()


@dataclass
class FakeEngine(OneByOne):
    """Finds EICAR in bytes, plain zips, gzip and tar; what is longer than the ceiling it cuts."""

    answer: Callable[[bytes], Findings | None] = lambda data: None
    shown: list[bytes] = field(default_factory=list)
    beside: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def scan(self, path: Path) -> Findings:
        data = path.read_bytes()
        assert len(data) <= CEILING, "longer than clamscan can take"
        self.shown.append(data)
        self.beside.append(len([*path.parent.iterdir()]))
        return self.answer(data) or (FOUND if self._sees(data) else Findings())

    def _sees(self, data: bytes) -> bool:
        return EICAR in data or any(self._sees(member[:CEILING]) for member in self._members(data))

    def _members(self, data: bytes) -> Iterator[bytes]:
        file = io.BytesIO(data)
        if data.startswith(b"PK") and all(
            isinstance(item, Member) and item.already_scanned for item in items(zips.READER, data)
        ):
            with suppress(*UNREADABLE, zipfile.BadZipFile), zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    if info.compress_type in {0, 8} and not info.flag_bits & 1:
                        yield archive.read(info)
        elif data.startswith(b"\x1f\x8b"):
            yield gunzipped(data)
        elif data[257:262] == b"ustar":
            with suppress(*UNREADABLE, tarfile.TarError), tarfile.open(fileobj=file) as tape:
                for entry in tape:
                    if entry.isreg() and (content := tape.extractfile(entry)) is not None:
                        yield content.read()


def gunzipped(data: bytes) -> bytes:
    """Unpack as clamscan does: one member after another, until something else comes."""
    content = b""
    while data.startswith(b"\x1f\x8b") and len(content) < CEILING:
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
        with suppress(zlib.error):
            content += decoder.decompress(data, CEILING - len(content))
        data = decoder.unused_data
    return content


@dataclass
class Scanned:
    """What was found, and the engine that was asked."""

    examination: Examination
    engine: FakeEngine

    @property
    def members(self) -> list[str]:
        """The members in which a signature was found."""
        return [sighting.member for sighting in self.examination.sightings]


def look(
    folder: Path, data: bytes, bounds: Bounds, engine: FakeEngine, **options: object
) -> Scanned:
    """Examine `data` in a folder, which has to be as empty as before at the end."""
    workspace = folder / "work"
    workspace.mkdir(exist_ok=True)
    (path := folder / "artifact").write_bytes(data)
    examination = examined(path, engine=engine, workspace=workspace, bounds=bounds, **options)
    assert not [*workspace.iterdir()]
    return Scanned(examination, engine)
