"""One pod: its network, its volumes, its containers in turn, what is told of it."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
from functools import partial
from pathlib import Path

from api import (
    DIR,
    GW,
    ME,
    MERGE,
    NODE,
    NODE_IP,
    RES,
    Hold,
    call,
    event,
    get,
    lock,
    log,
    new_ip,
    now,
    pods,
    qty,
    sh,
    used,
)
from container import Container, put


class Pod:
    def __init__(self, obj):
        self.obj, self.spec, m = obj, obj["spec"], obj["metadata"]
        self.ns, self.name, self.key = m["namespace"], m["name"], f"{m['namespace']}/{m['name']}"
        self.path = f"/api/v1/namespaces/{self.ns}/pods/{self.name}"
        self.dir = os.path.abspath(f"{DIR}/pods/{self.ns}_{self.name}")
        self.ip = None
        self.pause = None
        self.volumes = {}
        self.links = {}
        self.writers = []
        self.init = [Container(self, c, "init") for c in self.spec.get("initContainers", [])]
        self.main = [Container(self, c, "main") for c in self.spec["containers"]]
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.start = now()
        self.initialized = not self.init
        self.sent = None
        self.since = {}
        threading.Thread(target=self.run, daemon=True).start()

    def phase(self):
        if not self.initialized:
            return "Failed" if any(c.done for c in self.init if c.done is not None) else "Pending"
        if all(c.done is not None for c in self.main):
            return "Failed" if any(c.done for c in self.main) else "Succeeded"
        return "Pending" if all("waiting" in c.state and not c.restarts for c in self.main) else "Running"

    def sync(self):
        with self.lock:
            ph = self.phase()
            ready = ph == "Running" and all(c.ready for c in self.main) and all(c.ready for c in self.init if c.sidecar)
            cond = []
            for t, v in (
                ("PodReadyToStartContainers", bool(self.ip)),
                ("Initialized", self.initialized),
                ("Ready", ready),
                ("ContainersReady", ready),
                ("PodScheduled", True),
            ):
                if self.since.get(t, (None,))[0] != v:
                    self.since[t] = (v, now())
                cond.append(
                    {
                        "type": t,
                        "status": str(v),
                        "lastTransitionTime": self.since[t][1],
                        "reason": "PodCompleted" if ph == "Succeeded" and t.endswith("Ready") else None,
                    }
                )
            st = {
                "phase": ph,
                "hostIP": NODE_IP,
                "hostIPs": [{"ip": NODE_IP}],
                "startTime": self.start,
                "conditions": cond,
                "initContainerStatuses": [c.status() for c in self.init],
                "containerStatuses": [c.status() for c in self.main],
            }
            if self.ip:
                st |= {"podIP": self.ip, "podIPs": [{"ip": self.ip}]}
            if st == self.sent:
                return
            for _ in range(3):
                try:
                    call(
                        "PATCH",
                        self.path + "/status",
                        {"metadata": {"uid": self.obj["metadata"]["uid"]}, "status": st},
                        MERGE,
                    )
                    self.sent = json.loads(json.dumps(st))
                    log(self.key, ph, "ready" if ready else "")
                    return
                except urllib.error.HTTPError as e:
                    if e.code in (404, 409):
                        return
                    log("status", self.key, e.code, e.read()[:400])
                    time.sleep(0.5)
                except Exception as e:
                    log("status", self.key, repr(e))
                    time.sleep(0.5)

    def data(self, kind, name, optional=False):
        o = get(f"/api/v1/namespaces/{self.ns}/{kind.lower()}s/{name}")
        if o is None:
            if optional:
                return {}
            raise Hold("CreateContainerConfigError", f'{kind.lower()} "{name}" not found')
        d = {k: (v.encode() if kind == "configMap" else base64.b64decode(v)) for k, v in (o.get("data") or {}).items()}
        return d | {k: base64.b64decode(v) for k, v in (o.get("binaryData") or {}).items()}

    def field(self, f):
        m, sp = self.obj["metadata"], self.spec
        k = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", f)
        if k:
            return m.get(k[1], {}).get(k[2], "")
        if f in ("metadata.labels", "metadata.annotations"):
            return "\n".join(f"{a}={json.dumps(b)}" for a, b in m.get(f[9:], {}).items())
        return {
            "metadata.name": self.name,
            "metadata.namespace": self.ns,
            "metadata.uid": m["uid"],
            "spec.nodeName": NODE,
            "spec.serviceAccountName": sp.get("serviceAccountName", ""),
            "status.podIP": self.ip,
            "status.podIPs": self.ip,
            "status.hostIP": NODE_IP,
            "status.hostIPs": NODE_IP,
        }[f]

    def resource(self, r, c=None):
        c = c or next(x for x in self.spec["containers"] if x["name"] == r["containerName"])
        a, b = r["resource"].split(".", 1)
        v = (
            qty(c.get("resources", {}).get(a, {}).get(b, RES[b])) / qty(r.get("divisor") or 1)
            if r.get("divisor") not in (None, "0")
            else qty(c.get("resources", {}).get(a, {}).get(b, RES[b]))
        )
        return str(int(-(-v // 1)))

    def files(self, src):
        """what a configMap, secret, serviceAccountToken or projected volume holds now"""
        out, pick = (
            {},
            lambda d, r: {i["path"]: d[i["key"]] for i in r["items"] if i["key"] in d} if r.get("items") else d,
        )
        if "configMap" in src:
            r = src["configMap"]
            out = pick(self.data("configMap", r["name"], r.get("optional")), r)
        elif "secret" in src:
            r = src["secret"]
            out = pick(self.data("secret", r.get("secretName") or r["name"], r.get("optional")), r)
        elif "serviceAccountToken" in src:
            t = src["serviceAccountToken"]
            m = self.obj["metadata"]
            r = call(
                "POST",
                f"/api/v1/namespaces/{self.ns}/serviceaccounts/{self.spec.get('serviceAccountName', 'default')}/token",
                {
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenRequest",
                    "spec": {
                        "audiences": [t["audience"]] if t.get("audience") else None,
                        "expirationSeconds": max(t.get("expirationSeconds", 3600), 86400),
                        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": m["uid"]},
                    },
                },
            )
            out = {t["path"]: r["status"]["token"].encode()}
        for x in src.get("projected", {}).get("sources", []):
            out |= self.files(x)
        return out

    def write(self, volume, folder, mode):
        put(folder, self.files(volume), mode)

    def mount_all(self):
        psc = self.spec.get("securityContext", {})
        gid = psc.get("fsGroup")
        for v in self.spec.get("volumes", []):
            d, ro = f"{self.dir}/v/{v['name']}", False
            if "persistentVolumeClaim" in v:
                c = get(
                    f"/api/v1/namespaces/{self.ns}/persistentvolumeclaims/{v['persistentVolumeClaim']['claimName']}"
                )
                pv = c and c["spec"].get("volumeName") and get(f"/api/v1/persistentvolumes/{c['spec']['volumeName']}")
                if not pv:
                    raise Hold("FailedMount", f"claim {v['persistentVolumeClaim']['claimName']} is not bound")
                d = pv["spec"]["hostPath"]["path"]
                os.makedirs(d, exist_ok=True)
                ro = v["persistentVolumeClaim"].get("readOnly", False)
            elif "emptyDir" in v or "ephemeral" in v:
                os.makedirs(d, exist_ok=True)
                os.chmod(d, 0o777)
            else:
                k = next((k for k in ("configMap", "secret", "projected") if k in v), None)
                if not k:
                    raise Hold("FailedMount", f"volume {v['name']}: kind not known here")
                os.makedirs(d, exist_ok=True)
                ro = True
                mode = v[k].get("defaultMode", 0o644) | (0o040 if gid is not None else 0)
                write = partial(self.write, v, d, mode)
                write()
                self.writers.append(write)
            if gid is not None:
                for a, _ds, fs in os.walk(d):
                    os.chown(a, -1, gid)
                    os.chmod(a, os.stat(a).st_mode | 0o2070)
                    for f in fs:
                        os.chown(os.path.join(a, f), -1, gid)
            self.volumes[v["name"]] = (d, ro)

    def network(self):
        host = self.spec.get("hostname") or self.name
        self.pause = subprocess.Popen(
            [sys.executable, ME, "--pause", host[:63]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.pause.stdout.readline()
        ip = new_ip()
        a, b = ip.split(".")[2:]
        dev = f"v{a}x{b}"
        n = ["nsenter", f"--net=/proc/{self.pause.pid}/ns/net", "ip"]
        sh("ip", "link", "add", dev, "type", "veth", "peer", "name", "eth0", "netns", str(self.pause.pid))
        sh("ip", "link", "set", dev, "up")
        sh("ip", "route", "add", ip + "/32", "dev", dev)
        for x in (
            "link set lo up",
            f"addr add {ip}/32 dev eth0",
            "link set eth0 up",
            f"route add {GW} dev eth0",
            f"route add default via {GW}",
        ):
            sh(*n, *x.split())
        self.ip = ip
        sub = self.spec.get("subdomain")
        names = f"{host}.{sub}.{self.ns}.svc.cluster.local {host}" if sub else host
        Path(self.dir + "/hosts").write_text(
            "127.0.0.1 localhost\n::1 localhost\n"
            f"{ip} {names}\n"
            + "".join(f"{h['ip']} {' '.join(h['hostnames'])}\n" for h in self.spec.get("hostAliases", []))
        )
        Path(self.dir + "/resolv.conf").write_text(
            f"search {self.ns}.svc.cluster.local svc.cluster.local cluster.local\nnameserver {GW}\noptions ndots:5\n"
        )
        Path(self.dir + "/hostname").write_text(host + "\n")
        for v in call("GET", f"/api/v1/namespaces/{self.ns}/services")["items"] + [
            get("/api/v1/namespaces/default/services/kubernetes")
        ]:
            i, k = v["spec"].get("clusterIP"), v["metadata"]["name"].upper().replace("-", "_")
            if (
                i in (None, "None")
                or not v["spec"].get("ports")
                or (not self.spec.get("enableServiceLinks", True) and k != "KUBERNETES")
            ):
                continue
            p = v["spec"]["ports"][0]
            pr = p.get("protocol", "TCP").lower()
            self.links |= {
                f"{k}_SERVICE_HOST": i,
                f"{k}_SERVICE_PORT": str(p["port"]),
                f"{k}_PORT": f"{pr}://{i}:{p['port']}",
            }
            for p in v["spec"]["ports"]:
                pr = p.get("protocol", "TCP").lower()
                x = f"{k}_PORT_{p['port']}_{pr.upper()}"
                self.links |= {
                    x: f"{pr}://{i}:{p['port']}",
                    x + "_PROTO": pr,
                    x + "_PORT": str(p["port"]),
                    x + "_ADDR": i,
                } | (
                    {f"{k}_SERVICE_PORT_{p['name'].upper().replace('-', '_')}": str(p["port"])} if p.get("name") else {}
                )

    def run(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir, mode=0o755)
        while not self.ended.is_set():
            try:
                if not self.ip:
                    self.network()
                self.mount_all()
                break
            except Exception as e:
                msg = e.args[1] if isinstance(e, Hold) else repr(e)
                if self.pause and not self.ip:
                    self.pause.stdin.close()
                    self.pause = None
                event(self.obj, "Warning", "FailedMount", msg)
                self.sync()
                self.ended.wait(2)

        def go(c):
            c.thread = threading.Thread(target=c.run, daemon=True)
            c.thread.start()

        for c in self.init:
            if self.ended.is_set():
                return
            go(c)
            while not self.ended.is_set() and not (c.sidecar and c.started) and c.thread.is_alive():
                time.sleep(0.05)
            if not c.sidecar and c.done != 0:
                self.sync()
                return
        if self.ended.is_set():
            return
        self.initialized = True
        for c in self.main:
            go(c)

        def watch():  # sidecars go when the main containers have ended; volumes are kept fresh
            t = time.time()
            while not self.ended.wait(0.2):
                if all(c.done is not None for c in self.main):
                    for c in self.init:
                        c.stop.set()
                        c.end(5)
                    self.sync()
                    self.unplug()
                    return
                if time.time() - t > 10:
                    t = time.time()
                    for w in self.writers[:]:
                        try:
                            w()
                        except Exception as e:
                            log(self.key, "volume", repr(e))

        threading.Thread(target=watch, daemon=True).start()
        self.sync()

    def unplug(self):
        if self.pause:
            p, self.pause = self.pause, None
            subprocess.run(
                ["ip", "link", "del", "v{2}x{3}".format(*self.ip.split("."))], capture_output=True
            ) if self.ip else None
            p.stdin.close()
            p.wait()
        with lock:
            used.discard(self.ip)

    def delete(self):
        if self.ended.is_set():
            return
        self.ended.set()
        threading.Thread(target=self.bye, daemon=True).start()

    def bye(self, api=True):
        g = self.obj["metadata"].get("deletionGracePeriodSeconds", 30)
        for group in (self.main, self.init):
            for c in group:
                c.stop.set()
            ts = [threading.Thread(target=c.end, args=(g,)) for c in group]
            [t.start() for t in ts]
            [t.join() for t in ts]
            for c in group:
                if getattr(c, "thread", None):
                    c.thread.join(5)
        if api:
            try:
                self.sync()
                call(
                    "DELETE",
                    self.path,
                    {"gracePeriodSeconds": 0, "preconditions": {"uid": self.obj["metadata"]["uid"]}},
                )
                log(self.key, "deleted")
            except urllib.error.HTTPError as e:
                if e.code not in (404, 409):
                    log("delete", self.key, repr(e))
            except Exception as e:
                log("delete", self.key, repr(e))
        self.unplug()
        pods.pop(self.obj["metadata"]["uid"], None)
        if not any(p.key == self.key for p in pods.values()):
            shutil.rmtree(self.dir, ignore_errors=True)
