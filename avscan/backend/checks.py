"""The records of `av_build_checks`, a build's at a time. What is written, and when, is the ledger's."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from avscan.backend import journal
from avscan.backend.answers import Rejected
from avscan.backend.answers import Row as Values
from avscan.backend.discovery import is_outdated
from avscan.backend.journal import Interruption
from avscan.backend.pocketbase import PocketBase, check_id
from avscan.backend.transport import RetryPolicy
from avscan.errors import SchemaError
from avscan.records import (
    BUILD_FIELDS,
    CHECK_FIELDS,
    CHECKS,
    REASON,
    REASON_MAX,
    Build,
    Check,
    Status,
    expanded_build,
)

log = logging.getLogger(__name__)

LONGEST_LOG = 200_000
_NOT_UNIQUE = "validation_not_unique"
_GONE = "validation_missing_rel_records"
_TOO_LONG = "validation_max_text_constraint"
_REQUIRED = "validation_required"
_PLAIN_ID = re.compile(r"[a-z0-9]{15}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A build and its checks, read in one request."""

    build: Build | None
    checks: tuple[Check, ...]

    def marked(self, mark: str) -> list[Check]:
        """Return the checks that a claim is written in."""
        return [
            check
            for check in self.checks
            if check.status is Status.SCANNING and journal.claim_of(check.log) == mark
        ]

    def standing(self, verdict: Check) -> list[Check]:
        """Return a verdict as it was seen before, if it still is that one and about these files."""
        return [
            each
            for each in self.checks
            if (each.id, each.updated) == (verdict.id, verdict.updated)
            and each.settled
            and self.build is not None
            and not is_outdated(each, self.build)
        ]

    @property
    def waits(self) -> bool:
        """Whether one of the checks is pending."""
        return any(check.status is Status.PENDING for check in self.checks)


class Checks:
    """Reads and writes checks, in texts as long as PocketBase turns out to take."""

    def __init__(self, client: PocketBase) -> None:
        self._client = client
        self._longest = {"log": LONGEST_LOG, "virus_name": LONGEST_LOG, REASON: REASON_MAX}

    def read(self, build: str, policy: RetryPolicy | None = None) -> View:
        """Read a build's checks, and the build with them."""
        [view] = self.read_all([build], policy)
        return view

    def read_all(self, builds: Sequence[str], policy: RetryPolicy | None = None) -> list[View]:
        """Read the checks of a few builds in one request, in the order of the builds."""
        found = self._client.page(
            CHECKS,
            where=" || ".join(f'build = "{check_id(build)}"' for build in builds),
            sort="created,id",
            fields=(*CHECK_FIELDS, REASON, *(f"expand.build.{name}" for name in BUILD_FIELDS)),
            expand="build",
            policy=policy,
        )
        views = []
        for build in builds:
            rows = [row for row in found if row["build"] == build]
            views.append(
                View(
                    build=expanded_build(rows[0]) if rows else None,
                    checks=tuple(Check.parse(row) for row in rows),
                )
            )
        return views

    def create(self, build: str, text: Callable[[int], str]) -> bool:
        """Create a build's pending check; False if it has one already, or is gone.

        The check's id follows from the build's: of all passes that create it at once, one succeeds.

        Raises:
            SchemaError: the collection requires a field that avscan does not know.

        """
        for chosen in (*_ids_for(build), ""):
            values: Values = {"build": build, "status": Status.PENDING}
            values |= {"log": text(self._longest["log"])} | ({"id": chosen} if chosen else {})
            try:
                self._client.create(CHECKS, values)
            except Rejected as rejection:
                codes = rejection.codes
                if codes.get("build") in {_GONE, _NOT_UNIQUE}:
                    return False
                if codes.get("id") == _NOT_UNIQUE and self.read(build).checks:
                    return False
                _require_known_fields(rejection)
                if not chosen or "id" not in codes:
                    raise
                # A check of another build has it, or the collection wants ids of another form.
                fields = {"build": build, "check": chosen, "reason": str(rejection)}
                log.warning("check.id_refused", extra=fields)
            else:
                break
        return True

    def write(
        self,
        check: Check,
        values: Values,
        text: Callable[[int], str],
        *,
        mark: str = "",
        policy: RetryPolicy | None = None,
    ) -> bool:
        """Update a check, with texts as long as PocketBase takes; False if it is gone or lost.

        A reason is left out where the collection has no field for it.

        Raises:
            Rejected: PocketBase refuses it, or stored something else than was meant. That is about
                this check unless the collection is at fault (see `schema.require`).

        """

        def ours(policy: RetryPolicy) -> bool:
            rows = self._client.page(
                CHECKS, where=f'id = "{check.id}"', fields=("id", "log"), policy=policy
            )
            return not mark or any(journal.claim_of(str(row["log"])) == mark for row in rows)

        while True:
            wanted: Values = {
                name: str(value)[: self._longest[name]] if name in self._longest else value
                for name, value in values.items()
                if name != REASON or check.reason is not None
            }
            wanted["log"] = text(self._longest["log"])
            try:
                row = self._client.update(
                    CHECKS, check.id, wanted, confirm=ours if mark else None, policy=policy
                )
            except Rejected as rejection:
                if rejection.codes.get("build") == _GONE:
                    return False
                if not self._learn_limits(rejection):
                    raise
                continue
            if row is None:
                return False
            for name, value in wanted.items():
                if row.get(name) != value:
                    raise Rejected(
                        f"{CHECKS}.{name} was stored otherwise than it was sent:"
                        " look for a hook of PocketBase that changes it",
                        {},
                    )
            return True

    def set_pending(
        self,
        check: Check,
        reason: str,
        *,
        interruptions: Sequence[Interruption] = (),
        mark: str = "",
        policy: RetryPolicy | None = None,
    ) -> bool:
        """Put a check back to pending; False if it is gone or lost."""
        before = journal.history(check.log, check.status)

        def text(limit: int) -> str:
            return journal.pending(reason, interruptions=interruptions, before=before, limit=limit)

        values: Values = {"status": Status.PENDING, "virus_name": "", "scan_time": "", REASON: ""}
        return self.write(check, values, text, mark=mark, policy=policy)

    def _learn_limits(self, rejection: Rejected) -> bool:
        """Take over how long the collection allows texts to be; False if they were not too long."""
        learned = False
        for name, known in self._longest.items():
            longest = rejection.params.get(name, {}).get("max")
            too_long = rejection.codes.get(name) == _TOO_LONG
            if too_long and isinstance(longest, int | float) and longest < known:
                self._longest[name] = int(longest)
                learned = True
        return learned


def _require_known_fields(rejection: Rejected) -> None:
    """Raise SchemaError if a record is refused for a field that avscan does not fill in."""
    unknown = [
        name
        for name, code in rejection.codes.items()
        if name not in CHECK_FIELDS and code in {_REQUIRED, _NOT_UNIQUE}
    ]
    if unknown:
        raise SchemaError(
            f"PocketBase refuses new checks for the field {', '.join(unknown)} of {CHECKS}, which"
            " avscan does not know: make it optional, or have a hook fill it in"
        ) from rejection


def _ids_for(build: str) -> Iterator[str]:
    """List the ids that a build's check may have, in the order to try them in.

    The build's own where that has PocketBase's usual form, or else a digest of it.
    """
    if _PLAIN_ID.match(build):
        yield build
    yield base64.b32encode(hashlib.sha256(build.encode()).digest()).decode().lower()[:15]
