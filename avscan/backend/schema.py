"""What `av_build_checks` must look like, what differs where it stands, and how that is mended.

Mending never drops or renames a field, never changes a type (PocketBase would drop the column's
data), never takes away a status or an index that somebody else added, and touches no record.
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
NAMED_AT_MOST = 5
# Not fatal: a backend's hook may fill such a field in.
UNKNOWN = (
    "required, and unknown to avscan: PocketBase refuses every new check unless a hook fills it in"
)
_NEW: Row = {"name": CHECKS, "type": "base"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One way in which a collection is not as wanted.

    `fatal` says that no pass can work with it; what is not is advice. `fixable` says that
    `init --fix` mends it.
    """

    field: str
    found: str
    wanted: str
    fixable: bool
    fatal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """The collection was missing and was created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsWanted:
    """The collection stands and nothing differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differs:
    """The collection stands and differs; nothing was changed."""

    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What differed was mended; `left` is what only a person can mend."""

    fixed: tuple[Difference, ...]
    left: tuple[Difference, ...]


Outcome: TypeAlias = Created | AsWanted | Differs | Fixed


# -- the pure part --------------------------------------------------------------------------------


def differences(definition: Row | None, builds: Row | None) -> tuple[Difference, ...]:
    """Compare the definitions of `av_build_checks` and `app_builds` with what avscan needs.

    Either is None where there is no such collection.
    """
    if builds is None:
        return (_lacking(BUILDS, "collection", fixable=False),)
    if definition is None:
        return (_lacking(CHECKS, "collection"),)
    return (*_builds_differences(builds), *_checks_differences(definition, builds))


def repaired(definition: Row, builds: Row, *, indexes: Sequence[Index] = INDEXES) -> Row:
    """Build the changes that mend what can be mended; empty where there is nothing to do.

    PocketBase replaces a collection's fields and indexes as a whole, so what is there stays in.
    """
    if definition.get("type") != "base":
        return {}
    changes: Row = dict.fromkeys(_open_rules(definition))
    fields = _repaired_fields(definition, builds)
    if fields != _rows(definition.get("fields")):
        changes["fields"] = list(fields)
    missing = [index.sql for index in _missing_indexes(definition, builds) if index in indexes]
    if missing:
        changes["indexes"] = [*_texts(definition.get("indexes")), *missing]
    return changes


def _builds_differences(builds: Row) -> Iterator[Difference]:
    found = _by_name(builds)
    for wanted in BUILD_FIELDS:
        kind = str(found.get(wanted.name, {}).get("type", "missing"))
        if kind != wanted.type:
            yield Difference(
                field=f"{BUILDS}.{wanted.name}",
                found=kind,
                wanted=wanted.type,
                fixable=False,
                fatal=True,
            )


def _checks_differences(definition: Row, builds: Row) -> Iterator[Difference]:
    if definition.get("type") != "base":
        yield Difference(
            field="type",
            found=show(definition.get("type")),
            wanted="base",
            fixable=False,
            fatal=True,
        )
        return
    found = _by_name(definition)
    wanted_fields = check_fields(builds)
    for wanted in wanted_fields:
        yield from _field_differences(found.get(wanted.name), wanted)
    ours = {wanted.name for wanted in wanted_fields}
    for name, field in found.items():
        if name not in ours and field.get("required") and not field.get("system"):
            yield Difference(
                field=name,
                found=UNKNOWN,
                wanted="not required",
                fixable=False,
                fatal=False,
            )
    for index in _missing_indexes(definition, builds):
        kind = "unique index" if index.unique else "index"
        yield Difference(
            field=f"index on {index.column}",
            found="missing",
            wanted=kind,
            fixable=True,
            fatal=False,
        )
    for rule in _open_rules(definition):
        yield Difference(
            field=rule,
            found=show(definition.get(rule)) or "anybody",
            wanted="superusers only",
            fixable=True,
            fatal=False,
        )


def _field_differences(found: Row | None, wanted: Field) -> Iterator[Difference]:
    if found is None:
        yield _lacking(wanted.name, wanted.type, fatal=not wanted.optional)
    elif found.get("type") != wanted.type:
        yield Difference(
            field=wanted.name,
            found=show(found.get("type")),
            wanted=wanted.type,
            fixable=False,
            fatal=True,
        )
    else:
        for option in wanted.unfit(found):
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
        mended = {
            option.name: option.mended(field.get(option.name))
            for option in wanted.unfit(field)
            if option.fixable
        }
        fields.append(field | mended)
    return fields + [wanted.definition() for wanted in wanted_fields.values()]


def _missing_indexes(definition: Row, builds: Row) -> Iterator[Index]:
    """Name the indexes to add; one over a field of another type would serve nobody."""
    found = _by_name(definition)
    types = {wanted.name: wanted.type for wanted in check_fields(builds)}
    existing = _texts(definition.get("indexes"))
    for index in INDEXES:
        column = types[index.column]
        if found.get(index.column, {}).get("type", column) == column and not any(
            index.served_by(sql) for sql in existing
        ):
            yield index


def _open_rules(definition: Row) -> Iterator[str]:
    """Name the rules that let others in; who else may read is a choice, unless it is anybody."""
    for rule in API_RULES:
        found = definition.get(rule)
        if found is not None and (rule not in READ_RULES or not found):
            yield rule


def _lacking(field: str, wanted: str, *, fixable: bool = True, fatal: bool = True) -> Difference:
    return Difference(field=field, found="missing", wanted=wanted, fixable=fixable, fatal=fatal)


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


# -- the collection itself ------------------------------------------------------------------------


def ensure(client: PocketBase, *, fix: bool) -> Outcome:
    """Create the collection where it is missing; where it stands, compare it and, if told, mend it.

    Where several checks for one build stand in the way of the unique index, all else is mended,
    and the error names those builds: which of its checks a build keeps is for a person to say.

    Raises:
        SchemaError: there is no `app_builds`, or builds have several checks.

    """
    builds = client.collection(BUILDS)
    if builds is None:
        raise _no_builds()
    found = client.collection(CHECKS)
    if found is None:
        found = _create(client, builds)
        if found is None:
            return Created()
    before = differences(found, builds)
    if not before:
        return AsWanted()
    changes = repaired(found, builds)
    if not fix or not changes:
        return Differs(differences=before)
    left = differences(_apply(client, found, builds, changes), builds)
    return Fixed(fixed=tuple(one for one in before if one not in left), left=left)


def require(client: PocketBase) -> None:
    """Make sure that a pass can work on these collections; two requests.

    Raises:
        SchemaError: one is missing, or lacks something that no pass can work without.

    """
    builds = client.collection(BUILDS)
    if builds is None:
        raise _no_builds()
    found = client.collection(CHECKS)
    if found is None:
        raise SchemaError(f"PocketBase has no collection {CHECKS}: `avscan init` creates it")
    fatal = [one for one in differences(found, builds) if one.fatal]
    if not fatal:
        return
    details = "; ".join(f"{one.field} is {one.found}, not {one.wanted}" for one in fatal)
    if all(one.fixable for one in fatal):
        advice = "`avscan init --fix` mends it"
    else:
        advice = "`avscan init` shows what must be mended by hand"
    raise SchemaError(f"{CHECKS} can't be used: {details}: {advice}")


def planned(client: PocketBase) -> tuple[Row, tuple[Difference, ...]]:
    """Return the collection as it should be, and what differs that only a person can mend.

    All that exists keeps its id. Nothing is changed.

    Raises:
        SchemaError: there is no `app_builds`, or builds have several checks.

    """
    builds = client.collection(BUILDS)
    if builds is None:
        raise _no_builds()
    found = client.collection(CHECKS)
    changes = repaired(found or _NEW, builds)
    if found and "indexes" in changes and (crowded := _crowded(client)):
        raise _too_many_checks(crowded, "run `avscan init --print` again")
    definition = (found or _NEW) | changes
    return definition, differences(definition, builds)


def require_one_check(client: PocketBase) -> None:
    """Raise SchemaError unless a unique index holds each build to one check."""
    if ONE_CHECK in _missing_indexes(client.collection(CHECKS) or {}, {}):
        raise SchemaError(
            f"{CHECKS} has no unique index on build, which a comparison of so many builds with"
            " their checks needs: run `avscan init --fix`"
        )


def _create(client: PocketBase, builds: Row) -> Row | None:
    """Create the collection; None if that was done, its definition if another was first."""
    try:
        client.create_collection(_NEW | repaired(_NEW, builds))
    except Rejected:
        found = client.collection(CHECKS)
        if found is None:
            raise
        return found
    return None


def _apply(client: PocketBase, found: Row, builds: Row, changes: Row) -> Row:
    try:
        return client.update_collection(CHECKS, changes)
    except Rejected as rejection:
        crowded = _crowded(client) if "indexes" in rejection.codes else {}
        if not crowded:
            raise
        rest = repaired(found, builds, indexes=[one for one in INDEXES if not one.unique])
        if rest:
            client.update_collection(CHECKS, rest)
        again = "run `avscan init --fix` again (all else is mended)"
        raise _too_many_checks(crowded, again) from rejection


def _crowded(client: PocketBase) -> dict[str, int]:
    """Count the checks of each build that has several."""
    checks = Counter(str(row.get("build")) for row in client.rows(CHECKS, fields=("id", "build")))
    return {build: count for build, count in checks.most_common() if count > 1}


def _too_many_checks(crowded: dict[str, int], again: str) -> SchemaError:
    named = ", ".join(
        f"{build or '(no build)'} has {count}"
        for build, count in list(crowded.items())[:NAMED_AT_MOST]
    )
    more = len(crowded) - NAMED_AT_MOST
    return SchemaError(
        f"the unique index on build can't be added while builds have several checks: {named}"
        + (f" and {more} more builds" if more > 0 else "")
        + f"; delete all but one of each and {again}"
    )


def _no_builds() -> SchemaError:
    return SchemaError(
        f"PocketBase has no collection {BUILDS}: is POCKETBASE_URL Zapuskalka's backend?"
    )
