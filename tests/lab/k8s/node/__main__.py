"""A node of Kubernetes without a container runtime: containers are processes of this machine, in namespaces.

    python node KUBECONFIG NAME --run IMAGES --dir DIR --node-ip IP --cert FILE --key FILE
    python node --exec DIR NAMESPACE POD [CONTAINER] -- COMMAND...

The first pattern of IMAGES (JSON) that fits a container's image says what that is: `entrypoint`, `cmd`, `env`,
`workdir`, `user`, `mounts` ({"/app": FOLDER}, read-only; $NAMES of the environment count). A container sees this
machine's files, copied on write. What is done and what is not: README.md beside this folder.
"""

import os
import sys
import urllib.error
from pathlib import Path

from inside import child, enter, pause

if sys.argv[1] == "--child":
    child(sys.argv[2])
if sys.argv[1] == "--pause":
    pause()
    sys.exit(0)
if sys.argv[1] == "--enter":
    enter(sys.argv[2], sys.argv[3:])
if sys.argv[1] == "--exec":
    i = sys.argv.index("--")
    d, ns, name, *c = sys.argv[2:i]
    p = f"{d}/pods/{ns}_{name}"
    if not os.path.exists(p + "/default"):
        sys.exit(f"no running pod {ns}/{name} in {d}")
    c = c or [Path(p + "/default").read_text()]
    enter(f"{p}/{c[0]}.json", sys.argv[i + 1 :])


import contextlib
import http.server
import json
import os
import signal
import ssl
import threading
import time

from api import DIR, MERGE, NODE, NODE_IP, RES, SMERGE, START, call, get, log, now, opt, pods, utc
from asked import Asked
from claims import claims
from names import dns
from pod import Pod
from policies import policies

leaving = threading.Event()


def heartbeat():
    while True:
        try:
            if not get(f"/api/v1/nodes/{NODE}"):
                call(
                    "POST",
                    "/api/v1/nodes",
                    {
                        "apiVersion": "v1",
                        "kind": "Node",
                        "metadata": {
                            "name": NODE,
                            "labels": {
                                "kubernetes.io/hostname": NODE,
                                "kubernetes.io/os": "linux",
                                "kubernetes.io/arch": "amd64",
                            },
                        },
                    },
                )
            st = {
                "capacity": RES,
                "allocatable": RES,
                "conditions": [
                    {"type": t, "status": s, "reason": "Lab", "lastHeartbeatTime": now(), "lastTransitionTime": START}
                    for t, s in (
                        ("Ready", "True"),
                        ("MemoryPressure", "False"),
                        ("DiskPressure", "False"),
                        ("PIDPressure", "False"),
                    )
                ],
                "nodeInfo": {
                    "machineID": "lab",
                    "systemUUID": "lab",
                    "bootID": "lab",
                    "kernelVersion": os.uname().release,
                    "osImage": "lab",
                    "containerRuntimeVersion": "process://1",
                    "kubeletVersion": "v1.34.0",
                    "kubeProxyVersion": "",
                    "operatingSystem": "linux",
                    "architecture": "amd64",
                },
            }
            st |= {
                "addresses": [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": NODE}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            }
            call("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": st}, SMERGE)
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": NODE, "namespace": "kube-node-lease"},
                "spec": {
                    "holderIdentity": NODE,
                    "leaseDurationSeconds": 40,
                    "renewTime": utc().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                },
            }
            try:
                call(
                    "PATCH",
                    f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}",
                    {"spec": lease["spec"]},
                    MERGE,
                )
            except urllib.error.HTTPError:
                call("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", lease)
        except Exception as e:
            log("node:", repr(e))
        time.sleep(5)


def handle(typ, p):
    uid = p["metadata"]["uid"]
    if typ == "DELETED":
        if uid in pods:
            pods[uid].delete()
        return
    if uid in pods:
        pods[uid].obj = p if not pods[uid].ended.is_set() else pods[uid].obj
        if p["metadata"].get("deletionTimestamp"):
            pods[uid].delete()
    elif p["metadata"].get("deletionTimestamp") or (p.get("status", {}).get("phase") in ("Succeeded", "Failed")):
        if p["metadata"].get("deletionTimestamp"):
            call(
                "DELETE",
                f"/api/v1/namespaces/{p['metadata']['namespace']}/pods/{p['metadata']['name']}",
                {"gracePeriodSeconds": 0},
            )
    else:
        pods[uid] = Pod(p)


def bye(*_):
    leaving.set()
    for p in list(pods.values()):
        p.ended.set()
        p.obj["metadata"]["deletionGracePeriodSeconds"] = 2
    ts = [threading.Thread(target=p.bye, args=(False,), daemon=True) for p in list(pods.values())]
    [t.start() for t in ts]
    [t.join(8) for t in ts]
    for k in ("memory", "cpu"):
        with contextlib.suppress(OSError):
            os.rmdir(f"/sys/fs/cgroup/{k}/k8slab-{os.getpid()}")
    os._exit(0)


signal.signal(signal.SIGTERM, bye)
signal.signal(signal.SIGINT, bye)
os.makedirs(DIR + "/pods", exist_ok=True)
threading.Thread(target=heartbeat, daemon=True).start()
threading.Thread(target=claims, daemon=True).start()
os.chmod(DIR, 0o755)
os.chmod(DIR + "/pods", 0o755)
threading.Thread(target=dns, daemon=True).start()
threading.Thread(target=policies, daemon=True).start()
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(opt("--cert"), opt("--key"))
hs = http.server.ThreadingHTTPServer((NODE_IP, 10250), Asked)
hs.socket = tls.wrap_socket(hs.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=hs.serve_forever, daemon=True).start()
while True:
    try:
        q = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{NODE}"
        lst = call("GET", q)
        seen = {p["metadata"]["uid"] for p in lst["items"]}
        for u, p in list(pods.items()):
            if u not in seen:
                p.delete()
        for p in lst["items"]:
            handle("ADDED", p)
        for line in call(
            "GET", f"{q}&watch=1&timeoutSeconds=300&resourceVersion={lst['metadata']['resourceVersion']}", stream=True
        ):
            e = json.loads(line)
            if e["type"] == "ERROR":
                break
            handle(e["type"], e["object"])
    except Exception as e:
        if leaving.is_set():
            time.sleep(30)
        log("pods:", repr(e))
        time.sleep(1)
