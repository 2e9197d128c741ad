"""The Prometheus text exposition format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

PREFIX = "avscan_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of a metric, identified by its labels."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A gauge; `name` excludes `PREFIX`."""

    name: str
    help: str
    samples: Sequence[Sample]


def gauge(name: str, help: str, value: float | None) -> Gauge:  # noqa: A002 - Prometheus's term
    """Return a gauge with one value. If the value is None, the gauge has no sample."""
    return Gauge(name=name, help=help, samples=[] if value is None else [Sample(value=value)])


def gauges(name: str, help: str, label: str, values: Mapping[str, float]) -> Gauge:  # noqa: A002
    """Return a gauge with one sample for each value of `label`."""
    samples = [Sample(value=value, labels={label: each}) for each, value in values.items()]
    return Gauge(name=name, help=help, samples=samples)


def exposition(metrics: Iterable[Gauge]) -> str:
    """Format metrics as text. Metrics without samples are left out."""
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
