"""Archives inside of other files, such as programs, scripts and rpms.

Self-extracting programs and installers have an archive behind their code, and clamscan finds only
some of these. Every place that has the magic of a reader is tried, and the place where a program
ends by its own headers, for formats whose magic is too short to search for. A program that unpacks
archives has their magics in its code. So a place where nothing unpacks, or whose checksums are wrong,
is no archive.

Some readers skip whatever is in front of an archive: GNU tar skips any number of blocks, 7-Zip the
first MiB. So tars are searched for in all of every file, and other archives in its first MiB.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache, partial
from heapq import merge
from operator import itemgetter
from os import SEEK_END
from typing import BinaryIO

from avscan.archives import registry, tar
from avscan.archives.executables import end_of_program, may_embed_archives
from avscan.archives.reader import HEAD, Member, Reader
from avscan.archives.streams import find, region
from avscan.archives.tar_fields import BLOCK, find_headers, has_sum, offsets
from avscan.archives.unsupported import unsupported

_FRONT = 1 << 20


def archives(file: BinaryIO) -> Iterator[Member]:
    """Iterate over the archives in a file, without one at offset 0: that is the file itself."""
    end = file.seek(0, SEEK_END)
    done = 1
    for at, reader in _places(file, end):
        if at < done:
            continue
        file.seek(at)
        head = file.read(HEAD)
        if reader is None:
            if name := unsupported(head):
                yield Member(name=f"(at byte {at})", closed=name)
        elif _begins_archive(reader, head) and (length := reader.extent(file, at, end)):
            opener = partial(region, file, at, at + length)
            yield Member(name=f"(at byte {at})", open=opener, reader=reader)
            done = at + length


def contains_archives(content: bytes) -> bool:
    """Return whether a small file that does not begin as an archive ends as one or contains one."""
    file = io.BytesIO(content)
    if registry.recognise_end(file):
        return True
    is_possible = (  # much faster than to try
        any(magic in content for magic in _readers_by_magic())
        or (may_embed_archives(content[:HEAD]) and 0 < end_of_program(file) < len(content))
        or next(offsets(content), None) is not None
    )
    return is_possible and any(archives(file))


def _begins_archive(reader: Reader, head: bytes) -> bool:
    """Return whether an archive begins here. Too many programs have the magic of a tar."""
    return has_sum(head[:BLOCK]) if reader is tar.READER else reader.recognise(head)


def _places(file: BinaryIO, end: int) -> Iterator[tuple[int, Reader | None]]:
    """Iterate over the offsets where an archive may begin, each with a reader that may open it.

    A reader of None stands for unsupported formats.
    """
    file.seek(0)
    search_all = may_embed_archives(file.read(HEAD))
    readers = _readers_by_magic()
    found = find(file, readers, 0, end if search_all else min(end, _FRONT))
    magics = ((at - readers[magic].magic_at, readers[magic]) for at, magic in found)
    tars = ((at, tar.READER) for at in find_headers(file))
    overlay = end_of_program(file) if search_all else end
    others = [*registry.READERS, None] if 0 < overlay < end else []
    return merge(magics, tars, ((overlay, reader) for reader in others), key=itemgetter(0))


@cache
def _readers_by_magic() -> dict[bytes, Reader]:
    return {magic: reader for reader in registry.READERS for magic in reader.magics}
