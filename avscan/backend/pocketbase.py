"""A client for PocketBase's record API, made for a superuser.

An expired token turns its holder into a guest, to whom lists are empty and records do not exist.
So every list carries a guard that makes PocketBase refuse a guest, and every 404 is proved by such
a list. Values are plain JSON.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, TypeVar
from urllib.parse import quote

import requests

from avscan.backend.deadline import time_left
from avscan.backend.transport import Patience, Transient, Transport
from avscan.errors import AvscanError, BackendError, SchemaError, SignInError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
Row: TypeAlias = "dict[str, JSON]"
T = TypeVar("T")

SUPERUSERS = "_superusers"
PAGE = 1000  # PocketBase's most; it cuts longer pages silently
GUARD = f'@request.auth.collectionName = "{SUPERUSERS}"'
# A query that ran for 30 s is answered like a malformed one: only the time tells them apart.
QUERY_TIMEOUT = 25.0
TOKEN_MARGIN = timedelta(minutes=5)
_SIGN_IN_ADVICE = (
    "email or password: check POCKETBASE_SUPERUSER_EMAIL and POCKETBASE_SUPERUSER_PASSWORD"
)
# The answer is 403 for a valid token, as it is for one that has expired.
_ADDRESS_ADVICE = (
    "its setting 'Superuser IPs' (0.38 and later) is a list without this machine's address:"
    " add the address, as PocketBase sees it"
)
OK, PARTIAL, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, BAD = 200, 206, 401, 403, 404, 400
NO_CONTENT, UNSATISFIABLE = 204, 416
# What PocketBase allows in an id, as far as it is safe in paths and filters.
_ID = re.compile(r"[a-zA-Z0-9_~+=@-]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Password:
    """Credentials that can sign in again."""

    identity: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token made elsewhere; when it ends, so does the access."""

    token: str = field(repr=False)


Credentials: TypeAlias = Password | Token


class Rejected(BackendError):
    """PocketBase understood a request and refused it; `codes` has a code for each field."""

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


