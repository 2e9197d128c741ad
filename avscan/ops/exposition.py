"""Metrics in Prometheus's text format (its exposition format, version 0.0.4): pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

PREFIX = "avscan_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value, told from the others of its metric by its labels."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A metric that can go up and down; its name comes without the prefix."""

    name: str
    help: str
    samples: Sequence[Sample]


def gauge(name: str, help: str, value: float | None) -> Gauge:  # noqa: A002 - Prometheus's word
    """Make a metric of one value; without a value it has no sample, and is not shown."""
    return Gauge(name=name, help=help, samples=[] if value is None else [Sample(value=value)])


def gauges(name: str, help: str, label: str, values: Mapping[str, float]) -> Gauge:  # noqa: A002
    """Make a metric with a value for each value of a label."""
    samples = [Sample(value=value, labels={label: each}) for each, value in values.items()]
    return Gauge(name=name, help=help, samples=samples)


def exposition(metrics: Iterable[Gauge]) -> str:
    """Write metrics out."""
    lines: list[str] = []
    for metric in metrics:
        if not metric.samples:
            continue
        name = PREFIX + metric.name
        lines += [f"# HELP {name} {_escaped(metric.help)}", f"# TYPE {name} gauge"]
        lines += [f"{name}{_labels(sample.labels)} {sample.value!r}" for sample in metric.samples]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    pairs = (f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}" if labels else ""


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
