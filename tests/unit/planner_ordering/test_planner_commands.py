"""`restow solve`, `check`, `show`, `why`: exit codes, and errors that name what is wrong."""

import asyncio
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from restow.cloud.model import Cloud
from restow.cloud.snapshot import dump_cloud
from restow.commands.main import run
from restow.database.schema import upgrade
from restow.messages.plan import Plan
from restow.messages.request import parse_request
from restow.render import gap_in_words, part_of, to_dot, to_json, to_svg, wave_of
from restow_planner.explain import explain
from restow_planner.plan import plan_for
from support.builders import a_cloud, a_host, a_server


def swap(hosts: int = 3) -> Cloud:
    return a_cloud(
        [a_host(f"h{index}", memory_mib=4000) for index in range(1, hosts + 1)],
        [a_server("a", on="h1", memory_mib=3000), a_server("b", on="h2", memory_mib=3000)],
    )


SWAP = {"goal": "reach", "targets": {"a": "h2", "b": "h1"}}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "cloud.json").write_bytes(dump_cloud(swap()))
    (tmp_path / "request.json").write_text(json.dumps(SWAP))
    return {name: str(tmp_path / f"{name}.json") for name in ("cloud", "request", "plan")}


def solved(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Plan:
    assert run(["solve", files["cloud"], "--request", files["request"], "-o", files["plan"]]) == 0
    capsys.readouterr()
    return Plan.model_validate_json(Path(files["plan"]).read_text())


def test_solve_writes_the_plan_and_tells_the_numbers_on_standard_error(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["solve", files["cloud"], "--request", files["request"]]) == 0
    out, err = capsys.readouterr()
    plan = json.loads(out)
    assert (plan["format"], plan["outcome"], plan["moved_mib"]) == ("restow.plan/1", "plan", 9000)
    assert plan["solve_s"] > 0
    assert "3 moves (1 parkings), 9000 MiB" in err


def test_solve_reads_standard_input(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(dump_cloud(swap()))))
    assert run(["solve", "-", "--request", files["request"]]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "plan"


def test_a_proven_impossibility_ends_with_3_and_names_the_servers(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files["cloud"]).write_bytes(dump_cloud(swap(hosts=2)))
    assert run(["solve", files["cloud"], "--request", files["request"]]) == 3
    out, err = capsys.readouterr()
    assert {one["server"] for one in json.loads(out)["blockers"]} == {"a", "b"}
    assert "impossible" in err


@pytest.mark.parametrize(
    ("request_text", "words"),
    [
        ('{"goal": "dance"}', ["request", "goal", "dance", "one of evacuate"]),
        ('{"goal": "evacuate", "hosts": []}', ["request", "hosts"]),
        ('{"goal": "evacuate", "hosts": ["h77"]}', ["request", "hosts", "h77"]),
        ('{"goal": "evacuate", "hosts": ["h1"], "colour": 1}', ["colour", "no such field"]),
        ("{", ["request"]),
    ],
)
def test_bad_input_ends_with_2_and_names_field_value_and_what_is_expected(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], request_text: str, words: list[str]
) -> None:
    Path(files["request"]).write_text(request_text)
    assert run(["solve", files["cloud"], "--request", files["request"]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(word in err for word in words), err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words",
    [
        ["solve", "absent.json", "--request", "REQUEST"],
        ["solve", "-", "--request", "-"],
        ["solve", "CLOUD", "--request", "REQUEST", "--time-limit", "0"],
        ["solve", "CLOUD", "--request", "REQUEST", "-o", "/nowhere/plan.json"],
        ["check", "CLOUD", "REQUEST"],
        ["show", "CLOUD"],
        ["why", "PLAN", "nobody", "--snapshot", "CLOUD"],
        ["why", "PLAN", "a", "--changes", "REQUEST"],
        ["why", "-", "a", "--snapshot", "-"],
        ["show", "PLAN", "--dot", "--svg"],
        ["replay", "p1", "--database", "sqlserver://x"],
    ],
)
def test_bad_usage_ends_with_2(files: dict[str, str], capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    solved(files, capsys)
    names = {"CLOUD": files["cloud"], "REQUEST": files["request"], "PLAN": files["plan"]}
    assert run([names.get(word, word) for word in words]) == 2
    err = capsys.readouterr().err
    assert err
    assert "Traceback" not in err


def test_check_says_ok_or_lists_what_is_wrong(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    plan = solved(files, capsys)
    assert run(["check", files["cloud"], files["plan"]]) == 0
    assert "ok: 3 steps" in capsys.readouterr().out
    steps = tuple(step.model_copy(update={"waits_for": ()}) for step in plan.steps)
    Path(files["plan"]).write_text(json.dumps(plan.model_copy(update={"steps": steps}).dump()))
    assert run(["check", files["cloud"], files["plan"]]) == 1
    assert "capacity memory_mib" in capsys.readouterr().out


def test_check_tells_that_the_snapshot_is_another_one(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    solved(files, capsys)
    Path(files["cloud"]).write_bytes(dump_cloud(swap(hosts=4)))
    assert run(["check", files["cloud"], files["plan"]]) == 0
    assert "the plan was made from snapshot sha256:" in capsys.readouterr().err


def test_why_tells_the_whole_chain_both_ways(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    plan = solved(files, capsys)
    last = plan.steps[-1]
    assert run(["why", files["plan"], last.id]) == 0
    told = capsys.readouterr().out
    assert all(step.id in told for step in plan.steps)
    assert "lacks 2000 memory_mib until" in told
    assert run(["why", files["plan"], plan.steps[0].id, "--waiting-for"]) == 0
    assert "frees" in capsys.readouterr().out


def test_why_with_the_snapshot_answers_for_names_hosts_and_servers_that_stay(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    solved(files, capsys)
    (tmp_path / "changes.json").write_text(json.dumps({"copy_hosts": [{"like": "h3"}]}))
    assert run(["why", files["plan"], "h3", "--snapshot", files["cloud"]]) == 0
    out, err = capsys.readouterr()
    assert "claims of memory_mib: 0 of 4000 before, 0 after" in out
    assert err == ""
    changes = ["--changes", str(tmp_path / "changes.json")]
    assert run(["why", files["plan"], "h3-copy-1", "--snapshot", files["cloud"], *changes]) == 0
    out, err = capsys.readouterr()
    assert "nothing leaves it, and nothing arrives" in out
    assert "the plan was made from snapshot sha256:" in err


def test_solve_with_changes_tells_the_plan_beside_the_one_without_them(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Path(files["cloud"]).write_bytes(dump_cloud(swap(hosts=2)))
    (tmp_path / "changes.json").write_text(json.dumps({"copy_hosts": [{"like": "h2"}]}))
    words = ["solve", files["cloud"], "--request", files["request"], "--changes", str(tmp_path / "changes.json")]
    assert run([*words, "-o", files["plan"]]) == 0
    err = capsys.readouterr().err
    rows = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:5]]
        for line in err.splitlines()
        if "│" in line
    }
    assert rows["outcome"] == ["impossible", "plan", ""]
    assert rows["moves"] == ["0", "3", "+3"]
    assert rows["moved_mib"] == ["0", "9000", "+9000"]
    assert "no longer blocked: " in err
    assert "a ends on h1 without the changes, on h2 with" in err
    assert run(["show", files["plan"]]) == 0
    assert "without the changes" in capsys.readouterr().out
    assert run(["check", files["cloud"], files["plan"], *words[4:]]) == 0


def test_show_prints_tables_and_graphs(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    plan = solved(files, capsys)
    assert run(["show", files["plan"]]) == 0
    assert "not modelled" in capsys.readouterr().out
    assert run(["show", files["plan"], "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["nodes"]) == len(plan.steps)
    assert run(["show", files["plan"], "--dot"]) == 0
    assert capsys.readouterr().out.startswith("digraph plan {")
    assert run(["show", files["plan"], "--svg"]) == 0
    assert ET.fromstring(capsys.readouterr().out).tag.endswith("svg")


def odd_plan() -> Plan:
    cloud = a_cloud([a_host('h"1"<&>'), a_host("h2\\")], [a_server("[bold]a</text>", on='h"1"<&>')])
    return plan_for(cloud, parse_request({"goal": "evacuate", "hosts": ['h"1"<&>']}), plan_id="p")


def test_odd_names_break_no_picture() -> None:
    plan = odd_plan()
    assert ET.fromstring(to_svg(plan)).tag.endswith("svg")
    assert 'h\\"1\\"<&>' in to_dot(plan)
    assert json.dumps(to_json(plan))


def test_odd_names_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(odd_plan().dump()))
    assert run(["show", str(file)]) == 0
    assert "[bold" in capsys.readouterr().out


def test_parts_of_a_plan_that_need_not_wait_for_each_other_are_told() -> None:
    hosts = [a_host(f"h{number}") for number in range(5)]
    cloud = a_cloud(
        hosts, [a_server("a", on="h0"), a_server("b", on="h0"), a_server("c", on="h1"), a_server("d", on="h2")]
    )
    request = {"goal": "reach", "targets": {"c": "h3", "d": "h4"}}
    apart = plan_for(cloud, parse_request(request), plan_id="p")
    assert sorted(part_of(apart).values()) == [1, 2]
    assert apart.metadata["independent_parts"] == 2
    assert "part 1 of 2, alone: no rule makes it wait for another part" in explain(apart, apart.steps[0].id)[0]
    joined = plan_for(cloud, parse_request({"goal": "evacuate", "hosts": ["h0"]}), plan_id="p")
    assert set(part_of(joined).values()) == {1}, "both moves wait until h0 is disabled"
    assert {node["part"] for node in to_json(joined)["nodes"]} == {1}
    assert "part" not in explain(joined, "s1")[0]


def test_the_gap_is_told_in_words() -> None:
    plan = plan_for(swap(), parse_request(SWAP), plan_id="p")
    told = [gap_in_words(plan.model_copy(update={"gap": gap})) for gap in (None, 0.0, 0.125)]
    assert told == [
        "how far from the best it is, is not known",
        "proven: no plan is better",
        "the best possible is at most 12.5% better",
    ]


def test_waves_are_the_longest_chains_before_each_step() -> None:
    plan = plan_for(swap(), parse_request(SWAP), plan_id="p")
    assert sorted(wave_of(plan).values()) == [0, 1, 2]


def test_a_plan_made_offline_loads_neither_database_nor_http(tmp_path: Path) -> None:
    snapshot, request = tmp_path / "cloud.json", tmp_path / "request.json"
    snapshot.write_bytes(dump_cloud(swap()))
    request.write_text(json.dumps({"goal": "evacuate", "hosts": ["h1"]}))
    script = (
        "import sys; from restow.commands.main import run;"
        f"assert run(['solve', {str(snapshot)!r}, '--request', {str(request)!r}]) == 0;"
        "print(sorted({'sqlalchemy', 'httpx2', 'fastapi', 'ortools'} & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("output", [[], ["-o", "/dev/full"]])
def test_a_full_disk_is_told_in_a_line(files: dict[str, str], output: list[str]) -> None:
    command = [sys.executable, "-m", "restow.commands.main", "solve", files["cloud"], "--request", files["request"]]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([*command, *output], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == (2 if output else 1)
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_a_plan_of_another_program_that_tells_no_domain_is_shown_and_judged(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    solved(files, capsys)
    told = json.loads(Path(files["plan"]).read_text())
    Path(files["plan"]).write_text(json.dumps({name: value for name, value in told.items() if name != "domain"}))
    assert run(["show", files["plan"]]) == 0
    assert run(["check", files["cloud"], files["plan"]]) == 0
    assert "ok: 3 steps" in capsys.readouterr().out


def test_replay_looks_where_up_keeps_its_things(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RESTOW_DATABASE_URL", raising=False)
    monkeypatch.setenv("RESTOW_DATA_DIR", str(tmp_path))
    assert run(["replay", "p1"]) == 2
    assert f"{tmp_path}/restow.db" in capsys.readouterr().err
    assert not (tmp_path / "restow.db").exists()
    asyncio.run(upgrade(f"sqlite:///{tmp_path}/restow.db"))
    for words in (["replay", "p1"], ["replay", "p1", "--data", str(tmp_path)]):
        assert run(words) == 1
        assert "no plan p1" in capsys.readouterr().err
    assert run(["replay", "p1", "--data", str(tmp_path), "--database", "sqlite:///x"]) == 2
