"""Compare the schema of `av_build_checks` with the wanted one, and repair it.

A repair never drops or renames a field, changes a type (PocketBase would drop the column's data),
removes a status or an index, or changes a record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from avscan.backend.answers import JSON, Rejected, Row
from avscan.backend.fields import (
    BUILD_FIELDS,
    INDEXES,
    ONE_CHECK,
    TEXT_DEFAULT,
    Field,
    Index,
    check_fields,
    show,
)
from avscan.backend.pocketbase import PocketBase
from avscan.errors import SchemaError
from avscan.records import BUILDS, CHECKS

READ_RULES = ("listRule", "viewRule")
API_RULES = (*READ_RULES, "createRule", "updateRule", "deleteRule")
MAX_NAMED = 5
# Not fatal: a hook of the backend may fill in such a field.
UNKNOWN = (
    "required, and unknown to avscan: PocketBase refuses every new check unless a hook fills it in"
)
_NEW: Row = {"name": CHECKS, "type": "base"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference between a collection and the wanted schema.

    `fatal` differences prevent passes; the others are advice. `init --fix` repairs `fixable` ones.
    """

    field: str
    found: str
    wanted: str
    fixable: bool = False
    fatal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """The collection was missing and was created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsWanted:
    """The collection exists, without differences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differs:
    """The collection exists, with differences; nothing was changed."""

    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """The fixable differences were repaired; `left` are the others."""

    fixed: tuple[Difference, ...]
    left: tuple[Difference, ...]


Outcome: TypeAlias = Created | AsWanted | Differs | Fixed


# -- comparison -----------------------------------------------------------------------------------


def differences(definition: Row | None, builds: Row | None) -> tuple[Difference, ...]:
    """Compare the definitions of `av_build_checks` and `app_builds` with what avscan needs.

    Either is None if there is no such collection.
    """
    if builds is None:
        return (Difference(field=BUILDS, found="missing", wanted="collection"),)
    if definition is None:
        return (Difference(field=CHECKS, found="missing", wanted="collection", fixable=True),)
    return (*_builds_differences(builds), *_checks_differences(definition, builds))


def repaired(definition: Row, builds: Row, *, indexes: Sequence[Index] = INDEXES) -> Row:
    """Return the changes that repair the fixable differences; empty if there are none.

    PocketBase replaces the lists of fields and indexes, so the changes contain existing ones too.
    """
    if definition.get("type") != "base":
        return {}
    changes: Row = dict.fromkeys(_open_rules(definition))
    fields = _repaired_fields(definition, builds)
    if fields != _rows(definition.get("fields")):
        changes["fields"] = list(fields)
    missing = [index.sql for index in _missing_indexes(definition) if index in indexes]
    if missing:
        changes["indexes"] = [*_texts(definition.get("indexes")), *missing]
    return changes


def _builds_differences(builds: Row) -> Iterator[Difference]:
    found = _by_name(builds)
    for wanted in BUILD_FIELDS:
        kind = str(found.get(wanted.name, {}).get("type", "missing"))
        if kind != wanted.type:
            yield Difference(field=f"{BUILDS}.{wanted.name}", found=kind, wanted=wanted.type)


def _checks_differences(definition: Row, builds: Row) -> Iterator[Difference]:
    if definition.get("type") != "base":
        yield Difference(field="type", found=show(definition.get("type")), wanted="base")
        return
    found = _by_name(definition)
    wanted_fields = check_fields(builds)
    for wanted in wanted_fields:
        yield from _field_differences(found.get(wanted.name), wanted)
    known = {wanted.name for wanted in wanted_fields}
    for name, field in found.items():
        if name not in known and field.get("required") and not field.get("system"):
            yield Difference(field=name, found=UNKNOWN, wanted="not required", fatal=False)
    for index in _missing_indexes(definition):
        kind = "unique index" if index.unique else "index"
        yield _advice(f"index on {index.column}", "missing", kind)
    for rule in _open_rules(definition):
        yield _advice(rule, show(definition.get(rule)) or "anybody", "superusers only")


def _advice(field: str, found: str, wanted: str) -> Difference:
    return Difference(field=field, found=found, wanted=wanted, fixable=True, fatal=False)


def _field_differences(found: Row | None, wanted: Field) -> Iterator[Difference]:
    if found is None:
        yield Difference(
            field=wanted.name,
            found="missing",
            wanted=wanted.type,
            fixable=True,
            fatal=not wanted.optional,
        )
    elif found.get("type") != wanted.type:
        yield Difference(field=wanted.name, found=show(found.get("type")), wanted=wanted.type)
    else:
        for option in wanted.misfits(found):
            yield Difference(
                field=f"{wanted.name}.{option.name}",
                found=_show_option(option.name, found.get(option.name)),
                wanted=option.wanted,
                fixable=option.fixable,
                fatal=option.fatal,
            )


def _repaired_fields(definition: Row, builds: Row) -> list[Row]:
    wanted_fields = {wanted.name: wanted for wanted in check_fields(builds)}
    fields = []
    for field in _rows(definition.get("fields")):
        wanted = wanted_fields.pop(str(field.get("name")), None)
        if wanted is None or field.get("type") != wanted.type:
            fields.append(field)
            continue
        repaired_options = {
            option.name: option.repair(field.get(option.name))
            for option in wanted.misfits(field)
            if option.fixable
        }
        fields.append(field | repaired_options)
    return fields + [wanted.definition() for wanted in wanted_fields.values()]


