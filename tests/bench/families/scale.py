"""Generated clouds of growing size; no file is read."""

from collections.abc import Iterator
from pathlib import Path

from bench.cases import Question
from bench.reading import served
from restow.cloud.simulated.generate import generate_cloud
from restow.cloud.snapshot import dump_cloud


def instances(_folder: Path) -> Iterator[Question]:
    cloud = generate_cloud(hosts=1000, servers_per_host=20, seed=1)
    request = {"goal": "evacuate", "hosts": [cloud.hosts[17].name]}
    yield Question("evacuate one of 1,000 hosts with 20,000 servers", dump_cloud(cloud), request, served)
