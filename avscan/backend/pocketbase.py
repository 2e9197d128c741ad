"""A client for PocketBase's record API, made for a superuser.

An expired token turns its holder into a guest, to whom lists are empty and records do not exist.
So every list carries a guard that makes PocketBase refuse a guest, and every 404 is proved by such
a list. Values are plain JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote

import requests

from avscan.backend.answers import (
    BAD,
    NO_CONTENT,
    NOT_FOUND,
    OK,
    PARTIAL,
    UNSATISFIABLE,
    Row,
    body,
    rejection,
    require_storage,
    text,
)
from avscan.backend.session import GUARD, Credentials, Session
from avscan.backend.transport import RetryPolicy, Transient, Transport
from avscan.errors import AvscanError, BackendError, SchemaError

T = TypeVar("T")

PAGE = 1000  # PocketBase's most; it cuts longer pages silently
# A query that ran for 30 s is answered like a malformed one: only the time tells them apart.
QUERY_TIMEOUT = 25.0
# What PocketBase allows in an id, as far as it is safe in paths and filters.
_ID = re.compile(r"[a-zA-Z0-9_~+=@-]+\Z")


class PocketBase:
    """One superuser's session with one PocketBase. Safe to share between threads."""

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self._transport = transport
        self.session = Session(transport, credentials)
        self._file_token: str | None = None

    def sign_in(self) -> None:
        """Begin the session (see `Session.sign_in`)."""
        self.session.sign_in()

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

    def retry(self, attempt: Callable[[RetryPolicy], T]) -> T:
        """Repeat what may succeed later (see `Transport.retry`)."""
        return self._transport.retry(attempt)

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
        policy: RetryPolicy | None = None,
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
        return self._transport.retry(lambda policy: self._list(collection, params, policy), policy)

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
            last = check_id(text(page[-1], "id"))

    def list_unordered(
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

        def attempt(policy: RetryPolicy) -> int:
            total = self._ask(collection, params, policy).get("totalItems")
            if not isinstance(total, int):
                raise BackendError(f"{self._transport.base_url} sent a list without a total")
            return total

        return self._transport.retry(attempt)

    def create(self, collection: str, values: Row) -> Row:
        """Create a record.

        Raises:
            Rejected: a field is refused (`codes` says which and why).

        """
        path = f"/api/collections/{collection}/records"
        return self._transport.retry(lambda policy: self._write("POST", path, values, policy))

    def update(
        self,
        collection: str,
        record: str,
        values: Row,
        *,
        confirm: Callable[[RetryPolicy], bool] | None = None,
        policy: RetryPolicy | None = None,
    ) -> Row | None:
        """Change fields of a record; None if it is proved to be gone.

        PocketBase has no conditional update. Where the record may become somebody else's while
        tries fail, `confirm` is asked before each try but the first; False ends them with None.

        Raises:
            Rejected: a field is refused (`codes` says which and why).

        """
        path = f"/api/collections/{collection}/records/{check_id(record)}"
        tried = False

        def attempt(policy: RetryPolicy) -> Row | None:
            nonlocal tried
            if tried and confirm is not None and not confirm(policy):
                return None
            tried = True
            try:
                return self._write("PATCH", path, values, policy)
            except _NotFoundError:
                self._prove_gone(collection, record, policy)
                return None

        return self._transport.retry(attempt, policy)

    def delete(self, collection: str, record: str) -> None:
        """Delete a record; one that is gone already is fine."""
        path = f"/api/collections/{collection}/records/{check_id(record)}"

        def attempt(policy: RetryPolicy) -> None:
            response = self.session.send("DELETE", path, policy)
            if response.status_code == NOT_FOUND:
                self._prove_gone(collection, record, policy)
            elif response.status_code != NO_CONTENT:
                raise rejection(response)

        self._transport.retry(attempt)

    def _list(self, collection: str, params: dict[str, str], policy: RetryPolicy) -> list[Row]:
        items = self._ask(collection, params, policy).get("items")
        if not isinstance(items, list):
            raise BackendError(f"{self._transport.base_url} sent a list without items")
        return [item for item in items if isinstance(item, dict)]

    def _ask(self, collection: str, params: dict[str, str], policy: RetryPolicy) -> Row:
        response = self.session.send(
            "GET", f"/api/collections/{collection}/records", policy, params=params
        )
        if response.status_code == NOT_FOUND:
            body(response, expected=NOT_FOUND)
            raise SchemaError(f"PocketBase has no collection {collection}, or can't open it")
        if response.status_code == BAD:
            if response.elapsed.total_seconds() > QUERY_TIMEOUT:
                raise Transient(f"a query of {collection} ran out of time")
            raise rejection(response)
        return body(response)

    def _write(self, method: str, path: str, values: Row, policy: RetryPolicy) -> Row:
        response = self.session.send(method, path, policy, payload=values)
        if response.status_code == NOT_FOUND:
            raise _NotFoundError(path)
        if response.status_code == BAD:
            refused = rejection(response)
            if not refused.codes:
                # A guest's create, or a database that was locked for minutes: prove who we are
                # (which renews a lost session), then try again.
                self.session.require_superuser(policy)
                raise Transient(str(refused))
            raise refused
        row = body(response)
        text(row, "id")
        # PocketBase stamped it before it answered, so that its clock is not behind this.
        with suppress(ValueError):
            self._transport.observe(
                datetime.fromisoformat(str(row.get("updated", ""))).astimezone(UTC)
            )
        return row

    def _prove_gone(self, collection: str, record: str, policy: RetryPolicy) -> None:
        """Tell a deleted record from a lost session or a broken table, which also answer 404."""
        params = {"perPage": "1", "filter": f'(id = "{check_id(record)}") && {GUARD}'}
        if self._list(collection, params, policy):
            raise Transient(f"{collection}/{record} is there, yet PocketBase does not find it")

    # -- collections --------------------------------------------------------------------------

    def collection(self, name: str) -> Row | None:
        """Read a collection's definition; None if there is none."""

        def attempt(policy: RetryPolicy) -> Row | None:
            response = self.session.send("GET", f"/api/collections/{name}", policy)
            if response.status_code == NOT_FOUND:
                body(response, expected=NOT_FOUND)
                return None
            return body(response)

        return self._transport.retry(attempt)

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
        def attempt(policy: RetryPolicy) -> Row:
            response = self.session.send(method, path, policy, payload=definition)
            if response.status_code == BAD:
                raise rejection(response)
            return body(response)

        return self._transport.retry(attempt)

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
            require_storage(response, name)
        elif response.status_code != UNSATISFIABLE:
            response.close()
            raise Transient(f"answered {response.status_code} for a file")
        return response

    def _open(self, path: str, headers: dict[str, str], token: str | None) -> requests.Response:
        params = {"token": token} if token else None
        return self._transport.send("GET", path, headers=headers, params=params, stream=True)

    def _new_file_token(self) -> str:
        def attempt(policy: RetryPolicy) -> str:
            return text(body(self.session.send("POST", "/api/files/token", policy)), "token")

        return self._transport.retry(attempt)


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
