"""Archives of real writers: clean without a note, and seen whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from differential.generator import Sample
from differential.helpers import Programs
from differential.suite import Lab
from differential.writers import Write, game, writers


@pytest.fixture(scope="module")
def lab(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Path]]:
    folder = tmp_path_factory.mktemp("writers").resolve()
    with Lab(programs, folder) as lab:
        yield lab, game(folder)


@pytest.mark.differential
@pytest.mark.parametrize("write", [pytest.param(write, id=name) for name, write in writers()])
def test_an_archive_of_an_ordinary_writer_is_clean_and_seen(
    lab: tuple[Lab, Path], tmp_path: Path, write: Write
) -> None:
    readers, root = lab
    write(root, target := tmp_path / "archive.out")
    made = Sample(seed=0, index=0, form=(), mutations=(), data=target.read_bytes())
    (result,) = readers.judge([made])
    assert result.yielded
    assert not result.trouble
    assert result.objections == ()
    # Busybox knows no zip64: what it makes of it is longer than the file, and an error.
    unseen = {key: by for key, by in result.unseen.items() if by != {"busybox unzip"}}
    assert unseen == {}
