"""Archives behind something that is none: a program, a script, the headers of an rpm.

Self-extracting programs and installers carry their load so, and clamscan finds only some of it.
Every place that has the magic of a reader is tried, and the place where a program's own headers say
that it ends, for formats whose magic is too short to be searched for. A program that unpacks archives
has every magic in it: so what does not unpack for a while, or has not the right sums, is no archive.

Tars and zips are searched for in every file: some readers pass over whatever is in front of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from heapq import merge
from operator import itemgetter
from os import SEEK_END
from typing import BinaryIO

from avscan.archives import registry, tar, zips
from avscan.archives.looks import end_of_program, may_embed_archives, unsupported
from avscan.archives.reader import HEAD, Member, Reader
from avscan.archives.streams import find, region


def archives(file: BinaryIO) -> Iterator[Member]:
    """Iterate over the archives in a file; what is at its very beginning is the file itself."""
    end = file.seek(0, SEEK_END)
    file.seek(0)
    search = _in_program if may_embed_archives(file.read(HEAD)) else _in_data
    done = 1
    for at, reader in search(file, end):
        if at < done:
            continue
        file.seek(at)
        head = file.read(HEAD)
        if reader is None:
            if name := unsupported(head):
                yield Member(name=f"(at byte {at})", closed=name)
        elif reader.recognise(head) and (length := reader.extent(file, at, end)):
            opener = partial(region, file, at, at + length)
            yield Member(name=f"(at byte {at})", open=opener, reader=reader)
            done = at + length


def _in_data(file: BinaryIO, end: int) -> Iterator[tuple[int, Reader]]:
    """Find each tar, in whole blocks, and each zip."""
    tars = ((at, tar.READER) for at in tar.find_headers(file))
    zipped = ((at, zips.READER) for at, _ in find(file, zips.READER.magics, 0, end))
    return merge(tars, zipped, key=itemgetter(0))


def _in_program(file: BinaryIO, end: int) -> Iterator[tuple[int, Reader | None]]:
    """Find each place where an archive may begin, and the reader that may take it for one."""
    readers = {magic: reader for reader in registry.READERS for magic in reader.magics}
    hits = (
        (at - readers[magic].magic_at, readers[magic]) for at, magic in find(file, readers, 0, end)
    )
    overlay = end_of_program(file)
    others = [*registry.READERS, None] if overlay < end else []
    return merge(hits, ((overlay, reader) for reader in others), key=itemgetter(0))
