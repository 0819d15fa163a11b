"""The demonstration: the whole system on the embedded log and the simulated cloud plays a story, and is judged.

A hot host is relieved; a host crashes and its servers are fenced off and recovered by priority; hosts are emptied
for maintenance; the cloud is consolidated and the emptied hosts are handed over. Everything is asked for through the
HTTP API, as a user would.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx2
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

POLL_S = 0.2  # of the machine's time, between two looks at the API
MANY_HOSTS = 100  # from this size on ten hosts are emptied, not one

DEMO_POLICY: dict[str, Any] = {
    "format": "restow.policy/1",
    "evidence": {"quorum": 2, "patience_s": 20, "returned_s": 60, "poll_s": 5},
    "thresholds": {"hot": 0.85, "hot_clear": 0.8, "hot_for_s": 60},
    "rules": [
        {"incident": "failed-host", "goal": "recover", "mode": "auto", "cool_down_s": 0},
        {"incident": "hot-host", "goal": "rebalance", "mode": "auto", "cool_down_s": 60},
        {"incident": "imbalance", "goal": "rebalance", "mode": "observe"},
        {"incident": "underused-hosts", "goal": "consolidate", "mode": "observe"},
        {"incident": "returned-host", "mode": "observe"},
    ],
}


class StoryError(Exception):
    """The story did not go as it should; the text says what was waited for and what was seen."""


@dataclass(frozen=True, slots=True)
class Act:
    """One part of the story and what came of it."""

    title: str
    held: bool
    facts: str


@dataclass
class Story:
    """Plays the acts one after the other. `patience_s` is the machine's time an act may take."""

    http: httpx2.AsyncClient
    console: Console
    patience_s: float = 300.0
    acts: list[Act] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    async def play(self) -> list[Act]:
        await self._call("PUT", "/v1/policies", DEMO_POLICY)
        steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("A hot host is relieved", self._hot_host),
            ("A host crashes; its servers are fenced off and recovered", self._crash),
            ("Hosts are emptied for maintenance", self._maintenance),
            ("The cloud is consolidated and emptied hosts are handed over", self._consolidate),
        ]
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            watcher = asyncio.create_task(self._tell())
            task = progress.add_task("", total=len(steps))
            for title, act in steps:
                progress.update(task, description=title)
                self.console.rule(f"[bold]{title}", align="left")
                try:
                    facts, held = await act(), True
                except StoryError as error:
                    facts, held = str(error), False
                self.console.print(f"[{'green' if held else 'red'}]{facts}")
                self.acts.append(Act(title, held, facts))
                progress.advance(task)
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        return self.acts

    # --- the acts ---------------------------------------------------------------------------

    async def _hot_host(self) -> str:
        hosts = [host for host in await self._all("/v1/hosts") if _share(host) is not None and _usable(host)]
        if not hosts:
            return "left out: this snapshot tells no load, so no host can be hot"
        host = max(hosts, key=lambda one: _share(one) or 0.0)["name"]
        await self._call("POST", "/v1/simulation/faults", {"kind": "hot-host", "host": host})
        incident = await self._incident("hot-host", host)
        if incident["outcome"] not in ("healed", "mitigated", "cleared"):
            raise StoryError(f"the hot host {host} ended as {incident['outcome']}: {incident['why']}")
        await self._call("DELETE", "/v1/simulation/faults", None)
        return f"{host}: {incident['outcome']} ({incident['why']})"

    async def _crash(self) -> str:
        hosts = [host for host in await self._all("/v1/hosts") if _usable(host)]
        on = {host["name"]: await self._servers(host["name"]) for host in hosts[:50]}
        host = max(on, key=lambda name: (len(on[name]), name))
        before = {server["id"] for server in on[host]}
        await self._call("POST", "/v1/simulation/faults", {"kind": "host-crash", "host": host})
        incident = await self._incident("failed-host", host)
        left = {server["id"] for server in await self._servers(host)}
        moved = before - left
        facts = (
            f"{host}: {len(moved)} of {len(before)} servers run elsewhere; {incident['outcome']} ({incident['why']})"
        )
        if incident["outcome"] not in ("healed", "mitigated") or not moved:
            raise StoryError(facts)
        return facts

    async def _maintenance(self) -> str:
        hosts = [host for host in await self._all("/v1/hosts") if _usable(host)]
        count = 10 if len(hosts) >= MANY_HOSTS else 1
        used = {host["name"]: len(await self._servers(host["name"])) for host in hosts}
        names = sorted(used, key=lambda name: (used[name] == 0, used[name], name))[:count]
        if count == 1:
            await self._call("POST", f"/v1/hosts/{names[0]}/maintenance", {"reason": "kernel update"})
        else:  # one plan for all: it knows what each host's emptying means for the others
            plan = await self._plan({"goal": "evacuate", "hosts": names, "mode": "auto", "reason": "kernel update"})
            if plan["state"] != "finished" or plan["plan"]["blockers"]:
                left = len(plan["plan"]["blockers"])
                raise StoryError(f"the plan ended as {plan['state']}, {left} servers left: {plan.get('why', '')}")
        for name in names:
            await self._until(f"{name} to be empty", partial(self._is_empty, name))
        return f"{', '.join(names)}: {sum(used[name] for name in names)} servers moved away live, none is left"

    async def _consolidate(self) -> str:
        plan = await self._plan(
            {"goal": "consolidate", "max_utilisation": 0.9, "mode": "auto", "reason": "save energy"}
        )
        if plan["state"] != "finished":
            raise StoryError(f"the plan ended as {plan['state']}: {plan.get('why', '')}")
        document = plan["plan"]
        emptied = list(document["emptied_hosts"])
        for name in emptied:
            host = await self._call("GET", f"/v1/hosts/{name}", None)
            if host["enabled"] or await self._servers(name):
                raise StoryError(f"{name} was to be handed over empty and closed, but it is not")
        if document["outcome"] == "nothing-to-do":
            return f"nothing to do: {document['why']}"
        return f"{len(document['steps'])} steps freed {len(emptied)} hosts: {', '.join(emptied) or 'none'}"

    # --- looking and asking -----------------------------------------------------------------

    async def _plan(self, request: dict[str, Any]) -> dict[str, Any]:
        asked = await self._call("POST", "/v1/plans", {"format": "restow.request/1", **request})
        ended = ("finished", "failed", "rejected", "cancelled")
        plan: dict[str, Any] = {}

        async def done() -> bool:
            nonlocal plan
            plan = await self._call("GET", f"/v1/plans/{asked['id']}", None)
            while plan["state"] == "stale" and plan.get("replaced_by"):
                plan = await self._call("GET", f"/v1/plans/{plan['replaced_by']}", None)
            return plan["state"] in ended

        await self._until(f"the plan to {request['goal']}", done)
        return plan

    async def _incident(self, symptom: str, host: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        async def closed() -> bool:
            found[:] = [
                incident
                for incident in await self._all("/v1/incidents")
                if incident["symptom"] == symptom and host in incident["hosts"]
            ]
            return any(incident.get("outcome") for incident in found)

        try:
            await self._until(f"an incident {symptom} of {host} to be closed", closed)
        except StoryError as error:
            seen = f"it is {found[0]['state']}: {found[0]['why']}" if found else "none was opened"
            raise StoryError(f"{error}; {seen}") from error
        return next(incident for incident in found if incident.get("outcome"))

    async def _is_empty(self, host: str) -> bool:
        return not await self._servers(host)

    async def _servers(self, host: str) -> list[dict[str, Any]]:
        return await self._all(f"/v1/servers?host={host}")

    async def _until(self, what: str, test: Callable[[], Awaitable[bool]]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience_s
        while not await test():
            if loop.time() > deadline:
                raise StoryError(f"waited {self.patience_s:.0f} s for {what}")
            await asyncio.sleep(POLL_S)

    async def _all(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(1000):  # pages
            params = {"limit": "500", **({"cursor": cursor} if cursor else {})}
            page = await self._call("GET", path, None, params)
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items
        raise StoryError(f"{path} has more than 1,000 pages")

    async def _call(self, method: str, path: str, body: Any, params: dict[str, str] | None = None) -> Any:
        url = httpx2.URL(path).copy_merge_params(params or {})
        answer = await self.http.request(method, url, json=body)
        if answer.status_code >= 400:
            raise StoryError(f"{method} {path} was answered {answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    async def _tell(self) -> None:
        """Print each healing event as a line while the acts go on."""
        cursor: str | None = None
        while True:
            page = await self._call(
                "GET", "/v1/events", None, {"limit": "200", **({"cursor": cursor} if cursor else {})}
            )
            for event in page["items"]:
                if event["id"] not in self._seen:
                    self._seen.add(event["id"])
                    self.console.print(f"[dim]{event['time'][11:19]}[/dim] {sentence(event)}", highlight=False)
            cursor = page["next"] or cursor
            await asyncio.sleep(POLL_S)


def sentence(event: dict[str, Any]) -> str:
    """One healing event in words."""
    kind: str
    kind, data = event["type"].removeprefix("restow."), event["data"]
    match kind.split("."):
        case ["incident", change]:
            tail = f": {data.get('outcome')}, {data.get('why')}" if change == "closed" else ""
            return f"incident {change}: {data['symptom']} of {', '.join(data['hosts'])}{tail}"
        case ["plan", "proposed"]:
            return f"plan to {data['goal']}: {data['outcome']}, {data['steps']} steps, {data['moved_mib']} MiB to move"
        case ["plan", state]:
            return f"plan {state}" + (f": {data['why']}" if data.get("why") else "")
        case ["step", state]:
            what = data.get("server") or data.get("host")
            way = f" {data['from']} → {data['to']}" if data.get("to") else ""
            return f"step {state}: {data['action']} {what}{way}" + (f" ({data['why']})" if data.get("why") else "")
        case ["host", change]:
            return f"host {data['host']} {change}"
        case ["refusal"]:
            return f"not done: {data['what']} ({data['why']})"
        case _:
            return kind


def _share(host: dict[str, Any]) -> float | None:
    load, cores = host.get("load", {}).get("cpu_cores"), host.get("physical", {}).get("cpu_cores")
    return load / cores if load and cores else None


def _usable(host: dict[str, Any]) -> bool:
    return bool(host["state"] == "up" and host["enabled"] and not host["maintenance"])
