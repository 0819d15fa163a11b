"""From a host's crash to the first evacuate call, at 1,000 hosts: all that is Restow's own.

Taken off: the evidence time that policy sets (the incident bears the time of the look that completed the evidence)
and the fencing itself (from the order to power off until the confirmed power-off and forced-down).
"""

import argparse
import asyncio
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

from restow.clock import ScaledClock
from restow.cloud.simulated.cloud import SimulatedCloud, SimulatedClouds
from restow.cloud.simulated.generate import generate_cloud
from restow.cloud.simulated.options import SimulationOptions
from restow.database.engine import Database
from restow.database.schema import upgrade_database
from restow.database.tables import EventRow
from restow.messages.events import PolicyPut, first_event
from restow.runtime.blocking import ThreadBlocking
from restow.runtime.installation import Installation
from restow.runtime.logs import set_up_logs
from restow.runtime.run import random_id
from restow.runtime.service import Context

POLICY = {
    "format": "restow.policy/1",
    "evidence": {"quorum": 2, "patience_s": 2, "poll_s": 1},
    "rules": [{"incident": "failed-host", "goal": "recover", "mode": "auto", "cool_down_s": 0}],
}
WAIT_S = 60.0
PARTS = {"evidence": "evidence_s", "fencing": "fencing_s", "Restow": "reaction_s"}


async def measure(*, hosts: int, servers_per_host: int, seed: int) -> dict[str, float]:
    """Seconds of each part, and `reaction_s`, what is left for Restow."""
    set_up_logs(level="error", form="console")
    with tempfile.TemporaryDirectory() as folder:
        clock = ScaledClock(datetime.now(UTC))
        database = Database(f"sqlite:///{Path(folder) / 'bench.db'}")
        await upgrade_database(database)
        given = generate_cloud(hosts=hosts, servers_per_host=servers_per_host, seed=seed)
        options = SimulationOptions(service_down_time_s=1.0, power_off_s=0.5)
        cloud = SimulatedCloud(given, clock, seed=seed, options=options)
        context = Context(
            clock=clock,
            database=database,
            clouds=SimulatedClouds({cloud.domain: cloud}),
            blocking=ThreadBlocking(2),
            instance="bench",
            new_id=random_id,
        )
        installation = Installation(context, names=("detector", "planner", "executor"))
        await installation.start()
        try:
            async with database.writing() as transaction:
                put = PolicyPut(document=POLICY, by="bench")
                transaction.emit(
                    first_event(
                        "restow.command.policies.put",
                        put,
                        id=random_id(),
                        source="restow/bench",
                        domain=cloud.domain,
                        subject="policy",
                        time=clock.now(),
                        correlation="policy",
                    )
                )
            await asyncio.sleep(5)  # several looks at the whole cloud: everything is warm
            busiest = max(given.servers_on, key=lambda name: len(given.servers_on[name]))
            crashed_at = clock.now()
            await cloud.inject("host-crash", busiest)
            for _ in range(int(WAIT_S / 0.02)):
                evacuated = [call.at for call in cloud.calls if call.method == "evacuate"]
                if evacuated:
                    break
                await asyncio.sleep(0.02)
            else:
                raise SystemExit(f"no evacuate call within {WAIT_S:.0f} s of the crash of {busiest}")
            async with database.reading() as session:
                rows = (await session.execute(select(EventRow).order_by(EventRow.seq))).scalars().all()
            opened = next(row.time for row in rows if row.type == "restow.incident.opened")
            began, fenced = (
                next(row.time for row in rows if row.type == kind and json.loads(row.data)["action"] == "fence")
                for kind in ("restow.step.started", "restow.step.finished")
            )
        finally:
            await installation.stop(drain_s=2)
            await database.close()
    total, evidence = (evacuated[0] - crashed_at).total_seconds(), (opened - crashed_at).total_seconds()
    fencing = (fenced - began).total_seconds()
    return {"total_s": total, "evidence_s": evidence, "fencing_s": fencing, "reaction_s": total - evidence - fencing}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--servers-per-host", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    parts = asyncio.run(measure(hosts=options.hosts, servers_per_host=options.servers_per_host, seed=options.seed))
    print(f"crash to first evacuate call, {options.hosts} hosts: {parts['total_s']:.2f} s in all")
    told = ", ".join(f"{name} {parts[key]:.2f} s" for name, key in PARTS.items())
    print(f"  {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
