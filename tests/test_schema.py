"""The schema of `av_build_checks`: differences, repairs, and what a repair keeps.

Comparisons are tested by tables, creation and repairs on each supported PocketBase.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from support.backend import Backend

from avscan.backend import fields, schema
from avscan.backend.answers import Rejected
from avscan.backend.schema import (
    AsWanted,
    Created,
    Difference,
    Differs,
    Fixed,
    differences,
    repaired,
)
from avscan.errors import SchemaError

Definition = dict[str, Any]
Damage = Callable[[Definition], None]

CHECKS = "/api/collections/av_build_checks"
BUILDS: Definition = {
    "id": "builds_id",
    "type": "base",
    "fields": [
        {"name": "files", "type": "file", "maxSelect": 99},
        {"name": "created", "type": "autodate", "onCreate": True},
        {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
    ],
}


MEMBERS = "build.app.publisher.users.id ?= @request.auth.id"


def wanted() -> Definition:
    """Return the collection that `init` creates, with the fields that PocketBase adds."""
    definition: Definition = {"name": "av_build_checks", "type": "base"}
    definition |= copy.deepcopy(repaired(definition, BUILDS))
    identity = {"name": "id", "type": "text", "system": True, "required": True}
    definition["fields"].insert(0, identity)
    return definition | dict.fromkeys(schema.API_RULES)


def field_of(definition: Definition, name: str) -> Definition:
    found: Definition
    (found,) = [field for field in definition["fields"] if field["name"] == name]
    return found


def without(name: str) -> Damage:
    def damage(definition: Definition) -> None:
        definition["fields"].remove(field_of(definition, name))

    return damage


def changed(name: str, **options: Any) -> Damage:
    return lambda definition: field_of(definition, name).update(options)


def with_field(**options: Any) -> Damage:
    return lambda definition: definition["fields"].append(options)


def with_indexes(*statements: str) -> Damage:
    return lambda definition: definition.update(indexes=list(statements))


def with_options(**options: Any) -> Damage:
    return lambda definition: definition.update(options)


def damaged(*damages: Damage) -> Definition:
    definition = wanted()
    for damage in damages:
        damage(definition)
    return definition


def repaired_definition(definition: Definition) -> Definition:
    return definition | repaired(definition, BUILDS)


# -- what differs ---------------------------------------------------------------------------------


def test_a_created_collection_has_no_differences() -> None:
    assert differences(wanted(), BUILDS) == ()
    assert repaired(wanted(), BUILDS) == {}


FIXABLE = [
    (without("build"), "build", "missing", True),
    (without("status"), "status", "missing", True),
    (without("scan_time"), "scan_time", "missing", True),
    (without("updated"), "updated", "missing", True),
    (changed("build", required=False), "build.required", "no", False),
    (changed("build", cascadeDelete=False), "build.cascadeDelete", "no", False),
    (changed("status", required=False), "status.required", "no", False),
    (changed("status", values=["pending", "odd"]), "status.values", "pending, odd", True),
    (changed("status", values=[]), "status.values", "none", True),
    (changed("virus_name", required=True), "virus_name.required", "yes", True),
    (changed("virus_name", max=30), "virus_name.max", "30", False),
    (changed("scan_time", required=True), "scan_time.required", "yes", True),
    (changed("log", max=0), "log.max", "5,000, PocketBase's default", False),
    (changed("log", max=99_999), "log.max", "99,999", False),
    (changed("log", hidden=False), "log.hidden", "no", False),
    (without("reason"), "reason", "missing", False),
    (changed("reason", required=True), "reason.required", "yes", True),
    (changed("reason", max=499), "reason.max", "499", False),
    (changed("created", onCreate=False), "created.onCreate", "no", True),
    (changed("created", onCreate=None), "created.onCreate", "not set", True),
    (changed("updated", onUpdate=False), "updated.onUpdate", "no", True),
    (with_options(listRule=""), "listRule", "anybody", False),
    (
        with_options(updateRule="@request.auth.id != ''"),
        "updateRule",
        "@request.auth.id != ''",
        False,
    ),
]


@pytest.mark.parametrize(("damage", "field", "found", "fatal"), FIXABLE)
def test_a_difference_is_named_and_repaired(
    damage: Damage, *, field: str, found: str, fatal: bool
) -> None:
    definition = damaged(damage)
    (difference,) = differences(definition, BUILDS)
    assert (difference.field, difference.found) == (field, found)
    assert difference.fixable
    assert difference.fatal is fatal
    assert differences(repaired_definition(definition), BUILDS) == ()


UNFIXABLE = [
    (changed("log", type="editor"), "log", "editor", "text", True),
    (changed("reason", type="select"), "reason", "select", "text", True),
    (changed("build", type="text"), "build", "text", "relation", True),
    (changed("status", type="text"), "status", "text", "select", True),
    (changed("created", type="date"), "created", "date", "autodate", True),
    (changed("build", maxSelect=2), "build.maxSelect", "2", "1", True),
    (changed("status", maxSelect=5), "status.maxSelect", "5", "1", True),
    (
        changed("build", collectionId="another"),
        "build.collectionId",
        "another",
        "builds_id (app_builds)",
        True,
    ),
    (
        with_field(name="scanner", type="text", required=True),
        "scanner",
        schema.UNKNOWN,
        "not required",
        False,
    ),
    (with_options(type="view"), "type", "view", "base", True),
]


@pytest.mark.parametrize(("damage", "field", "found", "right", "fatal"), UNFIXABLE)
def test_a_difference_whose_repair_would_lose_data_is_only_named(
    damage: Damage, *, field: str, found: str, right: str, fatal: bool
) -> None:
    definition = damaged(damage)
    (difference,) = [each for each in differences(definition, BUILDS) if not each.fixable]
    assert difference == Difference(
        field=field, found=found, wanted=right, fixable=False, fatal=fatal
    )
    assert "fields" not in repaired(definition, BUILDS)


@pytest.mark.parametrize(
    ("definition", "builds", "field", "fixable"),
    [
        (None, BUILDS, "av_build_checks", True),
        (wanted(), None, "app_builds", False),
        (None, None, "app_builds", False),
        (wanted(), {**BUILDS, "fields": BUILDS["fields"][1:]}, "app_builds.files", False),
    ],
)
def test_a_missing_collection_or_field_of_builds_is_fatal(
    definition: Definition | None, builds: Definition | None, *, field: str, fixable: bool
) -> None:
    (difference,) = differences(definition, builds)
    assert (difference.field, difference.found) == (field, "missing")
    assert (difference.fixable, difference.fatal) == (fixable, True)


# -- indexes --------------------------------------------------------------------------------------


ON_STATUS = "CREATE INDEX `s` ON `av_build_checks` (`status`)"
ON_BUILD = "CREATE UNIQUE INDEX `b` ON `av_build_checks` (`build`)"


@pytest.mark.parametrize(
    ("statements", "missing"),
    [
        ([], ["index on build", "index on status"]),
        ([ON_STATUS], ["index on build"]),
        ([ON_BUILD], ["index on status"]),
        ([ON_BUILD, ON_STATUS], []),
        (['create unique index if not exists b on "av_build_checks" ([build]);', ON_STATUS], []),
        ([ON_BUILD, "CREATE INDEX s ON av_build_checks (\n  status,\n  created\n)"], []),
        ([ON_BUILD, "CREATE INDEX s ON av_build_checks (created, status)"], ["index on status"]),
        ([ON_STATUS, ON_BUILD.replace("UNIQUE ", "")], ["index on build"]),
        ([ON_STATUS, ON_BUILD.replace("`build`", "`build`, `status`")], ["index on build"]),
        ([ON_STATUS, ON_BUILD + " WHERE `status` = 'clean'"], ["index on build"]),
        ([ON_STATUS, ON_BUILD.replace("`build`", "lower(`build`)")], ["index on build"]),
        ([ON_STATUS, "not a statement"], ["index on build"]),
    ],
)
def test_an_equivalent_index_is_accepted(statements: list[str], missing: list[str]) -> None:
    definition = damaged(with_indexes(*statements))
    found = differences(definition, BUILDS)
    assert [each.field for each in found] == missing
    assert all(each.fixable and not each.fatal for each in found)
    indexes = repaired_definition(definition)["indexes"]
    assert indexes[: len(statements)] == statements
    assert differences(repaired_definition(definition), BUILDS) == ()


def test_no_index_is_added_to_a_field_of_a_wrong_type() -> None:
    definition = damaged(with_indexes(), changed("build", type="text"))
    assert repaired(definition, BUILDS)["indexes"] == [fields.BY_STATUS.sql]


# -- what a repair keeps --------------------------------------------------------------------------


def test_a_repair_keeps_what_others_added() -> None:
    note = {"name": "note", "type": "text", "id": "text123", "max": 7}
    foreign = "CREATE INDEX `theirs` ON `av_build_checks` (`note`)"
    definition = damaged(
        with_field(**note),
        with_indexes(foreign),
        changed("status", values=["skipped", "clean"]),
        changed("log", max=10, id="text456", help="read me"),
    )
    after = repaired_definition(definition)
    assert field_of(after, "note") == note
    assert foreign in after["indexes"]
    assert field_of(after, "status")["values"][:2] == ["skipped", "clean"]
    assert field_of(after, "log") == field_of(definition, "log") | {"max": fields.LOG_MAX}


def test_a_repair_removes_and_moves_no_field() -> None:
    definition = damaged(without("log"), with_field(name="note", type="text"))
    before = [field["name"] for field in definition["fields"]]
    assert [field["name"] for field in repaired_definition(definition)["fields"]] == [
        *before,
        "log",
    ]


def test_a_longer_maximum_of_the_log_is_kept() -> None:
    assert repaired(damaged(changed("log", max=1_000_000)), BUILDS) == {}


# -- on PocketBase --------------------------------------------------------------------------------


def definition_of(backend: Backend) -> Definition:
    return backend.json("GET", CHECKS)


def redefine(backend: Backend, *damages: Damage) -> None:
    definition = definition_of(backend)
    for damage in damages:
        damage(definition)
    backend.json("PATCH", CHECKS, json=definition)


def test_a_missing_collection_is_created_without_differences(every_backend: Backend) -> None:
    every_backend.json("DELETE", CHECKS)
    client = every_backend.client()
    assert schema.ensure(client, fix=False) == Created()
    assert schema.ensure(client, fix=True) == AsWanted()
    schema.require(client)
    check = every_backend.create_check(every_backend.create_empty_build())
    assert every_backend.set_check(check, log="x" * fields.LOG_MIN)


def test_players_can_not_access_a_created_collection(every_backend: Backend) -> None:
    every_backend.json("DELETE", CHECKS)
    schema.ensure(every_backend.client(), fix=False)
    player = every_backend.sign_up()
    answer = every_backend.request("GET", f"{CHECKS}/records", token=player.token)
    assert answer.status_code == 403


def test_zapuskalkas_own_collection_is_usable_and_gets_longer_texts_and_indexes(
    every_backend: Backend,
) -> None:
    client = every_backend.client()
    build = every_backend.upload({"game.txt": b"a game"})
    check = every_backend.create_check(build, status="clean", log="kept")
    schema.require(client)
    before = definition_of(every_backend)

    outcome = schema.ensure(client, fix=False)
    assert isinstance(outcome, Differs)
    assert [each.field for each in outcome.differences] == [
        "log.max",
        "log.hidden",
        "reason",
        "index on build",
        "index on status",
    ]
    assert definition_of(every_backend) == before
    with pytest.raises(SchemaError, match="no unique index on build"):
        schema.require_one_check(client)

    assert schema.ensure(client, fix=True) == Fixed(fixed=outcome.differences, left=())
    assert schema.ensure(client, fix=True) == AsWanted()
    schema.require_one_check(client)
    kept = every_backend.check_of(build)
    assert kept is not None
    assert (kept["id"], kept["status"], kept["log"]) == (check, "clean", "kept")


def test_a_repair_keeps_the_fields_and_values_of_others(every_backend: Backend) -> None:
    build = every_backend.create_empty_build()
    redefine(
        every_backend,
        with_field(name="note", type="text"),
        changed("status", values=["pending", "clean", "skipped"]),
        with_indexes("CREATE INDEX `theirs` ON `av_build_checks` (`note`)"),
    )
    check = every_backend.create_check(build, status="skipped", note="by hand")
    assert isinstance(schema.ensure(every_backend.client(), fix=True), Fixed)
    kept = every_backend.check_of(build)
    assert kept is not None
    assert (kept["status"], kept["note"]) == ("skipped", "by hand")
    assert any("`theirs`" in index for index in definition_of(every_backend)["indexes"])
    every_backend.set_check(check, status="infected")


def test_read_rules_that_allow_some_users_are_kept() -> None:
    assert differences(damaged(with_options(listRule=MEMBERS, viewRule=MEMBERS)), BUILDS) == ()


def test_open_rules_are_closed(every_backend: Backend) -> None:
    redefine(every_backend, with_options(listRule="", viewRule="", updateRule=MEMBERS))
    assert isinstance(schema.ensure(every_backend.client(), fix=True), Fixed)
    assert {definition_of(every_backend)[rule] for rule in schema.API_RULES} == {None}


def test_builds_with_several_checks_are_named_and_all_else_is_repaired(
    every_backend: Backend,
) -> None:
    client = every_backend.client()
    crowded = every_backend.create_empty_build()
    single = every_backend.create_empty_build()
    checks = [every_backend.create_check(build) for build in (crowded, crowded, crowded, single)]
    with pytest.raises(SchemaError, match=f"{crowded} has 3; ") as caught:
        schema.ensure(client, fix=True)
    assert "\n" not in str(caught.value)
    assert single not in str(caught.value)
    assert len(every_backend.checks()) == len(checks)
    left = schema.ensure(client, fix=False)
    assert isinstance(left, Differs)
    assert [each.field for each in left.differences] == ["index on build"]
    with pytest.raises(SchemaError, match=f"{crowded} has 3; "):
        schema.ensure(client, fix=True)

    for check in checks[:2]:
        every_backend.delete_check(check)
    assert isinstance(schema.ensure(client, fix=True), Fixed)


def test_many_builds_with_several_checks_are_counted(backend: Backend) -> None:
    for _ in range(7):
        build = backend.create_empty_build()
        backend.create_check(build)
        backend.create_check(build)
    with pytest.raises(SchemaError, match="and 2 more builds;"):
        schema.ensure(backend.client(), fix=True)


def test_a_field_of_a_wrong_type_is_kept_and_named(every_backend: Backend) -> None:
    redefine(every_backend, without("log"))
    redefine(every_backend, with_field(name="log", type="editor"))
    client = every_backend.client()
    outcome = schema.ensure(client, fix=True)
    assert isinstance(outcome, Fixed)
    assert [(each.field, each.found) for each in outcome.left] == [("log", "editor")]
    assert field_of(definition_of(every_backend), "log")["type"] == "editor"
    assert schema.ensure(client, fix=True) == Differs(differences=outcome.left)
    with pytest.raises(SchemaError, match=r"log is editor and must be text: .*by hand"):
        schema.require(client)


def test_two_inits_at_once_both_succeed(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.json("DELETE", CHECKS)
    client = backend.client()
    create = client.create_collection

    def second(definition: Any) -> Any:
        create(definition)
        return create(definition)

    monkeypatch.setattr(client, "create_collection", second)
    assert schema.ensure(client, fix=False) == AsWanted()


def test_a_refused_definition_is_raised(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.json("DELETE", CHECKS)
    monkeypatch.setattr(schema, "repaired", lambda *_: {"indexes": ["nonsense"]})
    with pytest.raises(Rejected):
        schema.ensure(backend.client(), fix=False)


# -- what a pass needs ----------------------------------------------------------------------------


def test_a_missing_collection_is_an_error_that_names_init(backend: Backend) -> None:
    backend.json("DELETE", CHECKS)
    with pytest.raises(SchemaError, match=r"av_build_checks: `avscan init` creates it") as caught:
        schema.require(backend.client())
    assert caught.value.exit_code == 5


def test_without_builds_the_error_names_the_url(backend: Backend) -> None:
    backend.json("DELETE", CHECKS)
    backend.json("DELETE", "/api/collections/app_builds")
    for question in (
        schema.require,
        schema.planned,
        lambda client: schema.ensure(client, fix=True),
    ):
        with pytest.raises(SchemaError, match="no collection app_builds"):
            question(backend.client())


def test_a_missing_field_is_named_with_its_remedy(backend: Backend) -> None:
    redefine(backend, without("scan_time"))
    with pytest.raises(
        SchemaError, match="scan_time is missing and must be date: `avscan init --fix`"
    ):
        schema.require(backend.client())
