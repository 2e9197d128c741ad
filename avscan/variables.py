"""Environment variables: the declaration of a setting, and the lookup of its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from avscan.errors import SettingsError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """The environment variable of a setting; `parse` takes its name and its text.

    A secret has no option, since command lines are visible to other users. It can be read from a
    file, named by the variable `NAME_FILE`.
    """

    name: str
    help: str
    commands: frozenset[str]
    default: str = ""
    secret: bool = False
    parse: Callable[[str, str], object] = field(repr=False)

    @property
    def option(self) -> str:
        """The command-line option."""
        return "--" + self.name.lower().replace("_", "-")

    @property
    def file(self) -> Variable:
        """The variable for the path of a file that holds this variable's text."""
        text = f"A file that holds {self.name}."
        return replace(self, name=self.name + "_FILE", help=text, secret=False)


def setting(
    name: str,
    parse: Callable[[str, str], T],
    text: str,
    commands: frozenset[str],
    *,
    default: str = "",
    secret: bool = False,
) -> T:
    """Declare a field for a setting; `text` is its help. The field has the parser's type."""
    variable = Variable(
        name=name, help=text, commands=commands, default=default, secret=secret, parse=parse
    )
    declared: T = field(repr=not secret, metadata={"variable": variable})
    return declared


def look_up(variable: Variable, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and text of the source of a setting. A secret's text is not stripped."""
    text = environment.get(variable.name, "")
    if variable.secret:
        return variable.name, text or _read_secret(variable.file.name, environment)
    text = text.strip()
    if variable.name == "SHARD" and not text and environment.get("AVSCAN_SHARDS", "").strip():
        names = ("JOB_COMPLETION_INDEX", "AVSCAN_SHARDS")
        return "/".join(names), "/".join(environment.get(name, "").strip() for name in names)
    return variable.name, text or variable.default


def _read_secret(name: str, environment: Mapping[str, str]) -> str:
    """Read the file named by the variable `name`; '' if the variable is not set."""
    path = environment.get(name, "").strip()
    if not path:
        return ""
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise SettingsError(f"{name}: {path} can't be read ({reason})") from error
    if not text:
        raise SettingsError(f"{name}: {path} is empty")
    return text
