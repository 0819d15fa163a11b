"""From the desk to the decision: what changes, why, and what it comes to in numbers; pure.

The end is judged once more by the rules themselves: an answer that would make any of them worse is never given.
"""

import numpy as np

from restow.cloud.model import Cloud
from restow.ids import ServerId
from restow.messages.plan import Outcome
from restow_planner.broken import BROKEN_SHOWN, Ends, judged, told
from restow_planner.decision import Decision
from restow_planner.goals.at_start import broken_at_start, contradictions
from restow_planner.goals.loads import Measure, measure
from restow_planner.goals.overload import overloads
from restow_planner.goals.soft import Charges, in_words
from restow_planner.goals.survival import survival
from restow_planner.goals.work import Verdict, Work
from restow_planner.rules.base import Violation
from restow_planner.solvers.board import Board

BLOCKERS_MAX = 1_000
ALWAYS_UNMODELLED = ("storage and network traffic of the servers",)


def answer(work: Work, verdicts: list[Verdict]) -> Decision:
    measures = [
        (name, measure(work.problem, name)) for name in dict.fromkeys(("cpu_cores", *work.problem.cloud.resources))
    ]
    start = _start_board(work)
    before = _facts(work, start, measures)
    charged_before, charged = Charges(work.soft, start).by_rule(), Charges(work.soft, work.board).by_rule()
    if work.soft:
        before["soft_price"] = sum(charged_before.values())
    notes = tuple(dict.fromkeys((*work.notes, *_unknown(work.problem.cloud), *ALWAYS_UNMODELLED)))
    outcome = _outcome(work, verdicts)
    words = "; ".join(one.why for one in verdicts)
    broken, of_rules = broken_at_start(start), ""
    was: tuple[Violation, ...] = ()
    is_now: tuple[Violation, ...] = ()
    if outcome is Outcome.PLAN:
        was, is_now, bad = judged(work.problem.cloud, _ends(work), {work.server(one) for one in work.dead})
        if bad:
            some = "; ".join(one.why for one in bad[:BROKEN_SHOWN])
            outcome, words = Outcome.UNDECIDED, f"the best placement found would break a rule: {some}"
    if outcome in (Outcome.PLAN, Outcome.NOTHING_TO_DO):
        never = contradictions(work.problem.cloud, broken)[:BROKEN_SHOWN]
        parts = (told(broken, was, is_now), *never, in_words(charged_before, charged))
        of_rules = "; ".join(one for one in parts if one)
    known = [one for one in verdicts if one.objective is not None and one.bound is not None]
    objective, bound = (known[0].objective, known[0].bound) if len(known) == 1 else (None, None)
    if outcome is not Outcome.PLAN:
        return Decision(
            outcome=outcome,
            stays=_stays(work),
            blockers=tuple(work.blockers[:BLOCKERS_MAX]),
            objective=objective,
            bound=bound,
            gap=_gap(objective, bound),
            before=before,
            after=before,
            why_outcome=words,
            broken=broken,
            of_rules=of_rules,
            not_modelled=notes,
        )
    lost, unsure = survival(work)
    changes = work.changes()
    place = work.board.at
    changed = set(changes)
    first = [one for one in work.urgent if one in changed]
    urgent = list(dict.fromkeys([*first, *changes]))
    return Decision(
        outcome=outcome,
        targets={work.server(one): None if place[one] < 0 else work.host(place[one]) for one in changes},
        actions={work.server(one): work.action(one) for one in changes},
        why={work.server(one): work.why.get(one, "makes room") for one in changes},
        stays={key: why for key, why in _stays(work).items() if work.problem.server_index[key] not in changed},
        blockers=tuple((*work.blockers, *lost, *overloads(work, start))[:BLOCKERS_MAX]),
        host_steps_first=tuple(work.first),
        host_steps_last=tuple(work.last),
        closed=frozenset(work.host(one) for one in work.closed),
        pinned=frozenset(
            work.server(one) for one in work.board.pinned if one not in work.problem.fixed and one not in changed
        ),
        priority=tuple(work.server(one) for one in urgent),
        objective=objective,
        bound=bound,
        gap=_gap(objective, bound),
        before=before,
        after=_facts(work, work.board, measures) | ({"soft_price": sum(charged.values())} if work.soft else {}),
        why_outcome=words,
        broken=broken,
        of_rules=of_rules,
        not_modelled=(*notes, *unsure),
    )


def _outcome(work: Work, verdicts: list[Verdict]) -> Outcome:
    if work.changes() or (work.last and any(one.outcome is Outcome.PLAN for one in verdicts)):
        return Outcome.PLAN
    met = {one.outcome for one in verdicts}
    for outcome in (Outcome.UNDECIDED, Outcome.IMPOSSIBLE):
        if outcome in met:
            return outcome
    return Outcome.NOTHING_TO_DO


def _ends(work: Work) -> Ends:
    moved = {work.server(one): work.board.at[one] for one in work.changes()}
    return {one: () if host < 0 else (work.host(host),) for one, host in moved.items()}


def _stays(work: Work) -> dict[ServerId, str]:
    return {work.server(one): why for one, why in work.stays.items()}


def _gap(objective: float | None, bound: float | None) -> float | None:
    if objective is None or bound is None:
        return None
    largest = max(abs(objective), abs(bound))
    return round(abs(objective - bound) / largest, 6) if largest else 0.0


def _start_board(work: Work) -> Board:
    return Board(problem=work.problem, open=work.board.open, pinned={}, barred={})


def _facts(work: Work, board: Board, measures: list[tuple[str, Measure]]) -> dict[str, float]:
    """Numbers of one placement. Shares are of the hosts that run; counts are counts."""
    cloud = work.problem.cloud
    down = work.problem.down
    runs = np.array([index not in down for index in range(len(cloud.hosts))], dtype=bool)
    lost = {one for one in work.dead if board.at[one] == work.problem.start[one]}
    facts = {
        "hosts_used": float(sum(bool(servers) for servers in board.on)),
        "hosts_over_capacity": float((board.free < 0).any(axis=0).sum()),
        "servers_without_host": float(
            sum(host < 0 or host in down or one in lost for one, host in enumerate(board.at))
        ),
    }
    for name, by in measures:
        share = by.share(board)[runs]
        label = {"cpu_cores": "cpu"}.get(name, name)
        if len(share):
            facts[f"peak_{label}"] = round(float(share.max()), 6)
            facts[f"mean_{label}"] = round(float(share.mean()), 6)
            facts[f"spread_{label}"] = round(float(share.max() - share.min()), 6)
    return facts


def _unknown(cloud: Cloud) -> list[str]:
    found = []
    if not any(host.numa for host in cloud.hosts):
        found.append("NUMA placement within a host")
    blind = sum(one.dirty_mib_s is None and one.host is not None for one in cloud.servers)
    if blind:
        found.append(f"dirty rate of {blind} servers")
    pers = {
        getattr(rule, "per", None) or getattr(rule, "over", None) or getattr(rule, "of", None) for rule in cloud.rules
    }
    for unit, value in (("rack", [host.rack for host in cloud.hosts]), ("zone", [host.zone for host in cloud.hosts])):
        if unit in pers and None in value:
            found.append(f"{unit} of {value.count(None)} hosts (they count as one {unit})")
    return found
