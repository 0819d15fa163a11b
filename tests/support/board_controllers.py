"""A board controller that speaks as much Redfish as power needs, over real HTTP."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

PASSWORD = "secret"


@dataclass
class Controller:
    """`obeys`: whether an order changes anything; `orders`: what was asked for."""

    power: str = "On"
    obeys: bool = True
    fails: bool = False
    orders: list[str] = field(default_factory=list)
    address: str = ""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        if self.fails:
            return 500, {"error": {"code": "Base.1.0.GeneralError", "message": "on purpose"}}
        match method, path.strip("/"):
            case "GET", "redfish/v1":
                return 200, {
                    "@odata.id": "/redfish/v1/", "Id": "RootService", "Name": "root", "RedfishVersion": "1.6.0",
                    "UUID": "u", "Systems": {"@odata.id": "/redfish/v1/Systems"},
                }  # fmt: skip
            case "GET", "redfish/v1/Systems":
                members = [{"@odata.id": "/redfish/v1/Systems/1"}]
                return 200, {"@odata.id": "/redfish/v1/Systems", "Name": "systems", "Members": members}
            case "GET", "redfish/v1/Systems/1":
                target = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"
                allowed = ["On", "ForceOff", "GracefulShutdown"]
                reset = {"target": target, "ResetType@Redfish.AllowableValues": allowed}
                return 200, {
                    "@odata.id": "/redfish/v1/Systems/1", "Id": "1", "Name": "system", "PowerState": self.power,
                    "Actions": {"#ComputerSystem.Reset": reset}, "Status": {"State": "Enabled", "Health": "OK"},
                }  # fmt: skip
            case "POST", "redfish/v1/Systems/1/Actions/ComputerSystem.Reset":
                self.orders.append(body["ResetType"])
                if self.obeys:
                    self.power = "On" if body["ResetType"] == "On" else "Off"
                return 204, {}
            case _:
                return 404, {"error": {"code": "Base.1.0.ResourceMissing", "message": path}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # sushy asks for every connection to be closed
    controller: Controller

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        wanted = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        if self.path.strip("/") != "redfish/v1" and self.headers.get("authorization") != wanted:
            self._send(401, {"error": {"code": "Base.1.0.NoValidSession", "message": "who are you"}})
            return
        self._send(*self.controller.answer(self.command, self.path, body))

    do_GET = do_POST = _serve  # noqa: N815

    def _send(self, status: int, document: dict[str, Any]) -> None:
        data = b"" if status == 204 else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def a_controller() -> Iterator[Controller]:
    controller = Controller()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"controller": controller}))
    server.daemon_threads = True
    controller.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield controller
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
