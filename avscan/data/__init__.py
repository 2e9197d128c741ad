"""What ships beside the code: Zapuskalka's collections, and signatures for the demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avscan.backend.pocketbase import PocketBase, Row

_HERE = Path(__file__).parent
# A folder for clamscan, with one signature: the harmless EICAR test file's.
SIGNATURES = _HERE / "signatures"


def zapuskalka() -> list[Row]:
    """Load Zapuskalka's collections, up to `app_builds`, in the order of their relations.

    A relation has the name of its `collection` where PocketBase wants a `collectionId`.
    """
    definitions: list[Row] = json.loads((_HERE / "zapuskalka.json").read_text(encoding="utf-8"))
    return definitions


def create_zapuskalka(client: PocketBase) -> None:
    """Create Zapuskalka's collections on an empty PocketBase.

    Raises:
        Rejected: one of them exists already.

    """
    users = client.collection("users") or {}
    ids = {"users": users.get("id")}
    for definition in zapuskalka():
        fields = definition["fields"]
        for field in fields if isinstance(fields, list) else ():
            if isinstance(field, dict) and "collection" in field:
                field["collectionId"] = ids[str(field.pop("collection"))]
        ids[str(definition["name"])] = client.create_collection(definition)["id"]
    # PocketBase mails its superuser about each new device; here nobody reads it.
    client.update_collection("_superusers", {"authAlert": {"enabled": False}})
