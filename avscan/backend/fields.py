"""The fields and indexes that avscan needs in its collections."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from avscan.backend.answers import JSON, Row
from avscan.records import BUILDS, CHECKS, REASON, REASON_MAX, Status

LOG_MIN = 100_000
LOG_MAX = 200_000
NAME_MIN = 255
TEXT_DEFAULT = 5_000  # the maximum that PocketBase applies if `max` is 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index that avscan's queries need. An equivalent index serves as well."""

    name: str
    column: str
    column_type: str
    unique: bool = False

    @property
    def sql(self) -> str:
        """The statement that PocketBase stores."""
        kind = "UNIQUE INDEX" if self.unique else "INDEX"
        return f"CREATE {kind} `{self.name}` ON `{CHECKS}` (`{self.column}`)"

    def served_by(self, sql: str) -> bool:
        """Return whether an existing index is equivalent, given its statement."""
        match = _INDEX.match(sql)
        if match is None or match["where"]:
            return False
        columns = [column.strip(' \t\r\n`"[]') for column in match["columns"].split(",")]
        if self.unique:
            return bool(match["unique"]) and columns == [self.column]
        return columns[0] == self.column


_INDEX = re.compile(
    r"""\s* CREATE \s+ (?P<unique> UNIQUE \s+ )? INDEX \b .+? \s ON \s+ [^(]+
        \( (?P<columns> [^()]* ) \) \s* (?P<where> WHERE \b .* )? ;? \s* \Z""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)

# `ONE_CHECK` enforces one check per build and makes the query for builds without one linear.
ONE_CHECK = Index(name="idx_avscan_build", column="build", column_type="relation", unique=True)
BY_STATUS = Index(name="idx_avscan_status", column="status", column_type="select")
INDEXES = (ONE_CHECK, BY_STATUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a field.

    `fits` returns whether a value is as wanted, `repair` the value to replace it with.
    """

    name: str
    wanted: str
    fits: Callable[[JSON], bool]
    repair: Callable[[JSON], JSON]
    fixable: bool = True
    fatal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field: its type, and the options that avscan depends on."""

    name: str
    type: str
    options: tuple[Option, ...] = ()
    optional: bool = False

    def definition(self) -> Row:
        """Return the definition that creates the field."""
        return {"name": self.name, "type": self.type} | {
            option.name: option.repair(None) for option in self.options
        }

    def misfits(self, found: Row) -> Iterator[Option]:
        """Yield the options whose values in a definition are not as wanted."""
        return (option for option in self.options if not option.fits(found.get(option.name)))


def show(value: JSON) -> str:
    """Format a value for display."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case list():
            return ", ".join(str(item) for item in value) or "none"
        case None:
            return "not set"
        case _:
            return str(value)


def _flag(name: str, *, value: bool, fatal: bool = False) -> Option:
    return Option(
        name=name,
        wanted=show(value),
        fits=lambda found: bool(found) is value,
        repair=lambda _: value,
        fatal=fatal,
    )


def _max_length(least: int, chosen: int) -> Option:
    return Option(
        name="max",
        wanted=f"at least {least:,}",
        fits=lambda found: (found if isinstance(found, int) and found else TEXT_DEFAULT) >= least,
        repair=lambda _: chosen,
    )


def _statuses() -> Option:
    wanted: list[JSON] = [status.value for status in Status]

    def known(found: JSON) -> list[JSON]:
        return found if isinstance(found, list) else []

    return Option(
        name="values",
        wanted=show(wanted),
        fits=lambda found: set(Status) <= {str(value) for value in known(found)},
        repair=lambda found: known(found) + [each for each in wanted if each not in known(found)],
        fatal=True,
    )


# PocketBase stores single and multiple values differently: the change would drop all but one.
_SINGLE = Option(
    name="maxSelect",
    wanted="1",
    fits=lambda found: found in {None, 0, 1},
    repair=lambda _: 1,
    fixable=False,
    fatal=True,
)
_REQUIRED = _flag("required", value=True)
# These fields of a pending check are empty.
_OPTIONAL = _flag("required", value=False, fatal=True)
# Visible to superusers only: an API rule may let publishers read checks.
_HIDDEN = _flag("hidden", value=True)
BUILD_FIELDS = (
    Field(name="files", type="file"),
    Field(name="created", type="autodate"),
    Field(name="updated", type="autodate"),
)


def check_fields(builds: Row) -> tuple[Field, ...]:
    """Return the fields of `av_build_checks`, given the definition of `app_builds`."""
    target = Option(
        name="collectionId",
        wanted=f"{builds.get('id')} ({BUILDS})",
        fits=lambda found: found == builds.get("id"),
        repair=lambda _: builds.get("id"),
        fixable=False,
        fatal=True,
    )
    cascade = _flag("cascadeDelete", value=True)
    on_create = _flag("onCreate", value=True, fatal=True)
    on_update = _flag("onUpdate", value=True, fatal=True)
    return (
        Field(name="build", type="relation", options=(target, _SINGLE, _REQUIRED, cascade)),
        Field(name="status", type="select", options=(_statuses(), _SINGLE, _REQUIRED)),
        Field(name="virus_name", type="text", options=(_OPTIONAL, _max_length(NAME_MIN, 0))),
        Field(name="scan_time", type="date", options=(_OPTIONAL,)),
        Field(name="log", type="text", options=(_OPTIONAL, _max_length(LOG_MIN, LOG_MAX), _HIDDEN)),
        Field(
            name=REASON,
            type="text",
            options=(_OPTIONAL, _max_length(REASON_MAX, REASON_MAX)),
            optional=True,
        ),
        Field(name="created", type="autodate", options=(on_create,)),
        Field(name="updated", type="autodate", options=(on_create, on_update)),
    )
