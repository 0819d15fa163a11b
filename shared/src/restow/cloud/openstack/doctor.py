"""What Restow can see and do on a cloud: each finding with its consequence and the remedy."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from restow.cloud.model import LOCAL_STORAGE, Cloud, HostState, Power, ServerState
from restow.cloud.openstack.hosts import Node
from restow.cloud.openstack.metrics import Loads
from restow.cloud.openstack.migrations import in_order, status_of, time_of
from restow.cloud.openstack.rules import chosen_rules
from restow.cloud.openstack.settings import OpenStackSettings
from restow.cloud.port import VERIFY, Heartbeat, MigrationStatus
from restow.ids import HostName

SKEW_MAX_S = 30.0
OLD_MOVE = timedelta(hours=2)
RECENT, FAILURES = timedelta(days=1), 3
NAMED_MAX = 5
WANTED = (
    (91, "shelved servers cannot be started on a host of the plan's choice", "2.91 (Zed)"),
    (94, "an evacuated server is asked for at the newest version there is", "2.94 (Antelope)"),
    (96, "every server counts as pinned to the zone that it is in", "2.96 (Caracal)"),
    (98, "traits and CPU policies that images ask for are not seen", "2.98 (Epoxy)"),
    (100, "scheduler hints (different_host, same_host) are not seen", "2.100 (Epoxy)"),
)


class Grade(StrEnum):
    GOOD = "good"
    NOTE = "note"  # something is not done, or done less well
    WRONG = "wrong"  # Restow cannot do its work so


@dataclass(frozen=True, slots=True)
class Finding:
    grade: Grade
    about: str
    what: str
    consequence: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was looked at. `powers`: what each host's controller says; `told`: the hosts that each probe told of."""

    cloud: Cloud
    services: Sequence[Mapping[str, Any]]
    nodes: Sequence[Node]
    versions: Mapping[str, tuple[int, int]]
    words: Sequence[Heartbeat]
    powers: Mapping[HostName, Power]
    told: Mapping[str, frozenset[HostName]]
    held: Mapping[HostName, Mapping[str, Mapping[str, int]]]  # what placement holds for nobody, by host and consumer
    moves: Sequence[Mapping[str, Any]]  # the newest migrations
    roles: frozenset[str]  # of our user
    loads: Loads
    cpu_models: Mapping[HostName, str]
    now: datetime


def findings(seen: Seen, settings: OpenStackSettings) -> tuple[Finding, ...]:
    """All of them, in the order of the checks; a check that finds nothing wrong says so in one line. Pure."""
    checks: tuple[tuple[str, Callable[[Seen, OpenStackSettings], Iterator[Finding]], str], ...] = (
        ("versions", _versions, "Nova and Placement are new enough for everything"),
        ("rights", _rights, "the user may move servers and switch hosts"),
        ("clock", _clock, "Nova's clock and ours agree"),
        ("hosts", _hosts, "every host is up, enabled and known to Placement"),
        ("evidence", _evidence, "two independent sources tell of every host"),
        ("power", _power, "every host's board controller answers"),
        ("cpu", _cpu_models, "the hosts have one CPU model"),
        ("claims", _claims, "Placement holds nothing that is nobody's"),
        ("moves", _moves, "no move is left half done"),
        ("failures", _failures, "no host lets every move to it fail"),
        ("disks", _disks, "no server's disk dies with its host"),
        ("servers", _servers, "no server is in error"),
        ("rules", _rules, "every rule of the settings names somebody here"),
        ("metrics", _metrics, "loads are known"),
    )  # fmt: skip
    told: list[Finding] = []
    for about, check, good in checks:
        found = list(check(seen, settings))
        told += found or [Finding(Grade.GOOD, about, good)]
    return tuple(told)


