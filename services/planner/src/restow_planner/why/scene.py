"""The cloud before and after a plan, in the terms in which the planner thinks; pure."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from restow.cloud.model import Cloud
from restow.ids import HostName, ServerId
from restow.messages.plan import Plan
from restow.messages.request import AnyRequest, ThenRequest
from restow_planner.beside import ends
from restow_planner.problem import Bools, Problem, compile_problem
from restow_planner.referee.steps import requests
from restow_planner.rules import all_primitives
from restow_planner.solvers.board import NOWHERE, Board
from restow_planner.why.names import Names


@dataclass(frozen=True)
class Scene:
    """What the plan and its snapshot say together. What the snapshot does not know is passed over."""

    plan: Plan
    cloud: Cloud

    @cached_property
    def names(self) -> Names:
        return Names(self.cloud)

    @cached_property
    def problem(self) -> Problem:
        return compile_problem(self.cloud, all_primitives(self.cloud))

    @cached_property
    def goals(self) -> tuple[AnyRequest, ...]:
        return goals_of(self.plan)

    @cached_property
    def pins(self) -> frozenset[str]:
        return frozenset(name for one in requests(self.plan.request) for name in one.pin)

    @cached_property
    def shut(self) -> dict[str, str]:
        """Why nothing may arrive on a host: by its state, or by the request."""
        found = {self.problem.hosts[host]: f"it is {why}" for host, (_, why) in self.problem.closed.items()}
        for one in requests(self.plan.request):
            found.update((HostName(name), "the request excludes it") for name in one.exclude_hosts)
            if one.goal in ("evacuate", "recover"):
                found.update((HostName(name), f"the goal {one.goal} empties it") for name in one.hosts)
        return {name: why for name, why in found.items() if name in self.problem.host_index}

    @cached_property
    def open(self) -> Bools:
        mask = np.ones(len(self.problem.hosts), dtype=bool)
        mask[[self.problem.host_index[HostName(name)] for name in self.shut]] = False
        return mask

    @cached_property
    def before(self) -> Board:
        return Board(problem=self.problem, open=self.open.copy(), pinned=dict(self.problem.fixed), barred={})

    @cached_property
    def after(self) -> Board:
        board = Board(problem=self.problem, open=self.open.copy(), pinned=dict(self.problem.fixed), barred={})
        for server, host in ends(self.plan).items():
            index = self.problem.server_index.get(ServerId(server))
            if index is not None:
                board.put(index, NOWHERE if host is None else self.problem.host_index.get(HostName(host), NOWHERE))
        return board


def goals_of(plan: Plan) -> tuple[AnyRequest, ...]:
    """The goals themselves, without those that only string them together."""
    return tuple(one for one in requests(plan.request) if not isinstance(one, ThenRequest))
