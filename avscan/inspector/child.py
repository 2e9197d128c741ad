"""The inspector: examines the artifacts that its standard input names, and reports findings.

It is run as

    python -I -m avscan.inspector.child PARENT FOLDER PROGRAM SIGNATURES CANARY

where `PARENT` is the process id of its parent, `FOLDER` its own folder, and `PROGRAM`, `SIGNATURES`
and `CANARY` (which may be empty) are absolute paths. It confines itself before it reads the first
artifact. `protocol` describes the lines that it reads and writes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from traceback import walk_tb

from avscan.clamav.clamscan import Clamscan
from avscan.clamav.feed import FILE_SIZE
from avscan.errors import EngineError, WorkspaceError
from avscan.inspector import confine
from avscan.inspector.protocol import Done, Failed, Message, Ready, encode


def main(arguments: list[str]) -> None:
    """Inspect until the standard input ends."""
    parent, folder, program, signatures, canary = arguments
    own = Path(canary) if canary else None
    try:
        confine.confine(
            parent=int(parent),
            folder=Path(folder),
            readable=confine.readable_paths(program, Path(signatures), own),
            memory=confine.PYTHON_MEMORY,
        )
        _inspect(Path(folder), program, Path(signatures), own)
    except (EngineError, WorkspaceError) as error:
        _send(Failed(reason=str(error)))
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the pass must know of any error
        _send(Failed(reason=f"the inspector has a bug: {_place(error)}"))
        sys.exit(1)


def _inspect(folder: Path, program: str, signatures: Path, canary: Path | None) -> None:
    with Clamscan(
        program=program,
        workspace=folder,
        database=signatures,
        canary=canary,
        limit=confine.program_limits(confine.ENGINE_MEMORY, FILE_SIZE, threads=False),
    ) as engine:
        # Imported while clamscan loads its signatures: this takes 50 ms.
        from avscan.archives.bounds import Bounds  # noqa: PLC0415
        from avscan.archives.process import set_limit  # noqa: PLC0415
        from avscan.archives.unpack import examine  # noqa: PLC0415

        bounds = Bounds()
        # 7-Zip starts a thread for each method of a chain, despite its options.
        most = bounds.unpacked_bytes
        set_limit(confine.program_limits(confine.PROGRAM_MEMORY, most, threads=True))
        engine.prove()
        _send(Ready())
        for line in sys.stdin:
            path = folder / line.rstrip("\n")
            examine(path, engine=engine, workspace=folder, bounds=bounds, report=_send)
            _send(Done())


def _send(message: Message) -> None:
    """Write a message at once: findings count even if the inspector dies later."""
    sys.stdout.buffer.write(encode(message))
    sys.stdout.buffer.flush()


def _place(error: Exception) -> str:
    *_, (frame, _) = walk_tb(error.__traceback__)
    code = frame.f_code
    place = f"{Path(code.co_filename).name}, in {code.co_name}"
    return f"{type(error).__name__} at {place}: {error}"


if __name__ == "__main__":
    main(sys.argv[1:])
