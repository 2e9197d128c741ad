"""All formats of archives that are opened, in the order in which they are tried."""

from __future__ import annotations

from typing import BinaryIO

from avscan.archives import tar
from avscan.archives.reader import FileReader, Reader

READERS: tuple[Reader, ...] = (tar.READER,)


def recognise(head: bytes, file: BinaryIO | None = None) -> list[Reader]:
    """Return every reader that takes a file for its format: some files are two archives at once.

    `head` are the first `HEAD` bytes. Without `file` no reader is asked about the file's end.
    """
    return [
        reader
        for reader in READERS
        if reader.recognise(head)
        or (file is not None and isinstance(reader, FileReader) and reader.recognise_end(file))
    ]
