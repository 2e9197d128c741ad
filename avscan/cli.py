"""The command line: options and output; with `boundary` the only place that exits."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ParamSpec, TypeVar, assert_never

import click

from avscan import __version__
from avscan.boundary import boundary
from avscan.errors import SchemaError, SettingsError
from avscan.logs import configure
from avscan.settings import LogFormat, RefreshSettings, Settings, variables_of
from avscan.variables import Variable

if TYPE_CHECKING:
    from avscan.backend.discovery import Plan
    from avscan.backend.schema import Difference
    from avscan.ops.terminal import Style

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

EXIT_CODES = """
\b
Exit codes:
  0    it is done (infected builds included: they are a pass's purpose), or
       another pass is at work
  1    a bug in avscan; its traceback is in the log (status: a promise is broken)
  2    settings or usage
  3    PocketBase can't be reached, keeps failing, or has none of its files
  4    PocketBase refuses the sign-in
  5    a collection is missing, or has not the fields needed
  6    clamscan or its signatures don't work
  7    the work folder or the disk
  129  stopped by SIGHUP
  130  stopped by SIGINT
  141  whoever read the output has gone
  143  stopped by SIGTERM
"""
BROKEN = 1
LONGEST_SPAN = timedelta(days=36_500)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Scan every build that is uploaded to Zapuskalka with ClamAV, before players download it."""


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Register a command that has an option for each setting that it needs, behind its own."""
    variables = variables_of(name)
    secrets = ", ".join(each.name for each in variables if each.secret)
    epilog = (
        f"Secrets have no option, since others can see a command line: set {secrets}, or name"
        " files that hold them by the options above. `avscan --help` lists the exit codes."
    )

    def register(function: Callable[..., None]) -> click.Command:
        made = main.command(name, epilog=epilog)(function)
        made.params.extend(_option(each) for each in variables if not each.secret)
        return made

    return register


def _option(variable: Variable) -> click.Option:
    return click.Option(
        [variable.option, variable.name],
        envvar=variable.name,
        show_envvar=True,
        help=variable.help,
        default=variable.default or None,
        show_default=bool(variable.default),
        expose_value=False,
        callback=_keep,
    )


def _keep(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    context.ensure_object(dict)[parameter.name] = value or ""


def _environment() -> dict[str, str]:
    """Return the environment with the options in place of their variables."""
    return {**os.environ, **click.get_current_context().ensure_object(dict)}


def _settings(name: str) -> Settings:
    """Parse the settings of a command from its options and the environment."""
    return Settings.parse(_environment(), command=name)


def _is_watched() -> bool:
    """Return whether a pass is shown to a person, and not logged."""
    form = _environment().get("LOG_FORMAT", "").strip().lower()
    shown = sys.stderr is not None and sys.stderr.isatty()  # None where it is closed
    return form in {"", LogFormat.AUTO} and shown


@command("run")
@click.option("--full", is_flag=True, help="Compare all builds with all checks in this pass.")
@click.option("--dry-run", is_flag=True, help="Show what a pass would do, and write nothing.")
def run(*, full: bool, dry_run: bool) -> None:
    """Do one pass: scan every build that has no verdict, then exit.

    A pass compares all builds with all checks; where there are 1,000 builds or more, it looks at
    what changed lately, and compares all of them in one pass of five, drawn by chance, at a
    terminal, or with --full.

    At a terminal it shows a line a build, what it is doing, and a closing table; elsewhere it logs.
    It sends notifications to a WEBHOOK_URL, and leaves its figures in a METRICS_FILE.
    """
    watched = _is_watched() or dry_run
    with boundary("" if watched else "pass"):
        settings = _settings("run")
        from avscan.passes import plan_pass, run_pass  # noqa: PLC0415 - loads what talks HTTP

        if dry_run:
            _show_plan(plan_pass(settings))
        elif watched:
            from avscan.ops.console import Console  # noqa: PLC0415
            from avscan.ops.terminal import style_for  # noqa: PLC0415

            with Console(sys.stderr, style=style_for(sys.stderr)) as console:
                # What the console does not show itself stands between its lines.
                level = "error" if settings.log_level == "error" else "warn"
                configure(level, LogFormat.TEXT, write=console.line)
                run_pass(settings, full=True, listen=console)
        else:
            configure(settings.log_level, settings.log_format)
            run_pass(settings, full=full or sys.stderr.isatty())


def _show_plan(plan: Plan) -> None:
    lines = [
        *(f"remove   {check.id}  its build {check.build} is gone" for check in plan.orphans),
        *(f"reclaim  {check.build}  no heartbeat" for check, _ in plan.stuck),
        *(f"reopen   {check.build}  its files changed" for check, _ in plan.changed),
        *(f"open     {build.id}  {_files(len(build.files))}" for build in plan.new),
    ]
    waiting = [job.build for job in plan.jobs]
    waiting += [build.id for _, build in (*plan.stuck, *plan.changed)]
    waiting += [build.id for build in plan.new]
    lines += [f"scan     {build}" for build in dict.fromkeys(waiting)]
    for line in lines or ["nothing to do"]:
        click.echo(line)


def _files(number: int) -> str:
    return f"{number} file" + "s" * (number != 1)


@command("init")
@click.option("--fix", is_flag=True, help="Mend what differs; never drops a field or a record.")
@click.option(
    "--print",
    "printed",
    is_flag=True,
    help="Change nothing: print the collection as it should be, as JSON for a migration.",
)
def init(*, fix: bool, printed: bool) -> None:
    """Create the av_build_checks collection, or say what is wrong with it.

    Where the schema is kept as migrations, --print prints what PocketBase's imports take; see
    docs/schema.md.
    """
    if fix and printed:
        raise click.UsageError("--fix changes the collection, and --print does not: choose one")
    with boundary():
        settings = _settings("init")
        from avscan.backend import schema  # noqa: PLC0415
        from avscan.wiring import connect  # noqa: PLC0415

        if printed:
            from avscan.backend.migration import as_import  # noqa: PLC0415

            with connect(settings) as client:
                definition, left = schema.planned(client)
            click.echo(as_import(definition))
            _show_differences(left, err=True)
            _exit_if_unfit(left)
            return
        with connect(settings) as client:
            outcome = schema.ensure(client, fix=fix)
        match outcome:
            case schema.Created():
                click.echo("av_build_checks: created")
            case schema.AsWanted():
                click.echo("av_build_checks: as it should be")
            case schema.Differs(differences=differences):
                _show_differences(differences)
                if any(each.fixable for each in differences):
                    click.echo("nothing was changed: `avscan init --fix` mends what can be mended")
                _exit_if_unfit(differences)
            case schema.Fixed(fixed=fixed, left=left):
                for difference in fixed:
                    click.echo(
                        f"{difference.field}: {difference.found}; is now: {difference.wanted}"
                    )
                _show_differences(left)
                _exit_if_unfit(left)
            case _:
                assert_never(outcome)


def _show_differences(differences: Sequence[Difference], *, err: bool = False) -> None:
    for each in differences:
        how = "" if each.fixable else " (to be mended by hand)"
        need = "needed" if each.fatal else "advised"
        click.echo(f"{each.field}: {each.found}; {need}: {each.wanted}{how}", err=err)


def _exit_if_unfit(differences: Sequence[Difference]) -> None:
    if any(each.fatal for each in differences):
        sys.exit(SchemaError.exit_code)


@command("rescan")
@click.argument("builds", nargs=-1, metavar="[BUILD]...")
@click.option(
    "--status",
    type=click.Choice(["clean", "infected", "error"]),
    help="Only verdicts of this status.",
)
@click.option("--older-than", metavar="30d", help="Only verdicts older than this: 30d, 12h, 90m.")
@click.option(
    "--from-av-service", is_flag=True, help="Only verdicts of av-service, which avscan replaces."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many builds, oldest first.")
@click.option("--dry-run", is_flag=True, help="Print the builds, and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before clean builds are hidden.")
def rescan(
    *,
    builds: tuple[str, ...],
    status: str | None,
    older_than: str | None,
    from_av_service: bool,
    limit: int | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Put verdicts back to pending, so that the next pass scans these builds again.

    Name builds, or choose verdicts by the options. Verdicts that were corrected by hand are put
    back only by name. Until a build is scanned, it is not clean, and a gate hides it from players:
    check first that passes work. RESCAN_AFTER renews verdicts without that.
    """
    with boundary():
        if not (builds or status or older_than or from_av_service):
            raise SettingsError(
                "name builds, or choose them by --status, --older-than or --from-av-service"
            )
        age = _span("--older-than", older_than) if older_than else timedelta(0)
        settings = _settings("rescan")
        from avscan.records import Status  # noqa: PLC0415
        from avscan.rescan import Choice  # noqa: PLC0415
        from avscan.rescan import rescan as put_back  # noqa: PLC0415

        choice = Choice(
            builds=builds,
            status=Status(status) if status else None,
            age=age,
            by_av_service=from_av_service,
            limit=limit,
        )
        done = set()
        confirm = _confirmed if yes else _confirm_hiding
        for build in put_back(settings, choice, confirm=confirm, dry_run=dry_run):
            click.echo(build)
            done.add(build)
        click.echo(f"{len(done)} {'would be ' * dry_run}put back to pending", err=True)
        if left := [build for build in builds if build not in done]:
            raise SettingsError(f"no such verdict to put back: {', '.join(dict.fromkeys(left))}")


def _confirmed(_: int) -> None:
    """Go on without a question."""


def _confirm_hiding(clean: int) -> None:
    """Ask at a terminal. Raise SettingsError where nobody can answer, or the answer is no."""
    what = f"{clean} clean builds go back to pending: a gate hides them until they are scanned"
    if not sys.stdin.isatty():
        raise SettingsError(f"{what}. Confirm with --yes")
    if not click.confirm(f"{what}. Go on?", err=True):
        raise SettingsError("nothing was put back")


def _span(option: str, text: str) -> timedelta:
    """Read a length of time as a person gives it."""
    units = {"d": "days", "h": "hours", "m": "minutes"}
    match = re.fullmatch(r"(\d{1,6})([dhm])", text.strip())
    span = timedelta(**{units[match[2]]: int(match[1])}) if match else LONGEST_SPAN
    if span >= LONGEST_SPAN:
        raise SettingsError(
            f"{option} must be like 30d, 12h or 90m, and less than 36500d, not {text!r}"
        )
    return span


@command("status")
@click.option(
    "--since", default="24h", show_default=True, help="The window: 30d, 24h or 90m, up to now."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "prometheus"]),
    default="table",
    show_default=True,
    help="How to say it.",
)
def status(*, since: str, form: str) -> None:
    """Say whether the promises are kept: the service levels, read from PocketBase.

    Each build is to be judged within 5 minutes of its upload, none to be pending for more than 10
    minutes, and at most 1 % of the verdicts to be errors. Below stands what waits, is stuck or late,
    and which builds were infected or could not be scanned.
    """
    with boundary():
        window = _span("--since", since)
        settings = _settings("status")
        from avscan.ops import metrics, views  # noqa: PLC0415
        from avscan.ops.exposition import exposition  # noqa: PLC0415
        from avscan.ops.queries import status as ask  # noqa: PLC0415
        from avscan.ops.terminal import columns  # noqa: PLC0415

        report = ask(settings, window=window)
        match form:
            case "json":
                click.echo(views.as_json(report))
            case "prometheus":
                click.echo(exposition(metrics.of_report(report)), nl=False)
            case _:
                for line in views.screen(report, room=columns(sys.stdout), style=_style()):
                    click.echo(line)
        # Prometheus judges the figures itself.
        sys.exit(0 if report.kept or form == "prometheus" else BROKEN)


