"""What can be told wrongly in an archive, by format and family."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

from differential import (
    gzips,
    tar_fields,
    tar_sizes,
    tar_sparse,
    zip_directories,
    zip_entries,
)

Made = TypeVar("Made")


def _by_family(
    prefix: str, *mutations: Callable[[Random, Made], None]
) -> dict[str, Callable[[Random, Made], None]]:
    return {prefix + each.__name__.replace("_", "-"): each for each in mutations}


TAR = _by_family(
    "",
    tar_sizes.content_behind_types_without,
    tar_sizes.folder_by_name,
    tar_sizes.retype,
    tar_sizes.x_for_pax,
    tar_sizes.pax_size_above,
    tar_sizes.pax_size_below,
    tar_sizes.pax_records,
    tar_sparse.sparse_sizes,
    tar_sparse.sparse_pieces,
    tar_sparse.sparse_version,
    tar_fields.checksum,
    tar_fields.odd_size,
    tar_fields.odd_number,
    tar_fields.blocks_in_front,
    tar_fields.magic_name,
    tar_fields.odd_name,
    tar_fields.ustar_magic,
    tar_sizes.entries_in_a_header,
    tar_sizes.headers_in_a_row,
    tar_sizes.wrong_size,
    tar_fields.any_field,
    tar_fields.end,
    tar_fields.bytes_flipped,
    tar_fields.cut,
)
GZIP = _by_family(
    "gzip-",
    gzips.reserved_flags,
    gzips.other_method,
    gzips.other_magic,
    gzips.more_streams,
    gzips.header_crc,
    gzips.extra_field,
    gzips.odd_names,
    gzips.trailing,
    gzips.wrong_sums,
    gzips.in_front,
    gzips.stored,
    gzips.flipped,
)
ZIP = _by_family(
    "zip-",
    zip_entries.sizes,
    zip_entries.larger_inside,
    zip_entries.trailing_data,
    zip_entries.crc,
    zip_entries.methods,
    zip_directories.unlisted,
    zip_directories.unlisted_zip64,
    zip_directories.unlisted_descriptor,
    zip_entries.descriptors,
    zip_directories.directory_in_front,
    zip_directories.two_directories,
    zip_directories.overlap,
    zip_directories.two_ends,
    zip_directories.trailing,
    zip_directories.counts,
    zip_directories.offsets,
    zip_entries.names,
    zip_entries.folders,
    zip_entries.extras,
    zip_entries.flags,
    zip_entries.any_field,
    zip_entries.signatures,
    zip_directories.gaps,
    zip_directories.in_front,
    zip_entries.flipped,
    zip_directories.cut,
)
