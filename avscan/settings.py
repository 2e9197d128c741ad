"""Every setting, parsed and validated once into one frozen value.

`VARIABLES` is the one list of them: the command line's options, its help and the README's table
all follow it.
"""

from __future__ import annotations

import base64
import enum
import math
import os
import re
import stat
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from avscan.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """An environment variable; a secret one has no option, since others see a command line."""

    name: str
    default: str = ""
    help: str
    secret: bool = False

    @property
    def option(self) -> str:
        """Its option on the command line."""
        return "--" + self.name.lower().replace("_", "-")


class Policy(enum.StrEnum):
    """What content that could not be seen as it is means for a build."""

    NOTE = "note"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """How log lines look; auto is text on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


# What can stand in a header; an error about anything else would repeat it.
_TOKEN = re.compile(r"[!-~]*")

*_, PASS_FAILED = WEBHOOK_EVENTS = ("infected", "error", "clean", "pass_failed")
LOG_LEVELS = ("debug", "info", "warn", "error")

VARIABLES = (
    Variable(name="POCKETBASE_URL", help="PocketBase's address, with or without a path."),
    Variable(name="POCKETBASE_SUPERUSER_EMAIL", help="The superuser's email."),
    Variable(name="POCKETBASE_SUPERUSER_PASSWORD", help="The superuser's password.", secret=True),
    Variable(name="POCKETBASE_SUPERUSER_PASSWORD_FILE", help="A file that holds the password."),
    Variable(
        name="POCKETBASE_TOKEN",
        help="A long-lived superuser token, used instead of signing in.",
        secret=True,
    ),
    Variable(name="POCKETBASE_TOKEN_FILE", help="A file that holds the token."),
    Variable(name="CLAMSCAN_PATH", default="clamscan", help="The clamscan program."),
    Variable(name="SIGNATURE_DIR", help="The signatures' folder (/var/lib/clamav)."),
    Variable(
        name="CANARY_FILE",
        help="A file that your signatures must find, if they do not know the EICAR test file.",
    ),
    Variable(
        name="WORK_DIR",
        default="/tmp/zapuskalka-av-scans",  # noqa: S108 - the folder in it is private
        help="Folder in which avscan creates a private one for artifacts; created if missing.",
    ),
    Variable(name="MAX_RETRIES", default="3", help="Attempts for a download or a call."),
    Variable(name="LOG_LEVEL", default="info", help="debug, info, warn or error."),
    Variable(name="LOG_FORMAT", default="auto", help="json, text, or auto: text on a terminal."),
    Variable(
        name="SCAN_TIMEOUT", default="3600", help="Seconds that the scan of one artifact may run."
    ),
    Variable(
        name="STUCK_AFTER",
        default="90",
        help="Seconds without a heartbeat after which a scanning check is reclaimed.",
    ),
    Variable(
        name="MAX_SIGNATURE_AGE",
        default="7",
        help="Days; older official signatures end the pass. 0 turns it off.",
    ),
    Variable(
        name="OPAQUE_CONTENT",
        default="note",
        help="Content that nobody can look into (encrypted, unsupported): note or error.",
    ),
    Variable(
        name="OVERSIZE_CONTENT",
        default="error",
        help="Files too large to be scanned as one, clean in all their parts: note or error.",
    ),
    Variable(
        name="RESCAN_AFTER",
        default="0",
        help="Days after which a verdict is renewed, a few a pass. 0 turns it off.",
    ),
    Variable(
        name="METRICS_FILE",
        help="A file for the pass's figures, for node_exporter's textfile collector (*.prom).",
    ),
    Variable(
        name="WEBHOOK_URL",
        help="An address that gets a POST for each event of WEBHOOK_EVENTS.",
        secret=True,
    ),
    Variable(name="WEBHOOK_URL_FILE", help="A file that holds the webhook's address."),
    Variable(name="WEBHOOK_SECRET", help="Signs what the webhook gets.", secret=True),
    Variable(name="WEBHOOK_SECRET_FILE", help="A file that holds the webhook's secret."),
    Variable(
        name="WEBHOOK_EVENTS",
        default="infected,error,pass_failed",
        help="Events that the webhook gets, with commas: infected, error, clean, pass_failed.",
    ),
    Variable(
        name="SHARD",
        help="I/N: only the I-th (from 0) of N equal parts of all builds. Under a Kubernetes"
        " Indexed Job, AVSCAN_SHARDS sets N and JOB_COMPLETION_INDEX is I.",
    ),
)

# What a refresh of the signatures needs to know, which is nothing of PocketBase.
REFRESH_VARIABLES = (
    *(each for each in VARIABLES if each.name in {"SIGNATURE_DIR", "LOG_LEVEL", "LOG_FORMAT"}),
    Variable(
        name="DATABASE_MIRROR",
        help="A private mirror of the official signatures, like https://host/path; none fetches"
        " nothing but DATABASE_CUSTOM_URL. By default ClamAV's own servers.",
    ),
    # Without an option, since addresses of bought signatures are secrets.
    Variable(
        name="DATABASE_CUSTOM_URL",
        help="Addresses of further signature files, separated by spaces.",
        secret=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of `count` equal parts of all builds, by a digest of their ids; 0 is the first."""

    index: int = 0
    count: int = 1

    def holds(self, build: str) -> bool:
        """Tell whether a build is in this part; it stays there for ever."""
        return self.count == 1 or zlib.crc32(build.encode()) % self.count == self.index


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a run; secrets never show in its `repr`."""

    url: str
    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    clamscan: str
    signatures: Path | None
    canary: Path | None
    work_dir: Path
    max_retries: int
    log_level: str
    log_format: LogFormat
    scan_timeout: float
    stuck_after: float
    max_signature_age: float
    opaque_content: Policy
    oversize_content: Policy
    rescan_after: float
    metrics_file: Path | None
    webhook_url: str = field(repr=False)
    webhook_secret: bytes = field(repr=False)
    webhook_events: frozenset[str]
    shard: Shard

    @classmethod
    def parse(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from environment variables; an empty one counts as not set.

        Raises:
            SettingsError: all that is missing or malformed, in one line.

        """
        reader = _Reader(environment)
        token = reader.secret("POCKETBASE_TOKEN").strip()
        settings = cls(
            url=reader.url("POCKETBASE_URL"),
            token=token,
            email=reader.text("POCKETBASE_SUPERUSER_EMAIL"),
            password=reader.secret("POCKETBASE_SUPERUSER_PASSWORD"),
            clamscan=reader.text("CLAMSCAN_PATH"),
            signatures=reader.existing("SIGNATURE_DIR"),
            canary=reader.existing("CANARY_FILE"),
            work_dir=Path(reader.text("WORK_DIR")),
            max_retries=int(reader.number("MAX_RETRIES", least=1, most=20, whole=True)),
            log_level=reader.choice("LOG_LEVEL", LOG_LEVELS),
            log_format=LogFormat(reader.choice("LOG_FORMAT", tuple(LogFormat))),
            scan_timeout=reader.number("SCAN_TIMEOUT", least=1, most=86_400),
            stuck_after=reader.number("STUCK_AFTER", least=30, most=86_400),
            max_signature_age=reader.number("MAX_SIGNATURE_AGE", least=0, most=3650),
            opaque_content=Policy(reader.choice("OPAQUE_CONTENT", tuple(Policy))),
            oversize_content=Policy(reader.choice("OVERSIZE_CONTENT", tuple(Policy))),
            rescan_after=reader.number("RESCAN_AFTER", least=0, most=3650),
            metrics_file=reader.writable("METRICS_FILE"),
            webhook_url=reader.webhook("WEBHOOK_URL"),
            webhook_secret=reader.key("WEBHOOK_SECRET"),
            webhook_events=reader.some_of("WEBHOOK_EVENTS", WEBHOOK_EVENTS),
            shard=reader.shard("SHARD"),
        )
        reader.check_credentials(settings)
        reader.finish()
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshSettings:
    """The settings of a refresh of the signatures; no `mirror` stands for ClamAV's own servers.

    `official` says whether the official set is fetched at all.
    """

    signatures: Path
    official: bool
    mirror: str
    custom: tuple[str, ...] = field(repr=False)
    log_level: str
    log_format: LogFormat

    @classmethod
    def parse(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from environment variables; an empty one counts as not set.

        Raises:
            SettingsError: all that is missing or malformed, in one line.

        """
        reader = _Reader(environment)
        official = reader.text("DATABASE_MIRROR") != "none"
        settings = cls(
            signatures=reader.folder("SIGNATURE_DIR"),
            official=official,
            mirror=reader.address("DATABASE_MIRROR") if official else "",
            custom=reader.addresses("DATABASE_CUSTOM_URL"),
            log_level=reader.choice("LOG_LEVEL", LOG_LEVELS),
            log_format=LogFormat(reader.choice("LOG_FORMAT", tuple(LogFormat))),
        )
        reader.check_sources(settings)
        reader.finish()
        return settings


class _Reader:
    """Reads one variable after another and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        variables = (*VARIABLES, *REFRESH_VARIABLES)
        self._defaults = {variable.name: variable.default for variable in variables}
        self._problems: list[str] = []

    def text(self, name: str) -> str:
        return self._environment.get(name, "").strip() or self._defaults[name]

    def secret(self, name: str) -> str:
        """Read a secret itself or, where only that is set, the file that holds it."""
        value = self._environment.get(name, "")
        path = self.text(name + "_FILE")
        if value or not path:
            return value
        try:
            value = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            self._problems.append(f"{name}_FILE: {path} can't be read ({reason})")
            return ""
        if not value:
            self._problems.append(f"{name}_FILE: {path} is empty")
        return value

    def url(self, name: str) -> str:
        text = self.text(name)
        if not text:
            self._problems.append(f"{name} is not set")
            return text
        try:
            parts = urlsplit(text)
            valid = parts.scheme in {"http", "https"} and bool(parts.hostname)
            valid = valid and not (parts.query or parts.fragment or re.search(r"\s", text))
            _ = parts.port
        except ValueError:
            valid = False
        if "@" in text:  # however it is malformed: what may be a password is not repeated
            self._problems.append(f"{name} must not hold a user name or password")
        elif not valid:
            self._problems.append(f"{name} must be like https://host/path, not {text!r}")
        return text.rstrip("/")

    def existing(self, name: str) -> Path | None:
        text = self.text(name)
        if not text:
            return None
        path = Path(text).absolute()
        try:
            path.stat()
        except OSError as error:
            self._problems.append(f"{name}: {text} can't be used ({error.strerror})")
        return path

    def writable(self, name: str) -> Path | None:
        """Parse the path of a file that will be replaced: a regular file, or none yet."""
        text = self.text(name)
        if not text:
            return None
        path = Path(text).absolute()
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            self._problems.append(f"{name}: {text} is not a regular file: choose another path")
        elif not os.access(path.parent, os.W_OK | os.X_OK):
            self._problems.append(f"{name}: {text} can't be written")
        return path

    def webhook(self, name: str) -> str:
        """Read an address that is a secret itself: whoever knows it may post to it."""
        text = self.secret(name).strip()
        try:
            parts = urlsplit(text)
            valid = parts.scheme in {"http", "https"} and bool(parts.hostname)
            valid = valid and not parts.fragment and "@" not in parts.netloc
            valid = valid and text.isascii() and text.isprintable() and " " not in text
            _ = parts.port
        except ValueError:
            valid = False
        if text and not valid:
            self._problems.append(f"{name} must be like https://host/path")
        return text

    def key(self, name: str) -> bytes:
        """Read a key: any text, or `whsec_` and the key in base64 (standardwebhooks.com)."""
        text = self.secret(name).strip()
        if not text.startswith("whsec_"):
            return text.encode(errors="surrogateescape")
        try:
            return base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except ValueError:
            self._problems.append(f"{name} is not base64 behind its whsec_")
            return b""

    def some_of(self, name: str, choices: tuple[str, ...]) -> frozenset[str]:
        found = frozenset(each.strip() for each in self.text(name).lower().split(","))
        if not found <= set(choices):
            self._problems.append(
                f"{name} must be of {', '.join(choices)}, not {self.text(name)!r}"
            )
        return found

    def folder(self, name: str) -> Path:
        text = self.text(name)
        if not text:
            self._problems.append(f"{name} is not set")
        return Path(text).absolute()

    def address(self, name: str) -> str:
        found = self.addresses(name)
        if len(found) > 1:
            self._problems.append(f"{name} must be one address")
        return "".join(found[:1])

    def addresses(self, name: str) -> tuple[str, ...]:
        found = tuple(self.text(name).split())
        if not all(re.match(r"https?://[^/]", address) for address in found):
            self._problems.append(f"{name} must be like https://host/path")  # it may be a secret
        return found

    def number(self, name: str, *, least: float, most: float, whole: bool = False) -> float:
        text = self.text(name)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or (whole and not value.is_integer()):
            kind = "a whole number" if whole else "a number"
            self._problems.append(f"{name} must be {kind} from {least} to {most}, not {text!r}")
            return least
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        text = self.text(name).lower()
        if text not in choices:
            self._problems.append(f"{name} must be {' or '.join(choices)}, not {text!r}")
            return choices[0]
        return text

    def shard(self, name: str) -> Shard:
        text = self.text(name)
        if not text and (count := self._environment.get("AVSCAN_SHARDS", "").strip()):
            name = "JOB_COMPLETION_INDEX/AVSCAN_SHARDS"
            text = f"{self._environment.get('JOB_COMPLETION_INDEX', '').strip()}/{count}"
        if not text:
            return Shard()
        match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
        if match is None or not int(match[1]) < int(match[2]):
            self._problems.append(f"{name} must be I/N with I from 0 to N-1, not {text!r}")
            return Shard()
        return Shard(index=int(match[1]), count=int(match[2]))

    def check_credentials(self, settings: Settings) -> None:
        if not _TOKEN.fullmatch(settings.token):
            self._problems.append("POCKETBASE_TOKEN is not a token: it has more than one word")
        if settings.token or self.text("POCKETBASE_TOKEN_FILE"):
            return
        if not settings.email:
            self._problems.append("POCKETBASE_SUPERUSER_EMAIL is not set")
        if not settings.password and not self.text("POCKETBASE_SUPERUSER_PASSWORD_FILE"):
            self._problems.append("POCKETBASE_SUPERUSER_PASSWORD is not set")

    def check_sources(self, settings: RefreshSettings) -> None:
        if not (settings.official or settings.custom):
            self._problems.append("DATABASE_CUSTOM_URL is not set, and DATABASE_MIRROR is none")

    def finish(self) -> None:
        if self._problems:
            raise SettingsError("; ".join(self._problems))
