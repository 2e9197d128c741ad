"""Archives by seed and index: valid ones, and ones that were changed in one to three ways."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random

from differential import gzips, tar_mutations, tars, zip_mutations, zips
from differential.content import content

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

_MUTATIONS = {
    "tar": list(tar_mutations.MUTATIONS),
    "gzip": list(gzips.MUTATIONS),
    "zip": list(zip_mutations.MUTATIONS),
}


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
    chosen: list[list[tuple[str, Random]]] = [[] for _ in form]
    names = []
    for number in range(count):
        if only is not None and number not in only:
            continue
        own = Random(f"{seed}:{index}:{number}")
        level = own.randrange(len(form))
        if form[level] == "gzip" and len(form) > 1 and own.random() < 0.6:
            level += 1  # most of what there is to tell wrongly is in the tar
        name = own.choice(_MUTATIONS[form[level]])
        chosen[level].append((name, own))
        names.append(name)
    data: bytes | None = None
    for level in reversed(range(len(form))):
        made = Random(f"{seed}:{index}:level {level}")
        data = _BUILDERS[form[level]](made, data, chosen[level])
    assert data is not None
    return Sample(seed=seed, index=index, form=form, mutations=tuple(names), data=data)


_Mutations = list[tuple[str, Random]]


def _tar(rng: Random, inner: bytes | None, mutations: _Mutations) -> bytes:
    made = tars.valid(rng, inner)
    for name, own in mutations:
        tar_mutations.MUTATIONS[name](own, made)
    return made.encode()


def _gzip(rng: Random, inner: bytes | None, mutations: _Mutations) -> bytes:
    made = gzips.valid(rng, content(rng) if inner is None else inner)
    for name, own in mutations:
        gzips.MUTATIONS[name](own, made)
    return made.encode()


def _zip(rng: Random, inner: bytes | None, mutations: _Mutations) -> bytes:
    made = zips.valid(rng, inner)
    for name, own in mutations:
        zip_mutations.MUTATIONS[name](own, made)
    return made.encode()


_BUILDERS: dict[str, Callable[[Random, bytes | None, _Mutations], bytes]] = {
    "tar": _tar,
    "gzip": _gzip,
    "zip": _zip,
}
