"""The Prometheus text format, parsed by its client library."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from avscan.ops.exposition import gauge, gauges


@given(label=st.text(st.characters(codec="utf-8")), value=st.floats(allow_nan=False))
def test_labels_and_values_survive_a_round_trip(label: str, value: float) -> None:
    text = gauges("checks", "Checks by status.", "status", {label: value})
    (family,) = text_string_to_metric_families(text)
    assert (family.name, family.type) == ("avscan_checks", "gauge")
    assert family.documentation == "Checks by status."
    (sample,) = family.samples
    assert sample.labels == {"status": label}
    assert math.isclose(sample.value, value)


def test_a_metric_without_a_value_is_left_out() -> None:
    assert gauge("a", "A.", None) == gauges("a", "A.", "b", {}) == ""
    assert gauge("b", "B.", 1) == "# HELP avscan_b B.\n# TYPE avscan_b gauge\navscan_b 1\n"
