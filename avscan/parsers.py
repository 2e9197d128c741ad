"""Parsers of settings: of a variable's name, for the error, and its text, empty if it is not set.

Each raises SettingsError where the text is malformed.
"""

from __future__ import annotations

import base64
import math
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from avscan.errors import SettingsError

N = TypeVar("N", bound=float)
S = TypeVar("S", bound=str)


def any_text(_: str, text: str) -> str:
    """Return the text as it is."""
    return text


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.fragment
    return usable and not re.search(r"\s", text)


def backend(name: str, text: str) -> str:
    """Parse PocketBase's address."""
    if not text:
        raise SettingsError(f"{name} is not set")
    if "@" in text:  # however it is malformed: what may be a password is not repeated
        raise SettingsError(f"{name} must not hold a user name or password")
    if not _is_address(text) or urlsplit(text).query:
        raise SettingsError(f"{name} must be like https://host/path, not {text!r}")
    return text.rstrip("/")


def token(name: str, text: str) -> str:
    """Parse a token, which stands in a header."""
    found = text.strip()
    # What can stand in a header; an error about anything else would repeat it.
    if not re.fullmatch(r"[!-~]*", found):
        raise SettingsError(f"{name} is not a token: it has more than one word")
    return found


def webhook(name: str, text: str) -> str:
    """Parse an address that is a secret itself: anyone who knows it may post to it."""
    text = text.strip()
    plain = text.isascii() and text.isprintable()
    if text and not (plain and _is_address(text) and "@" not in urlsplit(text).netloc):
        raise SettingsError(f"{name} must be like https://host/path")
    return text


def key(name: str, text: str) -> bytes:
    """Parse a key: any text, or `whsec_` and the key in base64 (standardwebhooks.com)."""
    text = text.strip()
    if not text.startswith("whsec_"):
        return text.encode(errors="surrogateescape")
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError as error:
        raise SettingsError(f"{name} is not base64 behind its whsec_") from error


def existing(name: str, text: str) -> Path | None:
    """Parse the path of what must exist, if there is one."""
    if not text:
        return None
    path = Path(text).absolute()
    try:
        path.stat()
    except OSError as error:
        raise SettingsError(f"{name}: {text} can't be used ({error.strerror})") from error
    return path


def path(_: str, text: str) -> Path:
    """Parse a path, of what need not exist."""
    return Path(text).absolute()


def writable(name: str, text: str) -> Path | None:
    """Parse the path of a file that will be replaced: a regular file, or none yet."""
    if not text:
        return None
    path = Path(text).absolute()
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise SettingsError(f"{name}: {text} is not a regular file: choose another path")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SettingsError(f"{name}: {text} can't be written")
    return path


def number(kind: Callable[[float], N], least: float, most: float) -> Callable[[str, str], N]:
    """Return a parser of numbers within these bounds; `kind` is int or float."""

    def parse(name: str, text: str) -> N:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or kind(value) != value:
            words = "a whole number" if not kind(0.5) else "a number"
            raise SettingsError(f"{name} must be {words} from {least} to {most}, not {text!r}")
        return kind(value)

    return parse


def choice(choices: Sequence[S]) -> Callable[[str, str], S]:
    """Return a parser of one of these words; case doesn't matter."""

    def parse(name: str, text: str) -> S:
        for each in choices:
            if each == text.lower():
                return each
        raise SettingsError(f"{name} must be {' or '.join(choices)}, not {text!r}")

    return parse


def some_of(choices: Sequence[str]) -> Callable[[str, str], frozenset[str]]:
    """Return a parser of words with commas between them; case doesn't matter."""

    def parse(name: str, text: str) -> frozenset[str]:
        found = frozenset(each.strip() for each in text.lower().split(","))
        if not found <= set(choices):
            raise SettingsError(f"{name} must be of {', '.join(choices)}, not {text!r}")
        return found

    return parse


def addresses(name: str, text: str) -> tuple[str, ...]:
    """Parse addresses with spaces between them."""
    found = tuple(text.split())
    if not all(re.match(r"https?://[^/]", address) for address in found):
        raise SettingsError(f"{name} must be like https://host/path")  # it may be a secret
    return found


def mirror(name: str, text: str) -> str:
    """Parse one address, or `none`."""
    if text != "none" and len(addresses(name, text)) > 1:
        raise SettingsError(f"{name} must be one address")
    return text
