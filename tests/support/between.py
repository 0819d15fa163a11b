"""A proxy between Restow and the real Nova: it passes everything on, except for the trouble that it is told to make."""

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.openstack_lab import OpenStackLab
from support.openstack_stand_in import Server, Trouble, cut

DROPPED = frozenset({"connection", "content-length", "host", "keep-alive", "server", "date", "transfer-encoding"})


@dataclass
class Between:
    """`taken`: what Nova has answered with 2xx to requests that change something. `tokens`: all that were used.

    While `hold_moves` is set, requests for moves wait here; `silent_until`: nothing is answered before.
    """

    nova: str
    troubles: list[Trouble] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    hold_moves: threading.Event = field(default_factory=threading.Event)
    silent_until: float = 0.0
    waiting: list[str] = field(default_factory=list)
    address: str = ""

    def trouble(self, name: str) -> Trouble:
        """What happens to this call; each trouble is used up `times` times."""
        found = next((one for one in self.troubles if one.times > 0 and re.search(one.matching, name)), None)
        if found is None:
            return Trouble("")
        found.times -= 1
        return found

    def be_silent(self, seconds: float) -> None:
        """Take every call and answer none, for so long."""
        self.silent_until = time.monotonic() + seconds

    def refuse_tokens(self) -> None:
        """Those that were used so far count as expired from now on."""
        self.refused |= self.tokens


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    between: Between

    def _serve(self) -> None:
        between, body = self.between, self.rfile.read(int(self.headers.get("content-length") or 0))
        name = f"{self.command} {self.path}"
        token = self.headers.get("x-auth-token") or ""
        if token in between.refused:
            self._send(401, [("WWW-Authenticate", "Keystone uri=''")], b"{}")
            return
        between.tokens.add(token)
        if (left_s := between.silent_until - time.monotonic()) > 0:
            time.sleep(left_s)
            cut(self)
            return
        trouble = between.trouble(name)
        time.sleep(trouble.wait_s)
        if b"os-migrateLive" in body and between.hold_moves.is_set():
            between.waiting.append(body.decode())
            while between.hold_moves.is_set():
                time.sleep(0.05)
        if trouble.cut == "before":
            cut(self)
            return
        if trouble.status is not None:
            self._send(trouble.status, [], b'{"trouble": {"message": "on purpose"}}')
            return
        status, headers, answer = self._passed_on(body)
        if self.command != "GET" and status < 300:
            between.taken.append(f"{name} {body.decode()}")
        if trouble.cut == "after":
            cut(self)
            return
        self._send(status, headers, answer)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  (the names that http.server asks for)

    def _passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in DROPPED}
        connection = http.client.HTTPConnection(urlsplit(self.between.nova).netloc, timeout=120)
        try:
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in DROPPED:
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if status == 204 else body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what was taken is on record."""


@contextmanager
def between_restow_and_nova(lab: OpenStackLab, folder: Path) -> Iterator[tuple[Between, Path]]:
    """The proxy, and the clouds.yaml that leads through it."""
    clouds = json.loads(lab.clouds_file.read_text())
    nova = lab.cloud.compute.get_endpoint()
    between = Between(nova)
    server = Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"between": between}))
    between.address = f"http://127.0.0.1:{server.server_address[1]}"
    clouds["clouds"]["lab"]["compute_endpoint_override"] = f"{between.address}{urlsplit(nova).path}"
    file = folder / "clouds.yaml"
    file.write_text(json.dumps(clouds))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield between, file
    finally:
        between.hold_moves.clear()
        server.shutdown()
        server.server_close()
        thread.join(10)
