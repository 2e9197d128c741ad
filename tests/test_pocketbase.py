"""The client for PocketBase, with scripted answers and with real servers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from support.backend import Backend
from support.proxy import Delay, Drip, Proxy, Skew, request_to
from support.scripted import (
    NOW,
    PASSWORD,
    Answer,
    Scripted,
    items,
    refusal,
    reply,
    scripted,
    signed_in,
    token,
)

from avscan.backend import pocketbase
from avscan.backend.answers import Rejected, Row
from avscan.backend.pocketbase import PAGE, PocketBase, any_of, check_id
from avscan.backend.session import GUARD, Password, Token
from avscan.backend.transport import ON_SIGNAL, RetryPolicy
from avscan.errors import AvscanError, BackendError, SchemaError, SignInError
from avscan.records import format_time, parse_time

SIGN_IN = "/api/collections/_superusers/auth-with-password"
PROOF = "/api/collections/_superusers/records"
ROWS = "/api/collections/things/records"
ROW = f"{ROWS}/abc"
GUEST = refusal(403, "Only superusers can filter by @request.")
MISSING = refusal(404, "The requested resource wasn't found.")
HTML = Answer(body=b"<!doctype html>", headers={"Content-Type": "text/html"})


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


# -- signing in -----------------------------------------------------------------------------------


def test_a_password_is_exchanged_for_a_token_once(server: Scripted) -> None:
    server.say(signed_in(), items(), items())
    client = server.with_password()
    client.page("things")
    client.page("things")
    assert server.asked == [("POST", SIGN_IN), ("GET", ROWS), ("GET", ROWS)]
    assert server.requests[0].json == {"identity": "root@example.com", "password": PASSWORD}
    assert "Authorization" not in server.requests[0].headers
    assert [request.headers["Authorization"] for request in server.requests[1:]] == [token()] * 2


def test_a_token_is_verified_by_a_guarded_list(server: Scripted) -> None:
    server.say(items({"id": "abc"}))
    server.client().sign_in()
    assert server.asked == [("GET", "/api/collections/_superusers/records")]
    assert server.requests[0].query["filter"] == GUARD


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (refusal(400, "Failed to authenticate."), SignInError, "email or password"),
        (refusal(403), SignInError, "email or password: .*; or its setting 'Superuser IPs'"),
        (reply({"mfaId": "abc"}, 401), SignInError, "second factor"),
        (refusal(404), BackendError, "version 0.23 or newer"),
        (HTML, BackendError, "did not answer with JSON"),
        (reply([]), BackendError, "answered 200"),
        (reply({"record": {}}), BackendError, "no 'token'"),
        (reply({"token": ""}), BackendError, "no 'token'"),
    ],
)
def test_a_refused_sign_in_has_a_remedy_and_is_not_retried(
    server: Scripted, answer: Answer, error: type[AvscanError], words: str
) -> None:
    server.say(answer)
    with pytest.raises(error, match=words):
        server.with_password().sign_in()
    assert len(server.requests) == 1


def test_a_rate_limited_sign_in_is_retried(server: Scripted) -> None:
    server.say(Answer(status=429), signed_in())
    server.with_password().sign_in()
    assert server.asked == [("POST", SIGN_IN)] * 2


# -- sessions -------------------------------------------------------------------------------------


def test_an_expired_token_is_renewed_once_and_the_request_repeated(server: Scripted) -> None:
    server.say(signed_in("first"), GUEST, GUEST, signed_in("second"), items({"id": "abc"}))
    client = server.with_password()
    assert client.page("things") == [{"id": "abc"}]
    assert [path for _, path in server.asked] == [SIGN_IN, ROWS, PROOF, SIGN_IN, ROWS]
    assert server.requests[-1].headers["Authorization"] == token("second")


@pytest.mark.parametrize("status", [401, 403])
def test_a_request_that_is_refused_to_a_new_session_too_is_rejected(
    server: Scripted, status: int
) -> None:
    """A proxy may remove the token from all requests."""
    server.say(signed_in(), *[refusal(status)] * 2, signed_in("second"), refusal(status))
    with pytest.raises(Rejected, match=r"a hook or a proxy answers GET"):
        server.with_password().page("things")
    assert [path for _, path in server.asked] == [SIGN_IN, ROWS, PROOF, SIGN_IN, ROWS]


def test_a_refused_token_can_not_be_renewed(server: Scripted) -> None:
    server.say(GUEST, GUEST)
    with pytest.raises(SignInError, match="POCKETBASE_TOKEN"):
        server.client().page("things")
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b"No.", b"[" * 9, b'{"data": {"id": {"code": "x"}}}'])
@pytest.mark.parametrize(
    "write",
    [
        lambda client: client.create("things", {}),
        lambda client: client.update("things", "abc", {}),
        lambda client: client.delete("things", "abc"),
    ],
)
def test_a_refused_write_does_not_end_a_superusers_session(
    server: Scripted, status: int, body: bytes, write: Callable[[PocketBase], object]
) -> None:
    """The refusal comes from a hook or a proxy; it does not show that the record is gone."""
    refused = Answer(status=status, body=body)
    server.say(refused, items({"id": "root"}), refused)
    with pytest.raises(
        Rejected, match=f"with {status}, though this account is a superuser"
    ) as caught:
        write(server.client())
    assert caught.value.codes == {}
    first, proof, second = [path for _, path in server.asked]
    assert (first, proof) == (second, PROOF)


def test_a_refused_write_is_unverified_if_the_list_fails(server: Scripted) -> None:
    server.say(refusal(403), HTML)
    with pytest.raises(BackendError, match="did not answer with JSON"):
        server.client().create("things", {})


def test_a_call_on_a_signal_signs_in_at_most_once(server: Scripted) -> None:
    """After a signal the process has five seconds, so a sign-in is part of the attempt."""
    client = server.with_password()
    server.say(signed_in(), GUEST, GUEST, *[Answer(status=503)] * 9)
    client.sign_in()
    with pytest.raises(BackendError, match="503"):
        client.page("things", policy=ON_SIGNAL)
    assert [path for _, path in server.asked] == [SIGN_IN, ROWS, PROOF, SIGN_IN]
    assert server.slept == []


def test_a_call_on_a_signal_does_not_wait_for_another_threads_sign_in(server: Scripted) -> None:
    client = server.with_password()
    held = threading.Event()

    def hold() -> None:
        with client.session.lock:
            held.set()
            done.wait()

    done = threading.Event()
    hanging = threading.Thread(target=hold)
    hanging.start()
    held.wait()
    try:
        with pytest.raises(BackendError, match="sign-in takes too long"):
            client.page("things", policy=RetryPolicy(attempts=1, timeout=0.01))
    finally:
        done.set()
        hanging.join()
    assert server.requests == []


def test_a_guest_never_gets_an_empty_list(server: Scripted) -> None:
    server.say(items(), items())
    client = server.client()
    client.page("things")
    client.page("things", where='a = "b" || c = "d"')
    assert [request.query["filter"] for request in server.requests] == [
        GUARD,
        f'(a = "b" || c = "d") && {GUARD}',
    ]


# -- lists ----------------------------------------------------------------------------------------


def test_a_page_is_requested_without_a_total(server: Scripted) -> None:
    server.say(items())
    server.client().page("things", sort="-created", fields=("id", "log"), expand="build", limit=5)
    assert server.requests[0].query == {
        "perPage": "5",
        "skipTotal": "1",
        "filter": GUARD,
        "sort": "-created",
        "fields": "id,log",
        "expand": "build",
    }


def test_all_rows_are_listed_by_key(server: Scripted) -> None:
    rows = [{"id": f"{number:015}"} for number in range(PAGE + 1)]
    server.say(items(*rows[:PAGE]), items(*rows[PAGE:]))
    assert list(server.client().rows("things", where="a = 1")) == rows
    assert [request.query["filter"] for request in server.requests] == [
        f'((a = 1) && id > "") && {GUARD}',
        f'((a = 1) && id > "{rows[PAGE - 1]["id"]}") && {GUARD}',
    ]
    assert {request.query["sort"] for request in server.requests} == {"id"}


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (MISSING, SchemaError, "no collection things"),
        (refusal(400, "Something went wrong."), Rejected, "Something went wrong"),
        (HTML, BackendError, "did not answer with JSON"),
        (Answer(status=404, body=b"<html>"), BackendError, "did not answer with JSON"),
        (reply({"rows": []}), BackendError, "without items"),
        (reply({"items": {}}), BackendError, "without items"),
        (Answer(status=418, body=b"{}"), BackendError, "answered 418"),
        (Answer(status=204), BackendError, "did not answer with JSON"),
        (Answer(body=b"[" * 200_000), BackendError, "did not answer with JSON"),
        (Answer(body=b'{"a":' * 200_000), BackendError, "did not answer with JSON"),
        (Answer(body=b'{"items": ' + b"9" * 5000 + b"}"), BackendError, "did not answer with JSON"),
        (Answer(body=b'{"items": NaN}'), BackendError, "did not answer with JSON"),
        (Answer(body=b"\xff\xfe"), BackendError, "did not answer with JSON"),
    ],
)
def test_an_answer_without_items_is_not_an_empty_list(
    server: Scripted, answer: Answer, error: type[AvscanError], words: str
) -> None:
    server.say(answer)
    with pytest.raises(error, match=words):
        server.client().page("things")
    assert len(server.requests) == 1


def test_a_truncated_list_is_requested_again(server: Scripted) -> None:
    whole = items({"id": "abc"})
    server.say(Answer(body=whole.body, cut=10), whole)
    assert server.client().page("things") == [{"id": "abc"}]


@pytest.mark.parametrize("ask", [PocketBase.page, PocketBase.count])
def test_a_query_that_timed_out_is_retried_and_a_malformed_one_is_not(
    server: Scripted, monkeypatch: pytest.MonkeyPatch, ask: Callable[[PocketBase, str], object]
) -> None:
    monkeypatch.setattr(pocketbase, "QUERY_TIMEOUT", 0.2)
    server.say(Answer(status=400, body=b"{}", delay=0.3), refusal(400), items())
    with pytest.raises(Rejected):
        ask(server.client(), "things")
    assert len(server.requests) == 2


def test_a_count_is_the_total(server: Scripted) -> None:
    server.say(reply({"items": [], "totalItems": 12}))
    assert server.client().count("things", where="a = 1") == 12
    assert server.requests[0].query["filter"] == f"(a = 1) && {GUARD}"


@pytest.mark.parametrize("total", ["", "NaN", "Infinity", "1e999", '"7"', "null"])
def test_a_count_needs_a_total(server: Scripted, total: str) -> None:
    server.say(Answer(body=f'{{"totalItems": {total}}}'.encode() if total else b"{}"))
    with pytest.raises(BackendError, match=r"without a total|did not answer with JSON"):
        server.client().count("things")


# -- writes ---------------------------------------------------------------------------------------


def test_an_update_sends_the_values_and_returns_the_row(server: Scripted) -> None:
    server.say(reply({"id": "abc", "a": 1}))
    assert server.client().update("things", "abc", {"a": 1}) == {"id": "abc", "a": 1}
    assert server.asked == [("PATCH", ROW)]
    assert server.requests[0].json == {"a": 1}


def test_a_404_means_deleted_if_a_guarded_list_confirms_it(server: Scripted) -> None:
    server.say(MISSING, items())
    assert server.client().update("things", "abc", {}) is None
    assert server.asked == [("PATCH", ROW), ("GET", ROWS)]
    assert server.requests[1].query["filter"] == f'(id = "abc") && {GUARD}'


def test_a_404_of_an_existing_record_is_retried(server: Scripted) -> None:
    server.say(MISSING, items({"id": "abc"}), reply({"id": "abc"}))
    assert server.client().update("things", "abc", {}) == {"id": "abc"}


def test_a_404_of_an_expired_session_renews_it_first(server: Scripted) -> None:
    server.say(signed_in(), MISSING, GUEST, GUEST, signed_in("second"), items({"id": "abc"}))
    server.say(reply({"id": "abc"}))
    assert server.with_password().update("things", "abc", {}) == {"id": "abc"}
    assert server.requests[-1].headers["Authorization"] == token("second")


def test_the_deletion_of_a_missing_record_succeeds_once_confirmed(server: Scripted) -> None:
    server.say(Answer(status=204), MISSING, items())
    client = server.client()
    client.delete("things", "abc")
    client.delete("things", "abc")
    assert server.asked == [("DELETE", ROW), ("DELETE", ROW), ("GET", ROWS)]


def test_a_refused_deletion_is_rejected(server: Scripted) -> None:
    server.say(refusal(400, "It is referenced."))
    with pytest.raises(Rejected, match=r"It is referenced\."):
        server.client().delete("things", "abc")


def test_a_refused_field_is_named_with_its_code_and_not_retried(server: Scripted) -> None:
    body = {"message": "No.", "data": {"log": {"code": "too_long", "params": {"max": 9}}, "x": 1}}
    server.say(reply(body, 400))
    with pytest.raises(Rejected, match=r"PocketBase refused: No\. \(log: too_long\)") as caught:
        server.client().create("things", {})
    assert caught.value.codes == {"log": "too_long"}
    assert caught.value.params == {"log": {"max": 9}}
    assert len(server.requests) == 1


def test_a_refusal_without_a_field_verifies_the_session_and_is_retried(server: Scripted) -> None:
    server.say(signed_in(), refusal(400, "Failed to create record."), GUEST, signed_in("second"))
    server.say(reply({"id": "abc"}))
    assert server.with_password().create("things", {}) == {"id": "abc"}
    assert [path for _, path in server.asked] == [SIGN_IN, ROWS, PROOF, SIGN_IN, ROWS]


def test_a_create_whose_answer_was_lost_is_a_duplicate_on_retry(server: Scripted) -> None:
    server.say(Answer(reset=True), refusal(400, id="validation_not_unique"))
    with pytest.raises(Rejected) as caught:
        server.client().create("things", {"id": "abc"})
    assert caught.value.codes == {"id": "validation_not_unique"}


def test_a_write_is_confirmed_before_each_retry(server: Scripted) -> None:
    asked: list[int] = []

    def confirm(_policy: RetryPolicy) -> bool:
        asked.append(len(server.requests))
        return True

    server.say(Answer(status=503), Answer(reset=True), reply({"id": "abc"}))
    assert server.client().update("things", "abc", {}, confirm=confirm) == {"id": "abc"}
    assert asked == [1, 2]


def test_a_write_that_is_not_confirmed_is_not_retried(server: Scripted) -> None:
    server.say(Answer(status=503))
    assert server.client().update("things", "abc", {}, confirm=lambda _: False) is None
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [reply({}), reply({"id": 7}), HTML, reply("abc")])
def test_a_write_answered_without_a_record_is_an_error(server: Scripted, answer: Answer) -> None:
    server.say(answer)
    with pytest.raises(BackendError):
        server.client().update("things", "abc", {})


@pytest.mark.parametrize("record", ["", "../x", "a/b", 'a"', "a b", "abc\n"])
def test_an_invalid_id_is_not_used_in_a_path_or_a_filter(server: Scripted, record: str) -> None:
    for call in (
        lambda: server.client().update("things", record, {}),
        lambda: server.client().delete("things", record),
        lambda: server.client().open_file("things", record, "name"),
        lambda: check_id(record),
        lambda: any_of("build", ["abc", record]),
    ):
        with pytest.raises(BackendError, match="is not a record id"):
            call()
    assert server.requests == []


def test_a_filter_for_several_ids_contains_each() -> None:
    assert any_of("build", ["a", "b"]) == 'build = "a" || build = "b"'


# -- collections ----------------------------------------------------------------------------------


def test_a_collection_is_read_or_missing(server: Scripted) -> None:
    server.say(reply({"id": "x"}), MISSING, Answer(status=404, body=b"<html>"))
    assert server.client().collection("things") == {"id": "x"}
    assert server.client().collection("things") is None
    with pytest.raises(BackendError, match="did not answer with JSON"):
        server.client().collection("things")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.create_collection({}),
        lambda client: client.update_collection("things", {}),
    ],
)
def test_a_refused_definition_has_a_reason(
    server: Scripted, call: Callable[[PocketBase], object]
) -> None:
    server.say(refusal(400, indexes="validation_invalid"))
    with pytest.raises(Rejected, match="indexes: validation_invalid"):
        call(server.client())


# -- the server's clock ------------------------------------------------------------------------------


@pytest.mark.parametrize("write", ["create", "update"])
def test_updated_of_a_written_record_is_the_servers_time(server: Scripted, write: str) -> None:
    stamp = datetime.fromtimestamp(NOW - 300, UTC)  # the header is five minutes ahead
    server.say(reply({"id": "abc", "updated": format_time(stamp)}), items())
    client = server.client()
    if write == "create":
        client.create("things", {})
    else:
        client.update("things", "abc", {})
    client.page("things")
    assert timedelta() <= client.server_time() - stamp < timedelta(seconds=5)


@pytest.mark.parametrize("updated", ["", "yesterday", 7, None, "9999-12-31 23:59:59.999Z"])
def test_without_updated_in_a_record_the_date_header_counts(
    server: Scripted, updated: object
) -> None:
    server.say(reply({"id": "abc", "updated": updated}))
    client = server.client()
    client.update("things", "abc", {})
    assert abs(client.server_time().timestamp() - NOW) < 5


# -- secrets --------------------------------------------------------------------------------------


FAILURES = [
    *(Answer(status=status, body=b"no") for status in (301, 400, 401, 403, 404, 418, 429, 500)),
    Answer(status=302, headers={"Location": "https://elsewhere.example/"}),
    HTML,
    Answer(reset=True),
    Answer(body=b"{" + b"x" * 99, cut=5),
    GUEST,
    MISSING,
    refusal(400),
    reply({}),
]


@pytest.mark.parametrize("failure", FAILURES, ids=range(len(FAILURES)))
def test_no_error_and_no_log_contains_a_secret(
    server: Scripted, caplog: pytest.LogCaptureFixture, failure: Answer
) -> None:
    caplog.set_level(logging.DEBUG, logger="avscan")
    errors: list[str] = []
    calls: list[Callable[[PocketBase], object]] = [
        lambda client: client.sign_in(),
        lambda client: client.page("things"),
        lambda client: client.create("things", {}),
        lambda client: client.update("things", "abc", {}),
        lambda client: client.delete("things", "abc"),
        lambda client: client.retry(lambda _: client.open_file("things", "abc", "name")),
    ]
    for call in calls:
        for client, before in ((server.with_password(), [signed_in()]), (server.client(), [])):
            server.answers.clear()
            server.say(*before, *[failure] * 9)
            try:
                call(client)
            except AvscanError as error:
                errors += [str(error), repr(error)]
    logged = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert errors
    for text in [*errors, *logged]:
        assert PASSWORD not in text
        assert token() not in text


@pytest.mark.parametrize(
    "credentials", [Password(identity="root@example.com", password=PASSWORD), Token(token=PASSWORD)]
)
def test_the_repr_of_credentials_has_no_secret(credentials: Password | Token) -> None:
    assert PASSWORD not in repr(credentials)


# -- real servers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wrong", "player's", "none of its own"])
def test_a_token_that_is_not_a_superusers_is_refused(every_backend: Backend, kind: str) -> None:
    backend = every_backend
    backend.upload({"a.txt": b"a game"})
    given = {
        "wrong": "not.a.token",
        "player's": backend.sign_up().token,
        "none of its own": token(),
    }[kind]
    questions: list[Callable[[PocketBase], object]] = [
        lambda client: client.sign_in(),
        lambda client: client.page("app_builds"),
        lambda client: list(client.rows("app_builds")),
        lambda client: client.count("app_builds"),
        lambda client: client.update("app_builds", "abcdefghijklmno", {}),
        lambda client: client.create("app_builds", {}),
        lambda client: client.delete("app_builds", "abcdefghijklmno"),
    ]
    for ask in questions:
        with pytest.raises(SignInError):
            ask(backend.client(credentials=Token(token=given), policy=RetryPolicy(attempts=1)))


def test_a_wrong_password_and_another_account_are_refused(every_backend: Backend) -> None:
    player = every_backend.sign_up()
    for identity, password in (
        (every_backend.email, "wrong"),
        (player.email, player.password),
    ):
        credentials = Password(identity=identity, password=password)
        with pytest.raises(SignInError, match="email or password"):
            every_backend.client(credentials=credentials).sign_in()


@pytest.mark.parametrize("way", ["password", "token", "session"])
def test_the_error_at_an_address_that_is_not_allowed_names_the_setting(
    newest_backend: Backend, way: str
) -> None:
    backend = newest_backend
    password = Password(identity=backend.email, password=backend.password)
    client = backend.client(credentials=None if way == "token" else password)
    if way == "session":
        client.sign_in()
    backend.json("PATCH", "/api/settings", json={"superuserIPs": ["192.0.2.1"]})
    with pytest.raises(SignInError, match="lacks this machine's address"):
        client.page("app_builds") if way == "session" else client.sign_in()


def test_a_wrong_password_is_not_blamed_on_the_address(newest_backend: Backend) -> None:
    newest_backend.json("PATCH", "/api/settings", json={"superuserIPs": ["192.0.2.1"]})
    credentials = Password(identity=newest_backend.email, password="wrong")
    with pytest.raises(SignInError, match=r"PASSWORD$"):
        newest_backend.client(credentials=credentials).sign_in()


def test_a_superuser_at_an_allowed_address_signs_in(newest_backend: Backend) -> None:
    newest_backend.json("PATCH", "/api/settings", json={"superuserIPs": ["127.0.0.0/8"]})
    newest_backend.client().sign_in()


@pytest.mark.parametrize("ended", ["expired", "player's"])
def test_a_session_that_ends_during_use_is_renewed(every_backend: Backend, ended: str) -> None:
    backend = every_backend
    build = backend.upload({"a.txt": b"a game"})
    check = backend.create_check(build)
    client = backend.client(credentials=Password(identity=backend.email, password=backend.password))
    client.sign_in()
    refused = "expired" if ended == "expired" else backend.sign_up().token

    def after_its_end(call: Callable[[], object]) -> object:
        client.session.token = refused
        return call()

    branch: Row = {"name": "beta", "app": backend.app}
    assert after_its_end(lambda: client.page("app_builds")) != []
    assert after_its_end(lambda: client.count("app_builds")) == 1
    assert after_its_end(lambda: client.update("app_builds", build, {"entrypoint": "game"}))
    assert after_its_end(lambda: client.create("app_branches", branch))
    assert after_its_end(lambda: client.collection("app_builds"))
    after_its_end(lambda: client.delete("av_build_checks", check))
    assert backend.checks() == []
    assert backend.build(build)["entrypoint"] == "game"


def test_few_rows_are_requested_once_and_without_an_order(server: Scripted) -> None:
    server.say(items({"id": "b"}, {"id": "a"}))
    found = list(
        server.client().list_unordered("things", where='a = "b"', fields=("id",), expand="c")
    )
    assert [row["id"] for row in found] == ["b", "a"]
    assert server.requests[0].query == {
        "perPage": "1000",
        "skipTotal": "1",
        "filter": f'(a = "b") && {GUARD}',
        "fields": "id",
        "expand": "c",
    }


def test_more_rows_than_a_page_are_listed_by_key(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pocketbase, "PAGE", 2)
    server.say(items({"id": "c"}, {"id": "a"}), items({"id": "a"}, {"id": "b"}), items({"id": "c"}))
    found = list(server.client().list_unordered("things", where='a = "b"'))
    assert [row["id"] for row in found] == ["a", "b", "c"]
    assert [request.query.get("sort") for request in server.requests] == [None, "id", "id"]


def test_all_rows_of_a_large_collection_are_listed_once(every_backend: Backend) -> None:
    backend = every_backend
    backend.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
        " INSERT INTO apps (id, title) SELECT printf('%015d', i), 'many' FROM n"
    )
    client = backend.client()
    ids = [str(row["id"]) for row in client.rows("apps", where='title = "many"', fields=["id"])]
    assert ids == [f"{number:015}" for number in range(1, 2501)]
    assert client.count("apps", where='title = "many"') == 2500
    assert len(client.page("apps")) == PAGE


def test_a_record_that_was_deleted_is_known_to_be_gone(every_backend: Backend) -> None:
    backend = every_backend
    build = backend.upload({"a.txt": b"a game"})
    backend.delete_build(build)
    client = backend.client(policy=RetryPolicy(attempts=1))
    assert client.update("app_builds", build, {}) is None
    client.delete("app_builds", build)


HOOK = """
for (const on of [onRecordCreateRequest, onRecordUpdateRequest, onRecordDeleteRequest]) {
    on((e) => { throw new ForbiddenError("Not this one.") }, "app_branches")
}
"""


def test_a_hook_that_refuses_one_collection_is_not_mistaken_for_an_expired_session(
    every_backend: Backend,
) -> None:
    backend = every_backend
    hooks = backend.server.folder / "hooks"
    hooks.mkdir()
    (hooks / "refuse.pb.js").write_text(HOOK)
    backend.restart()
    credentials = Password(identity=backend.email, password=backend.password)
    for client in (backend.client(), backend.client(credentials=credentials)):
        writes: list[Callable[[PocketBase], object]] = [
            lambda client: client.create("app_branches", {"name": "x", "app": backend.app}),
            lambda client: client.update("app_branches", backend.branch, {"name": "x"}),
            lambda client: client.delete("app_branches", backend.branch),
        ]
        for write in writes:
            with pytest.raises(
                Rejected, match=r"though this account is a superuser: .*Not this one"
            ):
                write(client)
        assert client.update("apps", backend.app, {"title": "Another"}) is not None


def test_a_proxys_clock_is_ignored_after_a_write(every_backend: Backend) -> None:
    backend = every_backend
    before = datetime.now(UTC)
    with Proxy(backend.url) as proxy:
        proxy.plan(lambda _: True, Skew(300), times=None)
        client = backend.client(url=proxy.url)
        client.page("apps")
        assert client.server_time() - before > timedelta(seconds=250)
        row = client.update("apps", backend.app, {"title": "Another"})
        assert row is not None
        updated = parse_time(str(row["updated"]))
        assert updated is not None
        client.page("apps")
        assert updated <= client.server_time() <= datetime.now(UTC)


@pytest.mark.parametrize("drip", [Drip(pause=0.02, head=True), Drip(pause=0.02)], ids=repr)
@pytest.mark.parametrize(
    "ask",
    [
        lambda client, _: client.page("apps"),
        lambda client, _: client.sign_in(),
        lambda client, backend: client.update("apps", backend.app, {"title": "Another"}),
        lambda client, _: client.delete("apps", "abcdefghijklmno"),
        lambda client, _: client.collection("apps"),
    ],
    ids=["page", "sign_in", "update", "delete", "collection"],
)
def test_a_slow_answer_ends_at_the_deadline(
    backend: Backend, ask: Callable[[PocketBase, Backend], object], drip: Drip
) -> None:
    with Proxy(backend.url) as proxy:
        proxy.plan(lambda _: True, drip, times=None)
        client = backend.client(url=proxy.url, policy=RetryPolicy(deadline=0.5, timeout=0.4))
        began = time.monotonic()
        with pytest.raises(BackendError, match="within the time allowed"):
            ask(client, backend)
        assert 0.4 < time.monotonic() - began < 10


def test_all_requests_of_one_call_share_its_deadline(backend: Backend) -> None:
    """A refused write checks the session, signs in, and writes again: four slow answers."""
    credentials = Password(identity=backend.email, password=backend.password)
    with Proxy(backend.url) as proxy:
        client = backend.client(
            url=proxy.url, credentials=credentials, policy=RetryPolicy(attempts=9, deadline=1.0)
        )
        client.sign_in()
        client.session.token = "expired"
        proxy.plan(request_to("PATCH", "/api/"), Delay(0.4), times=None)
        proxy.plan(request_to("GET", "_superusers"), Delay(0.4), times=None)
        proxy.plan(request_to("POST", "auth-with-password"), Drip(pause=0.02), times=None)
        began = time.monotonic()
        with pytest.raises(BackendError, match="within the time allowed"):
            client.update("apps", backend.app, {"title": "Another"})
        assert time.monotonic() - began < 10


def test_a_broken_table_is_not_mistaken_for_a_deletion(backend: Backend) -> None:
    build = backend.upload({"a.txt": b"a game"})
    backend.sql("ALTER TABLE app_builds RENAME TO broken")
    with pytest.raises(AvscanError):
        backend.client(policy=RetryPolicy(attempts=1)).update("app_builds", build, {})


def test_a_missing_collection_is_reported(every_backend: Backend) -> None:
    client = every_backend.client()
    calls = (client.page, client.count, lambda name: client.create(name, {}))
    for call in calls:
        with pytest.raises(SchemaError, match="no collection nowhere"):
            call("nowhere")
    assert client.collection("nowhere") is None


def test_an_unknown_field_in_a_filter_is_rejected_without_a_retry(
    every_backend: Backend,
) -> None:
    client = every_backend.client()
    client.sign_in()
    with pytest.raises(Rejected):
        client.page("app_builds", where='nothing = "x"')
    assert client.requests_made == 2


def test_the_second_create_with_the_same_id_is_rejected(every_backend: Backend) -> None:
    client = every_backend.client()
    values: Row = {
        "id": "abcdefghijklmno",
        "name": "one",
        "app": every_backend.app,
    }
    client.create("app_branches", values)
    with pytest.raises(Rejected) as caught:
        client.create("app_branches", values | {"name": "two"})
    assert caught.value.codes == {"id": "validation_not_unique"}
