"""Read and write records of `av_build_checks`. `ledger` decides what is written, and when."""

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
from avscan.backend.pocketbase import PocketBase, any_of
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
_RELATION_GONE = "validation_missing_rel_records"
_TEXT_TOO_LONG = "validation_max_text_constraint"
_REQUIRED = "validation_required"
_USUAL_ID = re.compile(r"[a-z0-9]{15}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A build and its checks, read in one request."""

    build: Build | None
    checks: tuple[Check, ...]

    def claimed_by(self, mark: str) -> list[Check]:
        """Return the checks under scan whose log has this claim's mark."""
        return [
            check
            for check in self.checks
            if check.status is Status.SCANNING and journal.claim_of(check.log) == mark
        ]

    def unchanged(self, verdict: Check) -> list[Check]:
        """Return the check if its verdict is unchanged and about the build's files."""
        return [
            each
            for each in self.checks
            if (each.id, each.updated) == (verdict.id, verdict.updated)
            and each.settled
            and self.build is not None
            and not is_outdated(each, self.build)
        ]

    @property
    def has_pending(self) -> bool:
        """Whether a check is pending."""
        return any(check.status is Status.PENDING for check in self.checks)


class Checks:
    """Reads and writes checks; learns from refusals how long the collection allows texts to be."""

    def __init__(self, client: PocketBase) -> None:
        self._client = client
        self._max_lengths = {"log": LONGEST_LOG, "virus_name": LONGEST_LOG, REASON: REASON_MAX}

    def read(self, build: str, policy: RetryPolicy | None = None) -> View:
        """Read a build and its checks."""
        [view] = self.read_all([build], policy)
        return view

    def read_all(self, builds: Sequence[str], policy: RetryPolicy | None = None) -> list[View]:
        """Read a few builds and their checks in one request, in the order of `builds`."""
        rows = self._client.page(
            CHECKS,
            where=any_of("build", builds),
            sort="created,id",
            fields=(*CHECK_FIELDS, REASON, *(f"expand.build.{name}" for name in BUILD_FIELDS)),
            expand="build",
            policy=policy,
        )
        views = []
        for build in builds:
            own = [row for row in rows if row["build"] == build]
            views.append(
                View(
                    build=expanded_build(own[0]) if own else None,
                    checks=tuple(Check.parse(row) for row in own),
                )
            )
        return views

    def create(self, build: str, text: Callable[[int], str]) -> bool:
        """Create a build's pending check; False if the build has a check or is gone.

        `text` returns the log, given its greatest length. The check's id is derived from the
        build's, so if several passes create the check at once, only one succeeds.

        Raises:
            SchemaError: the collection requires a field that avscan does not know.

        """
        for record_id in (*_ids_for(build), ""):
            values: Values = {"build": build, "status": Status.PENDING}
            values |= {"log": text(self._max_lengths["log"])} | (
                {"id": record_id} if record_id else {}
            )
            try:
                self._client.create(CHECKS, values)
            except Rejected as rejection:
                codes = rejection.codes
                if codes.get("build") in {_RELATION_GONE, _NOT_UNIQUE}:
                    return False
                if codes.get("id") == _NOT_UNIQUE and self.read(build).checks:
                    return False
                _require_known_fields(rejection)
                if not record_id or "id" not in codes:
                    raise
                # Another build's check has this id, or the collection requires another form of id.
                fields = {"build": build, "check": record_id, "reason": str(rejection)}
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
        """Update a check, with texts cut to the allowed length; False if it is gone or lost.

        With a `mark`, the check is lost if its log has another mark before a repeated try. A reason
        is omitted if the collection has no field for it.

        Raises:
            Rejected: PocketBase refuses the values, or stored other values. The cause may be the
                collection (see `schema.require`) or this check.

        """

        def is_claimed(policy: RetryPolicy) -> bool:
            rows = self._client.page(
                CHECKS, where=f'id = "{check.id}"', fields=("id", "log"), policy=policy
            )
            return not mark or any(journal.claim_of(str(row["log"])) == mark for row in rows)

        while True:
            payload: Values = {
                name: str(value)[: self._max_lengths[name]] if name in self._max_lengths else value
                for name, value in values.items()
                if name != REASON or check.reason is not None
            }
            payload["log"] = text(self._max_lengths["log"])
            try:
                row = self._client.update(
                    CHECKS, check.id, payload, confirm=is_claimed if mark else None, policy=policy
                )
            except Rejected as rejection:
                if rejection.codes.get("build") == _RELATION_GONE:
                    return False
                if not self._learn_limits(rejection):
                    raise
                continue
            if row is None:
                return False
            for name, value in payload.items():
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
        """Set a check to pending; False if it is gone or lost (see `write`)."""
        before = journal.history(check.log, check.status)

        def text(limit: int) -> str:
            return journal.pending(reason, interruptions=interruptions, before=before, limit=limit)

        values: Values = {"status": Status.PENDING, "virus_name": "", "scan_time": "", REASON: ""}
        return self.write(check, values, text, mark=mark, policy=policy)

    def _learn_limits(self, rejection: Rejected) -> bool:
        """Learn the collection's text limits from a refusal; False if no text was too long."""
        has_learned = False
        for name, current in self._max_lengths.items():
            limit = rejection.params.get(name, {}).get("max")
            too_long = rejection.codes.get(name) == _TEXT_TOO_LONG
            if too_long and isinstance(limit, int | float) and limit < current:
                self._max_lengths[name] = int(limit)
                has_learned = True
        return has_learned


def _require_known_fields(rejection: Rejected) -> None:
    """Raise SchemaError if a record is refused because of a field unknown to avscan."""
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
    """Yield the ids to try for a build's check: the build's id if it is usual, then its digest."""
    if _USUAL_ID.match(build):
        yield build
    yield base64.b32encode(hashlib.sha256(build.encode()).digest()).decode().lower()[:15]
