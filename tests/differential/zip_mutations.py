"""What can be told wrongly in a zip, by family."""

from __future__ import annotations

import re

from differential import zip_directories, zip_entries
from differential.zip_parts import Mutation

MUTATIONS: dict[str, Mutation] = {
    "zip-" + re.sub("_", "-", mutation.__name__): mutation
    for mutation in (
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
}
