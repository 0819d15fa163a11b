"""`restow hosts|servers …`, `restow snapshot`, `restow fault …`: the cloud itself."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from restow_api.client import BAD_INPUT, calling, stop
from restow_api.commands.common import (
    URL,
    AsJson,
    Data,
    Most,
    Url,
    facts,
    share,
    show_json,
    table,
    where,
    write_file,
)

FAULT_KINDS = ("host-crash", "host-hang", "network-loss", "agent-down", "hot-host")
Name = Annotated[str, typer.Argument(metavar="HOST")]
Domain = Annotated[str | None, typer.Option(help="Needed where there is more than one.")]


def register(app: typer.Typer) -> None:
    hosts = typer.Typer(help="Hosts, and their maintenance.", no_args_is_help=True)
    app.add_typer(hosts, name="hosts")
    hosts.command("list")(list_hosts)
    hosts.command("show")(show_host)
    hosts.command("maintenance")(maintenance)
    servers = typer.Typer(help="Servers.", no_args_is_help=True)
    app.add_typer(servers, name="servers")
    servers.command("list")(list_servers)
    servers.command("show")(show_server)
    app.command("snapshot")(snapshot)
    app.command("fault")(fault)


def list_hosts(
    limit: Most = None, domain: Domain = None, as_json: AsJson = False, url: Url = URL, data: Data = None
) -> None:
    """Hosts by name, with what is claimed on them."""
    with calling(where(url, data)) as client:
        found = client.all("/v1/hosts", most=limit, domain=domain)
    if as_json:
        show_json(found)
        return
    resources = list(dict.fromkeys(name for one in found for name in one["used"]))
    named = [name.upper() for name in resources]
    table(
        ("HOST", "STATE", "TAKES SERVERS", "ZONE", "RACK", "POWER", "SERVERS", "LOAD", *named),
        [
            (one["name"], _state(one), one["takes_servers"],
             one["zone"], one["rack"], one["power"], one["servers"],
             share(one["load"].get("cpu_cores", 0), one["physical"].get("cpu_cores")),
             *(share(one["used"].get(name, 0), one["capacity"].get(name)) for name in resources))
            for one in found
        ],
        empty="no hosts",
    )  # fmt: skip


def _state(host: dict[str, Any]) -> list[str]:
    return [host["state"], *["disabled"] * (not host["enabled"]), *["maintenance"] * host["maintenance"]]


def show_host(host: Name, as_json: AsJson = False, url: Url = URL, data: Data = None) -> None:
    """One host."""
    with calling(where(url, data)) as client:
        found = client.get(f"/v1/hosts/{quote(host, safe='')}")
    if as_json:
        show_json(found)
    else:
        facts((name.replace("_", " "), value) for name, value in found.items())


def maintenance(
    host: Name,
    off: Annotated[bool, typer.Option("--off", help="Back in service.")] = False,
    reason: Annotated[str, typer.Option(help="For the record.")] = "",
    url: Url = URL, data: Data = None,
) -> None:  # fmt: skip
    """Healing off and the host emptied; with --off back in service."""
    path = f"/v1/hosts/{quote(host, safe='')}/maintenance"
    with calling(where(url, data)) as client:
        if off:
            client.call("DELETE", path)
        else:
            client.call("POST", path, json={"reason": reason})
    typer.echo(f"maintenance of {host}: {'end' if off else 'begin'} asked for")


def list_servers(
    *, host: Annotated[str | None, typer.Option(help="Only those on this host.")] = None,
    project: Annotated[str | None, typer.Option(help="Only those of this project.")] = None,
    limit: Most = 200, domain: Domain = None, as_json: AsJson = False, url: Url = URL, data: Data = None,
) -> None:  # fmt: skip
    """Servers by id."""
    with calling(where(url, data)) as client:
        found = client.all("/v1/servers", most=limit, host=host, project=project, domain=domain)
    if as_json:
        show_json(found)
        return
    table(
        ("SERVER", "NAME", "HOST", "STATE", "PROJECT", "CLAIMS", "MOVE", "PRIORITY"),
        [
            (one["id"], one["name"], one["host"], one["state"], one["project"],
             [f"{amount} {name}" for name, amount in one["demand"].items()], one["move"], one["priority"])
            for one in found
        ],
        empty="no servers",
    )  # fmt: skip


def show_server(
    server: Annotated[str, typer.Argument(metavar="SERVER")], as_json: AsJson = False, url: Url = URL, data: Data = None
) -> None:
    """One server."""
    with calling(where(url, data)) as client:
        found = client.get(f"/v1/servers/{quote(server, safe='')}")
    if as_json:
        show_json(found)
    else:
        facts((name.replace("_", " "), value) for name, value in found.items())


def snapshot(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file in place of standard output.")] = None,
    domain: Domain = None, url: Url = URL, data: Data = None,
    cloud: Annotated[str | None, typer.Option(help="A cloud of clouds.yaml, or a URL, without a service.")] = None,
) -> None:  # fmt: skip
    """The cloud as Restow sees it, restow.cloud/1."""
    if cloud is not None:
        write_file(output, asyncio.run(_read(cloud if ":" in cloud else f"openstack:{cloud}", domain)))
        return
    with calling(where(url, data)) as client:
        params = {} if domain is None else {"domain": domain}
        write_file(output, client.call("GET", "/v1/cloud", params=params).content)


async def _read(url: str, domain: str | None) -> bytes:
    from restow.clock import SystemClock
    from restow.cloud.connect import connect
    from restow.cloud.snapshot import dump_cloud
    from restow_api.clouds import CloudReads

    clouds = connect(url, clock=SystemClock())
    try:
        reads = CloudReads(clouds, cache_s=0.0)
        return dump_cloud(await reads.read(reads.domain(domain, where="--domain")))
    finally:
        await clouds.close()


def fault(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"{', '.join(FAULT_KINDS)}, or clear.")],
    host: Annotated[str | None, typer.Argument(metavar="[HOST]")] = None,
    url: Url = URL, data: Data = None,
) -> None:  # fmt: skip
    """Trouble on the simulated cloud, to see what happens; clear ends it."""
    if kind not in (*FAULT_KINDS, "clear"):
        stop(f"KIND: got {kind!r}, expected {', '.join(FAULT_KINDS)} or clear", BAD_INPUT)
    if kind != "clear" and host is None:
        stop(f"HOST: {kind} needs the name of a host", BAD_INPUT)
    with calling(where(url, data)) as client:
        if kind == "clear":
            client.call("DELETE", "/v1/simulation/faults", params={} if host is None else {"host": host})
        else:
            client.call("POST", "/v1/simulation/faults", json={"kind": kind, "host": host})
    typer.echo(f"faults of {host or 'all hosts'} cleared" if kind == "clear" else f"{kind} on {host}")
