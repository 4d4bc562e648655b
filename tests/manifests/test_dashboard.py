"""The dashboard asks for what the controller exports: metrics, their labels, counters as rates."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest

from ingress_controller.admin.metrics import (
    METRICS,
    WORKER_COUNTERS,
    WORKER_GAUGES,
    WORKER_PREFIX,
)
from router.model.wire import LATENCY_BUCKETS
from tests.manifests.scenarios import MANIFESTS

DASHBOARD = json.loads((MANIFESTS / "components" / "monitoring" / "dashboard.json").read_text())
OF_THE_TARGET = frozenset({"pod", "instance", "job", "namespace", "service"})
"""Labels that Prometheus adds from what it scrapes."""
INTERVAL = "5m"

Labels = frozenset[str]


def exported() -> dict[str, Labels]:
    """Labels by the name of each series."""
    series: dict[str, Labels] = {}
    for name, (labels, _) in METRICS.items():
        if "_duration_" in name:
            series |= {f"{name}_{part}": frozenset(labels) for part in ("sum", "count")}
            series[f"{name}_bucket"] = frozenset({*labels, "le"})
        else:
            series[name] = frozenset(labels)
    for name in WORKER_COUNTERS:
        labels = frozenset({"code"}) if name == "fault" else frozenset()
        series[f"{WORKER_PREFIX}{name}_total"] = labels
    series |= {f"{WORKER_PREFIX}{name}": frozenset({"worker"}) for name in WORKER_GAUGES}
    return series


SERIES = exported()


def is_counter(name: str) -> bool:
    return name.endswith(("_total", "_bucket", "_sum", "_count"))


def labels_of(expr: Any, *, rated: bool = False) -> Labels | None:
    """Labels of what an expression gives; None for a number.

    Raises:
        AssertionError: it asks for what is not exported, or takes a counter for a gauge.
    """
    match expr:
        case promql.NumberLiteral():
            return None
        case promql.ParenExpr():
            return labels_of(expr.expr)
        case promql.VectorSelector():
            known = SERIES.get(expr.name)
            assert known is not None, f"{expr.name} is not exported"
            assert is_counter(expr.name) is rated, f"{expr.name}: rates are of counters"
            known |= OF_THE_TARGET
            asked = {matcher.name for matcher in expr.matchers.matchers}
            assert asked <= known, f"{expr.name} has no {asked - known}"
            return known
        case promql.MatrixSelector():
            return labels_of(expr.vector_selector, rated=True)
        case promql.Call() if expr.func.name in ("rate", "increase"):
            return labels_of(expr.args[0])
        case promql.Call() if expr.func.name == "histogram_quantile":
            inner = labels_of(expr.args[1])
            assert inner is not None
            assert "le" in inner
            return inner - {"le"}
        case promql.Call() if expr.func.name == "time":
            return None
        case promql.Call() if expr.func.name == "vector":
            return frozenset()
        case promql.AggregateExpr():
            inner = labels_of(expr.expr)
            assert inner is not None
            if str(expr.op) in ("topk", "bottomk"):
                return inner
            kept = frozenset(expr.modifier.labels if expr.modifier else ())
            assert kept <= inner, f"{kept - inner} is not there to be kept"
            return kept
        case promql.BinaryExpr():
            sides = [labels_of(side) for side in (expr.lhs, expr.rhs)]
            sides = [labels for labels in sides if labels is not None]
            assert len(set(sides)) == 1, "both sides need the same labels"
            return sides[0]
    raise AssertionError(f"{type(expr).__name__} is not known here: {expr.prettify()}")


def panels() -> Iterator[dict[str, Any]]:
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def queries() -> list[tuple[str, str, str]]:
    """Title, expression and legend of every query."""
    return [
        (panel["title"], target["expr"], target["legendFormat"])
        for panel in panels()
        for target in panel["targets"]
    ]


VARIABLES = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]


def parsed(expression: str) -> Any:
    names = {variable["name"] for variable in VARIABLES}
    with_interval = expression.replace("$__rate_interval", INTERVAL)
    assert set(re.findall(r"\$(\w+)", with_interval)) <= names
    return promql.parse(with_interval)


@pytest.mark.parametrize(("title", "expression", "legend"), queries())
def test_a_query_asks_for_what_is_exported(title: str, expression: str, legend: str) -> None:
    labels = labels_of(parsed(expression))
    assert labels is not None
    assert set(re.findall(r"{{(\w+)}}", legend)) <= labels


@pytest.mark.parametrize(
    "expression",
    [
        "sum(rate(ingress_request_total[5m]))",
        "sum by (path) (rate(ingress_requests_total[5m]))",
        'sum(rate(ingress_requests_total{method="GET"}[5m]))',
        "sum(ingress_requests_total)",
        "sum(rate(ingress_leader[5m]))",
        "histogram_quantile(0.9, sum(rate(ingress_request_duration_seconds_bucket[5m])))",
    ],
)
def test_a_query_of_something_else_would_be_found(expression: str) -> None:
    with pytest.raises(AssertionError):
        labels_of(parsed(expression))


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable["name"])
def test_a_variable_takes_its_values_from_a_label(variable: dict[str, Any]) -> None:
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
    assert found is not None
    assert variable["query"]["query"] == variable["definition"]
    selector = parsed(found[1])
    assert found[2] in SERIES[selector.name]
    assert {matcher.name for matcher in selector.matchers.matchers} <= SERIES[selector.name]


def test_histograms_are_those_whose_name_says_so() -> None:
    """The rule of `exported` above; the collector makes one family for each name."""
    assert LATENCY_BUCKETS
    assert {name for name in METRICS if "_duration_" in name} == {
        "ingress_request_duration_seconds",
        "ingress_swap_duration_seconds",
    }


def test_every_panel_has_a_place_of_its_own() -> None:
    taken: set[tuple[int, int]] = set()
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(identifiers) == len(set(identifiers))
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
