"""The settings: values, defaults, errors and secrets."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avscan.errors import SettingsError
from avscan.settings import VARIABLES, LogFormat, Policy, Settings, Shard
from avscan.variables import Variable

SECRET = "hunter2-the-secret"
SECRET_URL = f"https://hooks.example.com/services/T000/{SECRET}?token={SECRET}"
LEAST = {
    "POCKETBASE_URL": "https://backend.example.com",
    "POCKETBASE_SUPERUSER_EMAIL": "root@example.com",
    "POCKETBASE_SUPERUSER_PASSWORD": SECRET,
}


def problem(**environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.parse(LEAST | environment)
    return str(caught.value)


def test_a_minimal_environment_gives_the_defaults() -> None:
    assert Settings.parse(LEAST) == Settings(
        url="https://backend.example.com",
        email="root@example.com",
        password=SECRET,
        token="",
        clamscan="clamscan",
        signatures=Path("/var/lib/clamav"),
        canary=None,
        work_dir=Path("/tmp/zapuskalka-av-scans"),
        max_retries=3,
        log_level="info",
        log_format=LogFormat.AUTO,
        scan_timeout=3600.0,
        stuck_after=90.0,
        max_signature_age=7.0,
        opaque_content=Policy.NOTE,
        oversize_content=Policy.ERROR,
        rescan_after=0.0,
        metrics_file=None,
        webhook_url="",
        webhook_secret=b"",
        webhook_events=frozenset({"infected", "error", "pass_failed"}),
        shard=Shard(index=0, count=1),
        source="",
        custom=(),
    )


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("POCKETBASE_URL", "http://localhost:8090", "url", "http://localhost:8090"),
        ("POCKETBASE_URL", "http://localhost:8090/", "url", "http://localhost:8090"),
        ("POCKETBASE_URL", "https://example.com/backend/", "url", "https://example.com/backend"),
        ("POCKETBASE_URL", "https://example.com/a/b", "url", "https://example.com/a/b"),
        ("POCKETBASE_URL", "http://[::1]:8090", "url", "http://[::1]:8090"),
        ("POCKETBASE_URL", "  http://localhost  ", "url", "http://localhost"),
        ("POCKETBASE_SUPERUSER_EMAIL", "a@b.example", "email", "a@b.example"),
        ("POCKETBASE_SUPERUSER_PASSWORD", "  spaces count ", "password", "  spaces count "),
        ("POCKETBASE_TOKEN", "header.payload.signature", "token", "header.payload.signature"),
        ("POCKETBASE_TOKEN", "header.payload.signature\n", "token", "header.payload.signature"),
        ("CLAMSCAN_PATH", "/opt/bin/clamscan", "clamscan", "/opt/bin/clamscan"),
        ("SIGNATURE_DIR", "/", "signatures", Path("/")),
        ("CANARY_FILE", "/dev/null", "canary", Path("/dev/null")),
        ("WORK_DIR", "/scratch", "work_dir", Path("/scratch")),
        ("MAX_RETRIES", "1", "max_retries", 1),
        ("MAX_RETRIES", "20", "max_retries", 20),
        ("LOG_LEVEL", "debug", "log_level", "debug"),
        ("LOG_LEVEL", "WARN", "log_level", "warn"),
        ("LOG_FORMAT", "json", "log_format", LogFormat.JSON),
        ("LOG_FORMAT", "Text", "log_format", LogFormat.TEXT),
        ("SCAN_TIMEOUT", "1", "scan_timeout", 1.0),
        ("SCAN_TIMEOUT", "86400", "scan_timeout", 86_400.0),
        ("STUCK_AFTER", "30", "stuck_after", 30.0),
        ("STUCK_AFTER", "90.5", "stuck_after", 90.5),
        ("MAX_SIGNATURE_AGE", "0", "max_signature_age", 0.0),
        ("OPAQUE_CONTENT", "error", "opaque_content", Policy.ERROR),
        ("OVERSIZE_CONTENT", "note", "oversize_content", Policy.NOTE),
        ("RESCAN_AFTER", "30", "rescan_after", 30.0),
        ("SHARD", "0/1", "shard", Shard(index=0, count=1)),
        ("SHARD", "2/3", "shard", Shard(index=2, count=3)),
    ],
)
def test_a_valid_value_is_parsed(name: str, text: str, field: str, value: object) -> None:
    assert getattr(Settings.parse(LEAST | {name: text}), field) == value


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("POCKETBASE_URL", "", "POCKETBASE_URL is not set"),
        ("POCKETBASE_URL", "localhost:8090", "must be like https://host/path"),
        ("POCKETBASE_URL", "ftp://example.com", "must be like https://host/path"),
        ("POCKETBASE_URL", "https://", "must be like https://host/path"),
        ("POCKETBASE_URL", "https:///path", "must be like https://host/path"),
        ("POCKETBASE_URL", "https://example.com/?a=b", "must be like https://host/path"),
        ("POCKETBASE_URL", "https://example.com/#a", "must be like https://host/path"),
        ("POCKETBASE_URL", "https://example.com/a b", "must be like https://host/path"),
        ("POCKETBASE_URL", "https://example.com:port", "must be like https://host/path"),
        ("POCKETBASE_URL", "https://example.com:99999", "must be like https://host/path"),
        ("POCKETBASE_URL", "http://[::1", "must be like https://host/path"),
        ("POCKETBASE_SUPERUSER_EMAIL", "", "POCKETBASE_SUPERUSER_EMAIL is not set"),
        ("POCKETBASE_SUPERUSER_PASSWORD", "", "POCKETBASE_SUPERUSER_PASSWORD is not set"),
        ("POCKETBASE_TOKEN", "two words", "POCKETBASE_TOKEN is not a token"),
        ("POCKETBASE_TOKEN", "tökén", "POCKETBASE_TOKEN is not a token"),
        ("CANARY_FILE", "/" + "x" * 300, "File name too long"),
        ("CANARY_FILE", "/does/not/exist", "CANARY_FILE: /does/not/exist can't be used"),
        ("MAX_RETRIES", "0", "MAX_RETRIES must be a whole number from 1 to 20, not '0'"),
        ("MAX_RETRIES", "21", "MAX_RETRIES"),
        ("MAX_RETRIES", "2.5", "MAX_RETRIES"),
        ("MAX_RETRIES", "three", "MAX_RETRIES"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL must be debug or info or warn or error, not 'loud'"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT must be auto or json or text"),
        ("SCAN_TIMEOUT", "0", "SCAN_TIMEOUT must be a number from 1 to 86400, not '0'"),
        ("SCAN_TIMEOUT", "nan", "SCAN_TIMEOUT"),
        ("SCAN_TIMEOUT", "inf", "SCAN_TIMEOUT"),
        ("STUCK_AFTER", "29", "STUCK_AFTER must be a number from 30"),
        ("MAX_SIGNATURE_AGE", "-1", "MAX_SIGNATURE_AGE must be a number from 0"),
        ("OPAQUE_CONTENT", "ignore", "OPAQUE_CONTENT must be note or error, not 'ignore'"),
        ("OVERSIZE_CONTENT", "clean", "OVERSIZE_CONTENT must be note or error"),
        ("RESCAN_AFTER", "-1", "RESCAN_AFTER must be a number from 0"),
        ("SHARD", "3/3", "SHARD must be I/N with I from 0 to N-1, not '3/3'"),
        ("SHARD", "0/0", "SHARD must be I/N"),
        ("SHARD", "1", "SHARD must be I/N"),
        ("SHARD", "-1/3", "SHARD must be I/N"),
        ("AVSCAN_SHARDS", "3", "JOB_COMPLETION_INDEX/AVSCAN_SHARDS must be I/N"),
    ],
)
def test_the_error_about_a_malformed_value_names_its_variable(
    name: str, text: str, words: str
) -> None:
    assert words in problem(**{name: text})


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_an_empty_variable_counts_as_not_set(variable: Variable) -> None:
    if variable.name in LEAST:
        assert f"{variable.name} is not set" in problem(**{variable.name: ""})
    else:
        assert Settings.parse(LEAST | {variable.name: ""}) == Settings.parse(LEAST)


def test_all_problems_are_listed_in_one_line() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.parse({"MAX_RETRIES": "many", "LOG_LEVEL": "loud", "CANARY_FILE": "/not/there"})
    text = str(caught.value)
    assert "\n" not in text
    for name in ("MAX_RETRIES", "LOG_LEVEL", "CANARY_FILE", *LEAST):
        assert name in text


def test_unknown_variables_are_ignored() -> None:
    assert Settings.parse(LEAST | {"HTTP_PROXY": "x", "MAX_RETRY": "9"}) == Settings.parse(LEAST)


# -- shards ---------------------------------------------------------------------------------------


def test_an_indexed_job_sets_the_shard() -> None:
    job = {"AVSCAN_SHARDS": "4", "JOB_COMPLETION_INDEX": "3"}
    assert Settings.parse(LEAST | job).shard == Shard(index=3, count=4)
    assert Settings.parse(LEAST | job | {"SHARD": "1/2"}).shard == Shard(index=1, count=2)


@given(build=st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=15, max_size=15))
@example(build="000000000000000")
def test_every_build_is_in_exactly_one_shard(build: str) -> None:
    for count in range(1, 9):
        shards = [Shard(index=index, count=count) for index in range(count)]
        assert sum(shard.holds(build) for shard in shards) == 1


# -- secrets --------------------------------------------------------------------------------------


def test_a_token_needs_neither_email_nor_password() -> None:
    settings = Settings.parse({"POCKETBASE_URL": "http://localhost", "POCKETBASE_TOKEN": "a.b.c"})
    assert settings.token == "a.b.c"


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("POCKETBASE_SUPERUSER_PASSWORD", "password"),
        ("POCKETBASE_TOKEN", "token"),
        ("WEBHOOK_URL", "webhook_url"),
    ],
)
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_is_read_from_its_file_without_the_trailing_newline(
    tmp_path: Path, name: str, field: str, ending: str
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET_URL.encode() + ending.encode())
    settings = Settings.parse(LEAST | {name: "", name + "_FILE": str(file)})
    assert getattr(settings, field) == SECRET_URL


def test_a_variable_overrides_its_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from the file")
    settings = Settings.parse(LEAST | {"POCKETBASE_SUPERUSER_PASSWORD_FILE": str(file)})
    assert settings.password == SECRET


@pytest.mark.parametrize("name", ["POCKETBASE_SUPERUSER_PASSWORD", "POCKETBASE_TOKEN"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't be read (No such file or directory)"),
        (b"\xff\xfe", "can't be read (not UTF-8 text)"),
        (b"", "is empty"),
        (b"\n", "is empty"),
    ],
)
def test_an_unusable_secret_file_is_the_only_problem(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    text = problem(**{"POCKETBASE_SUPERUSER_PASSWORD": "", name + "_FILE": str(file)})
    assert text == f"{name}_FILE: {file} {words}"


@pytest.mark.parametrize("name", [each.name for each in VARIABLES if each.secret])
@pytest.mark.parametrize("command", ["run", "refresh"])
def test_the_repr_contains_no_secret(name: str, command: str) -> None:
    settings = Settings.parse(LEAST | {name: SECRET_URL}, command=command)
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        f"https://root:{SECRET}@example.com",
        f"https://{SECRET}@example.com",
        f"https://root:{SECRET}@example.com:port/",
        f"root:{SECRET}@example.com",
        f"https://root:{SECRET}@[::1",
    ],
)
def test_the_error_about_a_url_with_credentials_does_not_contain_them(url: str) -> None:
    text = problem(POCKETBASE_URL=url)
    assert text == "POCKETBASE_URL must not hold a user name or password"


@pytest.mark.parametrize("token", [f"{SECRET} {SECRET}", f"{SECRET}\n{SECRET}", f"{SECRET}\xa0"])
def test_the_error_about_a_malformed_token_does_not_contain_it(token: str) -> None:
    text = problem(POCKETBASE_TOKEN=token + "x")
    assert SECRET not in text


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_every_variable_has_an_option_and_a_help_text(variable: Variable) -> None:
    assert variable.option == "--" + variable.name.lower().replace("_", "-")
    assert variable.help.endswith(".")


def test_secrets_have_no_option() -> None:
    secret = {variable.name for variable in VARIABLES if variable.secret}
    assert secret == {
        *("POCKETBASE_SUPERUSER_PASSWORD", "POCKETBASE_TOKEN"),
        *("WEBHOOK_URL", "WEBHOOK_SECRET", "DATABASE_CUSTOM_URL"),
    }


# -- the webhook and the metrics ------------------------------------------------------------------


def test_a_key_is_text_or_base64() -> None:
    for text in ("hidden", "whsec_aGlkZGVu"):
        assert Settings.parse(LEAST | {"WEBHOOK_SECRET": text}).webhook_secret == b"hidden"
    assert problem(WEBHOOK_SECRET="whsec_?") == "WEBHOOK_SECRET is not base64 after its whsec_"


@pytest.mark.parametrize(
    "address",
    [
        "hooks.example.com/hidden",
        "ftp://hooks.example.com/hidden",
        "https:///hidden",
        "https://hooks.example.com:port/hidden",
        "https://hidden@hooks.example.com/",
        "https://hooks.example.com/hid den",
        "https://hooks.example.com/hidden#part",
    ],
)
def test_the_error_about_a_malformed_webhook_url_does_not_contain_it(address: str) -> None:
    assert problem(WEBHOOK_URL=address) == "WEBHOOK_URL must be like https://host/path"


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("infected", {"infected"}),
        ("pass_failed", {"pass_failed"}),
        ("Infected, pass_failed", {"infected", "pass_failed"}),
        ("clean,error", {"clean", "error"}),
    ],
)
def test_webhook_events_are_a_comma_separated_list(text: str, events: set[str]) -> None:
    assert Settings.parse(LEAST | {"WEBHOOK_EVENTS": text}).webhook_events == events


def test_the_error_about_an_unknown_event_lists_the_known_ones() -> None:
    said = problem(WEBHOOK_EVENTS="infected,started")
    assert said == (
        "WEBHOOK_EVENTS must be a list of infected, error, clean, pass_failed, not 'infected,started'"
    )


def test_the_folder_of_the_metrics_file_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "avscan.prom"
    assert Settings.parse(LEAST | {"METRICS_FILE": str(path)}).metrics_file == path
    missing = str(tmp_path / "missing" / "avscan.prom")
    assert problem(METRICS_FILE=missing).startswith(f"METRICS_FILE: the folder of {missing} is ")


@pytest.mark.parametrize(
    "kind", ["a folder", "a device", "a pipe", "a link to a file", "a dangling link"]
)
def test_a_metrics_file_that_exists_must_be_a_regular_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "avscan.prom"
    match kind:
        case "a folder":
            path.mkdir()
        case "a device":
            path = Path("/dev/full")
        case "a pipe":
            os.mkfifo(path)
        case "a link to a file":
            (tmp_path / "target").write_text("")
            path.symlink_to(tmp_path / "target")
        case _:
            path.symlink_to(tmp_path / "missing")
    said = problem(METRICS_FILE=str(path))
    assert said == f"METRICS_FILE: {path} is not a regular file: choose another path"


@given(text=st.text(max_size=30))
@example(text="1_0")
@example(text="٣")
def test_a_number_is_in_its_range_or_refused(text: str) -> None:
    try:
        settings = Settings.parse(LEAST | {"STUCK_AFTER": text, "MAX_RETRIES": text})
    except SettingsError as error:
        assert "STUCK_AFTER" in str(error) or "MAX_RETRIES" in str(error)  # noqa: PT017
    else:
        assert 30 <= settings.stuck_after <= 86_400
        assert not math.isnan(settings.stuck_after)
        assert 1 <= settings.max_retries <= 20


@given(
    text=st.text(max_size=40) | st.from_regex(r"https?://[^/]{0,10}(:\w*)?(/.*)?", fullmatch=True)
)
def test_a_url_is_valid_or_refused(text: str) -> None:
    try:
        settings = Settings.parse(LEAST | {"POCKETBASE_URL": text})
    except SettingsError as error:
        assert "POCKETBASE_URL" in str(error)  # noqa: PT017
    else:
        assert settings.url.lower().startswith(("http://", "https://"))
        assert not settings.url.endswith("/")


def test_a_command_ignores_the_settings_of_the_others() -> None:
    environment = LEAST | {"METRICS_FILE": "/no/such/folder/file", "SCAN_TIMEOUT": "soon"}
    assert Settings.parse(environment, command="history") == Settings.parse(LEAST)
    with pytest.raises(SettingsError, match=r"SCAN_TIMEOUT.*METRICS_FILE"):
        Settings.parse(environment, command="run")


def test_without_credentials_the_error_names_all_that_can_be_set() -> None:
    without = {"POCKETBASE_URL": "https://a"}
    login = "POCKETBASE_SUPERUSER_EMAIL and POCKETBASE_SUPERUSER_PASSWORD"
    with pytest.raises(SettingsError, match=f"no credentials: set POCKETBASE_TOKEN, or {login}"):
        Settings.parse(without)
    with pytest.raises(SettingsError, match=r"\APOCKETBASE_SUPERUSER_PASSWORD is not set\Z"):
        Settings.parse(without | {"POCKETBASE_SUPERUSER_EMAIL": "a@b.example"})


def test_an_empty_token_is_named_where_credentials_are_missing() -> None:
    with pytest.raises(SettingsError, match=r"POCKETBASE_TOKEN is empty\Z"):
        Settings.parse({"POCKETBASE_URL": "https://a", "POCKETBASE_TOKEN": ""})


def test_a_file_for_what_is_no_secret_does_not_set_it(tmp_path: Path) -> None:
    file = tmp_path / "email"
    file.write_text("root@example.com")
    environment = LEAST | {"POCKETBASE_SUPERUSER_EMAIL": ""}
    with pytest.raises(SettingsError, match="POCKETBASE_SUPERUSER_EMAIL is not set"):
        Settings.parse(environment | {"POCKETBASE_SUPERUSER_EMAIL_FILE": str(file)})
