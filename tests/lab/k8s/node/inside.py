"""A container's own process: its root is built, it becomes who it shall be, and runs. Started by the node."""

import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

from linux import (
    BIND,
    CAPS,
    NEWIPC,
    NEWNET,
    NEWNS,
    NEWPID,
    NEWUTS,
    NODEV,
    NOSUID,
    PRIVATE,
    RDONLY,
    REC,
    REMOUNT,
    ck,
    inside,
    libc,
    mount,
    setns,
)


def become(s):
    keep = set(s["caps"])
    for i, c in enumerate(CAPS):
        if c not in keep:
            libc.prctl(24, i, 0, 0, 0)  # PR_CAPBSET_DROP
    os.setgroups(s["groups"])
    os.setgid(s["gid"])
    os.setuid(s["uid"])
    if s["nnp"]:
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    os.umask(0o022)


def run_argv(s, argv):
    os.environ.clear()
    os.environ.update(s["env"])
    try:
        os.chdir(s["cwd"])
    except OSError as e:
        print(f"workingDir {s['cwd']}: {e.strerror}", file=sys.stderr, flush=True)
        os._exit(128)
    become(s)
    try:
        os.execvpe(argv[0], argv, s["env"])
    except OSError as e:
        print(f'exec: "{argv[0]}": {e.strerror}', file=sys.stderr, flush=True)
        os._exit(128 if e.errno == 2 else 126)


def build_root(s):
    rw, new = s["rw"], s["rw"] + "/root"
    os.makedirs(rw, exist_ok=True)
    mount("none", "/", None, REC | PRIVATE)
    mount("rw", rw, "tmpfs", 0, "size=1g,mode=755")
    for x in ("u", "w", "root"):
        os.mkdir(f"{rw}/{x}")
    mount("overlay", new, "overlay", 0, f"lowerdir=/,upperdir={rw}/u,workdir={rw}/w")
    os.chmod(new + "/root", 0o755)  # interpreters may live under it; only this view is opened
    for d, m in (("/dev", 0o755), ("/tmp", 0o1777), ("/run", 0o755), ("/var/tmp", 0o1777)):
        os.makedirs(new + d, exist_ok=True)
        mount("t", new + d, "tmpfs", NOSUID, f"size=256m,mode={m:o}")
    for d in ("null", "zero", "full", "random", "urandom", "tty"):
        Path(f"{new}/dev/{d}").touch()
        mount(f"/dev/{d}", f"{new}/dev/{d}", None, BIND)
    os.mkdir(new + "/dev/pts")
    mount("devpts", new + "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=0620")
    os.symlink("pts/ptmx", new + "/dev/ptmx")
    os.mkdir(new + "/dev/shm")
    mount("shm", new + "/dev/shm", "tmpfs", NOSUID | NODEV, "size=64m,mode=1777")
    for i, n in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{i}", f"{new}/dev/{n}")
    os.symlink("/proc/self/fd", new + "/dev/fd")
    mount("proc", new + "/proc", "proc", NOSUID | NODEV)
    mount("/sys", new + "/sys", None, BIND | REC)
    for m in sorted(s["mounts"], key=lambda m: m["dst"].count("/")):
        dst = inside(new, m["dst"])
        if os.path.isdir(m["src"]):
            os.makedirs(dst, exist_ok=True)
        elif not os.path.exists(dst):
            os.makedirs(os.path.dirname(dst), exist_ok=True)
            Path(dst).touch()
        mount(m["src"], dst, None, BIND | REC)
        if m["ro"]:
            mount(None, dst, None, REMOUNT | BIND | RDONLY)
    if s["ro_root"]:
        over = {os.path.normpath(m["dst"]) for m in s["mounts"]}  # a volume stays as it is
        for d in ("", "/tmp", "/run", "/var/tmp"):
            if d not in over:
                mount(None, new + d, None, REMOUNT | BIND | RDONLY)
    os.chroot(new)
    os.chdir("/")


def child(spec):
    os.setsid()
    s = json.loads(Path(spec).read_text())
    for g, files in s["cgroups"].items():
        try:
            os.makedirs(g, exist_ok=True)
            for f, v in files.items():
                Path(f"{g}/{f}").write_text(str(v))
            Path(f"{g}/cgroup.procs").write_text(str(os.getpid()))
        except OSError as e:
            print("cgroup:", e, file=sys.stderr, flush=True)
    for k, f in (("net", NEWNET), ("uts", NEWUTS), ("ipc", NEWIPC)):
        setns(s["pause"], k, f)
    ck(libc.unshare(NEWNS | NEWPID), "unshare")
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(w)
        os.setsid()
        try:
            build_root(s)
            fd = os.open("/dev/null", os.O_RDONLY)
            os.dup2(fd, 0)
            os.read(r, 1)
            run_argv(s, s["argv"])
        except BaseException as e:
            print("container:", repr(e), file=sys.stderr, flush=True)
        os._exit(128)
    for g in (signal.SIGTERM, signal.SIGINT):
        signal.signal(g, lambda n, _: os.kill(pid, n))
    Path(spec + ".pid").write_text(str(pid))
    os.write(w, b"x")
    pf = os.pidfd_open(pid)
    while pf not in select.select([0, pf], [], [])[0]:
        if not os.read(0, 1):
            os.kill(pid, 9)
            break  # the node's process is gone: so is the container
    st = os.waitpid(pid, 0)[1]
    os._exit(128 + os.WTERMSIG(st) if os.WIFSIGNALED(st) else os.WEXITSTATUS(st))


def pause():
    os.setsid()
    ck(libc.unshare(NEWNET | NEWUTS | NEWIPC), "unshare")
    socket.sethostname(sys.argv[2])
    print("up", flush=True)
    while os.read(0, 1):
        pass


def enter(spec, argv):
    s = json.loads(Path(spec).read_text())
    pid = int(Path(spec + ".pid").read_text())
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY)
    fds = [
        (os.open(f"/proc/{pid}/ns/{k}", os.O_RDONLY), f)
        for k, f in (("net", NEWNET), ("uts", NEWUTS), ("ipc", NEWIPC), ("pid", NEWPID), ("mnt", NEWNS))
    ]
    for fd, f in fds:
        ck(libc.setns(fd, f), "setns")
    os.fchdir(root)
    os.chroot(".")
    p = os.fork()
    if not p:
        if os.isatty(0):
            import fcntl
            import termios

            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 1)
        run_argv(s, argv)
    st = os.waitpid(p, 0)[1]
    os._exit(128 + os.WTERMSIG(st) if os.WIFSIGNALED(st) else os.WEXITSTATUS(st))
