"""The front door from a terminal: where it is, which key, and what its refusals mean as exit codes."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    import httpx2

DONE, FAILED, BAD_INPUT, IMPOSSIBLE, UNDECIDED, NOT_ALLOWED = 0, 1, 2, 3, 4, 5
DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 60.0
PAGES_MAX = 10_000

_EXIT_OF_STATUS = {400: BAD_INPUT, 401: NOT_ALLOWED, 403: NOT_ALLOWED, 413: BAD_INPUT, 415: BAD_INPUT, 422: BAD_INPUT,
                   502: NOT_ALLOWED, 503: NOT_ALLOWED, 504: NOT_ALLOWED}  # fmt: skip


def stop(message: str, code: int) -> NoReturn:
    """Say why on standard error, and end."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class Where:
    """The address and the key; `data` are the folders in which an admin.key is looked for."""

    url: str
    data: tuple[Path, ...]

    def key(self) -> str:
        """RESTOW_KEY, else the admin's key that a first start left in a data directory; ends if there is none."""
        given = os.environ.get("RESTOW_KEY", "").strip()
        if given:
            return given
        for folder in self.data:
            file = folder / "admin.key"
            try:
                return file.read_text().strip()
            except FileNotFoundError:
                continue
            except OSError as error:
                stop(f"{file}: {error.strerror}", NOT_ALLOWED)
        tried = ", ".join(str(folder / "admin.key") for folder in self.data)
        stop(f"no API key: set RESTOW_KEY, or name the data directory with --data (looked for {tried})", NOT_ALLOWED)


class Client:
    """Calls the front door; every refusal ends the command with its reason and exit code."""

    def __init__(self, where: Where, *, transport: "httpx2.BaseTransport | None" = None) -> None:
        import httpx2

        self._where = where
        try:
            url = httpx2.URL(where.url)
            if url.scheme not in ("http", "https") or not url.host:
                raise ValueError("it begins with http:// or https:// and names a host")
            self._http = httpx2.Client(
                base_url=where.url, timeout=TIMEOUT_S, transport=transport,
                headers={"Authorization": f"Bearer {where.key()}", "Accept": "application/json"},
            )  # fmt: skip
        except (httpx2.InvalidURL, ValueError) as error:
            stop(f"--url, RESTOW_URL: got {where.url!r}, expected a URL ({error})", BAD_INPUT)

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, **options: Any) -> "httpx2.Response":
        """The answer if it is a good one; else the command ends."""
        import httpx2

        try:
            response = self._http.request(method, path, **options)
        except (httpx2.TransportError, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            self._unreachable(error)
        if not response.is_success:
            refused(response)
        return response

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params=_given(params)).json()

    def all(self, path: str, *, most: int | None = None, **params: Any) -> list[Any]:
        """The items of a collection, page after page, at most `most`."""
        found: list[Any] = []
        cursor = None
        for _ in range(PAGES_MAX):
            limit = 1000 if most is None else min(1000, most - len(found))
            page = self.get(path, cursor=cursor, limit=limit, **params)
            found += page["items"]
            cursor = page["next"]
            if cursor is None or (most is not None and len(found) >= most):
                break
        return found

    def stream(self, path: str, *, last_event_id: str | None = None, **params: Any) -> Iterator[tuple[str, Any]]:
        """Server-sent events as (id, data), until the server ends the stream."""
        import httpx2

        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_event_id} if last_event_id else {})}
        timeout = httpx2.Timeout(TIMEOUT_S, read=120.0)
        try:
            with self._http.stream("GET", path, params=_given(params), headers=headers, timeout=timeout) as response:
                if not response.is_success:
                    response.read()
                    refused(response)
                event_id = ""
                for line in response.iter_lines():
                    name, _, value = line.partition(":")
                    if name == "id":
                        event_id = value.strip()
                    elif name == "data":
                        yield event_id, json.loads(value)
        except httpx2.TransportError as error:
            self._unreachable(error)

    def _unreachable(self, error: Exception) -> NoReturn:
        stop(f"{self._where.url} does not answer: {error}. Is `restow up` running? (--url, RESTOW_URL)", NOT_ALLOWED)


def refused(response: "httpx2.Response") -> NoReturn:
    """End with the reason that the server gave, field by field."""
    try:
        problem = response.json()
        lines = [
            f"{one['field']}: got {_quoted(one['value'])}, expected {one['expected']}"
            for one in problem.get("errors") or ()
        ]
        message = "\n".join(lines) or str(problem["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"the server answered {response.status_code} {response.reason_phrase}"
    stop(message, _EXIT_OF_STATUS.get(response.status_code, FAILED))


def _quoted(value: object) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


@contextmanager
def calling(where: Where) -> Iterator[Client]:
    client = Client(where)
    try:
        yield client
    finally:
        client.close()