def _versions(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    del settings
    _, minor = seen.versions["compute"]
    for needed, consequence, name in WANTED:
        if minor < needed:
            yield Finding(Grade.NOTE, "versions", f"Nova knows 2.{minor}", consequence, f"Nova {name} or newer")


def _rights(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    """By the role: Nova has no way to ask what it would allow."""
    del settings
    if "admin" not in seen.roles:
        roles = ", ".join(sorted(seen.roles)) or "none"
        yield Finding(
            Grade.NOTE, "rights", f"the user has not the role admin (but: {roles})",
            "unless Nova's policy was changed it may not move servers nor switch hosts: plans end at their first step",
            "openstack role add --user USER --project PROJECT admin",
        )  # fmt: skip


def _clock(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    """By the newest report of any host, which cannot be much older than Nova's report interval."""
    del settings
    reports = [time_of(one["updated_at"]) for one in seen.services if one.get("updated_at") and one["state"] == "up"]
    if not reports:
        return
    skew_s = (seen.now - max(reports)).total_seconds()
    if abs(skew_s) > SKEW_MAX_S:
        yield Finding(
            Grade.NOTE, "clock", f"the newest report of any host is {skew_s:+.0f} s from our clock",
            "ages of evidence are taken from Nova's clock, but plans and logs bear other times than Nova's",
            "synchronise the clocks (chrony) of this machine and of the controllers",
        )  # fmt: skip


def _hosts(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    del settings
    hosts = seen.cloud.hosts
    if not hosts:
        yield Finding(
            Grade.WRONG, "hosts", "this domain has no hosts", "there is nothing to look after",
            "see domains in RESTOW_OPENSTACK_FILE: regions, zones and names of hosts",
        )  # fmt: skip
    known = {node.host for node in seen.nodes}
    yield from _of(
        (host.name for host in hosts if host.name not in known or not host.capacity.get("memory_mib")), Grade.WRONG,
        "hosts", "Placement offers nothing of {}", "no server is planned there",
        "look at nova-compute's log there: does it report its inventory?",
    )  # fmt: skip
    yield from _of(
        (host.name for host in hosts if host.state is HostState.DOWN and not host.forced_down), Grade.NOTE, "hosts",
        "{} is down", "its servers are rebuilt elsewhere if more evidence says that it is dead",
        "look at the host; `restow hosts maintenance` if that is meant to be",
    )  # fmt: skip
    yield from _of(
        (host.name for host in hosts if host.forced_down), Grade.NOTE, "hosts", "{} is declared down",
        "no server is planned there, and it does not come back by itself",
        "once it is well: openstack compute service set --up HOST nova-compute",
    )  # fmt: skip
    yield from _of(
        (host.name for host in hosts if not host.enabled), Grade.NOTE, "hosts",
        "{} is disabled", "no server is planned there", "openstack compute service set --enable HOST nova-compute",
    )  # fmt: skip
    yield from _of(
        (host.name for host in hosts if host.withheld), Grade.NOTE, "hosts",
        "{} is enabled, but Placement keeps it closed", "Nova places nothing there",
        "it mends itself within a minute while nova-compute runs; else restart nova-compute",
    )  # fmt: skip


def _evidence(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    sources = sorted({word.source for word in seen.words} - {"power"})
    if len(sources) < 2 and settings.power.driver == "none":
        yield Finding(
            Grade.WRONG, "evidence", f"only {' and '.join(sources) or 'nobody'} tells whether hosts live",
            "no host is ever believed dead: nothing is healed", "add probes in RESTOW_OPENSTACK_FILE, or send alerts",
        )  # fmt: skip
    elif not settings.probes:
        yield Finding(
            Grade.NOTE, "evidence", "beside Nova only board controllers tell whether hosts live",
            "a host that hangs or has lost its networks, but has power, is not believed dead",
            "add probes in RESTOW_OPENSTACK_FILE, or send alerts",
        )  # fmt: skip
    for source, told in sorted(seen.told.items()):
        yield from _of(
            (host.name for host in seen.cloud.hosts if host.name not in told), Grade.WRONG, "evidence",
            f"the probe {source} does not tell of {{}}", "there this source counts neither for nor against a failure",
            "run its command by hand: it must print a JSON object with true or false for each host",
        )  # fmt: skip


def _power(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    if settings.power.driver == "none":
        yield Finding(
            Grade.WRONG, "power", "no way to switch hosts off is known", "no host can be fenced: nothing is evacuated",
            "see power in RESTOW_OPENSTACK_FILE",
        )  # fmt: skip
        return
    yield from _of(
        (host for host, power in seen.powers.items() if power is Power.UNKNOWN), Grade.WRONG, "power",
        "the board controller of {} does not tell whether it is on", "if it fails nothing of it is evacuated",
        "check its address, user and password under power in RESTOW_OPENSTACK_FILE",
    )  # fmt: skip
    up = {host.name for host in seen.cloud.hosts if host.state is HostState.UP}
    yield from _of(
        (host for host, power in seen.powers.items() if power is Power.OFF and host in up), Grade.WRONG, "power",
        "{} reports to Nova, but its board controller says off",
        "the controller may be another machine's: a fence would miss",
        "check which machine this controller belongs to",
    )  # fmt: skip


def _cpu_models(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    del settings
    models = sorted(set(seen.cpu_models.values()))
    if len(models) > 1:
        yield Finding(
            Grade.NOTE, "cpu", f"the hosts have {len(models)} CPU models: {', '.join(models[:NAMED_MAX])}",
            "live migrations between them may be refused; the plan is then made again without that pair",
            "set one cpu_mode and cpu_models in nova.conf, or make each model a domain or an aggregate",
        )  # fmt: skip


def _claims(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    del settings
    for host, consumers in sorted(seen.held.items()):
        for consumer, held in sorted(consumers.items())[:NAMED_MAX]:
            amounts = ", ".join(f"{amount} {resource}" for resource, amount in sorted(held.items()))
            yield Finding(
                Grade.NOTE, "claims", f"Placement holds {amounts} on {host} for {consumer}, which is not there",
                "this room is not used",
                "if there is no such server: openstack resource provider allocation delete CONSUMER; "
                "if it was evacuated: it goes when the host's nova-compute starts",
            )  # fmt: skip


def _moves(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    del settings
    waiting = [server for server in seen.cloud.servers if server.task == VERIFY]
    for server in waiting[:NAMED_MAX]:
        yield Finding(
            Grade.NOTE, "moves", f"server {server.id} waits for its resize to be confirmed",
            "it holds both ends, and nobody can move it", "its user confirms or reverts it, or an admin does",
        )  # fmt: skip
    for one in seen.moves:
        age = seen.now - time_of(one["created_at"])
        if age > OLD_MOVE and not status_of(one["status"]).ended and one["status"] != "finished":
            yield Finding(
                Grade.NOTE, "moves",
                f"migration {one['id']} of server {one['instance_uuid']} is {one['status']} "
                f"for {age.total_seconds() / 3600:.0f} h",
                "Restow keeps its hands off this server while Nova shows a task",
                "look at the server's task and host; abort it, or openstack server set --state active",
            )  # fmt: skip


def _failures(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    """Nova does not tell its settings for migrations; what came of the last ones does."""
    del settings
    ends: dict[str, list[MigrationStatus]] = {}
    for one in in_order(seen.moves):
        end = status_of(one["status"])
        if one["migration_type"] == "live-migration" and end.ended and seen.now - time_of(one["created_at"]) <= RECENT:
            ends.setdefault(one.get("dest_compute") or "", []).append(end)
    yield from _of(
        (
            host.name for host in seen.cloud.hosts
            if ends.get(host.name, [])[-FAILURES:] == [MigrationStatus.FAILED] * FAILURES
        ), Grade.NOTE, "failures", f"the last {FAILURES} live migrations to {{}} have failed",
        "plans that need it are made anew",
        "see the newest with openstack server migration list, and live_migration_uri, ports and CPU model of that host",
    )  # fmt: skip


def _disks(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    local = sum(server.storage == LOCAL_STORAGE for server in seen.cloud.servers)
    if settings.disks == LOCAL_STORAGE and local:
        yield Finding(
            Grade.NOTE, "disks", f"the disks of {local} servers count as part of their hosts",
            "when a host fails these are not rebuilt: it would be with empty disks",
            "disks: shared in RESTOW_OPENSTACK_FILE if they are on shared storage; else empty_disks in the policy",
        )  # fmt: skip


def _servers(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    del settings
    yield from _of(
        (server.id for server in seen.cloud.servers if server.state is ServerState.ERROR), Grade.NOTE, "servers",
        "{} is in error", "it is not moved, only evacuated",
        "openstack server show tells why; if its guest runs: openstack server set --state active",
    )  # fmt: skip


def _rules(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    _, idle = chosen_rules(settings.rules, seen.cloud.hosts, seen.cloud.servers)
    for index in idle:
        yield Finding(
            Grade.NOTE, "rules", f"rules.{index} ({settings.rules[index].kind}) names no host or server of this domain",
            "it binds nobody here", "check the names, ids and metadata under rules in RESTOW_OPENSTACK_FILE",
        )  # fmt: skip


def _metrics(seen: Seen, settings: OpenStackSettings) -> Iterator[Finding]:
    """Loads that come with the cloud are as good as those of a source of our own."""
    unseen = "hot hosts and imbalance of load are not seen; rebalance goes by claims"
    if seen.loads.trouble:
        yield Finding(
            Grade.NOTE, "metrics", f"loads are not all known: {seen.loads.trouble}", unseen,
            "check url, keystone and token_file under metrics in RESTOW_OPENSTACK_FILE",
        )  # fmt: skip
        return
    silent = [host.name for host in seen.cloud.hosts if not host.load and host.state is HostState.UP]
    if silent and len(silent) == len(seen.cloud.hosts) and settings.metrics is None:
        yield Finding(
            Grade.NOTE, "metrics", "the load of hosts and servers is not known", unseen,
            "see metrics in RESTOW_OPENSTACK_FILE",
        )  # fmt: skip
        return
    yield from _of(
        silent, Grade.NOTE, "metrics", "nothing is measured on {}", unseen,
        "does an exporter run there, and is host_label its name in Nova?",
    )  # fmt: skip
    running = [one for one in seen.cloud.servers if one.state is ServerState.ACTIVE and one.host not in silent]
    yield from _of(
        (server.id for server in running if not server.load and settings.metrics is not None), Grade.NOTE, "metrics",
        "no load is known of server {}", "it counts as idle, and may be moved to a host that is then too hot",
        "does the exporter tell its id, in the label server_label?",
    )  # fmt: skip


def _of(  # noqa: PLR0917  (the fields of a Finding, in their order)
    names: Iterable[str], grade: Grade, about: str, what: str, consequence: str, remedy: str
) -> Iterator[Finding]:
    """One finding for all of these names, or none."""
    found = sorted(names)
    if found:
        more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
        yield Finding(grade, about, what.format(", ".join(found[:NAMED_MAX]) + more), consequence, remedy)
