"""Consolidate: as many whole hosts as possible are freed, by few moves; pure.

A host that is freed takes nothing in any more: it is disabled, and handed over. Hosts that were empty before stay as
they are; only where freed hosts are powered off, they are too. One host that runs stays on in any case.
"""

from restow.messages.plan import Action, Blocker, Outcome
from restow.messages.request import ConsolidateRequest
from restow_planner.goals.emptying import HOST_WORTH, Emptying
from restow_planner.goals.names import Names
from restow_planner.goals.soft import priced
from restow_planner.goals.survival import keep
from restow_planner.goals.work import Verdict, Work

GIB = 1_024


class Consolidate:
    request = ConsolidateRequest

    def check(self, request: ConsolidateRequest, names: Names, at: str) -> None:
        pass

    def pursue(self, work: Work, request: ConsolidateRequest) -> Verdict:
        if not work.problem.hosts:
            return Verdict(Outcome.NOTHING_TO_DO, "the cloud has no hosts")
        before = len(work.board.moved), work.moved_mib()
        packing = Emptying(work, request.max_utilisation)
        used_before = packing.used()
        packing.run()
        spare = packing.spare()
        idle = packing.idle() - ({spare} if spare is not None else set())
        if request.power_off:
            for host in sorted(idle):
                packing.trail.note(work.board.mark(), frozenset({host}))
        kept_back = keep(work, packing.trail)
        if kept_back:
            packing.take_back()
            idle &= packing.trail.closed()
        off = sorted({*packing.freed, *idle}) if request.power_off else []
        work.host_steps_first(Action.DISABLE_HOST, off or sorted(packing.freed))
        work.last += [(Action.POWER_OFF, work.host(host)) for host in off]
        work.close({*packing.freed, *packing.idle()} - {spare})
        verdict = _verdict(packing, used_before, kept_back=kept_back)
        if used_before > packing.used():
            work.blockers += _what_stopped_it(packing, before)
            return verdict
        if off:
            stays = "" if spare is None else f"; {work.host(spare)} stays on, for whoever comes next"
            words = f"{len(off)} empty hosts are powered off{stays}"
            return Verdict(Outcome.PLAN, words, verdict.objective, verdict.bound)
        work.blockers += _what_stopped_it(packing, before)
        return verdict


def _verdict(packing: Emptying, used_before: int, *, kept_back: bool) -> Verdict:
    used, bound = packing.used(), packing.bound
    objective, least = float(used), float(min(used, bound))
    so_far = f"{used} hosts are in use, and no fewer than {bound} will do"
    if used < used_before:
        words = f"{used_before - used} hosts are freed: {used} in use instead of {used_before}"
        return Verdict(Outcome.PLAN, words, objective, least)
    if used <= bound:
        return Verdict(Outcome.NOTHING_TO_DO, f"{used} hosts in use is proven to be the fewest", objective, least)
    if packing.proven:
        words = f"proven: none of the {used} hosts in use can be emptied by moves that stop nobody"
        return Verdict(Outcome.NOTHING_TO_DO, words, objective, objective)
    if kept_back:
        words = f"no host was found without which a failure would cost no more; {so_far}"
    elif packing.out_of_reach():
        return Verdict(
            Outcome.IMPOSSIBLE, "proven by counting: no host can be freed within the limits", objective, least
        )
    elif packing.needs:
        words = f"no host was found that can be emptied within the limits; {so_far}"
    elif packing.dear is not None:
        words = f"no host was found whose freeing is worth what soft rules charge for it; {so_far}"
    elif packing.late:
        words = f"time was over before a host was found that can be emptied; {so_far}"
    else:
        words = f"no host was found that can be emptied; {so_far}"
    return Verdict(Outcome.UNDECIDED, words, objective, least)


def _what_stopped_it(packing: Emptying, before: tuple[int, float]) -> list[Blocker]:
    """Limits and prices for which no more hosts were freed, and what would have been enough for the next."""
    if packing.used() <= packing.bound or packing.proven:
        return []
    found = []
    for rule, amount in packing.needs.items():
        if rule == "limits.moves":
            need, unit = f"{amount - before[0]:.0f}", "moves"
        else:
            need, unit = f"{(amount - before[1]) / GIB:.2f}", "GiB moved"
        more = "one host more" if packing.freed else "one host"
        why = f"to free {more} would take {need} {unit} in all, more than {rule} allows"
        found.append(Blocker(server=None, rule=rule, why=why, relaxation=f"raise {rule} to {need}"))
    if packing.dear is not None:
        host, charged = packing.dear
        rule = max(charged, key=lambda one: charged[one])
        why = f"to free {packing.work.host(host)} would break {priced(charged)}: a host is worth {HOST_WORTH:g}"
        found.append(Blocker(server=None, rule=rule, why=why, relaxation=f"lower the price of {rule}"))
    return found
