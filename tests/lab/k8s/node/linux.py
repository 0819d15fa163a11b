"""What the kernel does for a container, by its own calls: mounts, namespaces, capabilities."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
CAPS = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]
DEFAULT_CAPS = {
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
    "MKNOD",
    "AUDIT_WRITE",
    "SETFCAP",
}


def ck(rc, what):
    if rc:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(src, dst, typ=None, flags=0, data=None):
    def e(s):
        return None if s is None else os.fsencode(s)

    ck(libc.mount(e(src), e(dst), e(typ), ctypes.c_ulong(flags), e(data)), f"mount {src} {dst}")


def setns(pid, kind, flag):
    fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
    ck(libc.setns(fd, flag), f"setns {kind}")
    os.close(fd)


def inside(root, path):
    """path as seen from root, symbolic links resolved as a chroot would"""
    done, todo, n = [], [x for x in path.split("/") if x], 0
    while todo:
        c = todo.pop(0)
        if c in (".", ""):
            continue
        if c == "..":
            done = done[:-1]
            continue
        p = os.path.join(root, *done, c)
        if os.path.islink(p) and n < 40:
            n += 1
            t = os.readlink(p)
            todo = [x for x in t.split("/") if x] + todo
            if t.startswith("/"):
                done = []
        else:
            done.append(c)
    return os.path.join(root, *done)
