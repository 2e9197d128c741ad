"""What a scan has found: the values that the inspector hands to the verdict.

Two grains. `Findings` is what clamscan says of one path. A `Finding` is one fact about an artifact,
reported as soon as it is known; an `Examination` is all that is known of one artifact. None of them
holds a policy: what unsupported content means for a build is decided in `verdict`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

LINES = 100
"""How many findings of each kind an examination keeps; the others are counted."""

NAMES = 1_000
"""How many different signatures an examination keeps, each with its first place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What clamscan says of one path.

    `signatures` are malware names; `limits` the names of the engine's limits that were hit
    (`MaxFileSize`); `opaque` what it recognised and could not look into (`Encrypted.Zip`);
    `unopened` the formats that it came upon and has no way to open (`zstd`), the file's own or
    those of its members; `errors` its error lines. Nothing in any of them, and the engine's own `OK`: clean.
    """

    signatures: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    unopened: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether the engine saw all of it and found nothing."""
        found = self.signatures or self.limits or self.opaque or self.unopened
        return not (found or self.errors)


class Kind(enum.StrEnum):
    """What a finding is about."""

    SIGNATURE = "signature"
    """A signature matched: the text is its name."""
    ERROR = "error"
    """Something could not be scanned; the text says what and why."""
    OPAQUE = "opaque"
    """Content that could not be inspected: encrypted, damaged or of an unsupported format."""
    OVERSIZE = "oversize"
    """Content too large to be scanned as one file, scanned in overlapping windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact about an artifact; `text` is one printable line.

    `member` is the place of a signature within the artifact ('' is the artifact itself); the texts
    of the other kinds name their place themselves.
    """

    kind: Kind
    text: str
    member: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A signature that matched, and the member that it matched in ('' is the artifact itself)."""

    signature: str
    member: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is known of one artifact. Every text is one printable line, fit for a log.

    `errors` say what could not be scanned and why; `opaque` what nobody can look into (encrypted,
    unsupported format); `oversize` what was too large to be seen as one file and was scanned in
    windows.
    """

    sightings: tuple[Sighting, ...] = ()
    errors: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    oversize: tuple[str, ...] = ()

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Examination:
        """Collect all findings on one artifact."""
        collector = Collector()
        for finding in findings:
            collector.add(finding)
        return collector.examination()


class Collector:
    """Collects the findings on one artifact as they come, in bounded memory."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._kept: dict[Kind, dict[Finding, None]] = {kind: {} for kind in Kind}
        self._more: dict[Kind, int] = dict.fromkeys(Kind, 0)

    def add(self, finding: Finding) -> None:
        """Keep a finding, or count it; of signatures every name is kept, and the first places."""
        kept = self._kept[finding.kind]
        if finding in kept:
            return
        new_name = finding.kind is Kind.SIGNATURE and finding.text not in self._names
        if len(kept) < (NAMES if new_name else LINES):
            kept[finding] = None
        else:
            self._more[finding.kind] += 1
        if new_name and len(self._names) < NAMES:
            self._names.add(finding.text)

    def examination(self) -> Examination:
        """Return what is known so far.

        A signature that was found in the artifact as a whole and in a member is the member's.
        """
        sightings = [
            Sighting(signature=each.text, member=each.member) for each in self._kept[Kind.SIGNATURE]
        ]
        named = {sighting.signature for sighting in sightings if sighting.member}
        return Examination(
            sightings=tuple(
                each for each in sightings if each.member or each.signature not in named
            ),
            errors=self._texts(Kind.ERROR),
            opaque=self._texts(Kind.OPAQUE),
            oversize=self._texts(Kind.OVERSIZE),
        )

    def _texts(self, kind: Kind) -> tuple[str, ...]:
        more = self._more[kind]
        return (
            *(each.text for each in self._kept[kind]),
            *([f"and {more} more"] if more else []),
        )
