"""The cluster's API as the node sees it, and what every part of the node shares."""

import contextlib
import datetime as dt
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path


def opt(n, d=None):
    return sys.argv[sys.argv.index(n) + 1] if n in sys.argv else d


cfg = Path(sys.argv[1]).read_text()
NODE = sys.argv[2]
SERVER = re.search(r'server: "([^"]+)"', cfg)[1]
CA = re.search(r'certificate-authority: "([^"]+)"', cfg)[1]
TOKEN = re.search(r"token: (\w+)", cfg)[1]
IMAGES, DIR, NODE_IP = opt("--run"), opt("--dir", "."), opt("--node-ip", "10.87.0.1")
ME = os.path.dirname(os.path.abspath(__file__))
GW = "169.254.1.1"
ctx = ssl.create_default_context(cafile=CA)
ctx.check_hostname = False
local = threading.local()
MERGE, SMERGE = "application/merge-patch+json", "application/strategic-merge-patch+json"
RES = {"cpu": "32", "memory": "256Gi", "pods": "250", "ephemeral-storage": "500Gi"}


def utc():
    return dt.datetime.now(dt.UTC)


def now():
    return utc().strftime("%Y-%m-%dT%H:%M:%SZ")


def log(*a):
    print(now(), *a, flush=True)


def call(method, path, body=None, ctype="application/json", stream=False):
    r = urllib.request.Request(
        SERVER + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": ctype, "Accept": "application/json"},
    )
    f = urllib.request.urlopen(r, context=ctx, timeout=400 if stream else 10)
    if stream:
        return f
    with f:
        return json.load(f)


def get(path):
    try:
        return call("GET", path)
    except urllib.error.HTTPError as e:
        if e.code == 404:
            return None
        raise


def event(p, kind, reason, msg):
    m = p["metadata"]
    log(m["namespace"], m["name"], reason, msg)
    with contextlib.suppress(Exception):
        call(
            "POST",
            f"/api/v1/namespaces/{m['namespace']}/events",
            {
                "metadata": {"generateName": m["name"] + "."},
                "type": kind,
                "reason": reason,
                "message": msg[:900],
                "source": {"component": "kubelet", "host": NODE},
                "firstTimestamp": now(),
                "lastTimestamp": now(),
                "count": 1,
                "involvedObject": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": m["name"],
                    "namespace": m["namespace"],
                    "uid": m["uid"],
                },
            },
        )


used, lock, turn = set(), threading.Lock(), [0]


def new_ip():  # round and round: an address is not soon used again
    with lock:
        while True:
            turn[0] = turn[0] % (256 * 253) + 1
            a, b = divmod(turn[0] - 1, 253)
            if (ip := f"10.88.{a}.{b + 2}") not in used:
                used.add(ip)
                return ip


def qty(s):
    m = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(s))
    u = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    return float(m[1]) * u[m[2]]


def sh(*a):
    subprocess.run(a, check=True, capture_output=True)


class Hold(Exception):
    pass  # a container cannot start (yet): (reason, message)


pods = {}
START = now()
