"""A launcher that gives up what clamscan does not need, and then becomes clamscan.

clamscan parses hostile files with a million lines of C. It is started through this script, so that
whatever takes it over can gain no privileges, start no processes, fill no disk, leave no core file
with what it read, and does not outlive the pass. A script of its own rather than `preexec_fn`,
which is not safe in a process that has threads. It runs as

    python -I -S confine.py PARENT FILE_SIZE PROGRAM [ARGUMENT...]

and therefore can import nothing but the standard library. `PARENT` is the process id that it must
be the child of, `FILE_SIZE` the most bytes that a file written by it may have.

The kernel kills the child when the *thread* that started it ends (prctl(2), PR_SET_PDEATHSIG):
start it from a thread that lives as long as the child is needed.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38

EXIT_ORPHAN = 125
EXIT_CANNOT = 126


def refuse_inspection() -> None:
    """Keep other processes of the same user from reading this one's memory and environment.

    To be called before secrets are read: clamscan runs as the same user, and could otherwise read
    `/proc/PARENT/environ`. Does not hold back root. Raises OSError.
    """
    _prctl(PR_SET_DUMPABLE, 0)


def confine(parent: int, file_size: int) -> None:
    """Give up what clamscan does not need; end at once if `parent` has gone already.

    `file_size` is in bytes. Raises OSError.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could have been noticed
        raise SystemExit(EXIT_ORPHAN)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, file_size)
    # The limit counts all of the user's processes and threads, but is looked at only when one more
    # is started, which clamscan never does: 0 means none, whatever else the user runs.
    _limit(resource.RLIMIT_NPROC, 0)
    os.umask(0o077)
    # Python ignores these two, and what is ignored stays so across execve. A file that grows too
    # large shall kill clamscan: a failed write, it might pass over.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def main(arguments: list[str]) -> None:
    """Confine this process and become the program; says why on stderr if that can't be done."""
    parent, file_size, program, *rest = arguments
    try:
        confine(int(parent), int(file_size))
        os.execv(program, [program, *rest])  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.stderr.write(f"ERROR: {program} can't be started: {error.strerror}\n")
        raise SystemExit(EXIT_CANNOT) from error


def _limit(kind: int, most: int) -> None:
    """Lower a limit for good, or leave it where it is lower already."""
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(kind, (most, most))


def _prctl(option: int, value: int) -> None:
    """Call prctl(2), whose unused arguments must be zero; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
