"""Templates as HTML: everything is escaped; bars and numbers for the eye. No state but the templates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from restow.cloud.model import Cloud, Host
from restow_api import keys
from restow_api.keys import Principal, Role
from restow_api.numbers import number, percent

SEGMENTS_MAX = 60  # servers drawn one by one in a host's bar; the rest is one segment


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar, in hundredths of its width."""

    x: float
    width: float
    hue: int
    title: str
    href: str


@dataclass(frozen=True, slots=True)
class HostCard:
    name: str
    domain: str
    place: str
    words: tuple[str, ...]
    good: bool
    bars: tuple[tuple[str, float, str], ...]  # label, share, text
    segments: tuple[Segment, ...]
    servers: int


def _share(part: float, whole: float | None) -> float:
    return 0.0 if not whole else max(0.0, part / whole)


def host_card(cloud: Cloud, host: Host) -> HostCard:
    """What a person wants to see of a host at a glance."""
    used = cloud.used(host.name)
    words = [host.state.value] if host.state.value != "up" else []
    words += ["disabled"] if not host.enabled else ["not offered by placement yet"] if host.withheld else []
    words += ["maintenance"] if host.maintenance else []
    words += ["forced down"] if host.forced_down else []
    words += [f"power {host.power.value}"] if host.power.value == "off" else []
    bars = []
    for resource in cloud.resources:
        whole = host.capacity.get(resource, 0)
        bars.append((resource, _share(used[resource], whole), f"{used[resource]:,} of {whole:,}"))
    cores = host.physical.get("cpu_cores")
    if cores and "cpu_cores" in host.load:
        load = host.load["cpu_cores"]
        bars.insert(0, ("load", _share(load, cores), f"{load:.1f} of {cores:g} cores"))
    return HostCard(
        name=host.name, domain=cloud.domain, place=" / ".join(filter(None, (host.zone, host.rack))),
        words=tuple(words) or ("up",), good=host.takes_servers, bars=tuple(bars),
        segments=tuple(_segments(cloud, host)), servers=len(cloud.servers_on[host.name]),
    )  # fmt: skip


def _segments(cloud: Cloud, host: Host) -> Iterable[Segment]:
    resource = cloud.resources[0]
    whole = host.capacity.get(resource, 0) or 1
    x = 0.0
    servers = sorted(cloud.servers_on[host.name], key=lambda one: (-one.demand.get(resource, 0), one.id))
    for server in servers[:SEGMENTS_MAX]:
        width = 100.0 * server.demand.get(resource, 0) / whole
        hue = sum(server.project.encode()) % 6
        title = f"{server.name or server.id} ({server.project}): {server.demand.get(resource, 0)} {resource}"
        yield Segment(round(x, 3), round(width, 3), hue, title, f"/console/servers?host={host.name}")
        x += width
    rest = servers[SEGMENTS_MAX:]
    if rest:
        width = 100.0 * sum(server.demand.get(resource, 0) for server in rest) / whole
        yield Segment(
            round(x, 3), round(width, 3), 6, f"{len(rest)} more servers", f"/console/servers?host={host.name}"
        )


def _number(value: object) -> str:
    match value:
        case None:
            return "–"
        case float():
            return number(value)
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def told(event: Mapping[str, Any]) -> str:
    """What an event says, in a line; the same as live.js makes of it."""
    data = event["data"]
    words = [
        data.get("why") or data.get("reason") or data.get("action") or data.get("symptom") or data.get("goal") or ""
    ]
    words += [data["server"]] if data.get("server") else []
    words += [f"{data['from']} → {data['to']}"] if data.get("from") and data.get("to") else []
    return " ".join(words)


def _moment(text: str | None) -> str:
    """An ISO time, to the second, for the eye."""
    return "–" if not text else text.partition(".")[0].replace("T", " ").removesuffix("Z") + " UTC"


_environment = Environment(
    loader=PackageLoader("restow_api.console"), autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
_environment.filters |= {"number": _number, "percent": percent, "moment": _moment, "told": told}
_environment.globals |= {"min": min}


def page(request: Request, template: str, *, cookie: str | None, status: int = 200, **values: Any) -> Response:
    """A page of the console. `cookie` is the session's secret: its forms carry what proves that they are ours."""
    who: Principal | None = getattr(request.state, "principal", None)
    shared: Mapping[str, Any] = {
        "who": who,
        "csrf": "" if cookie is None else keys.csrf_token(cookie),
        "path": request.url.path,
        "may": lambda role: who is not None and who.role.covers(Role(role)),
    }
    text = _environment.get_template(template).render({**shared, **values})
    return Response(text, status_code=status, media_type="text/html")