def _missing_indexes(definition: Row) -> Iterator[Index]:
    """Yield the missing indexes, except those on a field of another type."""
    fields = _by_name(definition)
    existing = _texts(definition.get("indexes"))
    for index in INDEXES:
        column_type = fields.get(index.column, {}).get("type", index.column_type)
        if column_type == index.column_type and not any(map(index.served_by, existing)):
            yield index


def _open_rules(definition: Row) -> Iterator[str]:
    """Yield the API rules to close: rules for writing, and rules that let anybody read.

    A rule that lets some users read is the operator's choice.
    """
    for rule in API_RULES:
        found = definition.get(rule)
        if found is not None and (rule not in READ_RULES or not found):
            yield rule


def _rows(value: JSON) -> list[Row]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _texts(value: JSON) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []


def _by_name(definition: Row) -> dict[str, Row]:
    return {str(field.get("name")): field for field in _rows(definition.get("fields"))}


def _show_option(name: str, value: JSON) -> str:
    if name == "max" and not value:
        return f"{TEXT_DEFAULT:,}, PocketBase's default"
    return show(value)


# -- access to PocketBase -------------------------------------------------------------------------


def ensure(client: PocketBase, *, fix: bool) -> Outcome:
    """Create the collection if it is missing; otherwise compare it and, with `fix`, repair it.

    If builds with several checks prevent the unique index, all else is repaired, and the error
    names these builds: the operator must choose which check to keep.

    Raises:
        SchemaError: there is no `app_builds`, or builds have several checks.

    """
    builds = _require_builds(client)
    found = client.collection(CHECKS)
    if found is None:
        try:
            client.create_collection(_NEW | repaired(_NEW, builds))
        except Rejected:
            found = client.collection(CHECKS)  # another process may have created it
            if found is None:
                raise
        else:
            return Created()
    before = differences(found, builds)
    if not before:
        return AsWanted()
    changes = repaired(found, builds)
    if not fix or not changes:
        return Differs(differences=before)
    again = "run `avscan init --fix` again (everything else is fixed)"
    if several := _several_checks_error(client, changes, again):
        changes = repaired(found, builds, indexes=[one for one in INDEXES if not one.unique])
    if changes:
        found = client.update_collection(CHECKS, changes)
    if several:
        raise several
    left = differences(found, builds)
    return Fixed(fixed=tuple(one for one in before if one not in left), left=left)


def require(client: PocketBase) -> None:
    """Require collections that a pass can work with; makes two requests.

    Raises:
        SchemaError: a collection is missing or has a fatal difference.

    """
    builds = _require_builds(client)
    found = client.collection(CHECKS)
    if found is None:
        raise SchemaError(f"PocketBase has no collection {CHECKS}: `avscan init` creates it")
    fatal = [one for one in differences(found, builds) if one.fatal]
    if not fatal:
        return
    details = "; ".join(f"{one.field} is {one.found} and must be {one.wanted}" for one in fatal)
    if all(one.fixable for one in fatal):
        advice = "`avscan init --fix` fixes it"
    else:
        advice = "`avscan init` shows what must be fixed by hand"
    raise SchemaError(f"{CHECKS} can't be used: {details}: {advice}")


def planned(client: PocketBase) -> tuple[Row, tuple[Difference, ...]]:
    """Return the repaired definition, and the differences that are left; change nothing.

    Existing fields keep their ids.

    Raises:
        SchemaError: there is no `app_builds`, or builds have several checks.

    """
    builds = _require_builds(client)
    found = client.collection(CHECKS)
    changes = repaired(found or _NEW, builds)
    again = "run `avscan init --print` again"
    if found and (several := _several_checks_error(client, changes, again)):
        raise several
    definition = (found or _NEW) | changes
    return definition, differences(definition, builds)


def require_one_check(client: PocketBase) -> None:
    """Raise SchemaError unless a unique index limits each build to one check."""
    if ONE_CHECK in _missing_indexes(client.collection(CHECKS) or {}):
        raise SchemaError(
            f"{CHECKS} has no unique index on build, which a comparison of so many builds with"
            " their checks needs: run `avscan init --fix`"
        )


def _require_builds(client: PocketBase) -> Row:
    builds = client.collection(BUILDS)
    if builds is None:
        raise SchemaError(
            f"PocketBase has no collection {BUILDS}: is POCKETBASE_URL Zapuskalka's backend?"
        )
    return builds


def _several_checks_error(client: PocketBase, changes: Row, again: str) -> SchemaError | None:
    """Return an error if `changes` add the unique index while builds have several checks."""
    if ONE_CHECK.sql not in _texts(changes.get("indexes")):
        return None
    checks = Counter(str(row.get("build")) for row in client.rows(CHECKS, fields=("id", "build")))
    several = [(build, count) for build, count in checks.most_common() if count > 1]
    if not several:
        return None
    named = ", ".join(
        f"{build or '(no build)'} has {count}" for build, count in several[:MAX_NAMED]
    )
    more = len(several) - MAX_NAMED
    return SchemaError(
        f"the unique index on build can't be added while builds have several checks: {named}"
        + (f" and {more} more builds" if more > 0 else "")
        + f"; delete all but one of each and {again}"
    )
