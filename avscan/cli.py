"""The command line: options and output. Only this module and `boundary` exit."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ParamSpec, TypeVar, assert_never

import click

from avscan import __version__
from avscan.boundary import boundary
from avscan.errors import SchemaError, SettingsError
from avscan.logs import configure
from avscan.options import environment, options_of, parse_duration
from avscan.settings import LogFormat, Settings
from avscan.text import rfc3339

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
  0    success (also with infected builds), or another pass is running
  1    a bug in avscan, with a traceback in the log; for `status`: a service
       level is not met
  2    wrong settings or usage
  3    PocketBase can't be reached, keeps failing, or its storage has no files
  4    PocketBase rejects the credentials
  5    a collection or a required field is missing
  6    clamscan or its signatures don't work
  7    the work folder can't be used, or the disk is full
  129  stopped by SIGHUP
  130  stopped by SIGINT
  141  the reader of the output closed it
  143  stopped by SIGTERM
"""
LEVEL_NOT_MET = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Scan the builds that are uploaded to Zapuskalka with ClamAV."""


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Register a command with an option for each setting that it uses."""
    options, epilog = options_of(name)

    def register(function: Callable[..., None]) -> click.Command:
        registered = main.command(name, epilog=epilog)(function)
        registered.params.extend(options)
        return registered

    return register


def _settings(name: str) -> Settings:
    """Parse a command's settings from its options and the environment."""
    return Settings.parse(environment(), command=name)


def _is_interactive() -> bool:
    """Return whether a pass is shown on a terminal instead of logged."""
    form = environment().get("LOG_FORMAT", "").strip().lower()
    terminal = sys.stderr is not None and sys.stderr.isatty()  # None if it is closed
    return form in {"", LogFormat.AUTO} and terminal


@command("run")
@click.option("--full", is_flag=True, help="Compare all builds with all checks in this pass.")
@click.option("--dry-run", is_flag=True, help="Show what a pass would do, and write nothing.")
def run(*, full: bool, dry_run: bool) -> None:
    """Do one pass: scan every build that has no verdict, then exit.

    With 1,000 builds or more, most passes check only builds that changed recently. A random one in
    five passes compares all builds with all checks, and so does each pass on a terminal or with
    --full.

    On a terminal, it prints its progress, a line per build and a final table; elsewhere it logs. It
    sends notifications to WEBHOOK_URL, and writes metrics to METRICS_FILE.
    """
    interactive = _is_interactive() or dry_run
    with boundary("" if interactive else "pass"):
        settings = _settings("run")
        if not interactive:
            configure(settings.log_level, settings.log_format)
        from avscan.passes import plan_pass, run_pass  # noqa: PLC0415 - imports requests, which is slow

        if dry_run:
            _show_plan(plan_pass(settings))
        elif interactive:
            from avscan.ops.console import Console  # noqa: PLC0415
            from avscan.ops.terminal import style_for  # noqa: PLC0415

            with Console(sys.stderr, style=style_for(sys.stderr)) as console:
                # Warnings of the log are printed between the console's lines.
                level = "error" if settings.log_level == "error" else "warn"
                configure(level, LogFormat.TEXT, write=console.line)
                run_pass(settings, full=True, listen=console)
        else:
            run_pass(settings, full=full or sys.stderr.isatty())


def _show_plan(plan: Plan) -> None:
    lines = [
        *(f"remove   {check.id}  its build {check.build} is deleted" for check in plan.orphans),
        *(f"reclaim  {check.build}  no heartbeat" for check, _ in plan.stuck),
        *(f"reopen   {check.build}  its files changed" for check, _ in plan.changed),
        *(f"open     {build.id}  files: {len(build.files)}" for build in plan.new),
    ]
    waiting = [job.build for job in plan.jobs]
    waiting += [build.id for _, build in (*plan.stuck, *plan.changed)]
    waiting += [build.id for build in plan.new]
    lines += [f"scan     {build}" for build in dict.fromkeys(waiting)]
    for line in lines or ["nothing to do"]:
        click.echo(line)


