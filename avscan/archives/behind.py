"""Archives behind something that is none: a program, a script, the headers of an rpm.

Self-extracting programs and installers carry their load so, and clamscan finds only some of it.
Every place that has the magic of a reader is tried, and the place where a program's own headers say
that it ends, for formats whose magic is too short to be searched for. A program that unpacks archives
has every magic in it: so what does not unpack for a while, or has not the right sums, is no archive.

Some readers pass over whatever is in front of an archive: GNU tar over any number of blocks, 7-Zip
over the first MiB. So tars are searched for in every file, and other archives in its beginning.
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
from avscan.archives.looks import end_of_program, may_embed_archives, unsupported
from avscan.archives.reader import HEAD, Member, Reader
from avscan.archives.streams import find, region
from avscan.archives.tar_fields import BLOCK, find_headers, has_sum, offsets

_FRONT = 1 << 20


def archives(file: BinaryIO) -> Iterator[Member]:
    """Iterate over the archives in a file; what is at its very beginning is the file itself."""
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
        elif _is_one(reader, head) and (length := reader.extent(file, at, end)):
            opener = partial(region, file, at, at + length)
            yield Member(name=f"(at byte {at})", open=opener, reader=reader)
            done = at + length


def is_plain(content: bytes) -> bool:
    """Return whether a glance shows that no archive is in a small file. It is much quicker."""
    if any(magic in content for magic in _readers_by_magic()):
        return False
    file = io.BytesIO(content)
    if may_embed_archives(content[:HEAD]) and 0 < end_of_program(file) < len(content):
        return False
    return next(offsets(content), None) is None


def _is_one(reader: Reader, head: bytes) -> bool:
    """Return whether an archive begins here; of a tar the magic alone is in too many programs."""
    return has_sum(head[:BLOCK]) if reader is tar.READER else reader.recognise(head)


def _places(file: BinaryIO, end: int) -> Iterator[tuple[int, Reader | None]]:
    """Find each place where an archive may begin, and the reader that may take it for one."""
    file.seek(0)
    is_carrier = may_embed_archives(file.read(HEAD))
    readers = _readers_by_magic()
    found = find(file, readers, 0, end if is_carrier else min(end, _FRONT))
    magics = ((at - readers[magic].magic_at, readers[magic]) for at, magic in found)
    tars = ((at, tar.READER) for at in find_headers(file))
    overlay = end_of_program(file) if is_carrier else end
    others = [*registry.READERS, None] if 0 < overlay < end else []
    return merge(magics, tars, ((overlay, reader) for reader in others), key=itemgetter(0))


@cache
def _readers_by_magic() -> dict[bytes, Reader]:
    return {magic: reader for reader in registry.READERS for magic in reader.magics}
