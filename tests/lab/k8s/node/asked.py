"""What `kubectl logs` and `kubectl exec` ask of a node."""

import base64
import fcntl
import hashlib
import http.server
import json
import os
import select
import struct
import subprocess
import sys
import termios
import time
import urllib.parse

from api import ME, pods


class Asked(http.server.BaseHTTPRequestHandler):  # what `kubectl logs`, `exec` and `cp` ask of a node
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def do_POST(self):
        self.send_error(
            501,
            "the container does not run, or the client speaks SPDY: web sockets only, and no port-forward or attach",
        )

    def run(self, c, q):
        """exec over a web socket, k8s channel protocol v4 or v5"""
        k, offer = self.connection, [x.strip() for x in self.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        pr = next((x for x in ("v5.channel.k8s.io", "v4.channel.k8s.io") if x in offer), None)
        if not pr or not c.proc or c.proc.poll() is not None:
            self.send_error(400, "not running" if pr else "protocol not known")
            return
        self.send_response(101)
        acc = base64.b64encode(
            hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        ).decode()
        for h, v in (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", acc),
            ("Sec-WebSocket-Protocol", pr),
        ):
            self.send_header(h, v)
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True

        def send(op, b):
            k.sendall(
                bytes([0x80 | op])
                + (
                    bytes([len(b)])
                    if len(b) < 126
                    else struct.pack("!BH", 126, len(b))
                    if len(b) < 65536
                    else struct.pack("!BQ", 127, len(b))
                )
                + b
            )

        one = {a: v[0] for a, v in q.items()}

        def yes(n):
            return one.get(n) in ("1", "true")

        tty = yes("tty")
        a = b = None
        if tty:
            a, b = os.openpty()
        pipe = subprocess.PIPE
        proc = subprocess.Popen(
            [sys.executable, ME, "--enter", f"{c.pod.dir}/{c.name}.json", *q["command"]],
            stdin=b if tty else pipe if yes("input") else subprocess.DEVNULL,
            stdout=b if tty else pipe,
            stderr=b if tty else pipe,
        )
        if tty:
            os.close(b)
            outs = {a: 1}
            into = a
        else:
            outs = {proc.stdout.fileno(): 1, proc.stderr.fileno(): 2}
            into = proc.stdin.fileno() if proc.stdin else None
        buf = b""
        try:
            while outs:
                r = [k] if k.pending() else select.select([k, *outs], [], [], 1)[0]
                for fd in [x for x in r if x is not k]:
                    try:
                        d = os.read(fd, 16384)
                    except OSError:
                        d = b""
                    if d:
                        send(2, bytes([outs[fd]]) + d)
                    else:
                        del outs[fd]
                if k in r:
                    d = k.recv(65536)
                    buf += d
                    if not d:
                        proc.kill()
                        break
                    while len(buf) >= 2:
                        n, o = buf[1] & 127, 2
                        if n > 125:
                            w = 2 if n == 126 else 8
                            n, o = int.from_bytes(buf[2 : 2 + w], "big"), 2 + w
                        if len(buf) < o + 4 + n:
                            break
                        m, op = buf[o : o + 4], buf[0] & 15
                        pay = bytes(x ^ m[i & 3] for i, x in enumerate(buf[o + 4 : o + 4 + n]))
                        buf = buf[o + 4 + n :]
                        if op == 8:
                            proc.kill()
                        elif op == 9:
                            send(10, pay)
                        elif op in (1, 2) and pay:
                            if pay[0] == 0 and into is not None:
                                os.write(into, pay[1:])
                            elif pay[0] == 255 and not tty and into is not None:
                                proc.stdin.close()
                                into = None
                            elif pay[0] == 4 and tty:
                                z = json.loads(pay[1:])
                                fcntl.ioctl(a, termios.TIOCSWINSZ, struct.pack("HHHH", z["Height"], z["Width"], 0, 0))
            rc = proc.wait()
            st = (
                {"metadata": {}, "status": "Success"}
                if rc == 0
                else {
                    "metadata": {},
                    "status": "Failure",
                    "reason": "NonZeroExitCode",
                    "message": f"command terminated with exit code {rc}",
                    "details": {"causes": [{"reason": "ExitCode", "message": str(rc)}]},
                }
            )
            send(2, b"\x03" + json.dumps(st).encode())
            send(8, struct.pack("!H", 1000))
            k.settimeout(2)
            k.recv(100)
        except OSError:
            proc.kill()
        finally:
            if tty:
                os.close(a)

    def do_GET(self):
        u = urllib.parse.urlsplit(self.path)
        q = dict(urllib.parse.parse_qsl(u.query))
        x = u.path.strip("/").split("/")
        p = None
        if x[0] in ("containerLogs", "exec"):
            p = next((p for p in list(pods.values()) if p.key == f"{x[1]}/{x[2]}"), None)
        c = p and next((c for c in p.init + p.main if c.name == x[3]), None)
        if not c:
            self.send_error(404)
            return
        if x[0] == "exec":
            self.run(c, urllib.parse.parse_qs(u.query))
            return
        n = c.restarts - (1 if q.get("previous") == "true" else 0)
        if not os.path.exists(f := f"{p.dir}/{c.name}.{n}.log") and not os.path.exists(
            f := f"{p.dir}/{c.name}.{n - 1}.log"
        ):
            self.send_error(404, "no log")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with open(f, "rb") as o:
            b = o.read()
            if q.get("tailLines"):
                b = b"".join(b.splitlines(True)[-int(q["tailLines"]) :]) if int(q["tailLines"]) else b""
            if q.get("limitBytes"):
                b = b[: int(q["limitBytes"])]
            self.wfile.write(b)
            while q.get("follow") == "true" and c.done is None and not p.ended.is_set() and c.restarts == n:
                if b := o.read():
                    self.wfile.write(b)
                    self.wfile.flush()
                else:
                    time.sleep(0.2)
            self.wfile.write(o.read())
