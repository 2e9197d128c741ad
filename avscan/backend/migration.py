"""The collection as JSON for PocketBase's imports, so that a migration can bring it about."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from itertools import count

from avscan.backend.answers import JSON, Row

# PocketBase sets them itself.
_STAMPS = ("created", "updated")


def as_import(definition: Row) -> str:
    """Format a collection as the list of collections that PocketBase imports.

    What has no id yet gets the one that PocketBase would give it: its dashboard imports neither a
    collection nor two fields without ids.
    """
    identity: Row = {"id": f"pbc_{_checksum(definition, 'type', 'name')}"}
    collection = identity | {key: definition[key] for key in definition if key not in _STAMPS}
    fields = definition.get("fields")
    collection["fields"] = _with_ids(fields if isinstance(fields, list) else [])
    return json.dumps([collection], indent=2)


def _with_ids(fields: Sequence[JSON]) -> list[JSON]:
    rows = [field for field in fields if isinstance(field, dict)]
    taken = {field.get("id") for field in rows}
    found: list[JSON] = []
    for field in rows:
        usual = f"{field.get('type')}{_checksum(field, 'name')}"
        numbered = (f"{usual}{number}" for number in count(2))
        # A field that was renamed keeps the id of its first name.
        free = usual if usual not in taken else next(each for each in numbered if each not in taken)
        found.append({"id": free, **field})
    return found


def _checksum(row: Row, *keys: str) -> int:
    return zlib.crc32("".join(str(row.get(key)) for key in keys).encode())
