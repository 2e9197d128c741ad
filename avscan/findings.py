"""The results of a scan, from clamscan's lines to what the inspector reports of an artifact.

`Findings` is clamscan's result for one path. A `Finding` is one fact about an artifact, reported as
soon as it is known. An `Examination` is all that is known of one artifact. None of them has a policy:
`verdict` decides what unsupported content means for a build.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

LINES = 100
"""How many findings of each kind an examination keeps; the others are counted."""

NAMES = 1_000
"""How many different signatures an examination keeps, each with its first place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """clamscan's result for one path.

    `signatures` are malware names; `limits` the names of clamscan's limits that were exceeded
    (`MaxFileSize`); `opaque` what it recognised and could not open (`Encrypted.Zip`); `unopened` the
    formats, of the file or of its members, that it has no way to open (`zstd`); `errors` its error
    lines. If all are empty, clamscan has printed `OK`.
    """

    signatures: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    unopened: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether clamscan scanned all of it and found nothing."""
        return self == Findings()

    @property
    def is_incomplete(self) -> bool:
        """Whether clamscan may not have scanned everything in an archive."""
        return bool(self.limits or self.unopened)


class Kind(enum.StrEnum):
    """The kinds of findings."""

    SIGNATURE = "signature"
    """A signature matched: the text is its name."""
    ERROR = "error"
    """Something could not be scanned; the text names it and the reason."""
    OPAQUE = "opaque"
    """Content that could not be inspected: encrypted, damaged or of an unsupported format."""
    OVERSIZE = "oversize"
    """Content too large to be scanned as one file, scanned in overlapping windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact about an artifact; `text` is one printable line.

    `member` is the place of a signature within the artifact ('' is the artifact itself); the texts
    of the other kinds include the place.
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
    """All that is known of one artifact. Every text is one printable line.

    `errors` name what could not be scanned, and the reason; `opaque` is unsupported content
    (encrypted, of an unsupported format); `oversize` was too large to be scanned as one file, and was
    scanned in windows.
    """

    sightings: tuple[Sighting, ...] = ()
    errors: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    oversize: tuple[str, ...] = ()


class Collector:
    """Collects the findings on one artifact as they come, in bounded memory."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._kept: dict[Kind, dict[Finding, None]] = {kind: {} for kind in Kind}
        self._more: dict[Kind, int] = dict.fromkeys(Kind, 0)

    def add(self, finding: Finding) -> None:
        """Keep a finding, or count it. Every signature's name is kept, and its first places."""
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

        A signature that was found in the artifact as a whole and in a member is listed for the
        member only.
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
