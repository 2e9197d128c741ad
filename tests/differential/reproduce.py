"""Write one archive of the suite again, and print what each reader and avscan make of it.

`python -m differential.reproduce SEED INDEX [--only=0,2] [--to=FILE]`, from within `tests`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from differential.generator import sample
from differential.helpers import build
from differential.suite import Lab


def main() -> None:
    """Reproduce what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("index", type=int)
    parser.add_argument("--only", help="numbers of the mutations that are kept")
    parser.add_argument("--to", type=Path, help="where to write the archive")
    given = parser.parse_args()
    only = None if given.only is None else {int(number) for number in given.only.split(",")}
    made = sample(given.seed, given.index, only)
    target = given.to or Path(f"{given.seed}-{given.index}.{'.'.join(reversed(made.form))}")
    target.write_bytes(made.data)
    say = sys.stdout.write
    say(f"{target}: {len(made.data)} bytes, {' in '.join(reversed(made.form))}\n")
    say(f"mutations: {', '.join(made.mutations) or 'none'}\n")
    with tempfile.TemporaryDirectory() as name, Lab(build(Path(name)), Path(name)) as lab:
        yields = lab.unpack(made.data)
        (result,) = lab.judge([made])
    for digest in sorted(yields.required, key=lambda each: each in result.unseen):
        seen = "UNSEEN" if digest in result.unseen else "seen"
        say(
            f"{seen} {digest[:12]} {yields.sizes[digest]} bytes: {', '.join(sorted(yields.files[digest]))}\n"
        )
    said = [*result.objections, *([result.trouble] if result.trouble else [])]
    say("".join(f"avscan: {text}\n" for text in said or ["clean"]))


if __name__ == "__main__":
    main()
