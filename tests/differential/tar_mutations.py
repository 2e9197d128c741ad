"""What can be told wrongly in a tar, by family."""

from __future__ import annotations

import re

from differential import tar_fields, tar_sizes, tar_sparse
from differential.tar_parts import Mutation

MUTATIONS: dict[str, Mutation] = {
    re.sub("_", "-", mutation.__name__): mutation
    for mutation in (
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
}
