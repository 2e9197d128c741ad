"""A client for PocketBase's API, for a superuser.

To PocketBase, a request with an expired token is a guest's: it gets empty lists, and 404 for every
record. So each list has a filter that PocketBase refuses to guests, and such a list verifies each
404. Values are plain JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

import requests

from avscan.backend.answers import Row, body, rejection, require_storage, text
from avscan.backend.session import GUARD, Credentials, Session
from avscan.backend.transport import RetryPolicy, Transient, Transport
from avscan.errors import BackendError, SchemaError

T = TypeVar("T")

PAGE = 1000  # PocketBase's maximum; it silently cuts longer pages
# PocketBase answers a query that ran for 30 s like a malformed one; only the time differs.
QUERY_TIMEOUT = 25.0
# The characters of ids that PocketBase allows and that are safe in paths and filters.
_ID = re.compile(r"[a-zA-Z0-9_~+=@-]+\Z")


class PocketBase:
    """One superuser's session with one PocketBase. Safe to share between threads."""

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self._transport = transport
        self.session = Session(transport, credentials)
        self._file_token: str | None = None

    def sign_in(self) -> None:
        """Sign in (see `Session.sign_in`)."""
        self.session.sign_in()

    def server_time(self) -> datetime:
        """Return the time by the server's clock (see `Transport.server_time`)."""
        return self._transport.server_time()

    @property
    def failing(self) -> bool:
        """Whether PocketBase keeps failing (see `Transport.circuit_open`)."""
        return self._transport.circuit_open

    @property
    def requests_made(self) -> int:
        """The number of requests sent so far."""
        return self._transport.requests_made

    def retry(self, attempt: Callable[[RetryPolicy], T]) -> T:
        """Call `attempt` with retries (see `Transport.retry`)."""
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
        """List at most `limit` records, up to `PAGE`.

        Raises:
            SchemaError: the collection does not exist.
            Rejected: PocketBase does not understand `where`, for example an unknown field.

        """
        params = {
            "perPage": str(limit),
            "skipTotal": "1",
            "filter": _guarded(where),
            "sort": sort,
            "fields": ",".join(fields),
            "expand": expand,
        }
        given = {name: value for name, value in params.items() if value}
        return self._transport.retry(lambda policy: self._list(collection, given, policy), policy)

    def rows(
        self, collection: str, *, where: str = "", fields: Sequence[str] = (), expand: str = ""
    ) -> Iterator[Row]:
        """Yield all records, paged by id: paging by number skips records during writes."""
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
        self, collection: str, *, where: str, fields: Sequence[str] = (), expand: str = ""
    ) -> Iterator[Row]:
        """Yield all records that match `where`; the first page is read without an order.

        To sort by id, SQLite reads a table by its index of ids. Without an index for `where`, and
        with a million rows, that takes ten times as long as a scan of the table.
        """
        page = self.page(collection, where=where, fields=fields, expand=expand)
        if len(page) < PAGE:
            yield from page
        else:
            yield from self.rows(collection, where=where, fields=fields, expand=expand)

    def count(self, collection: str, *, where: str = "") -> int:
        """Return the number of records that match `where`."""
        params = {"perPage": "1", "fields": "id", "filter": _guarded(where)}

        def attempt(policy: RetryPolicy) -> int:
            total = self._ask(collection, params, policy).get("totalItems")
            if not isinstance(total, int):
                raise BackendError(f"{self._transport.base_url} sent a list without a total")
            return total

        return self._transport.retry(attempt)

    def create(self, collection: str, values: Row) -> Row:
        """Create a record.

        Raises:
            SchemaError: the collection does not exist.
            Rejected: a field is refused (`codes` says which and why).

        """
        path = f"/api/collections/{collection}/records"
        row = self._transport.retry(lambda policy: self._write("POST", path, values, policy))
        if row is None:
            raise _no_collection_error(collection)
        return row

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

        PocketBase has no conditional update. `confirm` is called before each repeated try; if it
        returns False, because the record has changed, the update ends with None.

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
            row = self._write("PATCH", path, values, policy)
            if row is None:
                self._prove_gone(collection, record, policy)
            return row

        return self._transport.retry(attempt, policy)

    def delete(self, collection: str, record: str) -> None:
        """Delete a record, if it exists."""
        path = f"/api/collections/{collection}/records/{check_id(record)}"

        def attempt(policy: RetryPolicy) -> None:
            response = self.session.send("DELETE", path, policy)
            if response.status_code == HTTPStatus.NOT_FOUND:
                self._prove_gone(collection, record, policy)
            elif response.status_code != HTTPStatus.NO_CONTENT:
                raise rejection(response)

        self._transport.retry(attempt)

    def _list(self, collection: str, params: dict[str, str], policy: RetryPolicy) -> list[Row]:
        items = self._ask(collection, params, policy).get("items")
        if not isinstance(items, list):
            raise BackendError(f"{self._transport.base_url} sent a list without items")
        return [item for item in items if isinstance(item, dict)]

    def _ask(self, collection: str, params: dict[str, str], policy: RetryPolicy) -> Row:
        path = f"/api/collections/{collection}/records"
        response = self.session.send("GET", path, policy, params=params)
        if response.status_code == HTTPStatus.NOT_FOUND:
            body(response, expected=HTTPStatus.NOT_FOUND)
            raise _no_collection_error(collection)
        if response.status_code == HTTPStatus.BAD_REQUEST:
            if response.elapsed.total_seconds() > QUERY_TIMEOUT:
                raise Transient(f"a query of {collection} ran out of time")
            raise rejection(response)
        return body(response)

    def _write(self, method: str, path: str, values: Row, policy: RetryPolicy) -> Row | None:
        """Write a record; None if PocketBase answers 404, which proves nothing."""
        response = self.session.send(method, path, policy, payload=values)
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        if response.status_code == HTTPStatus.BAD_REQUEST:
            refused = rejection(response)
            if not refused.codes:
                # The session has expired, or the database was locked for minutes: verify the
                # session, which renews it if needed, then try again.
                self.session.require_superuser(policy)
                raise Transient(str(refused))
            raise refused
        row = body(response)
        text(row, "id")
        # PocketBase set `updated` before it answered, so its clock is not behind this time.
        with suppress(ValueError):
            self._transport.observe(
                datetime.fromisoformat(str(row.get("updated", ""))).astimezone(UTC)
            )
        return row

    def _prove_gone(self, collection: str, record: str, policy: RetryPolicy) -> None:
        """Raise Transient if a record exists: a lost session or a broken table also causes 404."""
        params = {"perPage": "1", "filter": _guarded(f'id = "{check_id(record)}"')}
        if self._list(collection, params, policy):
            raise Transient(f"{collection}/{record} exists, but PocketBase answered 404")

    # -- collections --------------------------------------------------------------------------

    def collection(self, name: str) -> Row | None:
        """Return a collection's definition; None if the collection does not exist."""

        def attempt(policy: RetryPolicy) -> Row | None:
            response = self.session.send("GET", f"/api/collections/{name}", policy)
            if response.status_code == HTTPStatus.NOT_FOUND:
                body(response, expected=HTTPStatus.NOT_FOUND)
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
            if response.status_code == HTTPStatus.BAD_REQUEST:
                raise rejection(response)
            return body(response)

        return self._transport.retry(attempt)

    # -- files --------------------------------------------------------------------------------

    def open_file(
        self, collection: str, record: str, name: str, *, start: int = 0, validator: str = ""
    ) -> requests.Response | None:
        """Open a stream of a file from `start` on, which the caller closes; None if it is missing.

        With a `validator` (the `Last-Modified` of an earlier answer) the server sends the whole
        file (200) if the file has changed, and the rest of it (206) otherwise. 416 means that
        `start` is past the end. A protected file needs a file token, without which PocketBase
        answers 404; no other credentials are sent.

        Raises:
            BackendError: the answer is not from PocketBase's storage.
            Transient: no answer, or a server's failure; this method makes no retries.

        """
        path = f"/api/files/{collection}/{check_id(record)}/{quote(name)}"
        headers = {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
        response = self._open(path, headers, self._file_token)
        if response.status_code == HTTPStatus.NOT_FOUND:
            response.close()
            token = self._new_file_token()
            response = self._open(path, headers, token)
            if response.status_code == HTTPStatus.NOT_FOUND:
                response.close()
                return None
            self._file_token = token
        if response.status_code in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            require_storage(response, name)
        elif response.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            response.close()
            raise Transient(f"answered {response.status_code} for a file")
        return response

    def _open(self, path: str, headers: dict[str, str], token: str | None) -> requests.Response:
        params = {"token": token} if token else None
        return self._transport.send("GET", path, headers=headers, params=params, stream=True)

    def _new_file_token(self) -> str:
        return self._transport.retry(
            lambda policy: text(
                body(self.session.send("POST", "/api/files/token", policy)), "token"
            )
        )


def _no_collection_error(collection: str) -> SchemaError:
    return SchemaError(f"PocketBase has no collection {collection}, or can't open it")


def _guarded(where: str) -> str:
    """Return a filter with the guard that makes PocketBase refuse a guest."""
    return f"({where}) && {GUARD}" if where else GUARD


def check_id(value: str) -> str:
    """Return `value` if it is a valid record id, safe in paths and filters.

    Raises:
        BackendError: it is not.

    """
    if not _ID.match(value):
        raise BackendError(f"{value!r} is not a record id")
    return value


def any_of(name: str, values: Sequence[str]) -> str:
    """Return the filter for records whose field `name` has one of these ids."""
    return " || ".join(f'{name} = "{check_id(value)}"' for value in values)
