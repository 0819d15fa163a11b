"""The arrays say what the cloud says, and are made fast enough for a large one."""

import time
from random import Random

import numpy as np

from restow_planner.problem import compile_problem
from restow_planner.rules import all_primitives, all_violations, worse
from restow_planner.solvers.board import Board
from support.builders import a_cloud, a_host, a_server
from support.strategies import random_legal_cloud


def a_board(cloud):
    problem = compile_problem(cloud, all_primitives(cloud))
    open_hosts = np.array([host not in problem.closed for host in range(len(problem.hosts))])
    return Board(problem=problem, open=open_hosts, pinned=dict(problem.fixed), barred={})


def test_what_the_arrays_allow_breaks_no_rule_and_what_they_forbid_does():
    """The fast answer for all hosts at once against the slow one, rule by rule, while the server is on its way."""
    seen = {True: 0, False: 0}
    for seed in range(60):
        cloud = random_legal_cloud(seed)
        board, random = a_board(cloud), Random(seed)
        start = {one.id: () if one.host is None else (one.host,) for one in cloud.servers}
        before = all_violations(cloud, start)
        for server in random.sample(range(len(cloud.servers)), min(6, len(cloud.servers))):
            if server in board.pinned:
                continue
            fits = board.fits(server)
            for host, name in enumerate(board.problem.hosts):
                if host != board.at[server]:
                    there = {**start, cloud.servers[server].id: (cloud.servers[server].host, name)}
                    bad = worse(before, all_violations(cloud, there))
                    assert bool(fits[host]) == (not bad), (seed, cloud.servers[server].id, name, bad)
                    seen[bool(fits[host])] += 1
    assert min(seen.values()) > 50


def test_undo_brings_everything_back():
    for seed in range(30):
        cloud = random_legal_cloud(seed)
        board, random = a_board(cloud), Random(seed)
        free, at, counts = board.free.copy(), list(board.at), [one.copy() for one in (*board.counts, *board.spread)]
        mark = board.mark()
        for _ in range(40):
            board.put(random.randrange(len(cloud.servers)), random.randrange(-1, len(cloud.hosts)))
        board.undo(mark)
        assert (board.free == free).all()
        assert board.at == at
        assert not board.moved
        assert all((one == two).all() for one, two in zip((*board.counts, *board.spread), counts, strict=True))


def test_a_thousand_hosts_compile_in_a_second():
    random = Random(1)
    cloud = a_cloud(
        [a_host(f"h{n}", zone=f"z{n % 3}", traits=frozenset({"A"} if n % 2 else ())) for n in range(1000)],
        [
            a_server(
                f"s{n}",
                on=f"h{n % 1000}",
                zone=f"z{n % 1000 % 3}" if random.random() < 0.2 else None,
                requires=frozenset({"A"} if n % 1000 % 2 else ()),
            )
            for n in range(20_000)
        ],
    )
    begun = time.process_time()
    problem = compile_problem(cloud, all_primitives(cloud))
    assert time.process_time() - begun < 1.0
    assert problem.allowed.shape[0] < 10
    assert int(problem.demand.sum()) == sum(sum(one.demand.values()) for one in cloud.servers)