class PocketBase:
    """One superuser's session with one PocketBase. Safe to share between threads."""

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self._transport = transport
        self._credentials = credentials
        self._token: str | None = None
        self._expires: datetime | None = None
        self._file_token: str | None = None
        self._lock = threading.RLock()

    # -- session ------------------------------------------------------------------------------

    def sign_in(self) -> None:
        """Get a token with the password, or prove the one that was given.

        Raises:
            SignInError: the email, the password or the token is refused.
            BackendError: there is no answer, or it is not PocketBase's.

        """
        match self._credentials:
            case Token(token=token):
                self._adopt(token)
                self.page(SUPERUSERS, fields=("id",), limit=1)
            case Password() as credentials:
                self._transport.insist(lambda patience: self._authenticate(credentials, patience))

    def server_time(self) -> datetime:
        """Return the time by the server's clock (see `Transport.server_time`)."""
        return self._transport.server_time()

    @property
    def failing(self) -> bool:
        """Whether PocketBase keeps failing, so that asking on is no use."""
        return self._transport.circuit_open

    @property
    def requests_made(self) -> int:
        """How many requests were sent so far."""
        return self._transport.requests_made

    def insist(self, attempt: Callable[[Patience], T]) -> T:
        """Repeat what may succeed later (see `Transport.insist`)."""
        return self._transport.insist(attempt)

    def _authenticate(self, credentials: Password, patience: Patience) -> None:
        response = self._transport.send(
            "POST",
            f"/api/collections/{SUPERUSERS}/auth-with-password",
            json={"identity": credentials.identity, "password": credentials.password},
            timeout=patience.timeout,
        )
        match response.status_code:
            case 200:
                self._adopt(_text(_body(response), "token"))
            case 401:
                raise SignInError(
                    "the superuser has a second factor, which nobody can type here:"
                    " give POCKETBASE_TOKEN a long-lived token instead"
                )
            case 400:
                raise SignInError(f"PocketBase refuses the superuser's {_SIGN_IN_ADVICE}")
            case 403:
                raise SignInError(
                    f"PocketBase refuses the superuser's {_SIGN_IN_ADVICE}; or {_ADDRESS_ADVICE}"
                )
            case status:
                raise BackendError(
                    f"{self._transport.base_url} answered {status} to a superuser's sign-in:"
                    " is POCKETBASE_URL a PocketBase of version 0.23 or newer?"
                )

    def _adopt(self, token: str) -> None:
        self._token, self._expires, self._file_token = token, _expiry(token), None

    def _renew(self, used: str | None, patience: Patience) -> None:
        """Get another token than `used`, unless another thread already did.

        A part of the attempt that needs it: its tries and its time are that attempt's.
        """
        if not self._lock.acquire(timeout=max(0.0, min(patience.timeout, time_left()))):
            raise Transient("another thread's sign-in takes long")
        try:
            if self._token != used:
                return
            match self._credentials:
                case Password() as credentials:
                    self._authenticate(credentials, patience)
                case Token(token=token) if used is None:
                    self._adopt(token)
                    self._list(SUPERUSERS, {"perPage": "1", "filter": GUARD}, patience)
                case Token():
                    raise SignInError(
                        "PocketBase does not take POCKETBASE_TOKEN as a superuser's:"
                        " it has expired or belongs to somebody else: make a new one;"
                        f" or {_ADDRESS_ADVICE}"
                    )
        finally:
            self._lock.release()

    def _current_token(self, patience: Patience) -> str | None:
        ends = self._expires if isinstance(self._credentials, Password) else None
        if self._token is None or (ends is not None and self._transport.server_time() > ends):
            self._renew(self._token, patience)
        return self._token

    def _send(
        self,
        method: str,
        path: str,
        patience: Patience,
        *,
        params: dict[str, str] | None = None,
        payload: object = None,
    ) -> requests.Response:
        """Make one request as superuser; what is refused is tried once more, in a session that works.

        Raises:
            Rejected: a superuser is refused this, as by a hook.
            SignInError: we are not a superuser.

        """
        is_superuser = False
        for last in (False, True):
            token = self._current_token(patience)
            response = self._transport.send(
                method, path, token=token, params=params, json=payload, timeout=patience.timeout
            )
            if response.status_code not in {UNAUTHORIZED, FORBIDDEN}:
                return response
            is_superuser = is_superuser or self._is_superuser(token, patience)
            if last and is_superuser:
                raise Rejected(
                    f"a hook or a proxy answers {method} {path} with {response.status_code},"
                    f" though we are a superuser: {_excerpt(response)}",
                    {},
                )
            if not last and not is_superuser:
                self._renew(token, patience)
        raise SignInError(
            f"PocketBase refuses {method} {path} to this account: it is not a superuser"
        )

    def _is_superuser(self, token: str | None, patience: Patience) -> bool:
        response = self._transport.send(
            "GET",
            f"/api/collections/{SUPERUSERS}/records",
            token=token,
            params={"perPage": "1", "filter": GUARD},
            timeout=patience.timeout,
        )
        if response.status_code in {UNAUTHORIZED, FORBIDDEN}:
            return False
        _body(response)
        return True

    # -- records ------------------------------------------------------------------------------

    def page(
        self,
        collection: str,
        *,
        where: str = "",
        sort: str = "",
        fields: Sequence[str] = (),
        expand: str = "",
        limit: int = PAGE,
        patience: Patience | None = None,
    ) -> list[Row]:
        """List at most `limit` records (1,000 is PocketBase's most).

        Raises:
            SchemaError: there is no such collection.
            Rejected: PocketBase does not understand `where`, mostly for an unknown field.

        """
        params = {
            "perPage": str(limit),
            "skipTotal": "1",
            "filter": f"({where}) && {GUARD}" if where else GUARD,
        }
        if sort:
            params["sort"] = sort
        if fields:
            params["fields"] = ",".join(fields)
        if expand:
            params["expand"] = expand
        return self._transport.insist(
            lambda patience: self._list(collection, params, patience), patience
        )

    def rows(
        self,
        collection: str,
        *,
        where: str = "",
        fields: Sequence[str] = (),
        expand: str = "",
    ) -> Iterator[Row]:
        """List all records by key: paging by number skips some while others are created."""
        last = ""
        while True:
            after = f'id > "{last}"'
            page = self.page(
                collection,
                where=f"({where}) && {after}" if where else after,
                sort="id",
                fields=fields,
                expand=expand,
            )
            yield from page
            if len(page) < PAGE:
                return
            last = check_id(_text(page[-1], "id"))

    def few(
        self,
        collection: str,
        *,
        where: str,
        fields: Sequence[str] = (),
        expand: str = "",
    ) -> Iterator[Row]:
        """List all records for which `where` holds, which mostly are less than a page.

        Paging needs an order, and to have one PocketBase's SQLite walks the index of ids, row by
        row: without an index for `where`, and among a million, that takes ten times as long as to
        read the table as it lies.
        """
        page = self.page(collection, where=where, fields=fields, expand=expand)
        if len(page) < PAGE:
            yield from page
        else:
            yield from self.rows(collection, where=where, fields=fields, expand=expand)

    def count(self, collection: str, *, where: str = "") -> int:
        """Count the records for which `where` holds."""
        params = {
            "perPage": "1",
            "fields": "id",
            "filter": f"({where}) && {GUARD}" if where else GUARD,
        }

        def attempt(patience: Patience) -> int:
            total = self._ask(collection, params, patience).get("totalItems")
            if not isinstance(total, int):
                raise BackendError(f"{self._transport.base_url} sent a list without a total")
            return total

        return self._transport.insist(attempt)

    def create(self, collection: str, values: Row) -> Row:
        """Create a record.

        Raises:
            Rejected: a field is refused (`codes` says which and why).

        """
        path = f"/api/collections/{collection}/records"
        return self._transport.insist(lambda patience: self._write("POST", path, values, patience))

    def update(
        self,
        collection: str,
        record: str,
        values: Row,
        *,
        confirm: Callable[[Patience], bool] | None = None,
        patience: Patience | None = None,
    ) -> Row | None:
        """Change fields of a record; None if it is proved to be gone.

        PocketBase has no conditional update. Where the record may become somebody else's while
        tries fail, `confirm` is asked before each try but the first; False ends them with None.

        Raises:
            Rejected: a field is refused (`codes` says which and why).

        """
        path = f"/api/collections/{collection}/records/{check_id(record)}"
        tried = False

        def attempt(patience: Patience) -> Row | None:
            nonlocal tried
            if tried and confirm is not None and not confirm(patience):
                return None
            tried = True
            try:
                return self._write("PATCH", path, values, patience)
            except _NotFoundError:
                self._prove_gone(collection, record, patience)
                return None

        return self._transport.insist(attempt, patience)

    def delete(self, collection: str, record: str) -> None:
        """Delete a record; one that is gone already is fine."""
        path = f"/api/collections/{collection}/records/{check_id(record)}"

        def attempt(patience: Patience) -> None:
            response = self._send("DELETE", path, patience)
            if response.status_code == NOT_FOUND:
                self._prove_gone(collection, record, patience)
            elif response.status_code != NO_CONTENT:
                raise _rejection(response)

        self._transport.insist(attempt)

    def _list(self, collection: str, params: dict[str, str], patience: Patience) -> list[Row]:
        items = self._ask(collection, params, patience).get("items")
        if not isinstance(items, list):
            raise BackendError(f"{self._transport.base_url} sent a list without items")
        return [item for item in items if isinstance(item, dict)]

    def _ask(self, collection: str, params: dict[str, str], patience: Patience) -> Row:
        response = self._send(
            "GET", f"/api/collections/{collection}/records", patience, params=params
        )
        if response.status_code == NOT_FOUND:
            _body(response, expected=NOT_FOUND)
            raise SchemaError(f"PocketBase has no collection {collection}, or can't open it")
        if response.status_code == BAD:
            if response.elapsed.total_seconds() > QUERY_TIMEOUT:
                raise Transient(f"a query of {collection} ran out of time")
            raise _rejection(response)
        return _body(response)

    def _write(self, method: str, path: str, values: Row, patience: Patience) -> Row:
        response = self._send(method, path, patience, payload=values)
        if response.status_code == NOT_FOUND:
            raise _NotFoundError(path)
        if response.status_code == BAD:
            rejection = _rejection(response)
            if not rejection.codes:
                # A guest's create, or a database that was locked for minutes: prove who we are
                # (which renews a lost session), then try again.
                self._list(SUPERUSERS, {"perPage": "1", "filter": GUARD}, patience)
                raise Transient(str(rejection))
            raise rejection
        row = _body(response)
        _text(row, "id")
        # PocketBase stamped it before it answered, so that its clock is not behind this.
        with suppress(ValueError):
            self._transport.observe(
                datetime.fromisoformat(str(row.get("updated", ""))).astimezone(UTC)
            )
        return row

    def _prove_gone(self, collection: str, record: str, patience: Patience) -> None:
        """Tell a deleted record from a lost session or a broken table, which also answer 404."""
        params = {"perPage": "1", "filter": f'(id = "{check_id(record)}") && {GUARD}'}
        if self._list(collection, params, patience):
            raise Transient(f"{collection}/{record} is there, yet PocketBase does not find it")

    # -- collections --------------------------------------------------------------------------

    def collection(self, name: str) -> Row | None:
        """Read a collection's definition; None if there is none."""

        def attempt(patience: Patience) -> Row | None:
            response = self._send("GET", f"/api/collections/{name}", patience)
            if response.status_code == NOT_FOUND:
                _body(response, expected=NOT_FOUND)
                return None
            return _body(response)

        return self._transport.insist(attempt)

    def create_collection(self, definition: Row) -> Row:
        """Create a collection.

        Raises:
            Rejected: PocketBase refuses the definition.

        """
        return self._define("POST", "/api/collections", definition)

    def update_collection(self, name: str, changes: Row) -> Row:
        """Change a collection's definition.

        Raises:
            Rejected: PocketBase refuses the changes; nothing was changed.

        """
        return self._define("PATCH", f"/api/collections/{name}", changes)

    def _define(self, method: str, path: str, definition: Row) -> Row:
        def attempt(patience: Patience) -> Row:
            response = self._send(method, path, patience, payload=definition)
            if response.status_code == BAD:
                raise _rejection(response)
            return _body(response)

        return self._transport.insist(attempt)

    # -- files --------------------------------------------------------------------------------

    def open_file(
        self, collection: str, record: str, name: str, *, start: int = 0, validator: str = ""
    ) -> requests.Response | None:
        """Open a file's bytes from `start` on, as a stream that the caller closes; None if missing.

        With a `validator` (the `Last-Modified` of an earlier answer) the server sends all of the
        file (200) if it is no longer the same, and the rest of it (206) if it is. 416 says that
        `start` is past the end. No credentials are sent, but for a file token where the field is
        protected; what is protected looks missing without one.

        Raises:
            BackendError: the answer is not from PocketBase's storage.
            Transient: no answer, or a failing server's; the caller decides about another try.

        """
        path = f"/api/files/{collection}/{check_id(record)}/{quote(name)}"
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": validator}
        tried = self._file_token
        response = self._open(path, headers, tried)
        if response.status_code == NOT_FOUND:
            response.close()
            self._file_token = self._new_file_token()
            response = self._open(path, headers, self._file_token)
            if response.status_code == NOT_FOUND:
                response.close()
                # What is public needs no token: the next file is asked for as this one was.
                self._file_token = tried
                return None
        if response.status_code in {OK, PARTIAL}:
            _require_storage(response, name)
        elif response.status_code != UNSATISFIABLE:
            response.close()
            raise Transient(f"answered {response.status_code} for a file")
        return response

    def _open(self, path: str, headers: dict[str, str], token: str | None) -> requests.Response:
        params = {"token": token} if token else None
        return self._transport.send("GET", path, headers=headers, params=params, stream=True)

    def _new_file_token(self) -> str:
        def attempt(patience: Patience) -> str:
            return _text(_body(self._send("POST", "/api/files/token", patience)), "token")

        return self._transport.insist(attempt)


