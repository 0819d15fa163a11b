"""Start nova-computes with the driver in lab.py: computes.py RUN HOST …

Nova is imported once; then one child is forked for each host, so that they share that memory and start without
importing again. Each leads a process group of its own. Only modules of nova.virt can be a compute_driver, so this
folder is added to where that package looks for its modules.
"""

import gc
import os
import sys
from pathlib import Path


def main() -> None:
    run, hosts = Path(sys.argv[1]), sys.argv[2:]

    import nova.cmd.compute  # first of all: it patches, as nova-compute does
    import nova.virt

    nova.virt.__path__.append(str(Path(__file__).parent))
    import lab_rpc
    import nova.compute.manager  # what nova-compute would import once it has read its configuration
    import nova.virt.lab
    import oslo_messaging._drivers.impl_rabbit  # noqa: F401

    lab_rpc.apply()
    gc.collect()
    gc.freeze()
    for host in hosts:
        pid = os.fork()
        if not pid:
            become(run, host)
        began = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
        (run / "pids" / f"{host}.pid").write_text(f"{pid} {began}")


def become(run: Path, host: str) -> None:
    import nova.cmd.compute

    os.setsid()
    log = os.open(run / "log" / f"{host}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    files = (run / "nova" / "nova.conf", run / "nova" / f"{host}.conf")
    sys.argv = ["nova-compute", *(word for file in files for word in ("--config-file", str(file)))]
    nova.cmd.compute.main()
    os._exit(0)


main()
