"""The property: what any reader yields of an archive, avscan has shown to clamscan, or it says so.

Whole-file hash signatures are the evidence, since they match nothing else. For a batch of archives
the readers come first; then one clamscan with signatures for all that they yielded looks at what
avscan shows it. The walk is not told of these matches: it has to see everything of a clean archive
too.
"""

from __future__ import annotations

import hashlib
import itertools
import resource
import tempfile
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from support.examine import examined
from support.signatures import write_signatures

from avscan.archives.bounds import Bounds
from avscan.clamav.clamscan import Clamscan
from avscan.errors import WorkspaceError
from avscan.findings import Examination, Findings
from differential.generator import Sample, sample
from differential.helpers import Helper, Programs
from differential.readers import SECONDS, HungError, Yields, readers, unpack, within

BATCH = 100
EXAMINED = 60.0
"""Seconds that an examination may take; all archives are small."""

FILE_SIZE = 256 << 20
"""Bytes that a reader may write into one file."""

_NAME = 24  # digits of a hash that make a signature's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much a run does."""

    seed: int
    archives: int
    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One archive's outcome.

    `unseen` has the readers of each content that was not shown. `objections` are what avscan says
    in errors and notes; with any, nothing needs to be seen. `trouble` is what must never happen:
    an examination that ends in an exception, takes too long, or leaves files.
    """

    seed: int
    index: int
    form: tuple[str, ...]
    mutations: tuple[str, ...]
    unseen: dict[str, frozenset[str]]
    objections: tuple[str, ...]
    trouble: str
    yielded: int

    @property
    def valid(self) -> bool:
        return not self.mutations

    @property
    def missed(self) -> bool:
        """Whether something is unseen, and nothing says so."""
        return bool(self.unseen) and not (self.objections or self.trouble)

    @property
    def refused(self) -> bool:
        """Whether a valid archive is an error or noted."""
        return self.valid and bool(self.objections)

    @property
    def readers(self) -> tuple[str, ...]:
        """The readers that yield something unseen: of the archive itself, else of what is in it."""
        found = set().union(*self.unseen.values())
        direct = {name for name in found if ">" not in name}
        return tuple(sorted(direct or {f"... {name.rpartition('> ')[2]}" for name in found}))


class Witness:
    """An engine that keeps what was found of each file, and tells the walk nothing of it."""

    def __init__(self, engine: Clamscan) -> None:
        self._engine = engine
        self.shown: set[str] = set()

        self.end_mark = engine.end_mark
        self._submitted: deque[str] = deque()

    def submit(self, path: Path) -> None:
        self._submitted.append(hashlib.sha256(path.read_bytes()).hexdigest())
        self._engine.submit(path)

    def collect(self) -> Findings:
        digest = self._submitted.popleft()
        findings = self._engine.collect()
        names = (name.removesuffix(".UNOFFICIAL") for name in findings.signatures)
        self.shown |= {digest[:_NAME], *(name.partition("-")[2] for name in names)}
        return replace(findings, signatures=())


class Lab:
    """Readers and an engine, in a folder of their own."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self._folder = folder.resolve()
        self._stack = ExitStack()
        launcher = self._stack.enter_context(Helper(programs.launcher, SECONDS / 2))
        golang = None
        if programs.golang:
            golang = self._stack.enter_context(Helper(programs.golang, SECONDS / 2))
        self.readers = readers(launcher, golang)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, hard))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def unpack(self, data: bytes) -> Yields:
        """Return what the readers make of an archive."""
        return unpack(data, self.readers, self._folder)

    def judge(self, samples: Iterable[Sample]) -> Iterator[Result]:
        """Judge a batch of archives."""
        batch = [(each, self.unpack(each.data)) for each in samples]
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            folder = Path(name)
            (workspace := folder / "work").mkdir()
            signatures = write_signatures(folder / "signatures")
            lines = {
                f"{digest}:{size}:H-{digest[:_NAME]}\n"
                for _, yields in batch
                for digest, size in yields.sizes.items()
            }
            (signatures / "yields.hsb").write_text("".join(sorted(lines)))
            with Clamscan(program="clamscan", workspace=workspace, database=signatures) as engine:
                for each, yields in batch:
                    yield _judge(each, yields, engine, workspace)

    def smallest(self, result: Result) -> tuple[Result, tuple[int, ...]]:
        """Return the fewest mutations with which an archive still fails, and its outcome then."""
        numbers = range(len(result.mutations))
        subsets = [
            subset
            for size in range(1, len(numbers))
            for subset in itertools.combinations(numbers, size)
        ]
        made = [sample(result.seed, result.index, subset) for subset in subsets]
        for subset, outcome in zip(subsets, self.judge(made), strict=True):
            if outcome.missed:
                return outcome, subset
        return result, tuple(numbers)


def _judge(each: Sample, yields: Yields, engine: Clamscan, workspace: Path) -> Result:
    artifact = workspace / "artifact"
    artifact.write_bytes(each.data)
    witness, trouble = Witness(engine), ""
    try:
        with within(EXAMINED):
            examination = examined(artifact, engine=witness, workspace=workspace, bounds=Bounds())
    except WorkspaceError as error:  # by `FILE_SIZE`: on a real disk an error as well
        examination = Examination(errors=(str(error),))
    except HungError:
        examination = Examination()
        trouble = "took too long"
    except Exception as error:  # noqa: BLE001 - any error that leaves the walk is a failure to report
        examination = Examination()
        trouble = repr(error)
    artifact.unlink()
    left = [path for path in workspace.iterdir() if path.is_file()]
    for path in left:
        path.unlink()
        trouble = trouble or "left a file behind"
    objections = (*examination.errors, *examination.opaque, *examination.oversize)
    unseen = {
        digest: frozenset(yields.files[digest])
        for digest in yields.required
        if digest[:_NAME] not in witness.shown
    }
    return Result(
        seed=each.seed,
        index=each.index,
        form=each.form,
        mutations=each.mutations,
        unseen=unseen,
        objections=objections,
        trouble=trouble,
        yielded=len(yields.required),
    )


def judge(programs: Programs, seed: int, indices: Collection[int]) -> list[Result]:
    """Judge the archives of a seed and some indices, with readers of one's own."""
    with tempfile.TemporaryDirectory() as name, Lab(programs, Path(name)) as lab:
        return list(lab.judge(sample(seed, index) for index in indices))
