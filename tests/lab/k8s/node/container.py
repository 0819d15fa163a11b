"""One container of a pod: its specification made of the pod's, its life, its probes, its end."""

import contextlib
import fnmatch
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

from api import IMAGES, ME, Hold, event, log, now, qty
from linux import CAPS, DEFAULT_CAPS


class Container:
    def __init__(self, pod, c, kind):
        self.pod, self.c, self.kind, self.name = pod, c, kind, c["name"]
        self.restarts = 0
        self.ready = self.started = False
        self.state = {
            "waiting": {
                "reason": "PodInitializing"
                if pod.spec.get("initContainers") and kind == "main"
                else "ContainerCreating"
            }
        }
        self.last = {}
        self.proc = None
        self.image = None
        self.done = None
        self.stop = threading.Event()
        self.sidecar = kind == "init" and c.get("restartPolicy") == "Always"
        self.restart = (
            "Always"
            if self.sidecar
            else ("Never" if pod.spec["restartPolicy"] == "Never" else "OnFailure")
            if kind == "init"
            else pod.spec["restartPolicy"]
        )

    def status(self):
        return {
            "name": self.name,
            "image": self.c["image"],
            "imageID": "lab://" + self.c["image"],
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": self.started,
            "state": self.state,
            "lastState": self.last,
            **({"containerID": f"process://{self.proc.pid}"} if self.proc else {}),
        }

    def find_image(self):
        for pat, im in json.loads(Path(IMAGES).read_text()).items():
            if fnmatch.fnmatchcase(self.c["image"], pat):
                return im
        raise Hold("ImagePullBackOff", f'no pattern of {os.path.basename(IMAGES)} fits image "{self.c["image"]}"')

    def env(self, im):
        p, m = self.pod, self.pod.obj["metadata"]
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME": m["name"],
            **im.get("env", {}),
            **p.links,
        }
        for f in self.c.get("envFrom", []):
            k = "configMap" if "configMapRef" in f else "secret"
            r = f[k + "Ref"]
            d = p.data(k, r["name"], r.get("optional"))
            env |= {f.get("prefix", "") + a: b.decode("utf8", "replace") for a, b in d.items()}
        for e in self.c.get("env", []):
            v, src = e.get("value", ""), e.get("valueFrom")
            if src:
                if "fieldRef" in src:
                    v = p.field(src["fieldRef"]["fieldPath"])
                elif "resourceFieldRef" in src:
                    v = p.resource(src["resourceFieldRef"], self.c)
                else:
                    k = "configMap" if "configMapKeyRef" in src else "secret"
                    r = src[k + "KeyRef"]
                    d = p.data(k, r["name"], r.get("optional"))
                    if r["key"] not in d:
                        if r.get("optional"):
                            continue
                        raise Hold(
                            "CreateContainerConfigError",
                            f"couldn't find key {r['key']} in {k} {m['namespace']}/{r['name']}",
                        )
                    v = d[r["key"]].decode("utf8", "replace")
            else:
                v = expand(v, env)
            env[e["name"]] = v
        return env

    def spec(self, im):
        p, c = self.pod, self.c
        psc, csc = p.spec.get("securityContext", {}), c.get("securityContext", {})
        sc = {**psc, **csc}
        uid = sc.get("runAsUser")
        img_user = str(im.get("user", "0")).split(":")[0]
        if uid is None:
            uid = int(img_user) if img_user.isdigit() else __import__("pwd").getpwnam(img_user).pw_uid
        if sc.get("runAsNonRoot") and uid == 0:
            raise Hold("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")
        gid = sc.get("runAsGroup", int(str(im.get("user", "0:0")).partition(":")[2] or 0))
        cap = csc.get("capabilities", {})
        drop = set(cap.get("drop", []))
        caps = (set() if "ALL" in drop else DEFAULT_CAPS - drop) | set(cap.get("add", []))
        if csc.get("privileged") or "ALL" in caps:
            caps = set(CAPS)
        env = self.env(im)
        cmd, args = c.get("command"), c.get("args")
        argv = (
            [expand(x, env) for x in cmd] + [expand(x, env) for x in args or []]
            if cmd
            else im.get("entrypoint", []) + ([expand(x, env) for x in args] if args else im.get("cmd", []))
        )
        if not argv:
            raise Hold("CreateContainerError", "no command specified")
        mounts = [
            {"src": os.path.join(os.path.dirname(os.path.abspath(IMAGES)), os.path.expandvars(v)), "dst": k, "ro": True}
            for k, v in im.get("mounts", {}).items()
        ]
        for f in ("hosts", "resolv.conf", "hostname"):
            mounts.append({"src": f"{p.dir}/{f}", "dst": f"/etc/{f}", "ro": False})
        for v in c.get("volumeMounts", []):
            src, ro = p.volumes[v["name"]]
            src = os.path.join(src, v["subPath"]) if v.get("subPath") else src
            if not os.path.exists(src):
                os.makedirs(src)
            mounts.append({"src": src, "dst": v["mountPath"], "ro": bool(v.get("readOnly") or ro)})
        mounts.append(
            {
                "src": touch(f"{p.dir}/{self.name}.term"),
                "dst": c.get("terminationMessagePath", "/dev/termination-log"),
                "ro": False,
            }
        )
        lim, cg, tail = (
            c.get("resources", {}).get("limits", {}),
            {},
            f"k8slab-{os.getpid()}/{p.obj['metadata']['uid']}-{self.name}",
        )
        if "memory" in lim and os.path.isdir("/sys/fs/cgroup/memory"):
            cg[f"/sys/fs/cgroup/memory/{tail}"] = {"memory.limit_in_bytes": int(qty(lim["memory"]))}
        if "cpu" in lim and os.path.isdir("/sys/fs/cgroup/cpu"):
            cg[f"/sys/fs/cgroup/cpu/{tail}"] = {
                "cpu.cfs_period_us": 100000,
                "cpu.cfs_quota_us": max(1000, int(qty(lim["cpu"]) * 100000)),
            }
        return {
            "rw": f"{p.dir}/{self.name}.rw",
            "mounts": mounts,
            "argv": argv,
            "env": env,
            "cwd": c.get("workingDir") or im.get("workdir", "/"),
            "uid": uid,
            "gid": gid,
            "groups": sorted(set(psc.get("supplementalGroups", []) + ([psc["fsGroup"]] if "fsGroup" in psc else []))),
            "caps": sorted(caps),
            "nnp": csc.get("allowPrivilegeEscalation") is False,
            "ro_root": bool(csc.get("readOnlyRootFilesystem")),
            "pause": p.pause.pid if p.pause else 0,
            "cgroups": cg,
        }

    # one thread a container: start it, ask its probes, start it again
    def run(self):
        back, f = 1, f"{self.pod.dir}/{self.name}.json"
        while not self.stop.is_set():
            try:
                self.image = self.find_image()
                sp = self.spec(self.image)
            except Hold as e:
                if self.state.get("waiting", {}).get("reason") != e.args[0]:
                    event(self.pod.obj, "Warning", "Failed", e.args[1])
                self.state = {"waiting": {"reason": e.args[0], "message": e.args[1]}}
                self.pod.sync()
                self.stop.wait(2)
                continue
            except Exception as e:
                log("start", self.name, repr(e))
                self.stop.wait(2)
                continue
            if self.kind == "main" and self.c is self.pod.spec["containers"][0]:
                Path(self.pod.dir + "/default").write_text(self.name)
            if os.path.exists(f + ".pid"):
                os.unlink(f + ".pid")
            with open(f, "w") as o:
                json.dump(sp, o)
            lf = open(f"{self.pod.dir}/{self.name}.{self.restarts}.log", "wb")
            t0, started = time.time(), now()
            self.proc = subprocess.Popen(
                [sys.executable, ME, "--child", f], stdin=subprocess.PIPE, stdout=lf, stderr=lf
            )
            lf.close()
            if self.stop.is_set():
                self.kill(signal.SIGKILL)
            self.started = not self.c.get("startupProbe")
            self.ready = self.started and not self.c.get("readinessProbe")
            self.state = {"running": {"startedAt": started}}
            self.pod.sync()
            end = threading.Event()
            self.dying = False
            if any(self.c.get(k) for k in ("startupProbe", "readinessProbe", "livenessProbe")):
                threading.Thread(target=self.probes, args=(end, t0), daemon=True).start()
            rc = self.proc.wait()
            end.set()
            self.ready = self.started = False
            self.proc.stdin.close()
            oom = any(
                re.search(r"^oom_kill [1-9]", Path(g + "/memory.oom_control").read_text(), re.MULTILINE)
                for g in sp["cgroups"]
                if os.path.exists(g + "/memory.oom_control")
            )
            for g in sp["cgroups"]:
                with contextlib.suppress(OSError):
                    os.rmdir(g)
            term = Path(f"{self.pod.dir}/{self.name}.term").read_text()[:4096]
            rc = rc if rc >= 0 else 128 - rc
            t = {
                "terminated": {
                    "exitCode": rc,
                    "reason": "OOMKilled" if oom else "Completed" if rc == 0 else "Error",
                    "startedAt": started,
                    "finishedAt": now(),
                    **({"message": term} if term else {}),
                }
            }
            log(self.pod.key, self.name, "exit", rc)
            if self.stop.is_set() or self.restart == "Never" or (self.restart == "OnFailure" and rc == 0):
                self.state = t
                self.done = rc
                self.ready = self.kind == "init" and rc == 0
                self.pod.sync()
                return
            if time.time() - t0 > 60:
                back = 1
            self.last = t
            self.restarts += 1
            self.state = (
                {"waiting": {"reason": "CrashLoopBackOff", "message": f"back-off {back}s restarting failed container"}}
                if self.restarts > 1
                else t
            )
            self.pod.sync()
            if self.restarts > 1:
                event(self.pod.obj, "Warning", "BackOff", f"Back-off restarting failed container {self.name}")
            self.stop.wait(back)
            back = min(back * 2, 30)

    def kill(self, sig):
        try:
            if sig == signal.SIGKILL:
                os.kill(int(Path(f"{self.pod.dir}/{self.name}.json.pid").read_text()), 9)
            else:
                self.proc.send_signal(sig)
        except (OSError, ValueError):
            if sig == signal.SIGKILL and self.proc:
                self.proc.kill()

    def port(self, p):
        if isinstance(p, int):
            return p
        return next(
            (x["containerPort"] for x in self.c.get("ports", []) if x.get("name") == p),
            int(p) if str(p).isdigit() else 0,
        )

    def action(self, a, timeout):
        """an httpGet, tcpSocket, grpc, exec or sleep: None when it went well, else why not"""
        try:
            if "httpGet" in a:
                h = a["httpGet"]
                host, port = h.get("host") or self.pod.ip, self.port(h["port"])
                k = (
                    http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl._create_unverified_context())
                    if h.get("scheme") == "HTTPS"
                    else http.client.HTTPConnection(host, port, timeout=timeout)
                )
                k.request(
                    "GET",
                    h.get("path") or "/",
                    headers={
                        "User-Agent": "kube-probe/1.34",
                        "Connection": "close",
                        **{x["name"]: x["value"] for x in h.get("httpHeaders", [])},
                    },
                )
                st = k.getresponse().status
                k.close()
                return None if 200 <= st < 400 else f"HTTP probe failed with statuscode: {st}"
            if "tcpSocket" in a or "grpc" in a:
                t = a.get("tcpSocket") or a["grpc"]
                socket.create_connection((t.get("host") or self.pod.ip, self.port(t["port"])), timeout).close()
                return None
            if "exec" in a:
                r = subprocess.run(
                    [sys.executable, ME, "--enter", f"{self.pod.dir}/{self.name}.json", *a["exec"]["command"]],
                    capture_output=True,
                    timeout=timeout,
                )
                return (
                    None
                    if r.returncode == 0
                    else f"exit {r.returncode}: {(r.stdout + r.stderr).decode('utf8', 'replace')[-300:]}"
                )
            if "sleep" in a:
                time.sleep(a["sleep"]["seconds"])
        except Exception as e:
            return str(e) or repr(e)

    def probes(self, end, t0):
        st = {}
        for k in ("startupProbe", "livenessProbe", "readinessProbe"):
            if self.c.get(k):
                st[k] = [t0 + self.c[k].get("initialDelaySeconds", 0), 0, 0]  # next, successes, failures
        while not end.wait(0.1):
            for k, x in st.items():
                if time.time() < x[0] or (k == "startupProbe") == self.started:
                    continue
                p = self.c[k]
                why = self.action(p, p.get("timeoutSeconds", 1))
                x[0] = time.time() + p.get("periodSeconds", 10)
                if end.is_set():
                    return
                x[1], x[2] = (x[1] + 1, 0) if why is None else (0, x[2] + 1)
                was = (self.started, self.ready)
                if why:
                    event(self.pod.obj, "Warning", "Unhealthy", f"{k[:-5].title()} probe failed: {why}")
                if k == "startupProbe" and why is None:
                    self.started = True
                    self.ready = "readinessProbe" not in st
                if k == "readinessProbe":
                    if why is None and x[1] >= p.get("successThreshold", 1):
                        self.ready = True
                    if x[2] >= p.get("failureThreshold", 3):
                        self.ready = False
                if was != (self.started, self.ready):
                    self.pod.sync()
                if k != "readinessProbe" and x[2] >= p.get("failureThreshold", 3):
                    event(
                        self.pod.obj,
                        "Normal",
                        "Killing",
                        f"Container {self.name} failed {k[:-5]} probe, will be restarted",
                    )
                    threading.Thread(
                        target=self.end, args=(self.pod.spec.get("terminationGracePeriodSeconds", 30),), daemon=True
                    ).start()
                    return

    def end(self, grace):
        """preStop, TERM, wait, KILL"""
        t = time.time() + grace
        pre = self.c.get("lifecycle", {}).get("preStop")
        if not self.proc or self.proc.poll() is not None:
            return
        if pre:
            th = threading.Thread(target=self.action, args=(pre, max(grace, 1)), daemon=True)
            th.start()
            th.join(grace)
        self.kill(signal.SIGTERM)
        while self.proc.poll() is None and time.time() < t:
            time.sleep(0.05)
        if self.proc.poll() is None:
            self.kill(signal.SIGKILL)


def expand(v, env):
    return re.sub(r"\$\$|\$\(([A-Za-z_.-][\w.-]*)\)", lambda m: "$" if m[0] == "$$" else env.get(m[1], m[0]), v)


def touch(f):
    Path(f).touch()
    os.chmod(f, 0o666)
    return f


def put(d, files, mode=0o644):
    for k, v in files.items():
        f = os.path.join(d, k)
        os.makedirs(os.path.dirname(f), exist_ok=True)
        t = f + ".new~"
        with open(t, "wb") as o:
            o.write(v)
        os.chmod(t, mode)
        os.replace(t, f)