@command("history")
@click.argument("build")
def history(*, build: str) -> None:
    """Print all that is known of a build's verdicts, the newest first."""
    with boundary():
        settings = _settings("history")
        from avscan.ops import views  # noqa: PLC0415
        from avscan.ops.queries import checks_in_full  # noqa: PLC0415

        checks = checks_in_full(settings, build)
        if not checks:
            click.echo(f"build {build} has no check yet")
        for line in views.history(build, checks, style=_style()):
            click.echo(line)


def _style() -> Style:
    """Give the style of standard output, and let no terminal's alphabet end a command."""
    from avscan.ops.terminal import style_for  # noqa: PLC0415

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return style_for(sys.stdout)


@command("health")
@click.option(
    "--deep",
    is_flag=True,
    help="Load the signatures and find the canary, too; a pass that is due then waits a minute.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def health(*, deep: bool, as_json: bool) -> None:
    """Say whether passes can do their work: a line for each part of the installation.

    Looks at PocketBase and the sign-in, the collections, clamscan, the signatures' age and the
    disk. The exit code is that of the first part that fails; what is only warned about is 0.
    """
    with boundary():
        from avscan.ops.health import examine, failed  # noqa: PLC0415

        parts = []
        try:
            for part in examine(_settings("health"), deep=deep):
                parts.append(part)
                if not as_json:
                    click.echo(f"{part.state:4}  {part.name:11}  {part.text}")
        except SettingsError as error:
            if not as_json:
                raise
            parts.append(failed("settings", error))
        code = next((part.exit_code for part in parts if part.exit_code), 0)
        if as_json:
            rows = [{"name": p.name, "state": p.state, "text": p.text} for p in parts]
            click.echo(json.dumps({"healthy": not code, "parts": rows}))
        sys.exit(code)


@command("refresh")
@click.option("--now", is_flag=True, help="Fetch them at once, whether or not they are due.")
def refresh(*, now: bool) -> None:
    """Fetch new signatures by freshclam, if they are due; needs no PocketBase.

    Can be run each minute: it does nothing until 4 to 8 hours have gone by since the last time, or
    1 to 1.5 after a failure. New signatures are loaded on trial before they replace the old ones.
    DATABASE_CUSTOM_URL adds signature files of your own, by their addresses.
    """
    with boundary("refresh"):
        settings = RefreshSettings.parse(_environment(), command="refresh")
        configure(settings.log_level, settings.log_format)
        from avscan.clamav import refresh as signatures  # noqa: PLC0415

        match signatures.refresh(settings, force=now):
            case signatures.Refreshed(due=due):
                log.info("refresh.finished", extra={"next": due.isoformat()})
            case signatures.NotDue(due=due):
                log.debug("refresh.not_due", extra={"next": due.isoformat()})
            case signatures.Underway():
                log.info("refresh.underway")


@main.command()
@click.option("--keep", is_flag=True, help="Leave the server running until Ctrl-C.")
def demo(*, keep: bool) -> None:
    """Show a pass on a PocketBase of its own, with sample builds: needs no settings."""
    with boundary():
        from avscan.demo import demo as show  # noqa: PLC0415

        show(keep=keep, say=click.echo)
