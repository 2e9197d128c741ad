"""Format a collection as JSON for PocketBase's imports and migrations."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from itertools import chain, count

from avscan.backend.answers import JSON, Row

# PocketBase sets these fields itself.
_STAMPS = ("created", "updated")


def as_import(definition: Row) -> str:
    """Return the JSON list of collections that PocketBase imports.

    A new collection or field gets the id that PocketBase would choose: its dashboard can't import a
    collection, or several fields, without ids.
    """
    identity: Row = {"id": f"pbc_{_checksum(definition, 'type', 'name')}"}
    collection = identity | {key: definition[key] for key in definition if key not in _STAMPS}
    fields = definition.get("fields")
    collection["fields"] = _with_ids(fields if isinstance(fields, list) else [])
    return json.dumps([collection], indent=2)


def _with_ids(fields: Sequence[JSON]) -> list[JSON]:
    rows = [field for field in fields if isinstance(field, dict)]
    taken = {field.get("id") for field in rows}
    with_ids: list[JSON] = []
    for field in rows:
        # A renamed field keeps the id of its first name, so that id may be taken.
        default_id = f"{field.get('type')}{_checksum(field, 'name')}"
        possible = chain([default_id], (f"{default_id}{number}" for number in count(2)))
        free_id = next(each for each in possible if each not in taken)
        with_ids.append({"id": free_id, **field})
    return with_ids


def _checksum(row: Row, *keys: str) -> int:
    return zlib.crc32("".join(str(row.get(key)) for key in keys).encode())
