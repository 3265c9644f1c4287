"""Prometheus rules and the Grafana dashboard: right syntax, known metrics, and alerts that fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.kustomize import load
from tests.conftest import ROOT

FOLDER = ROOT / "cluster" / "monitoring"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool is installed")

#: What a build exports, and its labels; Ray puts ray_ in front.
COUNTERS = {"samples_written_total", "samples_rejected_total", "units_done_total", "unit_retries_total", "ticks_total",
            "lease_renewals_total"}  # fmt: skip
GAUGES = {"engine_busy_ratio", "slots_in_use", "samples_planned"}
HISTOGRAMS = {"queue_wait_seconds", "encode_seconds", "put_seconds"}
METRICS = {f"ray_dentgen_{name}" for name in COUNTERS | GAUGES} | {
    f"ray_dentgen_{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "sum", "count")
}
LABELS = {"ray_cluster", "ray_group", "pod", "reason", "le", "WorkerId"}
#: What leaves builds that ended out of what drivers count.
OF_RUNNING = "and on (ray_cluster, WorkerId) ray_dentgen_samples_planned"
#: Panels that show a value, and not how it went.
AT_ONCE = {"stat", "gauge", "table"}


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    (values,) = load(FOLDER / "alerts.yaml")
    return [rule for group in values["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    values: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    return values


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression with its place; variables of Grafana are filled in."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$cluster", "a|b")


EXPRESSIONS = list(expressions())
every_expression = pytest.mark.parametrize(
    "expression", [text for _, text in EXPRESSIONS], ids=[n for n, _ in EXPRESSIONS]
)


@every_expression
def test_every_metric_is_one_that_a_build_exports(expression: str) -> None:
    names = set(re.findall(r"\bray_\w+|\bdentgen_\w+", expression)) - LABELS
    assert names
    assert names <= METRICS, names - METRICS


@every_expression
def test_every_expression_is_promql(expression: str) -> None:
    parser = pytest.importorskip("promql_parser")
    assert parser.parse(expression)


@every_expression
def test_every_label_is_known(expression: str) -> None:
    grouped = re.findall(r"\b(?:by|on) \(([\w, ]+)\)", expression)
    matched = re.findall(r"[{,](\w+)=~?\"", expression)
    assert {label for group in grouped for label in group.split(", ")} | set(matched) <= LABELS


def test_counters_are_read_as_rates_or_sums_and_histograms_by_quantile() -> None:
    for place, text in EXPRESSIONS:
        for name in HISTOGRAMS & set(re.findall(r"ray_dentgen_(\w+)_bucket", text)):
            assert re.search(
                rf"histogram_quantile\([\d.]+, sum by \([^)]*le\) \(rate\(ray_dentgen_{name}_bucket", text
            ), place
        for name in GAUGES:
            assert not re.search(rf"rate\(ray_dentgen_{name}\b", text), place


def test_what_drivers_count_is_told_of_builds_that_run() -> None:
    """Ray exports the counters of those that ended as well."""
    counted = r"ray_dentgen_(?:samples_written|samples_rejected|units_done|lease_renewals|put_seconds)_\w+"
    panels = [panel for panel in dashboard()["panels"] if panel["type"] in AT_ONCE]
    texts = [rule["expr"] for rule in rules()]
    texts += [target["expr"] for panel in panels for target in panel["targets"]]
    with_counters = [text for text in texts if re.search(counted, text)]
    assert len(with_counters) == 4 + 3
    assert [text for text in with_counters if OF_RUNNING not in text] == []


def test_every_metric_is_on_the_dashboard() -> None:
    text = json.dumps(dashboard())
    assert [name for name in sorted(COUNTERS | GAUGES | HISTOGRAMS) if f"ray_dentgen_{name}" not in text] == []


@pytest.mark.parametrize(
    "wrong", ["sum(ray_dentgen_ticks_total", "rate(ray_dentgen_ticks_total)", "sum by reason (x)", "x{a=b}"]
)
def test_the_parser_finds_wrong_promql(wrong: str) -> None:
    parser = pytest.importorskip("promql_parser")
    with pytest.raises(ValueError, match=r".+"):
        parser.parse(wrong)


def test_alerts_cover_what_needs_somebody() -> None:
    names = [rule["alert"] for rule in rules()]
    assert names == [
        "DentgenNoProgress", "DentgenManyRejected", "DentgenLeaseLost", "DentgenActorIdle", "DentgenUnitsRetried",
        "DentgenSlowStorage",
    ]  # fmt: skip
    for rule in rules():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description"}


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    run = promtool("check", "rules", "alerts.yaml")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "6 rules found" in run.stdout


@needs_promtool
def test_alerts_fire_when_they_should_and_not_before() -> None:
    run = promtool("test", "rules", "alerts_test.yaml")
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_has_a_case() -> None:
    (values,) = load(FOLDER / "alerts_test.yaml")
    cases = [case for test in values["tests"] for case in test["alert_rule_test"]]
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules()}


def test_the_ports_and_labels_that_are_scraped_are_those_of_the_pods() -> None:
    (config,) = load(FOLDER / "prometheus.yaml")
    kubernetes, launched = config["scrape_configs"]
    assert config["rule_files"] == ["alerts.yaml"]
    (discovery,) = kubernetes["kubernetes_sd_configs"]
    assert discovery == {"role": "pod", "namespaces": {"names": ["dentgen"]}}
    kept = {
        rule["source_labels"][0]: rule["regex"]
        for rule in kubernetes["relabel_configs"]
        if rule.get("action") == "keep"
    }
    assert kept == {"__meta_kubernetes_pod_label_ray_io_is_ray_node": "yes",
                    "__meta_kubernetes_pod_container_port_name": "metrics"}  # fmt: skip
    for job in (kubernetes, launched):
        targets = {rule["target_label"] for rule in job["relabel_configs"] if "target_label" in rule}
        assert {"ray_cluster", "pod"} <= targets <= LABELS


def test_the_dashboard_has_what_grafana_requires() -> None:
    board = dashboard()
    assert board.keys() >= {
        "uid",
        "title",
        "schemaVersion",
        "version",
        "panels",
        "templating",
        "time",
        "refresh",
        "tags",
    }
    identifiers = [panel["id"] for panel in board["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    assert len({panel["title"] for panel in board["panels"]}) == len(identifiers)
    for panel in board["panels"]:
        assert panel.keys() >= {"id", "title", "type", "gridPos", "targets", "datasource", "fieldConfig", "options"}
        assert panel["type"] in {"stat", "gauge", "timeseries", "table"}
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEF"[: len(panel["targets"])])


def test_panels_do_not_overlap() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in taken) < 24
        cells |= taken


def test_variables_of_the_dashboard_are_defined() -> None:
    board = dashboard()
    defined = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", yaml.safe_dump(board["panels"])))
    assert used == defined == {"datasource", "cluster"}


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    """Run promtool beside the rules."""
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *words], cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False)
