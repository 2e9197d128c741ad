"""A superuser's session with PocketBase: signing in, the token, and its renewal.

A token is renewed when PocketBase refuses it, which it does to guests in all answers that count
(see `pocketbase`). Its expiry is not read: a pass rarely lasts as long as a token, which is a day
by default.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias

import requests

from avscan.backend.answers import Rejected, body, excerpt, text
from avscan.backend.deadline import time_left
from avscan.backend.transport import RetryPolicy, Transient, Transport
from avscan.errors import BackendError, SignInError

SUPERUSERS = "_superusers"
GUARD = f'@request.auth.collectionName = "{SUPERUSERS}"'
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_SIGN_IN_ADVICE = (
    "email or password: check POCKETBASE_SUPERUSER_EMAIL and POCKETBASE_SUPERUSER_PASSWORD"
)
# PocketBase answers 403 for a valid token too, as for an expired one.
_ADDRESS_ADVICE = (
    "its setting 'Superuser IPs' (0.38 and later) lacks this machine's address"
    " as PocketBase sees it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Password:
    """Credentials that can renew the session."""

    identity: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token made elsewhere, which can't be renewed."""

    token: str = field(repr=False)


Credentials: TypeAlias = Password | Token


class Session:
    """One superuser's session. Safe to share between threads; `lock` is held during a renewal."""

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self._transport = transport
        self._credentials = credentials
        self.token = credentials.token if isinstance(credentials, Token) else None
        self.lock = threading.Lock()

    def sign_in(self) -> None:
        """Get a token by password, or verify the given one.

        Raises:
            SignInError: the email, the password or the token is refused.
            BackendError: there is no answer, or it is not from PocketBase.

        """
        has_token = isinstance(self._credentials, Token)
        self._transport.retry(self.require_superuser if has_token else self._authenticate)

    def _authenticate(self, policy: RetryPolicy) -> None:
        if isinstance(self._credentials, Token):
            raise SignInError(
                "PocketBase refuses POCKETBASE_TOKEN: make a new one if it has expired or is not"
                f" a superuser's; or {_ADDRESS_ADVICE}"
            )
        response = self._transport.send(
            "POST",
            f"/api/collections/{SUPERUSERS}/auth-with-password",
            json={
                "identity": self._credentials.identity,
                "password": self._credentials.password,
            },
            timeout=policy.timeout,
        )
        match response.status_code:
            case HTTPStatus.OK:
                self.token = text(body(response), "token")
            case HTTPStatus.UNAUTHORIZED:
                raise SignInError(
                    "the superuser has a second factor, which avscan can't enter:"
                    " set POCKETBASE_TOKEN to a long-lived token instead"
                )
            case HTTPStatus.BAD_REQUEST:
                raise SignInError(f"PocketBase refuses the superuser's {_SIGN_IN_ADVICE}")
            case HTTPStatus.FORBIDDEN:
                raise SignInError(
                    f"PocketBase refuses the superuser's {_SIGN_IN_ADVICE}; or {_ADDRESS_ADVICE}"
                )
            case status:
                raise BackendError(
                    f"{self._transport.base_url} answered {status} to a superuser's sign-in:"
                    " is POCKETBASE_URL a PocketBase of version 0.23 or newer?"
                )

    def _renew(self, used: str | None, policy: RetryPolicy) -> None:
        """Replace the token `used`, unless another thread has replaced it.

        Makes no retries of its own: it is part of the attempt that needs the token.
        """
        if not self.lock.acquire(timeout=max(0.0, min(policy.timeout, time_left()))):
            raise Transient("another thread's sign-in takes too long")
        try:
            if self.token == used:
                self._authenticate(policy)
        finally:
            self.lock.release()

    def _current_token(self, policy: RetryPolicy) -> str | None:
        if self.token is None:
            self._renew(None, policy)
        return self.token

    def send(
        self,
        method: str,
        path: str,
        policy: RetryPolicy,
        *,
        params: dict[str, str] | None = None,
        payload: object = None,
    ) -> requests.Response:
        """Send one request as superuser; verify the session and repeat a refused request once.

        Raises:
            Rejected: the request is refused although the account is a superuser, as by a hook.
            SignInError: the account is not a superuser.

        """

        def exchange() -> requests.Response:
            token = self._current_token(policy)
            return self._transport.send(
                method, path, token=token, params=params, json=payload, timeout=policy.timeout
            )

        response = exchange()
        if response.status_code in _REFUSED:
            self.require_superuser(policy)
            response = exchange()
        if response.status_code in _REFUSED:
            raise Rejected(
                f"a hook or a proxy answers {method} {path} with {response.status_code},"
                f" though this account is a superuser: {excerpt(response)}",
                {},
            )
        return response

    def require_superuser(self, policy: RetryPolicy) -> None:
        """Verify that the session is a superuser's; renew it if not.

        Raises:
            SignInError: it is not, and no other can be had.

        """
        token = self._current_token(policy)
        response = self._transport.send(
            "GET",
            f"/api/collections/{SUPERUSERS}/records",
            token=token,
            params={"perPage": "1", "filter": GUARD},
            timeout=policy.timeout,
        )
        if response.status_code in _REFUSED:
            self._renew(token, policy)
        else:
            body(response)