class _NotFoundError(AvscanError):
    """A 404, which may mean anything until it is proved."""


def check_id(value: str) -> str:
    """Return `value` if it can stand in a path or a filter.

    Raises:
        BackendError: it is no record id.

    """
    if not _ID.match(value):
        raise BackendError(f"{value!r} is not a record id")
    return value


def any_of(name: str, values: Sequence[str]) -> str:
    """Build the filter 'the field `name` has one of these ids'."""
    return " || ".join(f'{name} = "{check_id(value)}"' for value in values)


def _body(response: requests.Response, expected: int = OK) -> Row:
    """Parse an answer that must be a JSON object: a web page also answers 200."""
    try:
        body = json.loads(response.content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BackendError(
            f"{_origin(response)} answered with something else than JSON: is POCKETBASE_URL right?"
        ) from error
    if response.status_code != expected or not isinstance(body, dict):
        message = body.get("message", "") if isinstance(body, dict) else ""
        raise BackendError(f"{_origin(response)} answered {response.status_code}: {message}")
    return body


def _refuse_constant(name: str) -> JSON:
    """Refuse NaN and Infinity, which Python reads and JSON has not (RFC 8259, 6)."""
    raise ValueError(f"{name} is not JSON")


def _require_storage(response: requests.Response, name: str) -> None:
    """Require the headers that PocketBase sends with every file, and no other server with it.

    Raises:
        BackendError: another server answered in its place, such as a proxy with a page of its own.

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
    """Return both readings of the file name in a `Content-Disposition` of PocketBase's.

    In 0.31 the name stands there as it is, in 0.40 as a quoted string; its bytes are UTF-8.
    """
    value = disposition.encode("latin-1", "replace").decode(errors="replace")
    name = value.partition("filename=")[2].strip()
    return name, re.sub(r"\\(.)", r"\1", name[1:-1])


def _origin(response: requests.Response) -> str:
    return (response.url or "PocketBase").partition("/api/")[0]


def _rejection(response: requests.Response) -> Rejected:
    body = _body(response, expected=response.status_code)
    data = body.get("data")
    return Rejected(str(body.get("message", "")), data if isinstance(data, dict) else {})


def _excerpt(response: requests.Response) -> str:
    return " ".join(response.content[:200].decode(errors="replace").split())


def _text(row: Row, key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise BackendError(f"PocketBase's answer has no {key!r}")
    return value


def _expiry(token: str) -> datetime | None:
    """Return when a JSON web token is to be renewed (RFC 7519, `exp`); None if it does not say."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC) - TOKEN_MARGIN
    except (IndexError, ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        return None
