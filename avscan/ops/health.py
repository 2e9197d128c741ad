"""Health checks of an installation, made by the functions that a pass uses.

Each result is a value, so that all parts are checked even if one of them fails.
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
from avscan.backend.pocketbase import PocketBase
from avscan.clamav import program, signatures
from avscan.clamav.transcript import EngineVersion
from avscan.errors import AvscanError
from avscan.inspector import confine
from avscan.records import BUILDS, CHECKS
from avscan.settings import Settings
from avscan.wiring import connect, make_scanner
from avscan.workspace import Workspace

RECOMMENDED_SPACE = 4 << 30
"""Bytes for two artifacts and one unpacked member, each of the maximum size."""

GIB = 1 << 30
HOUR = timedelta(hours=1)


class State(enum.StrEnum):
    """The state of a part: `fail` prevents passes, `skip` was not checked."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The result for one part. `text` is one line; `exit_code` is nonzero if the part fails."""

    name: str
    state: State
    text: str
    exit_code: int = 0


def check_installation(settings: Settings, *, deep: bool) -> Iterator[Part]:
    """Check each part. `deep` also loads the signatures and scans the canary, as a pass does."""
    yield from _backend(settings)
    yield from _engine(settings)
    yield _check("disk", lambda: _disk(settings))
    yield _check("confinement", _confinement)
    yield _check("programs", _programs)
    if deep:
        yield _check("canary", lambda: _canary(settings))


def _check(name: str, check: Callable[[], tuple[State, str]]) -> Part:
    try:
        state, text = check()
    except AvscanError as error:
        return failed_part(name, error)
    return Part(name=name, state=state, text=text)


def failed_part(name: str, error: AvscanError) -> Part:
    """Return the result for a part whose check raised `error`."""
    # `Busy` has exit code 0: another pass is running, which is not a failure.
    state = State.FAIL if error.exit_code else State.SKIP
    return Part(name=name, state=state, text=str(error), exit_code=error.exit_code)


def _skipped(name: str) -> Part:
    return Part(name=name, state=State.SKIP, text="not checked, since the part before it fails")


def _backend(settings: Settings) -> Iterator[Part]:
    try:
        with connect(settings) as client:
            text = f"{settings.url} answers and accepts the credentials"
            yield Part(name="pocketbase", state=State.OK, text=text)
            yield _check("collections", lambda: _collections(client))
    except AvscanError as error:
        yield failed_part("pocketbase", error)
        yield _skipped("collections")


def _collections(client: PocketBase) -> tuple[State, str]:
    found = schema.differences(client.collection(CHECKS), client.collection(BUILDS))
    if any(difference.fatal for difference in found):
        schema.require(client)
    if found:
        differing = ", ".join(f"{difference.field} ({difference.found})" for difference in found)
        return State.WARN, f"usable, but `avscan init` advises to correct: {differing}"
    return State.OK, "as they should be"


def _engine(settings: Settings) -> Iterator[Part]:
    try:
        version = program.version(settings.clamscan, settings.signatures)
    except AvscanError as error:
        yield failed_part("clamscan", error)
        yield _skipped("signatures")
    else:
        yield Part(name="clamscan", state=State.OK, text=f"ClamAV {version.engine} runs")
        yield _check("signatures", lambda: _signatures(settings, version))


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
    if free < RECOMMENDED_SPACE:
        return State.WARN, f"{text}; large builds need {RECOMMENDED_SPACE / GIB:.0f}"
    return State.OK, text


def _confinement() -> tuple[State, str]:
    if lacking := confine.missing_features():
        return State.WARN, f"lacks {'; '.join(lacking)}"
    return State.OK, "the kernel has all that avscan uses"


def _programs() -> tuple[State, str]:
    if missing := programs.missing():
        packages = ", ".join(programs.PACKAGES[program] for program in missing)
        return State.WARN, (
            f"{', '.join(missing)} not installed: what they open counts as content that could not"
            f" be inspected (Debian's packages: {packages})"
        )
    return State.OK, "all that open archives are installed"


def _canary(settings: Settings) -> tuple[State, str]:
    started = time.monotonic()
    with Workspace(settings.work_dir) as workspace:
        scanner = make_scanner(settings, workspace, lambda: datetime.now(UTC))
        try:
            scanner.inspector(signals.check)
        finally:
            scanner.close()
    return State.OK, f"found, {time.monotonic() - started:.1f} s after clamscan was started"
