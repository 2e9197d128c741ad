"""Create the objects of a pass from the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from platform import node

from avscan.backend.answers import Rejected
from avscan.backend.ledger import Ledger
from avscan.backend.pocketbase import PocketBase
from avscan.backend.schema import require
from avscan.backend.session import Password, Token
from avscan.backend.transport import RetryPolicy, Transport
from avscan.errors import SchemaError
from avscan.scanner import Scanner
from avscan.settings import Settings
from avscan.workspace import Workspace

# Constant, since PocketBase mails the superuser about each new pair of IP address and user agent.
USER_AGENT = "avscan"


@contextmanager
def connect(settings: Settings) -> Iterator[PocketBase]:
    """Sign in to PocketBase. Yield the client.

    Raises:
        SignInError: the credentials are rejected.
        BackendError: PocketBase can't be reached.

    """
    policy = RetryPolicy(attempts=settings.max_retries)
    transport = Transport(settings.url, policy=policy, user_agent=USER_AGENT)
    credentials = (
        Token(token=settings.token)
        if settings.token
        else Password(identity=settings.email, password=settings.password)
    )
    client = PocketBase(transport, credentials)
    try:
        client.sign_in()
        yield client
    finally:
        transport.close()


def make_ledger(settings: Settings, client: PocketBase) -> Ledger:
    """Return the ledger of this host."""
    return Ledger(client, host=node(), stuck_after=timedelta(seconds=settings.stuck_after))


def make_scanner(
    settings: Settings, workspace: Workspace, server_time: Callable[[], datetime]
) -> Scanner:
    """Return the scanner of a pass, without starting an inspector."""
    return Scanner(
        clamscan=settings.clamscan,
        database=settings.signatures,
        canary=settings.canary,
        most=timedelta(days=settings.max_signature_age),
        folder=workspace.inspector_folder,
        server_time=server_time,
    )


@contextmanager
def diagnose_rejection(client: PocketBase) -> Iterator[None]:
    """Raise a SchemaError that names the missing fields if PocketBase rejects a request."""
    try:
        yield
    except (Rejected, SchemaError):
        require(client)
        raise
