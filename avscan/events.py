"""Events of a running pass, for listeners such as the console and notifications.

A listener is called synchronously, from several threads. It must be fast and must not raise.
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
    """`received` of `size` bytes of a build's file are downloaded."""

    build: str
    file: str
    received: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanning:
    """The scan of a build's file of `size` bytes began or resumed."""

    build: str
    file: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """The scan of a build's file ended."""

    build: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A verdict was written; `at` is the server's time.

    `known` is true if an earlier verdict gave the same files the same status.
    """

    build: Build
    verdict: Verdict
    reports: tuple[FileReport, ...]
    at: datetime
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """A build got no verdict for now. It is scanned later, unless it was deleted."""

    build: str
    reason: str


Event: TypeAlias = Downloading | Scanning | Scanned | Settled | Unsettled
Listener: TypeAlias = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Do nothing: a listener for callers that need no events."""
