"""The Prometheus text exposition format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

S = TypeVar("S", bound=str)

PREFIX = "avscan_"


def gauge(name: str, help: str, value: float | None) -> str:  # noqa: A002 - Prometheus's term
    """Format a gauge with one value; '' if the value is None. `name` excludes `PREFIX`."""
    return _format(name, help, {} if value is None else {"": value})


def gauges(name: str, help: str, label: str, values: Mapping[S, float]) -> str:  # noqa: A002
    """Format a gauge with one sample for each value of `label`; '' if there is none."""
    samples = {f'{{{label}="{_escaped(each)}"}}': value for each, value in values.items()}
    return _format(name, help, samples)


def _format(name: str, text: str, samples: Mapping[str, float]) -> str:
    if not samples:
        return ""
    lines = [f"# HELP {PREFIX}{name} {text}", f"# TYPE {PREFIX}{name} gauge"]
    lines += [f"{PREFIX}{name}{labels} {value!r}" for labels, value in samples.items()]
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
