"""Hosts that a plan brings to carry more real load than they physically have: allowed where needed, and told; pure."""

from collections.abc import Iterator

from restow.messages.plan import Blocker
from restow_planner.goals.loads import measure
from restow_planner.goals.work import Work
from restow_planner.solvers.board import Board

SLACK = 1e-6


def overloads(work: Work, start: Board) -> Iterator[Blocker]:
    """One for each load of each host that takes servers in, and is above all it has at the end. `start`: unmoved."""
    problem, cloud = work.problem, work.problem.cloud
    targets = sorted({work.board.at[one] for one in work.changes() if work.board.at[one] >= 0})
    names = {name for host in targets for name in cloud.hosts[host].physical}
    for name in sorted(names.difference(cloud.resources)):
        by = measure(problem, name)
        if by.claim is not None:
            continue  # nobody measures it
        before, after = by.share(start), by.share(work.board)
        for host in targets:
            if name in cloud.hosts[host].physical and after[host] > max(1.0, before[host]) + SLACK:
                why = f"after this plan {work.host(host)} carries {after[host]:.0%} of the {name} that it really has"
                more = f"add {name} on another host, or open one that has some"
                yield Blocker(server=None, rule=f"physical {name}", why=why, relaxation=more)
