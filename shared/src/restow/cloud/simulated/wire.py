"""How the port's calls and answers travel between processes: JSON both ways, errors as our own classes; pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from restow.cloud.model import Cloud, Host, Power, Server
from restow.cloud.port import Heartbeat, Migration, MigrationStatus
from restow.cloud.simulated.cloud import Call
from restow.cloud.simulated.ledger import Broken, Held
from restow.cloud.snapshot import dump_cloud, host_document, read_cloud, read_host, read_server, server_document
from restow.errors import (
    BadInputError,
    CredentialError,
    FieldError,
    LostAnswerError,
    NotFoundError,
    PermanentError,
    RestowError,
    TransientError,
)
from restow.ids import HostName, ServerId

ERRORS: Mapping[str, type[RestowError]] = {
    "lost-answer": LostAnswerError,
    "transient": TransientError,
    "not-found": NotFoundError,
    "credential": CredentialError,
    "permanent": PermanentError,
}


def error_document(error: RestowError) -> dict[str, Any]:
    if isinstance(error, BadInputError):
        fields = [[one.field, repr(one.value), one.expected] for one in error.errors]
        return {"kind": "bad-input", "message": error.what, "fields": fields}
    kind = next((kind for kind, known in ERRORS.items() if isinstance(error, known)), "permanent")
    return {"kind": kind, "message": str(error)}


def error_of(document: Mapping[str, Any]) -> RestowError:
    if document["kind"] == "bad-input":
        fields = tuple(FieldError(field, value, expected) for field, value, expected in document["fields"])
        return BadInputError(str(document["message"]), fields)
    return ERRORS.get(str(document["kind"]), PermanentError)(str(document["message"]))


def plain(value: Any) -> Any:
    """An answer as JSON values."""
    match value:
        case Host():
            return host_document(value)
        case Server():
            return server_document(value)
        case Migration() | Heartbeat() | Call() | Broken() | Held():
            return {name: plain(getattr(value, name)) for name in value.__slots__}
        case datetime():
            return value.isoformat()
        case frozenset() | set():
            return sorted(value)
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case str() | int() | float() | None:
            return value
        case Sequence():
            return [plain(item) for item in value]
        case _:
            raise AssertionError(f"{type(value).__name__} does not travel")


_BEFORE, _AFTER = b'{"result":', b"}"


def cloud_answer(cloud: Cloud) -> bytes:
    """An answer that is a whole domain, written once: the canonical snapshot inside the usual frame."""
    return _BEFORE + dump_cloud(cloud) + _AFTER


def cloud_of(answer: bytes) -> Cloud:
    """Raises ValueError if it is no such answer."""
    if not (answer.startswith(_BEFORE) and answer.endswith(_AFTER)):
        raise ValueError("not the answer to a read")
    return read_cloud(answer[len(_BEFORE) : -len(_AFTER)])


def heartbeat_of(document: Mapping[str, Any]) -> Heartbeat:
    return Heartbeat(
        source=document["source"],
        host=HostName(document["host"]),
        alive=document["alive"],
        at=datetime.fromisoformat(document["at"]),
    )


def migration_of(document: Mapping[str, Any]) -> Migration:
    given = dict(document)
    given["status"] = MigrationStatus(given["status"])
    given["started_at"] = datetime.fromisoformat(given["started_at"])
    return Migration(**given)


def call_of(document: Mapping[str, Any]) -> Call:
    given = dict(document)
    given["at"] = datetime.fromisoformat(given["at"])
    given["args"] = tuple(given["args"])
    return Call(**given)


def broken_of(document: Mapping[str, Any]) -> Broken:
    return Broken(**document)


def held_of(document: Mapping[str, Any]) -> Held:
    return Held(document["at"], ServerId(document["server"]), tuple(HostName(host) for host in document["hosts"]))


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the simulated cloud that may be called from afar. `acts`: a lost answer leaves doubt."""

    read: Callable[[Any], Any]
    acts: bool = False
    of: str = "cloud"  # "cloud", or "trouble" for what the test bed breaks
    server_value: bool = False  # its argument "server" is a server document, not an id


def _nothing(_: Any) -> None:
    return None


def _many(one: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda documents: tuple(one(document) for document in documents)


def _truth(document: Mapping[str, Sequence[str]]) -> dict[ServerId, frozenset[HostName]]:
    return {ServerId(server): frozenset(HostName(host) for host in hosts) for server, hosts in document.items()}


_ACTION = Method(_nothing, acts=True)
_TROUBLE = Method(_nothing, of="trouble")

METHODS: Mapping[str, Method] = {
    "read": Method(_nothing),  # the only large answer: see `cloud_answer`
    "host": Method(read_host),
    "server": Method(read_server),
    "allocations": Method(dict),
    "migrations": Method(_many(migration_of)),
    "heartbeats": Method(_many(heartbeat_of)),
    "power_state": Method(Power),
    **dict.fromkeys(
        ("live_migrate", "cold_migrate", "evacuate", "abort_migration", "start", "stop", "shelve"), _ACTION
    ),
    **dict.fromkeys(("confirm_cold_migration", "force_complete", "clear_error"), _ACTION),
    **dict.fromkeys(("disable", "enable", "force_down", "power"), _ACTION),
    **dict.fromkeys(("inject", "clear_faults", "remove_server"), Method(_nothing)),
    "add_server": Method(_nothing, server_value=True),
    "truth": Method(_truth),
    "violations": Method(_many(broken_of)),
    "history": Method(_many(held_of)),
    "calls": Method(_many(call_of)),
    **dict.fromkeys(
        ("slow_answers", "lose_answers", "refuse_reads", "stale_reads", "never_converges", "fails"), _TROUBLE
    ),
    **dict.fromkeys(("break_fence", "mend_fence", "silence", "hear"), _TROUBLE),
}
