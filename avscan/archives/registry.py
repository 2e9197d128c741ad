"""The readers of all formats."""

from __future__ import annotations

from typing import BinaryIO

from avscan.archives import ar, asar, compressed, external, pck, rpa, tar, unsupported, zips
from avscan.archives.reader import FileReader, Reader

READERS: tuple[Reader, ...] = (
    *compressed.READERS,
    tar.READER,
    ar.READER,
    zips.READER,
    asar.READER,
    pck.READER,
    rpa.READER,
    *external.READERS,
    unsupported.READER,
)

_BY_END = [
    (reader, reader.recognise_end)
    for reader in READERS
    if isinstance(reader, FileReader) and reader.recognise_end
]


def recognise(head: bytes, file: BinaryIO | None = None) -> list[Reader]:
    """Return every reader that recognises a file: some files are two archives at once.

    `head` are the first `HEAD` bytes. The end of `file` is used only if no reader recognises these:
    the last member of an archive may be an archive.
    """
    by_head: list[Reader] = [reader for reader in READERS if reader.recognise(head)]
    return by_head or (recognise_end(file) if file else [])


def recognise_end(file: BinaryIO) -> list[Reader]:
    """Return every reader that recognises a file by its end."""
    return [reader for reader, recognise_end in _BY_END if recognise_end(file)]
