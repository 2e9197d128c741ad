"""The gate of docs/gate.md, on real servers: what a player, a publisher and a stranger get.

The rules are set through the API, in the words of the page.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from support.backend import BUILD, OLDEST, REPOSITORY, Backend, Player
from support.gate import BUILDS, CHECKS, listed, rule_of, set_rule, views
from support.run import avscan
from support.samples import tar

from avscan.clamav.canary import eicar

UNCLEAN = ("pending", "scanning", "infected", "error")
STRANGER = ""


def protect_files(backend: Backend) -> None:
    fields = backend.json("GET", BUILDS)["fields"]
    (files,) = [field for field in fields if field["name"] == "files"]
    files["protected"] = True
    backend.json("PATCH", BUILDS, json={"fields": fields})


def tar_gz(members: Mapping[str, bytes]) -> bytes:
    return tar(members.items(), "gz")


@pytest.fixture
def open_backend(every_backend: Backend) -> Backend:
    """Run a backend as it is before the gate: after `avscan init --fix`."""
    every_backend.init()
    return every_backend


@pytest.fixture
def gated(open_backend: Backend) -> Backend:
    set_rule(open_backend, BUILDS, rule_of("app_builds"))
    return open_backend


@pytest.fixture
def told(gated: Backend) -> Backend:
    """Let publishers read the checks of their builds."""
    set_rule(gated, CHECKS, rule_of("av_build_checks"))
    return gated


def judged(backend: Backend, status: str, **fields: object) -> str:
    """Upload a build and give it a verdict; return its id."""
    build = backend.upload({"game.tar.gz": b"a game"})
    backend.create_check(build, status=status, **fields)
    return build


def scan(backend: Backend) -> None:
    """Run a pass over all builds."""
    assert avscan("run", "--full", env=backend.environment()).code == 0


def newest(backend: Backend, token: str) -> str | None:
    """Ask as the launcher does, before it installs; return the build's id."""
    where = f'branch = "{backend.branch}" && os = "linux" && arch = "x86_64"'
    params = {"filter": where, "sort": "-created", "perPage": "1"}
    page = backend.json("GET", f"{BUILDS}/records", token=token, params=params)
    return next((row["id"] for row in page["items"]), None)


# -- who sees which builds ------------------------------------------------------------------------


def test_the_readme_has_the_pages_rule() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert f"\n{rule_of('app_builds')}\n" in readme


def test_a_player_sees_clean_builds_only(gated: Backend) -> None:
    clean = judged(gated, "clean")
    others = {judged(gated, status) for status in UNCLEAN}
    others.add(gated.upload({"game.tar.gz": b"no check yet"}))
    player = gated.sign_up().token
    assert listed(gated, player) == {clean}
    assert views(gated, clean, player)
    assert not any(views(gated, build, player) for build in others)


def test_a_publishers_member_sees_each_of_its_builds(gated: Backend) -> None:
    builds = {judged(gated, status) for status in ("clean", *UNCLEAN)}
    builds.add(gated.create_empty_build())
    member = gated.sign_up_member().token
    assert listed(gated, member) == builds
    assert all(views(gated, build, member) for build in builds)


def test_another_publishers_member_is_a_player(gated: Backend) -> None:
    clean, infected = judged(gated, "clean"), judged(gated, "infected")
    rival = gated.sign_up("rival@example.com")
    studio = {"title": "Rivals", "owner": rival.id, "users": [rival.id]}
    gated.json("POST", "/api/collections/publishers/records", json=studio)
    assert listed(gated, rival.token) == {clean}
    assert not views(gated, infected, rival.token)


def test_a_stranger_sees_nothing(gated: Backend) -> None:
    clean = judged(gated, "clean")
    # To compare nobody with no user at all must not let a stranger in.
    path = f"/api/collections/publishers/records/{gated.publisher}"
    gated.json("PATCH", path, json={"users": []})
    assert listed(gated, STRANGER) == set()
    assert not views(gated, clean, STRANGER)


