"""What can end a pass: one base, one kind for each exit code.

An error here is about the installation (settings, PocketBase, clamscan, disk), never about one
build: what is wrong with a build is a verdict, which is a value.
"""

from __future__ import annotations

from typing import ClassVar


class AvscanError(Exception):
    """The base of every error of ours; its text is one line that says what to do."""

    exit_code: ClassVar[int] = 1


class SettingsError(AvscanError):
    """A setting is missing or malformed, or the command was called wrongly."""

    exit_code = 2


class BackendError(AvscanError):
    """PocketBase can't be reached, keeps failing, or answers what makes no sense."""

    exit_code = 3


class SignInError(AvscanError):
    """PocketBase refuses the sign-in, or the token is not a superuser's."""

    exit_code = 4


class SchemaError(AvscanError):
    """A collection is missing, or has not the fields that are needed."""

    exit_code = 5


class EngineError(AvscanError):
    """Clamscan or its signatures don't work."""

    exit_code = 6


class WorkspaceError(AvscanError):
    """The work folder can't be used, or the disk is full."""

    exit_code = 7


class Interrupted(BaseException):
    """A signal asks the process to end; no handler of errors on the way is to stop it."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"signal {signal}")
        self.exit_code = 128 + signal
