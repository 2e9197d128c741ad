"""What a scan has found: the values that the engine hands to the verdict.

Two grains. `Findings` is what the engine says of one path. `Examination` is what is known of one
artifact after it was scanned whole or, where the engine could not see all of it, member by member.
Neither holds a policy: what an unreadable member means for a build is the verdict's to say.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the engine says of one path.

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
