"""Load until /tmp/stop is there: URL KEY SEED DOMAINS. Each request is made once; a failed one is never repeated.

Four readers hold their connections; a fifth asks for plans in every domain in turn and crashes a host now and then.
"""

import http.client
import json
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

url, key, seed, domains = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4].split(",")
STOP = Path("/tmp/stop")
BACK_S = 20
STOP.unlink(missing_ok=True)
where = urlsplit(url)
requests, failed, accepted, crashes = [0], [], [], [0]
lock = threading.Lock()


class Caller:
    """A client that keeps its connection for as long as the server does."""

    def __init__(self) -> None:
        self.connection = http.client.HTTPConnection(where.hostname, where.port or 80, timeout=30)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        why = ""
        try:
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            with self.connection.getresponse() as answer:
                status, text = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            status, text, why = 0, b"", repr(error)
        with lock:
            requests[0] += 1
            if status == 0 or status >= 500:
                failed.append(
                    f"{time.strftime('%X')} {method} {path.partition('?')[0]}: {status} {why} {text[:200].decode()}"
                )
        return status, json.loads(text) if text else None


def reading(number: int) -> None:
    caller, chance = Caller(), random.Random(f"{seed} {number}")
    while not STOP.exists():
        what = chance.choice(("hosts?limit=20&", "plans?limit=20&", "incidents?limit=20&", "servers?limit=20&"))
        caller.ask("GET", f"/v1/{what}domain={chance.choice(domains)}")
        time.sleep(0.15)


def planning() -> None:
    caller, chance, number = Caller(), random.Random(seed), 0
    hosts = {
        one: [host["name"] for host in caller.ask("GET", f"/v1/hosts?domain={one}")[1]["items"]] for one in domains
    }
    crashed: list[tuple[float, str, str]] = []
    emptied: list[tuple[float, str, str]] = []
    while not STOP.exists():
        number += 1
        domain = domains[number % len(domains)]
        host = chance.choice(hosts[domain])
        if number % 10 == 0:
            status, _ = caller.ask(
                "POST", "/v1/simulation/faults", {"kind": "host-crash", "host": host, "domain": domain}
            )
            crashes[0] += 200 <= status < 300
            crashed.append((time.monotonic() + 30, host, domain))
        else:
            goal = chance.choice(({"goal": "rebalance", "threshold": 0.02}, {"goal": "evacuate", "hosts": [host]}))
            body = {
                "format": "restow.request/1",
                "mode": "auto",
                "domain": domain,
                "limits": {"time_limit_s": 1},
                **goal,
            }
            status, answer = caller.ask("POST", "/v1/plans", body)
            if status == 202:
                accepted.append(answer["id"])
            if goal["goal"] == "evacuate":
                emptied.append((time.monotonic() + BACK_S, host, domain))
        while crashed and crashed[0][0] < time.monotonic():
            _, host, domain = crashed.pop(0)
            caller.ask("DELETE", f"/v1/simulation/faults?host={host}&domain={domain}")
        while emptied and emptied[0][0] < time.monotonic():
            _, host, domain = emptied.pop(0)
            caller.ask("DELETE", f"/v1/hosts/{host}/maintenance?domain={domain}")
        if number % 8 == 0:
            _, page = caller.ask("GET", "/v1/incidents?limit=100")
            for one in (page or {}).get("items", ()):
                if one.get("symptom") == "returned-host" and not one.get("outcome"):
                    caller.ask("POST", f"/v1/incidents/{one['id']}/close", {"why": "looked at: the host may come back"})
        time.sleep(1.5)


def looked_at() -> bool:
    """Every domain tells its hosts: where Restow was installed this moment, its first look may not be over."""
    caller = Caller()
    answers = [caller.ask("GET", f"/v1/hosts?domain={one}") for one in domains]
    return all(status == 200 and page["items"] for status, page in answers)


until = time.monotonic() + 60
while not looked_at():
    if time.monotonic() > until:
        sys.exit("not within a minute: the hosts of every domain")
    time.sleep(0.5)
requests[0], failed[:] = 0, []
threads = [threading.Thread(target=reading, args=(one,)) for one in range(4)] + [threading.Thread(target=planning)]
for one in threads:
    one.start()
for one in threads:
    one.join()
print(json.dumps({"requests": requests[0], "failed": failed, "accepted": accepted, "crashes": crashes[0]}))
