"""The one door to the services of a cloud: authorised calls with a bound on their time, errors turned into ours.

What changes something is asked for once. openstacksdk's `compute` sets no number of tries and keystoneauth's default is
none, but clouds.yaml can set both: a POST that is repeated after a lost answer evacuates a server twice. So every call
says how often. A GET that is answered 5xx, or whose connection breaks, is tried again, lest one bad answer cost a read
of a whole cloud: a connection that was kept open breaks whenever the service closes it as it is used.

Token and address are at hand before a call is sent, and keystoneauth fetches neither in the middle of one: it would
take its time after permission was given.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal, TypeVar

import orjson
import requests
from keystoneauth1.session import TCPKeepAliveAdapter
from openstack.connection import Connection

from restow.cloud.openstack.faults import broke, ours, refused
from restow.cloud.permission import ask_permission
from restow.errors import PermanentError, RestowError, TransientError

T = TypeVar("T")

Service = Literal["compute", "placement", "baremetal"]
PAGES_MAX = 10_000
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


@dataclass(slots=True)
class OneForAll:
    """Work that many threads need done and one of them does. Those that waited for one that failed fail as it did.

    Else each of them would in its turn wait as long for the same silent service.
    """

    lock: Lock = field(default_factory=Lock)
    failed: list[RestowError] = field(default_factory=list)  # the last failure, and none before the first

    def run(self, work: Callable[[], T]) -> T:
        before = list(self.failed)
        with self.lock:
            if self.failed and self.failed != before:
                raise type(self.failed[0])(*self.failed[0].args)
            try:
                return work()
            except RestowError as error:
                self.failed = [error]
                raise


class Api:
    """One region. Blocking, and safe to use from several threads."""

    def __init__(
        self, connection: Connection, *, connect_timeout_s: float, answer_timeout_s: float, connections: int
    ) -> None:
        self._connection = connection
        self._timeout = (connect_timeout_s, answer_timeout_s)
        session: Any = connection.session
        session.timeout = self._timeout  # of what keystoneauth asks by itself: tokens, versions
        for scheme in ("http://", "https://"):  # the default of 10 is fewer than there may be threads
            session.session.mount(scheme, TCPKeepAliveAdapter(pool_maxsize=connections))
        self._session = session
        self._versions: dict[Service, tuple[int, int]] = {}
        self._token = OneForAll()
        self._discovery: Mapping[Service, OneForAll] = {service: OneForAll() for service in NEWEST}
        self.counter = Counter()

    def get(self, service: Service, path: str, *, version: str | None = None, **query: Any) -> Any:
        """The answer to a GET. Raises TransientError, NotFoundError, PermanentError."""
        response = self._call(service, "GET", path, version=version, retries=len(READ_PAUSES_S), params=query)
        return _read(response, f"{service} answered {path}")

    def get_once(self, service: Service, path: str) -> Any:
        """As `get`, where a failure is an answer too: without another try."""
        return _read(self._call(service, "GET", path, version=None), f"{service} answered {path}")

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
        """Change something, asked for exactly once and only with permission; the cloud's own id of the request.

        `request_id` goes along as the global request id: it is in Nova's logs and notifications.

        Raises LostAnswerError when it may have been taken, TransientError when it cannot have been.
        """
        sent = {"global_request_id": f"req-{request_id}"} if _is_uuid(request_id) else {}
        response = self._call(service, method, path, version=version, acts=True, json=body, **sent)
        return str(response.headers.get("x-openstack-request-id", ""))

    def version(self, service: Service) -> tuple[int, int]:
        """The version that this cloud and this adapter both know. Raises PermanentError if there is none."""
        return self._versions.get(service) or self._discovery[service].run(lambda: self._discovered(service))

    def knows(self, minor: int) -> bool:
        """Whether Nova knows the microversion 2.`minor`."""
        return self.version("compute") >= (2, minor)

    def roles(self) -> frozenset[str]:
        """Those that Keystone gives this user in this project."""
        try:
            return frozenset(self._session.auth.get_access(self._session).role_names)
        except Exception as error:
            raise ours(error, "identity", acts=False) from error

    def close(self) -> None:
        self._connection.close()

    # --- before a call ------------------------------------------------------------------------------------------

    def _discovered(self, service: Service) -> tuple[int, int]:
        known = self._versions.get(service)
        if known is None:
            self._headers()
            known = self._versions[service] = self._discover(service)
        return known

    def _discover(self, service: Service) -> tuple[int, int]:
        try:
            found = getattr(self._connection, service).get_endpoint_data()
        except Exception as error:
            raise ours(error, f"{service} (finding its endpoint)", acts=False) from error
        newest = None if found is None else found.max_microversion
        if newest is None:
            raise TransientError(f"{service} does not tell its versions")
        if tuple(newest) < OLDEST[service]:
            told, oldest = (".".join(map(str, one)) for one in (newest, OLDEST[service]))
            raise PermanentError(f"{service} offers microversion {told}: Restow needs {oldest} or newer")
        return min((int(newest[0]), int(newest[1])), NEWEST[service])

    def _headers(self, *, but: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """Those with a token; a new one if it is still the one that was refused (`but`)."""

        def fetch() -> Mapping[str, str]:
            try:
                headers: Mapping[str, str] = self._session.get_auth_headers()
                if headers == but and self._session.invalidate():
                    headers = self._session.get_auth_headers()
            except Exception as error:
                raise ours(error, "identity (fetching a token)", acts=False) from error
            return headers

        return self._token.run(fetch)

    def _address(self, service: Service) -> str | None:
        try:
            found: str | None = getattr(self._connection, service).get_endpoint()
        except Exception as error:
            raise ours(error, f"{service} (finding its endpoint)", acts=False) from error
        return found and found.replace("%", "%%")  # keystoneauth fills in what is between %( and )s

    # --- the one call -------------------------------------------------------------------------------------------

    def _call(
        self, service: Service, method: str, path: str, *, version: str | None, acts: bool = False, **more: Any
    ) -> requests.Response:
        microversion = version or ".".join(map(str, self.version(service)))
        name = f"{method} {service} {path}"
        self.counter.add(f"{method} {service} {_shape(path)}")
        response = self._authorised(service, method, path, name, microversion=microversion, acts=acts, **more)
        if response.status_code >= 400:
            raise refused(response, name, acts=acts)
        return response

    def _authorised(
        self, service: Service, method: str, path: str, name: str, *, acts: bool, **more: Any
    ) -> requests.Response:
        """Sent once more with a new token if the first is refused: what is answered 401 was not taken."""
        self.version(service)  # from here on the address is known without a call
        headers = self._headers()
        answer = self._asked(service, method, path, name, headers=headers, acts=acts, **more)
        if answer.status_code == 401:
            headers = self._headers(but=headers)
            answer = self._asked(service, method, path, name, headers=headers, acts=acts, **more)
        return answer

    def _asked(
        self, service: Service, method: str, path: str, name: str, *, acts: bool, retries: int = 0, **more: Any
    ) -> requests.Response:
        pauses_s = iter(READ_PAUSES_S[:retries])
        address = self._address(service)
        if acts:
            ask_permission()
        while True:
            try:
                answer: requests.Response = getattr(self._connection, service).request(
                    path, method, raise_exc=False, connect_retries=0, timeout=self._timeout, authenticated=False,
                    endpoint_override=address,
                    status_code_retries=retries, retriable_status_codes=READ_RETRIED_STATUS, **more,
                )  # fmt: skip
            except Exception as error:
                pause_s = next(pauses_s, None)
                if pause_s is None or not broke(error):
                    raise ours(error, name, acts=acts) from error
                time.sleep(pause_s)
            else:
                return answer


def _read(response: requests.Response, what: str) -> Any:
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise TransientError(f"{what} with no JSON") from error


def _is_uuid(text: str) -> bool:
    """Nova drops ids of any other form."""
    return len(text) == 36 and text.count("-") == 4


def _shape(path: str) -> str:
    """The path without ids: what is counted."""
    parts = path.split("?", maxsplit=1)[0].split("/")
    return "/".join("{}" if _is_uuid(part) else part for part in parts)
