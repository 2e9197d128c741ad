"""Package data: Zapuskalka's collections, and signatures for the demo."""

from __future__ import annotations

import json
from pathlib import Path

from avscan.backend.answers import JSON, Row
from avscan.backend.pocketbase import PocketBase

_HERE = Path(__file__).parent
# A signature folder for clamscan, with only the signature of the EICAR test file.
SIGNATURES = _HERE / "signatures"


def zapuskalka() -> list[Row]:
    """Load the definitions of Zapuskalka's collections, in the order of creation.

    A relation field has the name of its `collection` instead of a `collectionId`. A second entry of
    a collection lists fields to add: apps and branches refer to each other.
    """
    definitions: list[Row] = json.loads((_HERE / "zapuskalka.json").read_text(encoding="utf-8"))
    return definitions


def create_zapuskalka(client: PocketBase) -> None:
    """Create Zapuskalka's collections on an empty PocketBase.

    Raises:
        Rejected: a collection exists already.

    """
    users = client.collection("users") or {}
    created: dict[str, Row] = {"users": users}
    for definition in zapuskalka():
        name, fields = str(definition["name"]), _rows(definition["fields"])
        for field in fields:
            if "collection" in field:
                field["collectionId"] = created[str(field.pop("collection"))]["id"]
        if name in created:
            existing = _rows(created[name]["fields"])
            created[name] = client.update_collection(name, {"fields": [*existing, *fields]})
        else:
            created[name] = client.create_collection(definition)
    # PocketBase would mail the superuser about each new device.
    client.update_collection("_superusers", {"authAlert": {"enabled": False}})


def _rows(value: JSON) -> list[Row]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
