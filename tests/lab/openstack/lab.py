#!/usr/bin/env python3
"""A real OpenStack control plane on this machine, with computes that only pretend to have a hypervisor.

    lab.py up [--computes N] [--zones Z]     bring it up; again: only what is not there yet
    lab.py down [--wipe]                     stop it; forget its data
    lab.py status                            processes and memory
    lab.py kill HOST…                        kill nova-computes at once, as a crash does
    lab.py start HOST…                       start them again

Needs root, Debian or Ubuntu, and PyPI. Exit code 69 and one line: something is missing that cannot be installed.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import parts
from parts import Lab
from processes import LabError, pss_mib, with_children

MISSING = 69
ROOT = Path(__file__).parents[3]


def base_folder() -> Path:
    """In var/, or under /var/tmp where the user postgres could not come there (a home with mode 0700)."""
    given = os.environ.get("RESTOW_LAB_OPENSTACK")
    if given:
        return Path(given)
    wanted = ROOT / "var" / "openstack"
    reachable = all(folder.stat().st_mode & 0o001 for folder in ROOT.parents)
    return wanted if reachable else Path("/var/tmp") / f"restow-lab-{str(ROOT).replace('/', '-').strip('-')}"


def lab_at(base: Path) -> Lab:
    options = {
        "vcpus": 16, "memory_mb": 65536, "local_gb": 1000, "live_migration_seconds": 1.0, "report_interval": 2,
        "service_down_time": 8,
    }  # fmt: skip
    return Lab(base, int(os.environ.get("RESTOW_LAB_PORT", "15100")), options)


class Phases:
    """Shows what is being done and how long it took."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.number = 0
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.number += 1
        print(f"[{self.number:2}/{self.total}] {name} …", end="", file=sys.stderr, flush=True)
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        print(f" {self.seconds[name]:.1f} s", file=sys.stderr, flush=True)


def up(lab: Lab, given: argparse.Namespace) -> None:
    hosts = [f"compute-{number:02}" for number in range(1, given.computes + 1)]
    phases, began = Phases(10), time.monotonic()
    lab.base.mkdir(parents=True, exist_ok=True)
    lab.base.chmod(0o755)
    with phases.phase("Debian packages"):
        if missing := parts.lacking():
            parts.install_packages(missing)
    with phases.phase("Python packages"):
        parts.install_python(lab)
    parts.write_configuration(lab)
    with phases.phase("PostgreSQL and RabbitMQ"):
        parts.start_rabbit(lab)
        cached = not lab.is_done("schema") and parts.take_from_cache(lab)
        parts.start_postgres(lab)
    with phases.phase("databases" + (" (from the cache)" if cached else "")):
        if not lab.is_done("schema"):
            if not cached:
                work: tuple[Callable[[Lab], None], ...] = (
                    parts.create_databases, parts.sync_keystone, parts.sync_others, parts.sync_nova,
                    parts.keep_in_cache,
                )  # fmt: skip
                for one in work:
                    one(lab)
            lab.done("schema")
        parts.rabbit_is_up(lab)
    with phases.phase("APIs of Keystone, Placement, Glance, Nova"):
        parts.start_apis(lab)
    with phases.phase("service catalogue"):
        if not lab.is_done("catalogue"):
            parts.write_catalogue(lab)
            lab.done("catalogue")
    with phases.phase("nova-conductor, nova-scheduler"):
        parts.start_nova(lab)
    with phases.phase(f"{len(hosts)} nova-compute"):
        for host in hosts:
            parts.write_compute(lab, host)
        parts.start_computes(lab, hosts)
    with phases.phase("hosts in their cell and zones"):
        parts.discover(lab, hosts, given.zones)
    with phases.phase("flavors and an image"):
        parts.inside(lab, "catalogue.py", "images")
    (lab.run / "timings.json").write_text(json.dumps(phases.seconds, indent=1))
    print(f"the lab is up after {time.monotonic() - began:.0f} s; its cloud is `lab`", file=sys.stderr)
    print(f"export OS_CLIENT_CONFIG_FILE={lab.run / 'clouds.yaml'} OS_CLOUD=lab")


def down(lab: Lab, given: argparse.Namespace) -> None:
    processes = lab.processes
    last = ("rabbitmq", "postgres")
    # Asked to end, nova-compute and nova-conductor first finish what they do: a lab need not wait for that.
    names = processes.names()
    processes.stop([one for one in names if one not in last and not one.endswith("-api")], signal.SIGKILL)
    processes.stop([one for one in names if one.endswith("-api")])
    processes.stop(["rabbitmq"], timeout_s=30)
    processes.stop(["postgres"], signal.SIGINT)
    parts.stop_port_mapper(lab)
    if given.wipe:
        shutil.rmtree(lab.run, ignore_errors=True)


def status(lab: Lab, given: argparse.Namespace) -> None:
    del given
    total = 0.0
    for name in lab.processes.names():
        pid = lab.processes.pid(name)
        memory = 0.0 if pid is None else pss_mib(with_children([pid]))
        total += memory
        print(f"{name:18} {pid or 'dead':>8} {memory:8.0f} MiB")
    print(f"{'total':18} {'':8} {total:8.0f} MiB")


def kill(lab: Lab, given: argparse.Namespace) -> None:
    for host in given.hosts:
        print(f"{host}: {'killed' if lab.processes.kill(host) else 'not running'}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("up")
    one.add_argument("--computes", type=int, default=10)
    one.add_argument("--zones", type=int, default=2)
    one.set_defaults(do=up)
    one = commands.add_parser("down")
    one.add_argument("--wipe", action="store_true")
    one.set_defaults(do=down)
    commands.add_parser("status").set_defaults(do=status)
    for name, do in (("kill", kill), ("start", lambda lab, given: parts.start_computes(lab, given.hosts))):
        one = commands.add_parser(name)
        one.add_argument("hosts", nargs="+")
        one.set_defaults(do=do)
    given = parser.parse_args()
    try:
        given.do(lab_at(base_folder()), given)
    except LabError as error:
        print(error, file=sys.stderr)
        return MISSING if str(error).startswith("missing:") else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
