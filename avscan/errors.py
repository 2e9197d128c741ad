"""Exceptions: one base class, and one class for each exit code.

They are about the installation (settings, PocketBase, clamscan, disk). A problem of a build is a
verdict, which is a value.
"""

from __future__ import annotations

from typing import ClassVar


class AvscanError(Exception):
    """The base class of avscan's errors. Its text is one line, with a remedy."""

    exit_code: ClassVar[int] = 1


class SettingsError(AvscanError):
    """A setting is missing or malformed, or the usage is wrong."""

    exit_code = 2


class BackendError(AvscanError):
    """PocketBase can't be reached, keeps failing, or sends an invalid response."""

    exit_code = 3


class SignInError(AvscanError):
    """PocketBase rejects the credentials, or they are not a superuser's."""

    exit_code = 4


class SchemaError(AvscanError):
    """A collection or a required field is missing."""

    exit_code = 5


class EngineError(AvscanError):
    """Clamscan or its signatures don't work."""

    exit_code = 6


class WorkspaceError(AvscanError):
    """The work folder can't be used, or the disk is full."""

    exit_code = 7


class Interrupted(BaseException):
    """A signal asks the process to end. A BaseException, so that `except Exception` does not catch it."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"signal {signal}")
        self.exit_code = 128 + signal
