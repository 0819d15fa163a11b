#!/usr/bin/env python3
"""The machines under the lab's hosts, as far as they are pretended: power, life, what their board controllers obey.

machine.py HOST on|off|status     what RESTOW_OPENSTACK_FILE names as power.command
machine.py alive                  what it names as a probe: the hosts that write to the storage
machine.py HOST crash             dead, but still powered
machine.py HOST agent-crash       only nova-compute is dead; the guests run on
machine.py HOST deaf|mute|well    the controller ignores orders; tells nothing; does as it is told again
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import parts

from lab import base_folder, lab_at

WELL = {"power": "on", "alive": True, "controller": "well"}


class Machines:
    def __init__(self) -> None:
        self.lab = lab_at(base_folder())
        self.folder = self.lab.run / "machines"
        self.folder.mkdir(exist_ok=True)

    def state(self, host: str) -> dict[str, Any]:
        try:
            return {**WELL, **json.loads((self.folder / f"{host}.json").read_text())}
        except FileNotFoundError:
            return dict(WELL)

    def change(self, host: str, **more: Any) -> None:
        file = self.folder / f"{host}.json"
        new = file.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps({**self.state(host), **more}))
        new.rename(file)

    def hosts(self) -> list[str]:
        return sorted(file.stem for file in (self.lab.run / "nova").glob("compute-*.conf"))

    def order(self, host: str, verb: str) -> int:
        known = self.state(host)
        match verb:
            case "status":
                print("unknown" if known["controller"] == "mute" else known["power"])
            case "on" | "off" if known["controller"] != "well":
                return 1 if known["controller"] == "mute" else 0
            case "off":
                self.lab.processes.kill(host)
                self.change(host, power="off", alive=False)
            case "on":
                self.change(host, power="on", alive=True)
                parts.start_computes(self.lab, [host])
            case "crash":
                self.lab.processes.kill(host)
                self.change(host, alive=False)
            case "agent-crash":
                self.lab.processes.kill(host)
            case "deaf" | "mute" | "well":
                self.change(host, controller=verb)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
        return 0

    def alive(self) -> Mapping[str, bool]:
        return {host: bool(self.state(host)["alive"]) for host in self.hosts()}

    def mend(self) -> None:
        """All on, alive and obedient; prints those whose nova-compute was started."""
        for file in self.folder.glob("*.json"):
            file.unlink()
        asleep = [host for host in self.hosts() if self.lab.processes.pid(host) is None]
        parts.start_computes(self.lab, asleep)
        print(*asleep)


def main() -> int:
    match sys.argv[1:]:
        case ["alive"]:
            print(json.dumps(Machines().alive()))
            return 0
        case ["mend"]:
            Machines().mend()
            return 0
        case [host, verb]:
            return Machines().order(host, verb)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
