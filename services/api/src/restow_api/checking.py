"""Whether what a request names is there, and fits: hosts, servers, resources, with the closest names; pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from restow.cloud.model import Cloud, Host, HostState, Power
from restow.errors import BadInputError, FieldError, close_names
from restow.messages.base import ERRORS_MAX
from restow.messages.request import (
    AnyRequest,
    DefragmentRequest,
    EvacuateRequest,
    ReachRequest,
    RebalanceRequest,
    RecoverRequest,
    ThenRequest,
)


@dataclass(frozen=True)
class _Known:
    """`living`: hosts that the cloud calls up and that no incident calls failed."""

    hosts: frozenset[str]
    living: frozenset[str]
    servers: frozenset[str]
    server_names: dict[str, str]
    resources: frozenset[str]
    loads: frozenset[str]

    def host(self, field: str, name: str) -> Iterator[FieldError]:
        if name not in self.hosts:
            yield FieldError(field, name, "the name of a host of this domain" + close_names(name, self.hosts))

    def failed(self, field: str, name: str) -> Iterator[FieldError]:
        if name in self.living:
            expected = "a host that has failed: this one is up; evacuate moves servers off a living host"
            yield FieldError(field, name, expected)

    def server(self, field: str, server: str) -> Iterator[FieldError]:
        if server not in self.servers:
            called = self.server_names.get(server)
            hint = f"; the server called {server} has the id {called}" if called else close_names(server, self.servers)
            yield FieldError(field, server, "the id of a server of this domain" + hint)


def check_request(request: AnyRequest, cloud: Cloud, *, prefix: str = "", failed: frozenset[str] = frozenset()) -> None:
    """Raises BadInputError with every name that `cloud` does not know, or that does not fit (at most ERRORS_MAX).

    `failed`: hosts that an open incident calls failed. Its evidence may be ahead of the cloud's word.
    """
    known = _Known(
        hosts=frozenset(cloud.host_by_name),
        living=frozenset(host.name for host in cloud.hosts if _is_up(host)) - failed,
        servers=frozenset(cloud.server_by_id),
        server_names={server.name: server.id for server in cloud.servers if server.name},
        resources=frozenset(cloud.resources),
        loads=frozenset({"cpu_cores", "memory_mib", *cloud.resources, *(key for h in cloud.hosts for key in h.load)}),
    )
    wrong = tuple(_wrong_names(request, known, prefix=prefix, domain=cloud.domain))
    if wrong:
        raise BadInputError("request", wrong[:ERRORS_MAX])


def _is_up(host: Host) -> bool:
    return host.state is HostState.UP and not host.forced_down and host.power is not Power.OFF


def _wrong_names(request: AnyRequest, known: _Known, *, prefix: str, domain: str) -> Iterator[FieldError]:
    if request.domain not in (None, domain):
        yield FieldError(f"{prefix}domain", request.domain, f"{domain}: one plan is for one domain")
    for index, server in enumerate(request.pin):
        yield from known.server(f"{prefix}pin.{index}", server)
    for index, name in enumerate(request.exclude_hosts):
        yield from known.host(f"{prefix}exclude_hosts.{index}", name)
    for index, pair in enumerate(request.avoid):
        yield from known.server(f"{prefix}avoid.{index}.server", pair.server)
        yield from known.host(f"{prefix}avoid.{index}.host", pair.host)
    match request:
        case EvacuateRequest() | RecoverRequest():
            for index, name in enumerate(request.hosts):
                yield from known.host(f"{prefix}hosts.{index}", name)
                if isinstance(request, RecoverRequest):
                    yield from known.failed(f"{prefix}hosts.{index}", name)
            for index, server in enumerate(request.servers if isinstance(request, RecoverRequest) else ()):
                yield from known.server(f"{prefix}servers.{index}", server)
        case RebalanceRequest():
            for index, name in enumerate(request.hosts):
                yield from known.host(f"{prefix}hosts.{index}", name)
            for index, resource in enumerate(request.resources):
                if resource not in known.loads:
                    yield FieldError(f"{prefix}resources.{index}", resource, "one of " + ", ".join(sorted(known.loads)))
        case DefragmentRequest():
            for resource, amount in request.shape.items():
                if resource not in known.resources:
                    expected = "one of " + ", ".join(sorted(known.resources))
                    yield FieldError(f"{prefix}shape.{resource}", resource, expected)
                elif amount <= 0:
                    yield FieldError(f"{prefix}shape.{resource}", amount, "above 0; leave out what is not needed")
        case ReachRequest():
            for server, target in request.targets.items():
                yield from known.server(f"{prefix}targets.{server}", server)
                if target is not None:
                    yield from known.host(f"{prefix}targets.{server}", target)
        case ThenRequest():
            for index, goal in enumerate(request.goals):
                yield from _wrong_names(goal, known, prefix=f"{prefix}goals.{index}.", domain=domain)
        case _:
            pass
