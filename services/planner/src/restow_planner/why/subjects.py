"""What a person may ask about: a step, a server by id or name, a host; pure."""

from collections.abc import Collection
from dataclasses import dataclass

from restow.cloud.model import Cloud
from restow.errors import BadInputError, FieldError, close_names
from restow.messages.plan import Plan, Step
from restow.messages.request import ReachRequest, RecoverRequest
from restow_planner.referee.steps import requests

SAME_NAME_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Subject:
    """All that one word means: a step, a server and a host may be called alike."""

    word: str
    step: Step | None
    server: str | None
    host: str | None

    @property
    def unknown(self) -> bool:
        return self.step is None and self.server is None and self.host is None


def subject_of(plan: Plan, word: str, cloud: Cloud | None) -> Subject:
    """What the word means in this plan and, where there is one, in the snapshot.

    Raises BadInputError if the snapshot does not know it, or knows several servers of this name.
    """
    step = next((one for one in plan.steps if one.id == word), None)
    server = word if word in servers_named(plan) else None
    host = word if word in hosts_named(plan) else None
    if cloud is not None:
        server = server or _server(cloud, word)
        host = word if word in cloud.host_by_name else host
    found = Subject(word, step, server, host)
    if found.unknown and cloud is not None:
        names = {step.id for step in plan.steps} | cloud.server_by_id.keys() | cloud.host_by_name.keys()
        raise _bad(word, "a step of the plan, a server (id or name) or a host" + _close(word, names, cloud))
    return found


def servers_named(plan: Plan) -> set[str]:
    """The servers that the plan or its request speaks of."""
    found = {step.server for step in plan.steps if step.server is not None} | plan.stays.keys()
    found.update(one.server for one in plan.blockers if one.server is not None)
    for one in requests(plan.request):
        found.update(one.pin)
        if isinstance(one, ReachRequest):
            found.update(one.targets)
        if isinstance(one, RecoverRequest):
            found.update(one.servers)
    return found


def hosts_named(plan: Plan) -> set[str]:
    found = {name for step in plan.steps for name in (step.source, step.target, step.host) if name is not None}
    found.update(plan.emptied_hosts)
    for one in requests(plan.request):
        found.update(one.exclude_hosts, getattr(one, "hosts", ()))
        if isinstance(one, ReachRequest):
            found.update(host for host in one.targets.values() if host is not None)
    return found


def _server(cloud: Cloud, word: str) -> str | None:
    if word in cloud.server_by_id:
        return word
    alike = [one.id for one in cloud.servers if one.name == word]
    if len(alike) > 1:
        shown = ", ".join(alike[:SAME_NAME_SHOWN]) + (" …" if len(alike) > SAME_NAME_SHOWN else "")
        raise _bad(word, f"the id of one of the {len(alike)} servers of this name: {shown}")
    return alike[0] if alike else None


def _close(word: str, names: Collection[str], cloud: Cloud) -> str:
    return close_names(word, {*names, *(one.name for one in cloud.servers if one.name)})


def _bad(word: str, expected: str) -> BadInputError:
    return BadInputError("why", (FieldError("SERVER|HOST|STEP", word, expected),))