@command("init")
@click.option("--fix", is_flag=True, help="Fix differences; never deletes a field or a record.")
@click.option(
    "--print",
    "printed",
    is_flag=True,
    help="Print the collection's definition as JSON for a migration; change nothing.",
)
def init(*, fix: bool, printed: bool) -> None:
    """Create the av_build_checks collection, or check its definition.

    If you keep the schema as migrations, --print prints JSON for PocketBase's import; see
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
                    click.echo("nothing was changed: `avscan init --fix` fixes what it can")
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
        how = "" if each.fixable else " (to be fixed by hand)"
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
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of builds, oldest first.")
@click.option("--dry-run", is_flag=True, help="Print the builds, and write nothing.")
@click.option(
    "--yes", is_flag=True, help="Do not ask for a confirmation before clean builds are hidden."
)
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
    """Reset verdicts to pending, so that builds are scanned again.

    Name builds, or choose verdicts by the options. Verdicts that were corrected by hand are reset
    only if you name the build. A gate hides a build from players until it is scanned again, so
    check first that passes work. RESCAN_AFTER renews verdicts without hiding builds.
    """
    with boundary():
        if not (builds or status or older_than or from_av_service):
            raise SettingsError(
                "name builds, or choose them by --status, --older-than or --from-av-service"
            )
        age = parse_duration("--older-than", older_than) if older_than else timedelta(0)
        settings = _settings("rescan")
        from avscan.records import Status  # noqa: PLC0415
        from avscan.rescan import Selection  # noqa: PLC0415
        from avscan.rescan import rescan as reset  # noqa: PLC0415

        selection = Selection(
            builds=builds,
            status=Status(status) if status else None,
            age=age,
            by_av_service=from_av_service,
            limit=limit,
        )
        done = set()
        confirm = (lambda _: None) if yes else _confirm_hiding
        for build in reset(settings, selection, confirm=confirm, dry_run=dry_run):
            click.echo(build)
            done.add(build)
        click.echo(f"{len(done)} {'would be ' * dry_run}reset to pending", err=True)
        if left := ", ".join(dict.fromkeys(build for build in builds if build not in done)):
            raise SettingsError(f"no such verdict, or no such build: {left}")


def _confirm_hiding(clean: int) -> None:
    """Ask on a terminal. Raise SettingsError without a terminal, or if the answer is no."""
    what = f"{clean} clean builds would be reset: a gate hides them until they are scanned"
    if not sys.stdin.isatty():
        raise SettingsError(f"{what}. Confirm with --yes")
    if not click.confirm(f"{what}. Continue?", err=True):
        raise SettingsError("nothing was reset")


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
    help="The output format.",
)
def status(*, since: str, form: str) -> None:
    """Show whether avscan keeps its service levels.

    Each build gets a verdict within 5 minutes of its upload, none is pending for more than 10
    minutes, and avscan fails at no more than 1 % of the scans. The report also lists the builds
    that wait, are stuck, late or infected, or could not be scanned.
    """
    with boundary():
        window = parse_duration("--since", since)
        settings = _settings("status")
        from avscan.ops import metrics, views  # noqa: PLC0415
        from avscan.ops.queries import query_report  # noqa: PLC0415
        from avscan.ops.terminal import columns  # noqa: PLC0415

        report = query_report(settings, window=window)
        match form:
            case "json":
                click.echo(views.as_json(report))
            case "prometheus":
                click.echo("".join(metrics.of_report(report)), nl=False)
            case _:
                for line in views.as_text(report, max_width=columns(sys.stdout), style=_style()):
                    click.echo(line)
        # For Prometheus, alert rules evaluate the metrics.
        sys.exit(0 if report.kept or form == "prometheus" else LEVEL_NOT_MET)


@command("history")
@click.argument("build")
def history(*, build: str) -> None:
    """Print all verdicts of a build with their logs, newest first."""
    with boundary():
        settings = _settings("history")
        from avscan.ops import views  # noqa: PLC0415
        from avscan.ops.queries import query_checks  # noqa: PLC0415

        checks = query_checks(settings, build)
        if not checks:
            click.echo(f"build {build} has no check yet")
        for line in views.history(build, checks, style=_style()):
            click.echo(line)


def _style() -> Style:
    """Return the style of standard output, and make it replace characters it can't encode."""
    from avscan.ops.terminal import style_for  # noqa: PLC0415

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return style_for(sys.stdout)


@command("health")
@click.option(
    "--deep",
    is_flag=True,
    help="Also load the signatures and scan the canary; this can delay the next pass.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def health(*, deep: bool, as_json: bool) -> None:
    """Check the installation, and print a line for each part.

    The parts are PocketBase and the sign-in, the collections, clamscan, the signatures' age, the
    disk, the confinement and the archive programs. The exit code is that of the first part that
    fails; warnings do not change it.
    """
    with boundary():
        from avscan.ops.health import check_installation, failed_part  # noqa: PLC0415

        parts = []
        try:
            for part in check_installation(_settings("health"), deep=deep):
                parts.append(part)
                if not as_json:
                    click.echo(f"{part.state:4}  {part.name:11}  {part.text}")
        except SettingsError as error:
            if not as_json:
                raise
            parts.append(failed_part("settings", error))
        code = next((part.exit_code for part in parts if part.exit_code), 0)
        if as_json:
            rows = [{"name": p.name, "state": p.state, "text": p.text} for p in parts]
            click.echo(json.dumps({"healthy": not code, "parts": rows}))
        sys.exit(code)


@command("refresh")
@click.option("--now", is_flag=True, help="Update now, even if no update is due.")
def refresh(*, now: bool) -> None:
    """Update the signatures with freshclam, if an update is due. It needs no PocketBase.

    Run it each minute: it does nothing until 4 to 8 hours after an update, or 1 to 1.5 after a
    failure. New files are loaded on trial before use. DATABASE_CUSTOM_URL adds files by their URLs.
    """
    with boundary("refresh"):
        settings = _settings("refresh")
        configure(settings.log_level, settings.log_format)
        from avscan.clamav import refresh as signatures  # noqa: PLC0415

        match signatures.refresh(settings, force=now):
            case signatures.Refreshed(due=due):
                log.info("refresh.finished", extra={"next": rfc3339(due)})
            case signatures.NotDue(due=due):
                level = logging.INFO if sys.stderr.isatty() else logging.DEBUG
                log.log(level, "refresh.not_due", extra={"next": rfc3339(due)})
            case signatures.Underway():
                log.info("refresh.underway")


@main.command()
@click.option("--keep", is_flag=True, help="Keep the server running until Ctrl-C.")
def demo(*, keep: bool) -> None:
    """Run a pass over sample builds, on a local PocketBase. It needs no settings."""
    with boundary():
        from avscan.demo import demo as show  # noqa: PLC0415

        show(keep=keep, echo=click.echo)
