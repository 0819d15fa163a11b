"""Rules, alerts, dashboard and their pages: each metric exists and is explained, each alert is tried by promtool."""

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY

ROOT = Path(__file__).parents[2]
FILES = ROOT / "deploy" / "helm" / "restow" / "files"
RULES, DASHBOARD, TESTS = FILES / "rules.yaml", FILES / "dashboard.json", Path(__file__).with_name("rules_test.yaml")
RUNBOOKS, PAGE = ROOT / "docs" / "runbooks", ROOT / "docs" / "metrics.md"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
RECORDED = [rule for group in GROUPS for rule in group["rules"] if "record" in rule]
WITH_METRICS = ("restow.metrics", "restow_detector.metrics", "restow_api.metrics", "restow_api.http")


def ours():
    """The names that the services expose, by the names of their families."""
    for module in WITH_METRICS:
        importlib.import_module(module)
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in REGISTRY.collect()
        if family.name.startswith("restow_")
    }


def base(name):
    return re.sub(r"_(bucket|sum|count)$", "", name)


def expressions():
    """Every query that we hand out, with where it stands."""
    for rule in (*ALERTS, *RECORDED):
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$domain", "d")


def promtool(*words, cwd=None):
    if shutil.which("promtool") is None:
        pytest.skip("missing: promtool (Debian, Ubuntu: apt-get install prometheus)")
    return subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


def test_every_metric_has_its_line_with_its_labels_and_no_line_another():
    told = {
        name: [label.strip() for label in labels.split(",") if label.strip()]
        for name, labels in re.findall(r"^\| `(restow_\w+)` \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    }
    metrics = ours()
    assert sorted(told) == sorted(metrics)
    labels = {name: list(REGISTRY._names_to_collectors[name]._labelnames) for name in metrics}
    assert told == labels


@pytest.mark.parametrize(("where", "query"), list(expressions()), ids=[where for where, _ in expressions()])
def test_a_query_asks_for_metrics_that_exist(where, query):
    metrics, recorded = ours(), {rule["record"] for rule in RECORDED}
    named = set(re.findall(r"\brestow_\w+", query)) | set(re.findall(r"\brestow:[\w:]+", query))
    assert named or "process_" in query
    for name in named:
        assert name in recorded or name in metrics or base(name) in metrics, f"{where} asks for {name}"


@pytest.mark.parametrize("rule", [*ALERTS, *RECORDED], ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_keeps_installations_apart(rule):
    """What is taken together is taken together in one namespace; a recorded series has it already."""
    groupings = re.findall(r"(?:by|on) \(([^)]*)\)", rule["expr"])
    assert all("namespace" in grouping.split(", ") for grouping in groupings)
    assert groupings or "restow:" in rule["expr"]


def test_the_dashboard_shows_the_chosen_installations_alone():
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            for name, chosen in re.findall(r"(\brestow[_:][\w:]+)(\{namespace=~\"\$namespace\")?", target["expr"]):
                assert chosen, f"{panel['title']}: {name}"


def test_every_recorded_series_is_used():
    used = " ".join(query for _, query in expressions())
    assert [rule["record"] for rule in RECORDED if rule["record"] not in used + TESTS.read_text()] == []


def test_every_query_of_rules_and_dashboard_is_promql(tmp_path):
    rules = [{"record": f"r:{number}", "expr": query} for number, (_, query) in enumerate(expressions())]
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    done = promtool("check", "rules", str(file))
    assert done.returncode == 0, done.stderr + done.stdout


def test_the_rules_do_what_their_tests_say():
    done = promtool("test", "rules", TESTS.name, cwd=TESTS.parent)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_an_alert_that_never_speaks_is_noticed_and_it_has_its_page(alert, tmp_path):
    document = yaml.safe_load(RULES.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") == alert:
                rule["expr"] = "vector(1) > 2"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(document))
    tests = yaml.safe_load(TESTS.read_text()) | {"rule_files": ["rules.yaml"]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))
    assert promtool("test", "rules", "tests.yaml", cwd=tmp_path).returncode != 0
    page = (RUNBOOKS / f"{alert}.md").read_text()
    assert page.startswith(f"# {alert}\n")
    assert "## Look" in page
    assert "## Do" in page


def test_no_page_is_of_an_alert_that_is_not_there():
    assert sorted(file.stem for file in RUNBOOKS.glob("*.md")) == sorted(rule["alert"] for rule in ALERTS)


def test_panels_lie_side_by_side_and_not_over_each_other():
    seen = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & seen, panel["title"]
        seen |= cells
