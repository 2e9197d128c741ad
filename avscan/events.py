"""What a pass tells of itself while it works, to whoever listens: values only.

A listener is called in the midst of the work, from its threads. It must be quick and must not fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from avscan.records import Build
from avscan.verdict import FileReport, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloading:
    """A build's file is coming: `received` bytes of `size` so far."""

    build: str
    file: str
    received: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanning:
    """A build's file of `size` bytes is under scan from now on."""

    build: str
    file: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """A build's file is no longer under scan."""

    build: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A verdict was written `at` this moment of the server's clock.

    `known` says that the verdict before it gave these very files the same status.
    """

    build: Build
    verdict: Verdict
    reports: tuple[FileReport, ...]
    at: datetime
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A build got no verdict in its turn; a later one will bring it."""

    build: str
    reason: str


Event: TypeAlias = Downloading | Scanning | Scanned | Settled | Left
Listener: TypeAlias = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Listen to nothing."""
