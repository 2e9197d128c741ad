"""Parse and validate PocketBase's answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TypeAlias

import requests

from avscan.errors import BackendError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
Row: TypeAlias = "dict[str, JSON]"


class Rejected(BackendError):
    """PocketBase understood a request and refused it; `codes` and `params` are by field."""

    def __init__(self, message: str, data: Mapping[str, JSON]) -> None:
        self.codes: dict[str, str] = {}
        self.params: dict[str, dict[str, JSON]] = {}
        for name, detail in data.items():
            if isinstance(detail, dict):
                self.codes[name] = str(detail.get("code", ""))
                params = detail.get("params")
                self.params[name] = params if isinstance(params, dict) else {}
        details = ", ".join(f"{name}: {code}" for name, code in self.codes.items())
        super().__init__(f"PocketBase refused: {message}" + (f" ({details})" if details else ""))


def body(response: requests.Response, expected: int = HTTPStatus.OK) -> Row:
    """Parse an answer that must be a JSON object.

    Raises:
        BackendError: the status is not `expected`, or the content is something else, such as a web
            page.

    """
    try:
        parsed = json.loads(response.content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BackendError(
            f"{_origin(response)} did not answer with JSON: is POCKETBASE_URL right?"
        ) from error
    if response.status_code != expected or not isinstance(parsed, dict):
        message = parsed.get("message", "") if isinstance(parsed, dict) else ""
        raise BackendError(f"{_origin(response)} answered {response.status_code}: {message}")
    return parsed


def _refuse_constant(name: str) -> JSON:
    """Refuse NaN and Infinity: Python accepts them, but JSON does not have them (RFC 8259, 6)."""
    raise ValueError(f"{name} is not JSON")


def _origin(response: requests.Response) -> str:
    return (response.url or "PocketBase").partition("/api/")[0]


def rejection(response: requests.Response) -> Rejected:
    """Parse an answer that refuses a request.

    Raises:
        BackendError: the answer is not JSON.

    """
    parsed = body(response, expected=response.status_code)
    data = parsed.get("data")
    return Rejected(str(parsed.get("message", "")), data if isinstance(data, dict) else {})


def excerpt(response: requests.Response) -> str:
    """Return the start of an answer, for an error message."""
    return " ".join(response.content[:200].decode(errors="replace").split())


def text(row: Row, key: str) -> str:
    """Return a text field of an answer.

    Raises:
        BackendError: the field is missing, empty or not a text.

    """
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise BackendError(f"PocketBase's answer has no {key!r}")
    return value


def require_storage(response: requests.Response, name: str) -> None:
    """Require the headers that identify a file of PocketBase's storage.

    Raises:
        BackendError: another server answered, such as a proxy with its own page.

    """
    policy = response.headers.get("Content-Security-Policy", "")
    served = _served_names(response.headers.get("Content-Disposition", ""))
    if "sandbox" not in policy or name.strip() not in served:
        response.close()
        kind = response.headers.get("Content-Type", "no type")
        raise BackendError(
            f"{name} was answered with {response.status_code} ({kind}), and not by PocketBase's"
            " storage: let requests for /api/files/ pass to PocketBase with its headers unchanged"
        )


def _served_names(disposition: str) -> tuple[str, str]:
    """Return both possible file names in PocketBase's `Content-Disposition`.

    PocketBase 0.31 sends the name unquoted, 0.40 as a quoted string. Its bytes are UTF-8.
    """
    value = disposition.encode("latin-1", "replace").decode(errors="replace")
    name = value.partition("filename=")[2].strip()
    return name, re.sub(r"\\(.)", r"\1", name[1:-1])
