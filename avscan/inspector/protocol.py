"""The lines between a pass and its inspector.

The pass writes a line for each artifact: the path of a file in the inspector's folder. The inspector
answers with lines of three fields, which a tab separates: a kind, a member, a text.

    ready                           clamscan has found its canary; once, the first line
    signature   MEMBER   NAME       a finding (see `findings.Kind`), as soon as it is made
    error                TEXT
    opaque               TEXT
    oversize             TEXT
    done                            the artifact was examined to its end
    failed               TEXT       clamscan or the disk does not work; the last line

The pass does not trust the inspector, since hostile content may control it: the pass parses the lines
strictly, limits their length, and ends an inspector that sends anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, assert_never

from avscan.findings import Finding, Kind
from avscan.text import printable

LINE_LENGTH = 4096
"""Bytes of a line, at the most."""

_TEXT_LENGTH = 800
"""Characters of a field, at the most: a line has room for four bytes each."""

_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """clamscan has found its canary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An artifact was examined to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The inspector cannot continue; `reason` is one printable line."""

    reason: str


Message: TypeAlias = Ready | Finding | Done | Failed


class ProtocolError(Exception):
    """A line does not follow the protocol."""


def encode(message: Message) -> bytes:
    """Return a message as a line; a field that is too long is cut."""
    match message:
        case Ready():
            fields = ("ready", "", "")
        case Done():
            fields = ("done", "", "")
        case Failed(reason=reason):
            fields = ("failed", "", reason)
        case Finding(kind=kind, member=member, text=text):
            fields = (kind, member, text)
        case _:
            assert_never(message)
    return "\t".join(map(_field, fields)).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Parse a line without its newline.

    Raises:
        ProtocolError: it does not follow the protocol.

    """
    try:
        fields = line.decode().split("\t")
    except UnicodeDecodeError as error:
        raise ProtocolError("a line that is not UTF-8") from error
    if not all(map(str.isprintable, fields)):
        raise ProtocolError("a line that is not printable")
    match fields:
        case ["ready", "", ""]:
            return Ready()
        case ["done", "", ""]:
            return Done()
        case ["failed", "", text] if text:
            return Failed(reason=text)
        case ["signature", member, text] if text:
            return Finding(kind=Kind.SIGNATURE, text=text, member=member)
        case [kind, "", text] if kind in _KINDS and text:
            return Finding(kind=Kind(kind), text=text)
        case _:
            raise ProtocolError("a line of an unknown kind or form")


def _field(text: str) -> str:
    text = printable(text[:_TEXT_LENGTH])
    return text if len(text) <= _TEXT_LENGTH else text[: _TEXT_LENGTH - 1] + "…"
