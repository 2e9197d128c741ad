"""Builds and checks: the names of the collections and fields, and the parsing of records."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self, TypeAlias

from avscan.errors import SchemaError

Row: TypeAlias = Mapping[str, object]

BUILDS = "app_builds"
CHECKS = "av_build_checks"
BUILD_FIELDS = ("id", "files", "app", "branch", "created", "updated")
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
CHECK_FIELDS = ("id", "build", "status", "virus_name", "scan_time", "log", "created", "updated")
REASON = "reason"
"""An optional field: the reason of the verdict, in one sentence for the publisher."""
REASON_MAX = 500


class Status(enum.StrEnum):
    """The status of a check."""

    PENDING = "pending"
    SCANNING = "scanning"
    CLEAN = "clean"
    INFECTED = "infected"
    ERROR = "error"

    @property
    def settled(self) -> bool:
        """Whether this is a verdict."""
        return self in {Status.CLEAN, Status.INFECTED, Status.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A build as its publisher uploaded it."""

    id: str
    files: tuple[str, ...]
    created: datetime
    updated: datetime
    app: str = ""
    branch: str = ""

    @classmethod
    def parse(cls, row: Row) -> Self:
        """Parse a record of `app_builds`.

        Raises:
            SchemaError: a field is missing or has the wrong type.

        """
        files = row.get("files")
        if isinstance(files, str):  # a file field with a maximum of one
            files = [files] if files else []
        if not isinstance(files, list):
            raise _unfit(BUILDS, "files", files)
        return cls(
            id=_string(BUILDS, row, "id"),
            files=tuple(str(name) for name in files),
            created=_moment(BUILDS, row, "created"),
            updated=_moment(BUILDS, row, "updated"),
            app=str(row.get("app") or ""),
            branch=str(row.get("branch") or ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check of a build; `scan_time` is None until there is a verdict.

    `status` is None for a status unknown to avscan, which avscan does not change. `reason` is None
    if the collection has no such field, or the request did not include it.
    """

    id: str
    build: str
    status: Status | None
    virus_name: str
    scan_time: datetime | None
    log: str
    created: datetime
    updated: datetime
    reason: str | None = None

    @classmethod
    def parse(cls, row: Row) -> Self:
        """Parse a record of `av_build_checks`.

        Raises:
            SchemaError: a field is missing or has the wrong type.

        """
        status = row.get("status")
        if not isinstance(status, str):
            raise _unfit(CHECKS, "status", status)
        reason = row.get(REASON)
        return cls(
            id=_string(CHECKS, row, "id"),
            build=str(row.get("build") or ""),
            status=Status(status) if status in set(Status) else None,
            virus_name=str(row.get("virus_name") or ""),
            scan_time=parse_time(str(row.get("scan_time") or "")),
            log=str(row.get("log") or ""),
            created=_moment(CHECKS, row, "created"),
            updated=_moment(CHECKS, row, "updated"),
            reason=reason if isinstance(reason, str) else None,
        )

    @property
    def settled(self) -> bool:
        """Whether the status is a verdict."""
        return self.status is not None and self.status.settled


def expanded_build(row: Row) -> Build | None:
    """Parse the build in a check's row (`expand=build`); None if the build is deleted."""
    expand = row.get("expand")
    build = expand.get("build") if isinstance(expand, dict) else None
    return Build.parse(build) if isinstance(build, dict) else None


def parse_time(text: str) -> datetime | None:
    """Parse a time of PocketBase; None if it is empty or malformed."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None


def format_time(moment: datetime) -> str:
    """Format a time as PocketBase stores it. PocketBase compares times as text."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def _string(collection: str, row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise _unfit(collection, name, value)
    return value


def _moment(collection: str, row: Row, name: str) -> datetime:
    """Parse a time field. It is empty in rows that are older than the field."""
    value = row.get(name)
    moment = LONG_AGO if value == "" else parse_time(str(value or ""))
    if moment is None:
        raise _unfit(collection, name, value)
    return moment


def _unfit(collection: str, name: str, value: object) -> SchemaError:
    return SchemaError(
        f"{collection}.{name} is {value!r}, which avscan can't read:"
        " see `avscan init` for what the collection must look like"
    )
