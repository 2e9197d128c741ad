"""The options of the command line: one for each setting, and what their texts mean."""

from __future__ import annotations

import os
import re
from datetime import timedelta

import click

from avscan.errors import SettingsError
from avscan.settings import VARIABLES
from avscan.variables import Variable

MAX_DURATION = timedelta(days=36_500)


def options_of(command: str) -> tuple[list[click.Option], str]:
    """Return an option for each setting that a command uses, and the text about its secrets."""
    variables = [each for each in VARIABLES if command in each.commands]
    secrets = ", ".join(each.name for each in variables if each.secret)
    epilog = (
        f"Secrets have no option, since other users can see a command line: set {secrets}, or use"
        " an option that names a file. `avscan --help` lists the exit codes."
    )
    return [_option(each) for each in variables if not each.secret], epilog


def _option(variable: Variable) -> click.Option:
    return click.Option(
        [variable.option, variable.name],
        envvar=variable.name,
        show_envvar=True,
        help=variable.help,
        default=variable.default or None,
        show_default=bool(variable.default),
        expose_value=False,
        callback=_store_option,
    )


def _store_option(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    context.ensure_object(dict)[parameter.name] = value or ""


def environment() -> dict[str, str]:
    """Return the environment, where options replace their variables."""
    return {**os.environ, **click.get_current_context().ensure_object(dict)}


def parse_duration(option: str, text: str) -> timedelta:
    """Parse a duration such as 30d, 12h or 90m."""
    units = {"d": "days", "h": "hours", "m": "minutes"}
    match = re.fullmatch(r"(\d{1,6})([dhm])", text.strip())
    duration = timedelta(**{units[match[2]]: int(match[1])}) if match else MAX_DURATION
    if duration >= MAX_DURATION:
        raise SettingsError(
            f"{option} must be like 30d, 12h or 90m, and less than 36500d, not {text!r}"
        )
    return duration
