"""The data for a status report, from real servers: complete, with few requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.backend import Backend
from support.run import avscan

from avscan.backend import journal
from avscan.backend.transport import RetryPolicy
from avscan.clamav.canary import eicar
from avscan.ops.reading import read
from avscan.ops.report import Report, State, report
from avscan.records import Status, format_time

DAY = timedelta(days=1)


def look(backend: Backend, window: timedelta = DAY) -> Report:
    client = backend.client()
    client.sign_in()
    return report(read(client, window=window, stuck_after=timedelta(seconds=90)))


def ago(**span: float) -> str:
    return format_time(datetime.now(UTC) - timedelta(**span))


def test_verdicts_are_read_from_every_version_of_pocketbase(every_backend: Backend) -> None:
    backend = every_backend
    clean, infected = backend.upload({"a.txt": b"a game"}), backend.upload({"a.com": eicar()})
    assert avscan("run", "--full", env=backend.environment()).code == 0
    assert avscan("rescan", clean, env=backend.environment()).code == 0
    found = look(backend)
    assert found.delays.count == 1
    assert [(each.build, each.again) for each in found.waiting] == [(clean, True)]
    (detection,) = found.detections
    assert (detection.build, detection.file) == (infected, *backend.file_names(infected))
    assert found.engine.startswith("ClamAV ")


def test_an_unchecked_build_older_than_the_window_is_found(
    backend: Backend,
) -> None:
    old = backend.upload({"a.txt": b"a game"})
    check = backend.create_check(old, status="clean", log="by hand", scan_time=ago(days=9))
    backend.backdate("app_builds", old, updated=ago(days=10))
    unseen = backend.upload({"a.txt": b"a game"})
    backend.backdate("app_builds", unseen, updated=ago(days=8))
    found = look(backend, timedelta(hours=1))
    assert [(each.build, each.state) for each in found.waiting] == [(unseen, State.UNCHECKED)]
    assert check
    assert not found.kept


def test_before_the_first_verdict_all_builds_wait(backend: Backend) -> None:
    unseen = backend.upload({"a.txt": b"a game"})
    backend.backdate("app_builds", unseen, updated=ago(days=400))
    assert [each.build for each in look(backend).waiting] == [unseen]


def test_a_verdict_with_a_future_time_hides_no_build(backend: Backend) -> None:
    odd, unseen = backend.upload({"a.txt": b"a"}), backend.upload({"a.txt": b"a"})
    backend.create_check(odd, status="clean", log="by hand", scan_time="2100-01-01 00:00:00.000Z")
    backend.backdate("app_builds", unseen, updated=ago(days=3))
    assert unseen in [each.build for each in look(backend).waiting]


def test_an_orphaned_check_is_ignored(backend: Backend) -> None:
    backend.create_check(backend.upload({"a.txt": b"a game"}))
    backend.sql("DELETE FROM app_builds")
    found = look(backend)
    assert not found.waiting
    assert found.kept


@pytest.mark.slow
def test_a_large_backend_takes_at_most_twelve_requests(backend: Backend) -> None:
    _fill(backend, 100_000)
    backend.upload({"a.txt": b"a game"})
    client = backend.client(policy=RetryPolicy(attempts=1))
    client.sign_in()
    before = client.requests_made
    found = report(read(client, window=DAY, stuck_after=timedelta(seconds=90)))
    assert client.requests_made - before <= 12
    assert found.checks[Status.CLEAN] == 100_000
    assert found.delays.count in range(280, 290)
    assert [each.state for each in found.waiting] == [State.UNCHECKED]

    # All builds were edited: all are compared, a thousand per request.
    backend.sql("UPDATE app_builds SET updated = ?", ago(hours=1))
    before = client.requests_made
    found = report(read(client, window=DAY, stuck_after=timedelta(seconds=90)))
    assert client.requests_made - before <= 220
    assert [each.state for each in found.waiting] == [State.UNCHECKED]


def _fill(backend: Backend, number: int) -> None:
    """Insert builds uploaded every five minutes until now, with verdicts a minute later."""
    log = f'clean: {{"reason": "nothing found", "files": "{journal.digest(["a"])}", "uploaded": "'
    moment = "strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ({}) || ' minutes') || 'Z'"
    uploaded, judged = moment.format("i * 5"), moment.format("i * 5 - 1")
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number})"
    backend.sql(
        f"{numbers} INSERT INTO app_builds (id, files, created, updated)"
        f" SELECT printf('%015d', i), '[\"a\"]', {uploaded}, {uploaded} FROM n"
    )
    backend.sql(
        f"{numbers} INSERT INTO av_build_checks"
        " (id, build, status, scan_time, log, created, updated)"
        f" SELECT printf('%015d', i), printf('%015d', i), 'clean', {judged},"
        f" ? || {uploaded} || ?, {judged}, {judged} FROM n",
        log,
        '", "engine": "ClamAV 1"}\n' + "x" * 2000,
    )
