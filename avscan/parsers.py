"""Parsers of settings.

Each takes the name of a variable, for its error, and its text, which is empty if the variable is not
set. Each raises SettingsError if the text is malformed.
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
    """Return the text unchanged."""
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.fragment
    return usable and not re.search(r"\s", text)


def backend_url(name: str, text: str) -> str:
    """Parse the URL of PocketBase."""
    if "@" in text:  # before other checks, so that no error repeats a password
        raise SettingsError(f"{name} must not hold a user name or password")
    if text and (not _is_url(text) or urlsplit(text).query):
        raise SettingsError(f"{name} must be like https://host/path, not {text!r}")
    return text.rstrip("/")


def token(name: str, text: str) -> str:
    """Parse a token for an HTTP header."""
    found = text.strip()
    # Characters that a header allows. A later error about another one would contain the token.
    if not re.fullmatch(r"[!-~]*", found):
        raise SettingsError(f"{name} is not a token: it has more than one word")
    return found


def webhook_url(name: str, text: str) -> str:
    """Parse the webhook's URL. It may be a secret, so the error does not contain it."""
    text = text.strip()
    if text and not (_is_url(text) and "@" not in urlsplit(text).netloc):
        raise SettingsError(f"{name} must be like https://host/path")
    return text


def key(name: str, text: str) -> bytes:
    """Parse a signing key: any text, or `whsec_` and base64 (standardwebhooks.com)."""
    text = text.strip()
    if not text.startswith("whsec_"):
        return text.encode(errors="surrogateescape")
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError as error:
        raise SettingsError(f"{name} is not base64 after its whsec_") from error


def existing_path(name: str, text: str) -> Path | None:
    """Parse the path of an existing file; None if the text is empty."""
    if not text:
        return None
    path = Path(text).absolute()
    try:
        path.stat()
    except OSError as error:
        raise SettingsError(f"{name}: {text} can't be used ({error.strerror})") from error
    return path


def path(_: str, text: str) -> Path:
    """Parse a path that need not exist."""
    return Path(text).absolute()


def output_path(name: str, text: str) -> Path | None:
    """Parse the path of an output file: a regular file, or one that does not exist yet."""
    if not text:
        return None
    path = Path(text).absolute()
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise SettingsError(f"{name}: {text} is not a regular file: choose another path")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SettingsError(
            f"{name}: the folder of {text} is missing, or uid {os.geteuid()} can't write there"
        )
    return path


def number(kind: Callable[[float], N], least: float, most: float) -> Callable[[str, str], N]:
    """Return a parser of numbers from `least` to `most`; `kind` is int or float."""

    def parse(name: str, text: str) -> N:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or kind(value) != value:
            what = "a whole number" if not kind(0.5) else "a number"
            raise SettingsError(f"{name} must be {what} from {least} to {most}, not {text!r}")
        return kind(value)

    return parse


def choice(choices: Sequence[S]) -> Callable[[str, str], S]:
    """Return a case-insensitive parser of one of `choices`."""

    def parse(name: str, text: str) -> S:
        for each in choices:
            if each == text.lower():
                return each
        raise SettingsError(f"{name} must be {' or '.join(choices)}, not {text!r}")

    return parse


def choices(allowed: Sequence[str]) -> Callable[[str, str], frozenset[str]]:
    """Return a case-insensitive parser of comma-separated words from `allowed`."""

    def parse(name: str, text: str) -> frozenset[str]:
        found = frozenset(each.strip() for each in text.lower().split(","))
        if not found <= set(allowed):
            raise SettingsError(f"{name} must be a list of {', '.join(allowed)}, not {text!r}")
        return found

    return parse


def urls(name: str, text: str) -> tuple[str, ...]:
    """Parse URLs separated by spaces."""
    found = tuple(text.split())
    if not all(map(_is_url, found)):  # the error is without the text, which may be a secret
        raise SettingsError(f"{name} must be like https://host/path")
    return found


def mirror_url(name: str, text: str) -> str:
    """Parse one URL, or `none`."""
    if text != "none" and len(urls(name, text)) > 1:
        raise SettingsError(f"{name} must be one URL")
    return text
