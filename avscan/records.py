"""Builds and checks: the only place that knows the collections' and their fields' names.

What PocketBase sends is parsed here once; what follows deals in these values.
"""

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
"""A field that a check may have besides: why, in a sentence for the build's publisher."""
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
        """Read a record of `app_builds`.

        Raises:
            SchemaError: a field is missing or is not of its kind.

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
    """The state of a build's check; `scan_time` is None until there is a verdict.

    A `status` of None is one that somebody else gave it, which is theirs to change. A `reason` of
    None says that the collection has no such field, or that it was not asked for.
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
        """Read a record of `av_build_checks`.

        Raises:
            SchemaError: a field is missing or is not of its kind.

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
        """Whether this is a verdict of ours, or in our words."""
        return self.status is not None and self.status.settled


def expanded_build(row: Row) -> Build | None:
    """Read the build that a check's row carries (`expand=build`); None if it is gone."""
    expand = row.get("expand")
    build = expand.get("build") if isinstance(expand, dict) else None
    return Build.parse(build) if isinstance(build, dict) else None


def parse_time(text: str) -> datetime | None:
    """Read PocketBase's form of a time; None if it is empty or not one."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None


def format_time(moment: datetime) -> str:
    """Write a time as PocketBase stores and compares it: as text, in this very form."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def _string(collection: str, row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise _unfit(collection, name, value)
    return value


def _moment(collection: str, row: Row, name: str) -> datetime:
    """Read a time; one that is empty, as in rows that are older than the field, is long ago."""
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
