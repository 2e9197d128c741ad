"""The confinement of an inspector, before it reads the first byte of an artifact.

Landlock denies files, TCP, signals and abstract Unix sockets to a process and its children, for good
and for any user (https://docs.kernel.org/userspace-api/landlock.html). libc has no functions for it,
so its three system calls are made by number. A pass runs also on a kernel that lacks some of it;
`missing_features` names what is missing.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

PYTHON_MEMORY = 1 << 30
"""Bytes of private memory of the inspector itself: a decoder of `xz -9` takes 65 MiB, the walk over
an ordinary artifact 40."""

ENGINE_MEMORY = 6 << 30
"""Bytes of private memory of clamscan: the official signatures take 1.2 GB, and libclamav maps each
file and each member that it unpacks privately, up to 2 GiB each, of which it keeps 0.4 in memory
(measured). A file that needs more is reported as an error."""

PROGRAM_MEMORY = 3 << 30
"""Bytes of private memory of a program that opens an archive: 7-Zip allocates the window that the
archive demands, up to 2 GiB for zstd."""

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_VERSION, _PATH_BENEATH = 1, 1  # a flag of the first, a type of the second

# Rights on files by the version of Landlock's ABI that introduced them (linux/landlock.h).
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK, _TRUNCATE, _IOCTL_DEV = 1 << 6, 1 << 11, 1 << 14, 1 << 15
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: _TRUNCATE, 5: _IOCTL_DEV}
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_DENIED_IN_FOLDER = _EXECUTE | _MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV
_FILES, _TCP, _SCOPES = 1, 4, 6  # the versions that introduced these
_BIND_AND_CONNECT = _ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

_FEATURES = {
    _FILES: "files (Landlock, kernel 5.13)",
    _TCP: "TCP (kernel 6.7)",
    _SCOPES: "signals and abstract sockets (kernel 6.12)",
}
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/etc/ld.so.cache", "/etc/clamav/certs", "/dev/urandom"),
)
_NULL = Path("/dev/null")

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def refuse_inspection() -> None:
    """Deny other processes of the same user access to this one's memory and environment.

    Call it before secrets are read. It does not restrict root. Raise OSError.
    """
    prctl(_PR_SET_DUMPABLE, 0)


def missing_features(version: int | None = None) -> tuple[str, ...]:
    """Return what a kernel cannot deny an inspector, as texts for people.

    `version` is that of its Landlock; without it, this kernel is asked.
    """
    version = landlock_version() if version is None else version
    return tuple(text for needed, text in _FEATURES.items() if version < needed)


def readable_paths(program: str, signatures: Path, canary: Path | None) -> list[Path]:
    """Return the paths that an inspector reads: the system, Python, clamscan, signatures, canary.

    The package is one of them, for an installation from a checkout; the checkout is not.
    """
    package = Path(__file__).parent.parent
    ours = [package, Path(program).parent, signatures, *([canary] if canary else [])]
    return [*map(Path, (*_SYSTEM, sys.prefix, sys.base_prefix)), *ours]


def confine(*, parent: int, folder: Path, readable: Sequence[Path], memory: int) -> None:
    """Confine this process for good: it may only read `readable`, and only write in `folder`.

    `memory` is in bytes. The process ends with `parent`, which must be its parent. Raise OSError.
    """
    die_with(parent)
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_DATA, memory, hard=ENGINE_MEMORY)
    with suppress(OSError):  # the out-of-memory killer shall choose this process first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if version := landlock_version():
        _restrict(version, folder, readable)


def program_limits(memory: int, file_size: int, *, threads: bool) -> Callable[[], None]:
    """Return a function that limits a child before it executes a program (`preexec_fn`).

    `memory` and `file_size` are in bytes. Without `threads` the program may start no thread and no
    process, unless it runs as root: the kernel does not distinguish the two.
    """
    parent = os.getpid()

    def limit() -> None:
        die_with(parent)
        _limit(resource.RLIMIT_DATA, memory)
        _limit(resource.RLIMIT_FSIZE, file_size)
        # The limit counts all of the user's processes and threads, but is checked only when one is
        # started: 0 allows none, whatever else the user runs.
        if not threads:
            _limit(resource.RLIMIT_NPROC, 0)
        # Python ignores these two signals, and execve keeps that. A file that grows too large must
        # kill clamscan, which might ignore a failed write.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    return limit


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends. Raise OSError."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


def _restrict(version: int, folder: Path, readable: Sequence[Path]) -> None:
    files = sum(rights for needed, rights in _FILE_RIGHTS.items() if version >= needed)
    ruleset = _Ruleset(
        files=files,
        tcp=_BIND_AND_CONNECT if version >= _TCP else 0,
        scopes=_ABSTRACT_SOCKETS_AND_SIGNALS if version >= _SCOPES else 0,
    )
    descriptor = _syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    try:
        for path in readable:
            _allow(descriptor, path, _READ)
        _allow(descriptor, _NULL, _READ_FILE | _WRITE_FILE)
        _allow(descriptor, folder, files & ~_DENIED_IN_FOLDER)
        _syscall(_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    """Allow rights on a path and all that is below it, if it exists."""
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _OF_A_FILE
        rule = _Rule(rights=rights, descriptor=opened)
        _syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(opened)


def landlock_version() -> int:
    """Return the version of the kernel's Landlock; 0 if there is none."""
    try:
        return _syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def _syscall(number: int, *arguments: object) -> int:
    """Make a system call. Raise OSError."""
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _limit(kind: int, most: int, *, hard: int | None = None) -> None:
    """Lower a limit, unless it is lower already."""
    _, highest = resource.getrlimit(kind)
    if highest != resource.RLIM_INFINITY:
        most, hard = min(most, highest), min(hard or most, highest)
    resource.setrlimit(kind, (most, hard or most))


def prctl(option: int, value: int) -> None:
    """Set an option of this process by prctl (its manual: section 2). Raise OSError."""
    zero = ctypes.c_ulong(0)  # unused arguments must be 0
    if _libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
