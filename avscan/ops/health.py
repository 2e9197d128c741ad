"""Whether an installation is fit to scan: one part after another, cheaply unless told otherwise.

What a pass would stumble over is looked at by the functions that a pass uses. What they find is a
value: a part that is out of order hides no other.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from avscan import signals
from avscan.archives import programs
from avscan.backend import schema
from avscan.backend.answers import Rejected
from avscan.backend.pocketbase import PocketBase
from avscan.clamav import program, signatures
from avscan.clamav.transcript import EngineVersion
from avscan.errors import (
    AvscanError,
    BackendError,
    EngineError,
    SchemaError,
    SignInError,
    WorkspaceError,
)
from avscan.inspector import confine
from avscan.records import BUILDS, CHECKS
from avscan.settings import Settings
from avscan.wiring import connect, make_scanner
from avscan.workspace import Workspace

ENOUGH = 4 << 30
"""Bytes that two artifacts of PocketBase's most and an unpacked member of clamscan's most take."""

GIB = 1 << 30
HOUR = timedelta(hours=1)
_FAILURES = (BackendError, SignInError, SchemaError, EngineError, WorkspaceError, Rejected)


class State(enum.StrEnum):
    """How a part is; `fail` keeps passes from their work, `skip` was not looked at."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the installation; `text` is one line, `exit_code` is not 0 where it fails."""

    name: str
    state: State
    text: str
    exit_code: int = 0


def examine(settings: Settings, *, deep: bool) -> Iterator[Part]:
    """Look at each part; `deep` loads the signatures and finds the canary, as a pass does."""
    yield from _backend(settings)
    yield from _engine(settings)
    yield _look("disk", lambda: _disk(settings))
    yield _confinement()
    yield _programs()
    if deep:
        yield _look("canary", lambda: _canary(settings))


def _look(name: str, look: Callable[[], tuple[State, str]]) -> Part:
    try:
        state, text = look()
    except _FAILURES as error:
        return failed(name, error)
    return Part(name=name, state=state, text=text)


def failed(name: str, error: AvscanError) -> Part:
    """Return the part that an error is about."""
    # One that would end a pass with 0 is no failure: another pass is at work.
    state = State.FAIL if error.exit_code else State.SKIP
    return Part(name=name, state=state, text=str(error), exit_code=error.exit_code)


def _skipped(name: str) -> Part:
    return Part(name=name, state=State.SKIP, text="not looked at")


def _backend(settings: Settings) -> Iterator[Part]:
    try:
        with connect(settings) as client:
            text = f"{settings.url} answers and takes the sign-in"
            yield Part(name="pocketbase", state=State.OK, text=text)
            yield _look("collections", lambda: _collections(client))
    except _FAILURES as error:
        yield failed("pocketbase", error)
        yield _skipped("collections")


def _collections(client: PocketBase) -> tuple[State, str]:
    found = schema.differences(client.collection(CHECKS), client.collection(BUILDS))
    if any(difference.fatal for difference in found):
        schema.require(client)
    if found:
        differing = ", ".join(f"{difference.field} ({difference.found})" for difference in found)
        return State.WARN, f"usable; better otherwise: {differing} (`avscan init` says how)"
    return State.OK, "as they should be"


def _engine(settings: Settings) -> Iterator[Part]:
    try:
        version = program.version(settings.clamscan, settings.signatures)
    except EngineError as error:
        yield failed("clamscan", error)
        yield _skipped("signatures")
    else:
        yield Part(name="clamscan", state=State.OK, text=f"ClamAV {version.engine} runs")
        yield _look("signatures", lambda: _signatures(settings, version))


def _signatures(settings: Settings, version: EngineVersion) -> tuple[State, str]:
    signatures.require(settings.signatures)
    now, most = datetime.now(UTC), timedelta(days=settings.max_signature_age)
    signatures.require_fresh(version, now=now, most=most)
    age = signatures.age(version, now)
    if age is None:
        return State.WARN if most else State.OK, "of unknown age: there is no daily set"
    return State.OK, f"daily {version.signatures} is {age / HOUR:.0f} hours old"


def _disk(settings: Settings) -> tuple[State, str]:
    with Workspace(settings.work_dir) as workspace:
        workspace.require_room()
        free = workspace.free()
    text = f"{free / GIB:.1f} GiB free in {settings.work_dir}"
    if free < ENOUGH:
        return State.WARN, f"{text}; large builds need {ENOUGH / GIB:.0f}"
    return State.OK, text


def _confinement() -> Part:
    lacking = confine.missing_features()
    if lacking:
        return Part(name="confinement", state=State.WARN, text=f"lacks {'; '.join(lacking)}")
    return Part(name="confinement", state=State.OK, text="all that avscan uses is there")


def _programs() -> Part:
    missing = programs.missing()
    if not missing:
        return Part(name="programs", state=State.OK, text="all that open archives are there")
    packages = ", ".join(programs.PACKAGES[program] for program in missing)
    text = (
        f"{', '.join(missing)} not installed: what they open counts as content that could not be"
        f" inspected (Debian's packages: {packages})"
    )
    return Part(name="programs", state=State.WARN, text=text)


def _canary(settings: Settings) -> tuple[State, str]:
    started = time.monotonic()
    with Workspace(settings.work_dir) as workspace:
        scanner = make_scanner(settings, workspace, lambda: datetime.now(UTC))
        try:
            scanner.inspector(signals.check)
        finally:
            scanner.close()
    return State.OK, f"found, {time.monotonic() - started:.1f} s after clamscan was started"
