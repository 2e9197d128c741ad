"""From the settings to the objects that work by them: the one place where the two sides meet."""

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

# Constant, since PocketBase mails its superuser about each new pair of address and user agent.
USER_AGENT = "avscan"


@contextmanager
def connect(settings: Settings) -> Iterator[PocketBase]:
    """Open a session with PocketBase.

    Raises:
        SignInError: the credentials are refused.
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
    """Make the ledger that writes the checks of this host."""
    return Ledger(client, host=node(), stuck_after=timedelta(seconds=settings.stuck_after))


def make_scanner(
    settings: Settings, workspace: Workspace, server_time: Callable[[], datetime]
) -> Scanner:
    """Make the scanner of a pass; nothing is started yet."""
    return Scanner(
        clamscan=settings.clamscan,
        database=settings.signatures,
        canary=settings.canary,
        most=timedelta(days=settings.max_signature_age),
        folder=workspace.inspector_folder,
        server_time=server_time,
    )


@contextmanager
def explained(client: PocketBase) -> Iterator[None]:
    """Say what is wrong with the collections where PocketBase rejects a question about them."""
    try:
        yield
    except (Rejected, SchemaError):
        require(client)
        raise
