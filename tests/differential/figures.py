"""What a run of the suite found, in figures and in the fewest words that reproduce it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from differential.suite import Result

SHOWN = 40
"""How many different failures are printed."""


@dataclass
class Figures:
    """Counts over all archives, and the results that are failures."""

    archives: int = 0
    valid: int = 0
    objected: int = 0
    yielded: int = 0
    missed: list[Result] = field(default_factory=list)
    refused: list[Result] = field(default_factory=list)
    troubled: list[Result] = field(default_factory=list)
    families: Counter[str] = field(default_factory=Counter)

    def add(self, results: Iterable[Result]) -> None:
        for result in results:
            self.archives += 1
            self.valid += result.valid
            self.objected += bool(result.objections)
            self.yielded += result.yielded
            self.families.update(set(result.mutations))
            if result.missed:
                self.missed.append(result)
            if result.refused:
                self.refused.append(result)
            if result.trouble:
                self.troubled.append(result)

    def lines(self) -> Iterator[str]:
        """Return a table of the figures, line by line."""
        yield (
            f"{self.archives} archives, {self.valid} of them valid; {self.yielded} contents; "
            f"{self.objected} archives with errors or notes"
        )
        yield (
            f"{len(self.missed)} archives with something unseen, {len(self.refused)} valid refused, "
            f"{len(self.troubled)} that ended badly"
        )
        for name, counts in (("reader", self._readers()), ("family", self._families())):
            for what, count in counts.most_common():
                among = f" of {self.families[what]}" if name == "family" else ""
                yield f"  {name} {what}: {count}{among}"

    def _readers(self) -> Counter[str]:
        return Counter(reader for result in self.missed for reader in result.readers)

    def _families(self) -> Counter[str]:
        return Counter(
            family for result in self.missed for family in set(result.mutations) or {"none"}
        )


def command(result: Result, numbers: tuple[int, ...] | None = None) -> str:
    """Return the command that writes an archive again and shows what comes of it."""
    only = "" if numbers is None else f" --only={','.join(map(str, numbers))}"
    return f"python -m differential.reproduce {result.seed} {result.index}{only}"


def unseen(smallest: Iterable[tuple[Result, tuple[int, ...]]]) -> Iterator[str]:
    """Return one failure for each set of families and readers."""
    alike: dict[str, list[str]] = defaultdict(list)
    for result, numbers in smallest:
        families = " + ".join(sorted(set(result.mutations))) or "no mutation"
        text = f"unseen after {families}: {', '.join(result.readers)}"
        alike[text].append(command(result, numbers))
    yield from _grouped(alike)


def ended(figures: Figures) -> Iterator[str]:
    """Return one failure for each way in which archives were refused or ended badly."""
    alike: dict[str, list[str]] = defaultdict(list)
    for result in figures.troubled:
        alike[f"ended badly: {result.trouble}"].append(command(result))
    for result in figures.refused:
        alike[f"valid but refused: {result.objections[0]}"].append(command(result))
    yield from _grouped(alike)


def _grouped(alike: dict[str, list[str]]) -> Iterator[str]:
    """Return the most frequent failures, each with the command for one of its archives."""
    most = sorted(alike.items(), key=lambda item: -len(item[1]))
    for text, commands in most[:SHOWN]:
        yield f"{len(commands)} x {text}\n    {commands[0]}"
    if len(most) > SHOWN:
        yield f"and {len(most) - SHOWN} more kinds"
