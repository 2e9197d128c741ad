"""A pass over builds of several files, beside other ways to have the same files scanned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median

import requests
from support.backend import Backend
from support.proxy import Proxy, Throttle, download_of

from bench.contenders import Clamd, clamscan_each, one_clamscan, warm_clamd
from bench.lab import Lab, avscan
from bench.stock import stock, waiting
from bench.table import MB, Row, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """Builds that wait on a backend, and the very same files on the disk."""

    backend: Backend
    builds: Sequence[Sequence[Path]]

    @property
    def files(self) -> list[Path]:
        return list(chain.from_iterable(self.builds))

    @property
    def size(self) -> int:
        """The size of all files, in bytes."""
        return sum(file.stat().st_size for file in self.files)

    def sizes(self) -> dict[str, int]:
        """Return the columns about what is scanned."""
        return {"builds": len(self.builds), "files": len(self.files), "MB": self.size // MB}


@contextmanager
def _work(lab: Lab, count: int) -> Iterator[_Work]:
    builds = lab.builds(count)
    with lab.backend() as backend:
        backend.init()
        stock(backend, waiting(builds))
        yield _Work(backend=backend, builds=builds)


def by_turns(runs: int, contenders: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Run all contenders in turn, several times; return the median of each."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, contend in contenders.items():
            times[name].append(contend())
    return {name: median(each) for name, each in times.items()}


def scan_all(lab: Lab, work: _Work, *, url: str = "") -> float:
    """Return the seconds that avscan takes for all builds, as if they were new."""
    work.backend.sql("DELETE FROM av_build_checks")
    changes = {
        "SIGNATURE_DIR": str(lab.signatures),
        "POCKETBASE_URL": url or work.backend.url,
    }
    done = avscan(work.backend, "--full", changes=changes)
    assert done.finished["clean"] == len(work.builds), done.finished
    return done.cost.wall


# -- downloads that cost nothing ------------------------------------------------------------------


def compare_passes(lab: Lab) -> Table:
    """Measure passes over different numbers of builds, beside a server on the same machine."""
    with warm_clamd(lab.signatures) as clamd:
        rows = [_compare_pass(lab, clamd, count) for count in lab.scale.builds]
    return Table(
        title="A pass",
        note=(
            f"Seconds, medians of {lab.scale.runs} runs by turns. 'One clamscan' is the floor: one"
            " process over all files, already on the disk, with avscan's own options. 'Each' starts"
            " one for every file; it was measured on one build and multiplied."
        ),
        rows=rows,
    )


def _compare_pass(lab: Lab, clamd: Clamd, count: int) -> Row:
    with _work(lab, count) as work:
        times = by_turns(
            lab.scale.runs,
            {
                "avscan": lambda: scan_all(lab, work),
                "one clamscan": lambda: one_clamscan(work.files, lab.signatures, lab.folder()),
                "warm clamd": lambda: clamd.scan(work.files),
            },
        )
        each = clamscan_each(work.builds[0], lab.signatures) * count
        floor = times["one clamscan"]
        return work.sizes() | times | {"each": each, "avscan / floor": times["avscan"] / floor}


# -- downloads as slow as the scan ----------------------------------------------------------------


def compare_slow_downloads(lab: Lab) -> Table:
    """Measure passes over a network that brings files as fast as clamscan scans them."""
    return Table(
        title="A pass over a slow network",
        note=(
            f"Seconds, medians of {lab.scale.runs} runs by turns. The network brings as many bytes"
            " a second as clamscan scans, once it has loaded its signatures. 'Download' is all files"
            " one after another, over that network."
        ),
        rows=[_compare_slow(lab, count) for count in lab.scale.builds],
    )


def _compare_slow(lab: Lab, count: int) -> Row:
    with _work(lab, count) as work, Proxy(work.backend.url) as proxy:
        scratch = lab.folder()
        rate = work.size / _scanning(lab, work, scratch)
        proxy.plan(download_of(), Throttle(rate), times=None)
        times = by_turns(
            lab.scale.runs,
            {
                "avscan": lambda: scan_all(lab, work, url=proxy.url),
                "one clamscan": lambda: one_clamscan(work.files, lab.signatures, scratch),
                "download": lambda: _download_all(work, proxy),
            },
        )
        slower = max(times["one clamscan"], times["download"])
        return (
            work.sizes()
            | {"MB/s": rate / MB}
            | times
            | {"avscan / slower": times["avscan"] / slower}
        )


def _scanning(lab: Lab, work: _Work, scratch: Path) -> float:
    """Return the seconds that clamscan scans the files, without loading."""
    times = by_turns(
        lab.scale.runs,
        {
            "all": lambda: one_clamscan(work.files, lab.signatures, scratch),
            "none": lambda: one_clamscan([], lab.signatures, scratch),
        },
    )
    return times["all"] - times["none"]


def _download_all(work: _Work, proxy: Proxy) -> float:
    started = time.perf_counter()
    with requests.Session() as session:
        for path in _addresses(work.backend):
            session.get(proxy.url + path, timeout=60).raise_for_status()
    return time.perf_counter() - started


def _addresses(backend: Backend) -> list[str]:
    rows = backend.sql("SELECT b.id, f.value FROM app_builds b, json_each(b.files) f")
    return [f"/api/files/app_builds/{build}/{name}" for build, name in rows]