def test_a_build_with_a_clean_and_another_check_is_not_clean(every_backend: Backend) -> None:
    # Before `init --fix` a build may have several.
    backend = every_backend
    set_rule(backend, BUILDS, rule_of("app_builds"))
    build = judged(backend, "clean")
    backend.create_check(build, status="infected")
    assert listed(backend, backend.sign_up().token) == set()


def test_a_member_uploads_under_the_gate_as_the_launcher_does(gated: Backend) -> None:
    member = gated.sign_up_member().token
    values = {"app": gated.app, "branch": gated.branch} | BUILD
    build = gated.json("POST", f"{BUILDS}/records", token=member, json=values)["id"]
    path = f"{BUILDS}/records/{build}"
    files = [("files", ("game.tar.gz", tar_gz({"game": b"a game"})))]
    assert gated.json("PATCH", path, token=member, files=files)["files"]
    assert newest(gated, member) == build
    assert newest(gated, gated.sign_up().token) is None


def test_the_launcher_installs_the_newest_clean_build(gated: Backend) -> None:
    clean = judged(gated, "clean")
    gated.backdate("app_builds", clean, created="2020-01-01 00:00:00.000Z")
    infected = judged(gated, "infected")
    assert newest(gated, gated.sign_up().token) == clean
    assert newest(gated, gated.sign_up_member().token) == infected


def test_a_launcher_that_filters_by_the_verdict_itself_is_refused(gated: Backend) -> None:
    judged(gated, "clean")
    params = {"filter": 'av_build_checks_via_build.status = "clean"'}
    player = gated.sign_up().token
    answer = gated.request("GET", f"{BUILDS}/records", token=player, params=params)
    assert answer.status_code == (200 if gated.version == OLDEST else 400)


# -- the order of a rollout -----------------------------------------------------------------------


def test_before_the_backlog_is_scanned_the_rule_hides_every_build(gated: Backend) -> None:
    game = gated.upload({"game.tar.gz": tar_gz({"game": b"a game"})})
    cracked = gated.upload({"game.tar.gz": tar_gz({"crack.exe": eicar()})})
    player = gated.sign_up().token
    assert newest(gated, player) is None
    scan(gated)
    assert listed(gated, player) == {game}
    assert gated.status_of(cracked) == "infected"


def test_the_rule_alone_protects_no_file_whose_address_is_known(gated: Backend) -> None:
    build = judged(gated, "infected")
    (name,) = gated.file_names(build)
    assert gated.request("GET", f"/api/files/app_builds/{build}/{name}", token="").ok


def downloads(backend: Backend, build: str, player: Player | None = None) -> bool:
    """Download a build's file, with a file token where a player is given."""
    (name,) = backend.file_names(build)
    path = f"/api/files/app_builds/{build}/{name}"
    if player is not None:
        path += "?token=" + backend.json("POST", "/api/files/token", token=player.token)["token"]
    answer = backend.request("GET", path, token=STRANGER)
    assert answer.status_code in {200, 404}
    return answer.ok


def test_protected_files_are_had_by_those_that_see_the_build(gated: Backend) -> None:
    protect_files(gated)
    clean, infected = judged(gated, "clean"), judged(gated, "infected")
    player, member = gated.sign_up(), gated.sign_up_member()
    assert downloads(gated, clean, player)
    assert not downloads(gated, infected, player)
    assert downloads(gated, infected, member)


def test_a_launcher_that_sends_no_token_downloads_no_protected_file(gated: Backend) -> None:
    clean = judged(gated, "clean")
    assert downloads(gated, clean)
    protect_files(gated)
    assert not downloads(gated, clean)


def test_without_the_rule_protected_files_are_had_by_any_user(open_backend: Backend) -> None:
    protect_files(open_backend)
    assert downloads(open_backend, judged(open_backend, "infected"), open_backend.sign_up())


def test_a_pass_scans_protected_files_under_the_gate(gated: Backend) -> None:
    protect_files(gated)
    build = gated.upload({"game.tar.gz": tar_gz({"game": b"a game"})})
    scan(gated)
    assert downloads(gated, build, gated.sign_up())


# -- replaced files -------------------------------------------------------------------------------


