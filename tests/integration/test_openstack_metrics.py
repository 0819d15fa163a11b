"""Measured loads from what answers Prometheus' instant queries, on real sockets."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from restow.cloud.openstack.metrics import PROFILES, queries_of
from restow.cloud.openstack.settings import MetricsSettings, OpenStackSettings
from support.openstack_stand_in import StandIn, Trouble, host_name, standing_in, uuid

H = [host_name(number) for number in range(3)]
MEASURED = {
    "node_cpu": [({"instance": f"{H[0]}:9100"}, "3.5"), ({"instance": f"{H[1]}.example.org:9100"}, "1")],
    "node_memory": [({"instance": f"{H[0]}:9100"}, "2048"), ({"instance": f"{H[2]}:9100"}, "NaN")],
    "cpu_time": [({"instance_id": uuid(0)}, "0.25"), ({}, "7"), ({"instance_id": uuid(1)}, "-1")],
    "memory_usage": [({"instance_id": uuid(0)}, "512")],
}


@pytest.fixture
def cloud():
    with standing_in(StandIn(measured=dict(MEASURED))) as serving:
        yield serving


async def read(connected, cloud, **metrics):
    settings = OpenStackSettings(metrics=MetricsSettings(url=f"{cloud.address}/prometheus", **metrics))
    clouds = connected(cloud, settings)
    try:
        return await clouds.port("one").read(), await clouds.port("one").examine()
    finally:
        await clouds.close()


async def test_loads_are_told_of_hosts_and_servers_by_the_names_of_nova(cloud, connected):
    seen, _ = await read(connected, cloud)
    assert {host.name: dict(host.load) for host in seen.hosts} == {
        H[0]: {"cpu_cores": 3.5, "memory_mib": 2048.0}, H[1]: {"cpu_cores": 1.0}, H[2]: {},
    }  # fmt: skip
    loads = {server.id: dict(server.load) for server in seen.servers if server.load}
    assert loads == {uuid(0): {"cpu_cores": 0.25, "memory_mib": 512.0}}
    asked = [call for call in cloud.calls if "/prometheus/" in call]
    assert len(asked) == 2 * 4  # four for each read
    assert set(cloud.tokens_seen) == {(None, None)}


async def test_two_hosts_that_are_alike_but_for_their_domains_are_not_taken_for_each_other(cloud, connected):
    cloud.measured["node_cpu"] = [({"instance": f"{H[1]}.{domain}"}, "1") for domain in ("one", "two")]
    seen, _ = await read(connected, cloud)
    assert seen.host_by_name[H[1]].load == {}


async def test_tokens_queries_and_labels_are_as_the_settings_say(cloud, connected, tmp_path):
    (tmp_path / "token").write_text("t0\n")
    cloud.measured = {"my_hosts": [({"fqdn": H[2]}, "2")], "ceilometer_cpu": [({"resource": uuid(2)}, "1")]}
    seen, _ = await read(
        connected, cloud, profile="ceilometer", host_label="fqdn", queries={"host_cpu": "my_hosts{}"},
        keystone=True, token_file=str(tmp_path / "token"),
    )  # fmt: skip
    assert seen.host_by_name[H[2]].load == {"cpu_cores": 2.0}
    assert next(server for server in seen.servers if server.id == uuid(2)).load == {"cpu_cores": 1.0}
    assert set(cloud.tokens_seen) == {("token-1", "Bearer t0")}


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (Trouble("prometheus", times=99, status=503), "answer 503"),
        (Trouble("prometheus", times=99, cut="before"), "metrics at"),
        (Trouble("prometheus", times=99, wait_s=2.0), "metrics at"),
    ],
)
async def test_metrics_that_do_not_answer_cost_the_loads_and_nothing_else(cloud, connected, trouble, why):
    whole, _ = await read(connected, cloud)
    cloud.troubles.append(trouble)
    seen, findings = await read(connected, cloud, timeout_s=0.3)
    bare = replace(
        whole, taken_at=seen.taken_at, hosts=tuple(replace(one, load={}) for one in whole.hosts),
        servers=tuple(replace(one, load={}) for one in whole.servers),
    )  # fmt: skip
    assert seen == bare
    (told,) = [one for one in findings if one.about == "metrics"]
    assert why in told.what


async def test_a_token_file_that_is_not_there_is_named(cloud, connected, tmp_path):
    _, findings = await read(connected, cloud, token_file=str(tmp_path / "none"))
    (told,) = [one for one in findings if one.about == "metrics"]
    assert "No such file" in told.what


async def test_the_doctor_names_hosts_and_servers_that_are_not_measured(cloud, connected):
    _, findings = await read(connected, cloud)
    told = [one.what for one in findings if one.about == "metrics"]
    assert told[0] == f"nothing is measured on {H[2]}"
    assert told[1].startswith(f"no load is known of server {uuid(1)}")


SERIES = {
    'node_cpu_seconds_total{instance="h1:9100",cpu="0",mode="user"}': "0+30x20",  # each minute
    'node_cpu_seconds_total{instance="h1:9100",cpu="1",mode="system"}': "0+60x20",
    'node_cpu_seconds_total{instance="h1:9100",cpu="1",mode="idle"}': "0+60x20",
    'node_memory_MemTotal_bytes{instance="h1:9100"}': "2147483648+0x20",
    'node_memory_MemAvailable_bytes{instance="h1:9100"}': "1073741824+0x20",
    'ceilometer_cpu{resource="s1"}': "0+120000000000x20",
    'ceilometer_memory_usage{resource="s1"}': "300+0x20",
    'libvirt_domain_info_cpu_time_seconds_total{instance="h1:9177",domain="i-1"}': "0+120x20",
    'libvirt_domain_info_memory_usage_bytes{instance="h1:9177",domain="i-1"}': "314572800+0x20",
    'libvirt_domain_openstack_info{instance="h1:9177",domain="i-1",instance_id="s1",project_id="p"}': "1+0x20",
    'libvirt_domain_info_cpu_time_seconds_total{instance="h2:9177",domain="i-1"}': "0+6000x20",  # another's i-1
}
WANTED = {"host_cpu": 1.5, "host_memory": 1024, "server_cpu": 2, "server_memory": 300}


@pytest.mark.parametrize("profile", PROFILES)
def test_the_queries_of_a_profile_are_promql_and_give_cores_and_mib(profile, tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("missing: promtool (Debian, Ubuntu: apt-get install prometheus)")
    queries = queries_of(MetricsSettings(url="http://m", profile=profile))
    server = {"ceilometer": "resource", "libvirt": "instance_id"}[profile]
    labels = {"host": '{instance="h1:9100"}', "server": f'{{{server}="s1"}}'}
    tests = [
        {"expr": f"round({queries[name]}, 0.001)", "eval_time": "15m",
         "exp_samples": [{"labels": labels[name.split("_")[0]], "value": value}]}
        for name, value in WANTED.items()
    ]  # fmt: skip
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    file = tmp_path / "tests.yml"  # JSON is YAML
    file.write_text(json.dumps({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
