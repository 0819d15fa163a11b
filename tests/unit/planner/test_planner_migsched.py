"""The benchmark's own judge of migration schedules refuses what breaks a limit, and takes what the planner answers."""

import json

import pytest

from bench.families import migsched

MEMORY = {"memUsed": 1000, "hotDirtySize": 0.0, "hotDirtyDuration": 1.0, "coldDirtyRate": 0.0}
SECONDS = 9  # 1000 MB over 1000 Mb/s, 9 bits of the line a bit of memory


def a_file(folder, *, memory: int = 4, net: bool = True):
    """Hosts 0 and 1 on switch 0, hosts 2 and 3 on switch 1; servers 0 to 2 leave host 0 and 1 for 2 and 3."""
    fences = {0: 2, 1: 3, 2: 2}
    sizes = {"rcId": "mem", "id": "shareableResource", "defCapacity": memory, "defConsumption": 2}
    links = [
        *({"id": host, "capacity": 1000, "switch": host // 2, "physicalElement": {"type": "node", "id": host}}
          for host in range(4)),
        *({"id": 4 + switch, "capacity": 1000, "switch": 2, "physicalElement": {"type": "switch", "id": switch}}
          for switch in range(2)),
    ]  # fmt: skip
    views = [{**sizes, "nodes": {}, "vms": {}}]
    model = {
        "mapping": {
            "onlineNodes": {str(host): {"runningVMs": on} for host, on in enumerate(([0, 1], [2], [3], []))},
            "offlineNodes": [],
        },
        "attributes": {"vms": {str(server): MEMORY for server in range(4)}},
        "views": [*views, {"id": "net", "links": links, "switches": []}] if net else views,
    }
    moves = [{"id": "fence", "vm": server, "nodes": [host]} for server, host in {**fences, 3: 1}.items()]
    path = folder / "scale" / "some" / "x1" / "instance_1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"model": model, "constraints": moves}), encoding="utf-8")
    return path


def judged(path, **starts: int) -> str:
    body = {name.removeprefix("vm"): [start, start + SECONDS, 1000] for name, start in starts.items()}
    return migsched.judge(path, json.dumps(body).encode())


def test_the_answer_is_judged_right_and_proven(tmp_path) -> None:
    path = a_file(tmp_path)
    task = next(iter(migsched.instances(tmp_path)))
    answer = migsched.solve(tmp_path, task.name, 5.0)
    assert (answer.figure, answer.bound, answer.proven) == (3 * SECONDS, 3 * SECONDS, True)
    assert task.judge is not None
    assert task.judge(answer.body) == migsched.judge(path, answer.body) == "ok"


def test_links_carry_both_directions_at_once(tmp_path) -> None:
    assert judged(a_file(tmp_path), vm0=0, vm1=9, vm2=18, vm3=0) == "ok"


@pytest.mark.parametrize(
    ("starts", "told"),
    [
        ({"vm0": 0, "vm1": 8, "vm2": 17, "vm3": 0}, "link"),
        ({"vm0": 0, "vm1": 9, "vm2": 18}, "missing"),
        ({"vm0": -1, "vm1": 9, "vm2": 18, "vm3": 0}, "no time"),
    ],
    ids=["an uplink is full", "one is left", "before the first second"],
)
def test_what_breaks_a_limit_is_refused(tmp_path, starts: dict[str, int], told: str) -> None:
    assert told in judged(a_file(tmp_path), **starts)


def test_a_server_holds_its_memory_on_both_ends_while_it_moves(tmp_path) -> None:
    path = a_file(tmp_path)
    assert judged(path, vm0=0, vm1=9, vm2=18, vm3=9) == "ok"
    assert "host 2 holds 6 of mem at 18 s" in judged(path, vm0=0, vm1=9, vm2=18, vm3=10)


def test_a_migration_that_is_too_short_is_refused(tmp_path) -> None:
    path = a_file(tmp_path)
    body = {"0": [0, 9, 1000], "1": [9, 18, 1000], "2": [18, 26, 1000], "3": [0, 9, 1000]}
    assert "server 2" in migsched.judge(path, json.dumps(body).encode())


def test_hosts_around_one_switch_need_no_network_in_the_file(tmp_path) -> None:
    instance = migsched.read(a_file(tmp_path, net=False))
    assert {move.vm: move.mbps for move in instance.moves} == {0: 500, 1: 500, 2: 500, 3: 500}


def test_a_busier_memory_takes_longer_and_more_bandwidth_makes_it_shorter() -> None:
    busy = {"memUsed": 4000, "hotDirtySize": 96, "hotDirtyDuration": 2, "coldDirtyRate": 3.0}
    assert migsched.seconds_of({**busy, "hotDirtySize": 5, "coldDirtyRate": 0.0}, 1000) == 36
    assert migsched.seconds_of(busy, 1000) == 38
    assert migsched.seconds_of(busy, 500) > 2 * 38