def test_replaced_files_are_seen_until_the_next_pass(gated: Backend) -> None:
    build = judged(gated, "clean")
    gated.replace_files(build, {"game.tar.gz": tar_gz({"crack.exe": eicar()})})
    player = gated.sign_up().token
    assert listed(gated, player) == {build}
    scan(gated)
    assert listed(gated, player) == set()


def test_the_strict_rule_hides_what_changed_after_its_scan(gated: Backend) -> None:
    set_rule(gated, BUILDS, rule_of("app_builds, strict"))
    replaced, edited = (gated.upload({"game.tar.gz": tar_gz({"game": b"a"})}) for _ in "ab")
    infected = judged(gated, "infected", scan_time="2999-01-01 00:00:00.000Z")
    scan(gated)
    player = gated.sign_up().token
    assert listed(gated, player) == {replaced, edited}
    assert listed(gated, STRANGER) == set()
    assert listed(gated, gated.sign_up_member().token) == {replaced, edited, infected}
    gated.replace_files(replaced, {"game.tar.gz": tar_gz({"crack.exe": eicar()})})
    gated.edit(edited, entrypoint="bin/game")
    assert listed(gated, player) == set()
    scan(gated)
    assert listed(gated, player) == set()
    assert avscan("rescan", edited, env=gated.environment()).code == 0
    scan(gated)
    assert listed(gated, player) == {edited}


# -- publishers see why ---------------------------------------------------------------------------


@pytest.fixture
def infected(told: Backend) -> str:
    """Return a build that a pass found infected."""
    build = told.upload({"game.tar.gz": tar_gz({"bin/crack.exe": eicar()})})
    scan(told)
    return build


def test_a_member_reads_the_verdict_and_its_reason_and_no_log(told: Backend, infected: str) -> None:
    member = told.sign_up_member().token
    params = {"filter": f'build = "{infected}"'}
    page = told.json("GET", f"{CHECKS}/records", token=member, params=params)
    (check,) = page["items"]
    (name,) = told.file_names(infected)
    virus = "Eicar-Test-Signature.UNOFFICIAL"
    assert (check["status"], check["virus_name"]) == ("infected", virus)
    assert check["reason"] == f"bin/crack.exe in {name} contains {virus}"
    assert "log" not in check
    assert told.check_of(infected)["log"].startswith("infected: ")

    params = {"expand": "av_build_checks_via_build"}
    build = told.json("GET", f"{BUILDS}/records/{infected}", token=member, params=params)
    expanded = build["expand"]["av_build_checks_via_build"]
    (check,) = expanded if isinstance(expanded, list) else [expanded]
    assert check["status"] == "infected"
    assert "log" not in check


@pytest.mark.parametrize("where", ['log ~ "claim"', 'log != ""'])
def test_a_member_cannot_ask_for_what_the_log_says(
    told: Backend, infected: str, where: str
) -> None:
    member = told.sign_up_member().token
    for params in ({"filter": where}, {"sort": "log"}):
        answer = told.request("GET", f"{CHECKS}/records", token=member, params=params)
        assert answer.status_code == 400


def test_a_player_and_a_stranger_see_no_check(told: Backend, infected: str) -> None:
    assert infected
    judged(told, "clean", reason="for the publisher only")
    for token in (told.sign_up().token, STRANGER):
        assert listed(told, token, CHECKS) == set()
        for check in told.checks():
            path = f"{CHECKS}/records/{check['id']}"
            assert told.request("GET", path, token=token).status_code == 404


def test_nobody_but_a_superuser_writes_a_check(told: Backend, infected: str) -> None:
    member = told.sign_up_member().token
    check = str(told.check_of(infected)["id"])
    path = f"{CHECKS}/records/{check}"
    assert not told.request("PATCH", path, token=member, json={"status": "clean"}).ok
    assert not told.request("DELETE", path, token=member).ok
    values = {"build": infected, "status": "clean"}
    assert not told.request("POST", f"{CHECKS}/records", token=member, json=values).ok
    assert told.status_of(infected) == "infected"


def test_init_leaves_the_publishers_rule_as_it_is(told: Backend) -> None:
    done = avscan("init", "--fix", env=told.environment())
    assert done.code == 0
    assert told.json("GET", CHECKS)["listRule"] == rule_of("av_build_checks")
