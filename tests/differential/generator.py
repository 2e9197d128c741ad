"""Archives by seed and index: valid ones, and ones that were changed in one to three ways."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from random import Random
from typing import Protocol, TypeVar

from differential import gzips, mutations, tars, zips

FORMS: dict[tuple[str, ...], int] = {
    ("gzip", "tar"): 40,
    ("tar",): 15,
    ("zip",): 27,
    ("gzip", "tar", "zip"): 3,
    ("gzip", "tar", "tar"): 3,
    ("tar", "gzip", "tar"): 2,
    ("zip", "tar"): 3,
    ("zip", "gzip", "tar"): 3,
    ("zip", "zip"): 2,
    ("gzip",): 1,
    ("gzip", "zip"): 1,
}
"""What is packed in what, the outermost first, and how often of a hundred times."""

VALID = 0.15
"""The part of archives that are left as they are."""

_FAMILIES = {
    "tar": list(mutations.TAR),
    "gzip": list(mutations.GZIP),
    "zip": list(mutations.ZIP),
}
_Chosen = list[tuple[str, Random]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An archive, and how it was made; without mutations it is valid."""

    seed: int
    index: int
    form: tuple[str, ...]
    mutations: tuple[str, ...]
    data: bytes


def sample(seed: int, index: int, only: Collection[int] | None = None) -> Sample:
    """Make the archive of a seed and an index, with all of its mutations or some of them.

    Each mutation has its own randomness, so that one stays what it is without the others.
    """
    rng = Random(f"{seed}:{index}")
    form = rng.choices(list(FORMS), list(FORMS.values()))[0]
    count = 0 if rng.random() < VALID else rng.choice((1, 1, 2, 3))
    chosen: list[_Chosen] = [[] for _ in form]
    names = []
    for number in range(count):
        if only is not None and number not in only:
            continue
        own = Random(f"{seed}:{index}:{number}")
        level = own.randrange(len(form))
        if form[level] == "gzip" and len(form) > 1 and own.random() < 0.6:
            level += 1  # most of what there is to tell wrongly is in the tar
        name = own.choice(_FAMILIES[form[level]])
        chosen[level].append((name, own))
        names.append(name)
    data: bytes | None = None
    for level in reversed(range(len(form))):
        made = Random(f"{seed}:{index}:level {level}")
        data = _build(form[level], made, data, chosen[level])
    assert data is not None
    return Sample(seed=seed, index=index, form=form, mutations=tuple(names), data=data)


def _build(form: str, rng: Random, inner: bytes | None, chosen: _Chosen) -> bytes:
    if form == "tar":
        return _changed(tars.valid(rng, inner), mutations.TAR, chosen)
    if form == "gzip":
        return _changed(gzips.valid(rng, inner), mutations.GZIP, chosen)
    return _changed(zips.valid(rng, inner), mutations.ZIP, chosen)


class _Archive(Protocol):
    def encode(self) -> bytes: ...


Made = TypeVar("Made", bound=_Archive)


def _changed(
    made: Made, families: Mapping[str, Callable[[Random, Made], None]], chosen: _Chosen
) -> bytes:
    for name, own in chosen:
        families[name](own, made)
    return made.encode()
