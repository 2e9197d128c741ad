"""All settings. Options, help texts and parsing follow from their declarations.

To add a setting, add a field to `Settings` and a row to the table in docs/settings.md.
"""

from __future__ import annotations

import enum
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from avscan import parsers
from avscan.errors import SettingsError
from avscan.variables import Variable, look_up, setting


class Policy(enum.StrEnum):
    """The effect of uninspected content: a note in the log, or an error."""

    NOTE = "note"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """The format of the log; auto is text on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The part `index` (from 0) of `count` equal parts of all builds, by a digest of their ids."""

    index: int = 0
    count: int = 1

    def holds(self, build: str) -> bool:
        """Return whether a build is in this part, which never changes."""
        return zlib.crc32(build.encode()) % self.count == self.index


*_, PASS_FAILED = WEBHOOK_EVENTS = ("infected", "error", "clean", "pass_failed")

# The commands that use a setting.
RUN = frozenset({"run"})
SCANNER = RUN | {"health"}
BACKEND = SCANNER | {"init", "rescan", "status", "history"}
REFRESH = frozenset({"refresh"})


def _shard(name: str, text: str) -> Shard:
    """Parse I/N."""
    if not text:
        return Shard()
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise SettingsError(f"{name} must be I/N with I from 0 to N-1, not {text!r}")
    return Shard(index=int(match[1]), count=int(match[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of all commands. Its `repr` contains no secrets."""

    url: str = setting(
        "POCKETBASE_URL", parsers.backend_url, "PocketBase's URL, with or without a path.", BACKEND
    )
    email: str = setting(
        "POCKETBASE_SUPERUSER_EMAIL", parsers.any_text, "The superuser's email.", BACKEND
    )
    password: str = setting(
        "POCKETBASE_SUPERUSER_PASSWORD", parsers.any_text, "Its password.", BACKEND, secret=True
    )
    token: str = setting(
        "POCKETBASE_TOKEN", parsers.token, "A superuser's token.", BACKEND, secret=True
    )
    clamscan: str = setting(
        "CLAMSCAN_PATH", parsers.any_text, "The clamscan program.", SCANNER, default="clamscan"
    )
    signatures: Path = setting(
        "SIGNATURE_DIR",
        parsers.path,
        "The signatures' folder.",
        SCANNER | REFRESH,
        default="/var/lib/clamav",  # freshclam's on most systems, and in ClamAV's image
    )
    canary: Path | None = setting(
        "CANARY_FILE",
        parsers.existing_path,
        "A file that your signatures find, if they do not find the EICAR test file.",
        SCANNER,
    )
    work_dir: Path = setting(
        "WORK_DIR",
        parsers.path,
        "A folder for downloads; created if missing.",
        SCANNER,
        default="/tmp/zapuskalka-av-scans",  # noqa: S108 - the folder in it is private
    )
    max_retries: int = setting(
        "MAX_RETRIES", parsers.number(int, 1, 20), "Attempts for a request.", BACKEND, default="3"
    )
    scan_timeout: float = setting(
        "SCAN_TIMEOUT",
        parsers.number(float, 1, 86_400),
        "Maximum seconds for the scan of one file.",
        RUN,
        default="3600",
    )
    stuck_after: float = setting(
        "STUCK_AFTER",
        parsers.number(float, 30, 86_400),
        "Seconds without a heartbeat after which a scan is reclaimed.",
        RUN | {"status"},
        default="90",
    )
    max_signature_age: float = setting(
        "MAX_SIGNATURE_AGE",
        parsers.number(float, 0, 3650),
        "Days; a pass fails if the official signatures are older. 0 disables it.",
        SCANNER,
        default="7",
    )
    opaque_content: Policy = setting(
        "OPAQUE_CONTENT",
        parsers.choice(tuple(Policy)),
        "Content that can't be inspected: note or error.",
        RUN,
        default="note",
    )
    oversize_content: Policy = setting(
        "OVERSIZE_CONTENT",
        parsers.choice(tuple(Policy)),
        "Files over 2 GiB, scanned only in parts: note or error.",
        RUN,
        default="error",
    )
    rescan_after: float = setting(
        "RESCAN_AFTER",
        parsers.number(float, 0, 3650),
        "Days after which a verdict is renewed. 0 disables it.",
        RUN,
        default="0",
    )
    metrics_file: Path | None = setting(
        "METRICS_FILE",
        parsers.output_path,
        "A file for the metrics of each pass, for node_exporter (*.prom).",
        RUN,
    )
    webhook_url: str = setting(
        "WEBHOOK_URL",
        parsers.webhook_url,
        "A URL that gets a POST for each event.",
        RUN,
        secret=True,
    )
    webhook_secret: bytes = setting(
        "WEBHOOK_SECRET", parsers.key, "The key that signs webhook requests.", RUN, secret=True
    )
    webhook_events: frozenset[str] = setting(
        "WEBHOOK_EVENTS",
        parsers.choices(WEBHOOK_EVENTS),
        "Events for the webhook, comma-separated: infected, error, clean, pass_failed.",
        RUN,
        default="infected,error,pass_failed",
    )
    shard: Shard = setting(
        "SHARD", _shard, "I/N: only the I-th (from 0) of N equal parts of all builds.", RUN
    )

    source: str = setting(
        "DATABASE_MIRROR",
        parsers.mirror_url,
        "A private mirror of the official signatures; none: only DATABASE_CUSTOM_URL.",
        REFRESH,
    )
    custom: tuple[str, ...] = setting(  # a secret, as the URLs of commercial signatures are
        "DATABASE_CUSTOM_URL", parsers.urls, "Further signature files.", REFRESH, secret=True
    )
    log_level: str = setting(
        "LOG_LEVEL",
        parsers.choice(("debug", "info", "warn", "error")),
        "debug, info, warn or error.",
        RUN | REFRESH,
        default="info",
    )
    log_format: LogFormat = setting(
        "LOG_FORMAT",
        parsers.choice(tuple(LogFormat)),
        "json, text, or auto: for people on a terminal, JSON elsewhere.",
        RUN | REFRESH,
        default="auto",
    )

    @classmethod
    def parse(cls, environment: Mapping[str, str], *, command: str = "run") -> Self:
        """Parse the environment variables of a command; an empty one counts as not set.

        Settings that `command` does not use get their defaults.

        Raises:
            SettingsError: settings are missing or malformed; the text lists all, in one line.

        """
        values: dict[str, Any] = {}  # `setting` ensures the type of each; None is malformed
        problems: list[str] = []
        for each in fields(cls):
            variable: Variable = each.metadata["variable"]
            used = environment if command in variable.commands else {}
            try:
                values[each.name] = variable.parse(*look_up(variable, used))
            except SettingsError as error:
                values[each.name] = None
                problems.append(str(error))
        problems[:0] = _missing(command, values, environment)
        if problems:
            raise SettingsError("; ".join(problems))
        return cls(**values)

    @property
    def official(self) -> bool:
        """Whether the official signatures are downloaded."""
        return self.source != "none"

    @property
    def mirror(self) -> str:
        """The private mirror; '' for ClamAV's own servers."""
        return self.source if self.official else ""


def _missing(
    command: str, values: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[str]:
    """Yield the problems of settings that are required, some of them only together."""
    if command == "refresh":
        if values["source"] == "none" and values["custom"] == ():
            yield "DATABASE_CUSTOM_URL is not set, and DATABASE_MIRROR is none"
        return
    if values["url"] == "":
        yield "POCKETBASE_URL is not set"
    email, password = "POCKETBASE_SUPERUSER_EMAIL", "POCKETBASE_SUPERUSER_PASSWORD"
    login = {email: values["email"], password: values["password"]}
    missing = [name for name, value in login.items() if value == ""]
    if not missing or values["token"] != "":
        return
    if len(missing) == 1:
        yield f"{missing[0]} is not set"
    else:
        yield f"there are no credentials: set POCKETBASE_TOKEN, or {email} and {password}"
    if "POCKETBASE_TOKEN" in environment:
        yield "POCKETBASE_TOKEN is empty"


def _variables() -> Iterator[Variable]:
    for each in fields(Settings):
        variable: Variable = each.metadata["variable"]
        yield variable
        if variable.secret:
            yield variable.file


VARIABLES = tuple(_variables())
