"""The one door to the services of a cloud: authorised calls with a bound on their time, errors turned into ours.

What changes something is asked for once. openstacksdk's `compute` sets no number of tries and keystoneauth's default is
none, but clouds.yaml can set both: a POST that is repeated after a lost answer evacuates a server twice. So every call
says how often. A GET that is answered 5xx, or whose connection breaks, is tried again, lest one bad answer cost a read
of a whole cloud: a connection that was kept open breaks whenever the service closes it as it is used.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

import orjson
import requests.exceptions
from keystoneauth1 import exceptions as keystone_errors
from keystoneauth1.session import TCPKeepAliveAdapter
from openstack import exceptions as sdk_errors
from openstack.connection import Connection

from restow.errors import LostAnswerError, NotFoundError, PermanentError, TransientError

Service = Literal["compute", "placement", "baremetal"]
PAGES_MAX = 10_000
MESSAGE_MAX = 300
# A GET without any answer is not repeated: it has taken the whole time limit already.
READ_PAUSES_S = (0.5, 1.0, 2.0)  # keystoneauth's own after a status
READ_RETRIED_STATUS = [500, 502, 503, 504]
# Of each service: the newest version whose answers this adapter knows, and the oldest that it can work with.
NEWEST: Mapping[Service, tuple[int, int]] = {"compute": (2, 100), "placement": (1, 39), "baremetal": (1, 78)}
OLDEST: Mapping[Service, tuple[int, int]] = {"compute": (2, 65), "placement": (1, 29), "baremetal": (1, 1)}


@dataclass(slots=True)
class Counter:
    """How often each kind of call was made; for tests and for `restow doctor`."""

    calls: dict[str, int] = field(default_factory=dict)

    def add(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1


class Api:
    """One region. Blocking, and safe to use from several threads."""

    def __init__(
        self, connection: Connection, *, connect_timeout_s: float, answer_timeout_s: float, connections: int
    ) -> None:
        self._connection = connection
        for scheme in ("http://", "https://"):  # the default of 10 is fewer than there may be threads
            connection.session.session.mount(scheme, TCPKeepAliveAdapter(pool_maxsize=connections))
        self._timeout = (connect_timeout_s, answer_timeout_s)
        self._versions: dict[Service, tuple[int, int]] = {}
        self._lock = Lock()
        self.counter = Counter()

    def get(self, service: Service, path: str, *, version: str | None = None, **query: Any) -> Any:
        """The answer to a GET. Raises TransientError, NotFoundError, PermanentError."""
        response = self._call(service, "GET", path, version=version, params=query)
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise TransientError(f"{service} answered {path} with no JSON") from error

    def pages(self, path: str, key: str, *, version: str | None = None, **query: Any) -> Iterator[Any]:
        """The documents of a paged collection of Nova, as they come; it ends with the page that names no next."""
        marker: str | None = None
        for _ in range(PAGES_MAX):
            answer = self.get("compute", path, version=version, **query, **({"marker": marker} if marker else {}))
            found = answer[key]
            yield from found
            if not found or not any(link.get("rel") == "next" for link in answer.get(f"{key}_links", ())):
                return
            marker = str(found[-1].get("uuid") if key == "migrations" else found[-1]["id"])
        raise PermanentError(f"compute has more than {PAGES_MAX} pages of {key}")

    def act(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, version: str | None = None,
        service: Service = "compute", request_id: str = "",
    ) -> str:  # fmt: skip
        """Change something, asked for exactly once; the cloud's own id of the request.

        `request_id` goes along as the global request id: it is in Nova's logs and notifications.

        Raises LostAnswerError when it may have been taken, TransientError when it cannot have been.
        """
        sent = {"global_request_id": f"req-{request_id}"} if _is_uuid(request_id) else {}
        response = self._call(service, method, path, version=version, acts=True, json=body, **sent)
        return str(response.headers.get("x-openstack-request-id", ""))

    def version(self, service: Service) -> tuple[int, int]:
        """The version that this cloud and this adapter both know. Raises PermanentError if there is none."""
        with self._lock:  # one thread looks for the endpoint, the others wait for what it finds
            known = self._versions.get(service)
            if known is None:
                known = self._versions[service] = self._discover(service)
            return known

    def knows(self, minor: int) -> bool:
        """Whether Nova knows the microversion 2.`minor`."""
        return self.version("compute") >= (2, minor)

    def roles(self) -> frozenset[str]:
        """Those that Keystone gives this user in this project."""
        session: Any = self._connection.session
        try:
            return frozenset(session.auth.get_access(session).role_names)
        except Exception as error:
            raise self._ours(error, "identity", acts=False) from error

    def close(self) -> None:
        self._connection.close()

    # --- the one call -------------------------------------------------------------------------------------------

    def _discover(self, service: Service) -> tuple[int, int]:
        try:
            found = getattr(self._connection, service).get_endpoint_data()
        except Exception as error:
            ours = self._ours(error, f"{service} (finding its endpoint)", acts=False)
            if type(error) is Exception:  # so keystoneauth tells of a password that is not there
                ours = PermanentError(f"{service}: {_shortened(error)}: see auth in clouds.yaml")
            raise ours from error
        newest = None if found is None else found.max_microversion
        if newest is None:
            raise TransientError(f"{service} does not tell its versions")
        if tuple(newest) < OLDEST[service]:
            told, oldest = (".".join(map(str, one)) for one in (newest, OLDEST[service]))
            raise PermanentError(f"{service} offers microversion {told}: Restow needs {oldest} or newer")
        return min((int(newest[0]), int(newest[1])), NEWEST[service])

    def _call(
        self, service: Service, method: str, path: str, *, version: str | None, acts: bool = False, **more: Any
    ) -> requests.Response:
        microversion = version or ".".join(map(str, self.version(service)))
        name = f"{method} {service} {path}"
        self.counter.add(f"{method} {service} {_shape(path)}")
        response = self._asked(service, method, path, name, microversion=microversion, acts=acts, **more)
        if response.status_code >= 400:
            raise _refused(response, name, acts=acts)
        return response

    def _asked(
        self, service: Service, method: str, path: str, name: str, *, acts: bool, **more: Any
    ) -> requests.Response:
        retries = 0 if acts else len(READ_PAUSES_S)
        pauses_s = iter(READ_PAUSES_S[:retries])
        while True:
            try:
                answer: requests.Response = getattr(self._connection, service).request(
                    path, method, raise_exc=False, connect_retries=0, timeout=self._timeout,
                    status_code_retries=retries, retriable_status_codes=READ_RETRIED_STATUS, **more,
                )  # fmt: skip
            except Exception as error:
                pause_s = next(pauses_s, None)
                if pause_s is None or not _broke(error):
                    raise self._ours(error, name, acts=acts) from error
                time.sleep(pause_s)
            else:
                return answer

    @staticmethod
    def _ours(error: Exception, name: str, *, acts: bool) -> Exception:
        """An error of the libraries as one of ours; what is none of theirs is a fault of this code and stays."""
        text = f"{name}: {_shortened(error)}"
        match error:
            case keystone_errors.SSLError():
                return PermanentError(f"{text}; the certificate is refused: see cacert, verify in clouds.yaml")
            case keystone_errors.Unauthorized() | keystone_errors.MissingAuthPlugin():
                return PermanentError(f"{text}; Keystone refuses the credential: see auth in clouds.yaml")
            case keystone_errors.EndpointNotFound() | keystone_errors.EmptyCatalog():
                return PermanentError(f"{text}; no such endpoint: see region_name and interface in clouds.yaml")
            case keystone_errors.ConnectionError() if acts and not _never_sent(error):
                return LostAnswerError(f"{text}: it may have been taken")
            case keystone_errors.ConnectionError() | keystone_errors.HttpServerError():
                return TransientError(text)
            case sdk_errors.ServiceDisabledException():
                return PermanentError(f"{text}: see region_name and interface in clouds.yaml")
            case keystone_errors.ClientException() | sdk_errors.SDKException():
                return PermanentError(text)
            case _:
                return error


def _is_uuid(text: str) -> bool:
    """Nova drops ids of any other form."""
    return len(text) == 36 and text.count("-") == 4


def _shape(path: str) -> str:
    """The path without ids: what is counted."""
    parts = path.split("?", maxsplit=1)[0].split("/")
    return "/".join("{}" if _is_uuid(part) else part for part in parts)


def _broke(error: Exception) -> bool:
    """Whether the connection was made, and broke: not a time limit, nor a service that is not there."""
    return isinstance(error, keystone_errors.ConnectFailure) and not _never_sent(error)


def _never_sent(error: BaseException) -> bool:
    """Whether the connection itself was not made: keystoneauth keeps the cause as the context of its error."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return False
        if isinstance(seen, requests.exceptions.ConnectTimeout):
            return True
        if type(seen).__name__ in ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError"):
            return True
        reason = getattr(seen, "reason", None) or next(
            (one for one in getattr(seen, "args", ()) if isinstance(one, BaseException)), None
        )
        seen = reason if isinstance(reason, BaseException) else seen.__context__
    return False


def _refused(response: requests.Response, name: str, *, acts: bool) -> Exception:
    text = f"{name}: {response.status_code} {_message(response)}"
    match response.status_code:
        case 404:
            return NotFoundError(text)
        case 401:
            return PermanentError(f"{text}; Keystone refuses the credential: see auth in clouds.yaml")
        case 403:
            return PermanentError(f"{text}; the user's roles do not allow it")
        case 429:
            return TransientError(text)
        case status if status >= 500:
            # A proxy may have lost the answer of a service that took the request.
            return LostAnswerError(f"{text}: it may have been taken") if acts else TransientError(text)
        case _:
            return PermanentError(text)


def _message(response: requests.Response) -> str:
    try:
        document = orjson.loads(response.content)
        if "errors" in document:
            return _shortened("; ".join(str(one.get("detail", one.get("title", ""))) for one in document["errors"]))
        (inner,) = document.values()
        return _shortened(inner["message"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return _shortened(response.reason or "")


def _shortened(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= MESSAGE_MAX else line[: MESSAGE_MAX - 1] + "…"
