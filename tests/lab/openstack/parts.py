"""What the lab is made of: programs, configuration, databases, services; each brought up only as far as it is not."""

import hashlib
import json
import os
import shutil
import signal
import socket
import string
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from processes import LabError, Processes, wait_for

HERE = Path(__file__).parent
RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
PASSWORD = "lab"
NAMES = ("keystone", "placement", "glance", "nova", "neutron", "postgres", "rabbit", "rabbit_dist", "epmd")
DATABASES = ("keystone", "placement", "glance", "nova_api", "nova_cell0", "nova_cell1")
# name: its WSGI application, its threads
APIS = {
    "keystone": ("keystone.wsgi.api:application", 4), "placement": ("placement.wsgi.api:application", 4),
    "glance": ("glance.wsgi.api:application", 2), "nova": ("nova.wsgi.osapi_compute:application", 8),
    "neutron": ("neutron_stub:application", 4),
}  # fmt: skip
# Native threads in place of eventlet: half the CPU time.
THREADS = {"OS_NOVA_DISABLE_EVENTLET_PATCHING": "true"}


@dataclass(frozen=True)
class Lab:
    """`base`: venv, cache and run folder. The run folder must be reachable by the user postgres."""

    base: Path
    port: int = 15000
    options: dict[str, float] = field(default_factory=dict)

    @property
    def run(self) -> Path:
        return self.base / "run"

    @property
    def ports(self) -> dict[str, int]:
        return {name: self.port + number for number, name in enumerate(NAMES)}

    @property
    def processes(self) -> Processes:
        return Processes(self.run, HERE / "inside")

    def program(self, name: str) -> Path:
        return self.base / "venv" / "bin" / name

    def url(self, api: str) -> str:
        return f"http://127.0.0.1:{self.ports[api]}"

    def is_done(self, name: str) -> bool:
        return (self.run / "done" / name).exists()

    def done(self, name: str) -> None:
        (self.run / "done" / name).touch()


# --- programs ---------------------------------------------------------------------------------------------------


def postgres_bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def lacking() -> list[str]:
    """Debian's packages that are not here."""
    return [
        name
        for name, there in (("rabbitmq-server", RABBIT.exists()), ("postgresql", postgres_bin() is not None))
        if not there
    ]


def install_packages(names: Iterable[str]) -> None:
    names = list(names)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(f"missing: {' '.join(names)} (Debian, Ubuntu: apt-get install {' '.join(names)})")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *names]):
        done = subprocess.run(
            ["apt-get", *command], env=environment, text=True, check=False, capture_output=True, timeout=600
        )
        if done.returncode:
            raise LabError(f"missing: {' '.join(names)}: {done.stderr[-300:]}")


def install_python(lab: Lab) -> None:
    mark = lab.base / "venv" / f".installed-{_digest('requirements.txt', 'constraints.txt')}"
    if mark.exists():
        return
    subprocess.run([sys.executable, "-m", "venv", lab.base / "venv"], check=True)
    done = subprocess.run(
        [lab.program("pip"), "--disable-pip-version-check", "install", "-q", "-r", HERE / "requirements.txt",
         "-c", HERE / "constraints.txt"],
        check=False, text=True, capture_output=True,
    )  # fmt: skip
    if done.returncode:
        raise LabError(f"pip install failed: {done.stderr[-1000:]}")
    mark.touch()


def _digest(*names: str) -> str:
    text = b"".join((HERE / name).read_bytes() for name in names)
    return hashlib.sha256(text).hexdigest()[:16]


# --- configuration ----------------------------------------------------------------------------------------------


def write_configuration(lab: Lab) -> None:
    for name in ("done", "log", "pids", "nova/state", "nova/lock", "glance/images", "glance/staging", "glance/tasks",
                 "keystone", "placement", "rabbit"):  # fmt: skip
        (lab.run / name).mkdir(parents=True, exist_ok=True)
    for service, name in (
        ("keystone", "keystone.conf"),
        ("placement", "placement.conf"),
        ("glance", "glance-api.conf"),
    ):
        _fill(lab, name, lab.run / service / name)
    _fill(lab, "nova.conf", lab.run / "nova" / "nova.conf")
    _fill(lab, "nova-controller.conf", lab.run / "nova" / "controller.conf")
    shutil.copy(lab.base / "venv" / "etc" / "nova" / "api-paste.ini", lab.run / "nova" / "api-paste.ini")
    _fill(lab, "rabbitmq.conf", lab.run / "rabbit" / "rabbitmq.conf")
    auth = {
        "auth_url": f"{lab.url('keystone')}/v3", "username": "admin", "password": PASSWORD, "project_name": "admin",
        "user_domain_name": "Default", "project_domain_name": "Default",
    }  # fmt: skip
    clouds = {"clouds": {"lab": {"auth": auth, "region_name": "RegionOne", "identity_api_version": "3"}}}
    (lab.run / "clouds.yaml").write_text(json.dumps(clouds, indent=1))


def write_compute(lab: Lab, host: str) -> None:
    (lab.run / "nova" / host).mkdir(exist_ok=True)
    _fill(lab, "nova-compute.conf", lab.run / "nova" / f"{host}.conf", host=host)


def _fill(lab: Lab, name: str, target: Path, **more: str) -> None:
    auth = "\n".join((
        "auth_type = password", f"auth_url = {lab.url('keystone')}/v3", "username = admin", f"password = {PASSWORD}",
        "user_domain_name = Default", "project_name = admin", "project_domain_name = Default",
        "region_name = RegionOne",
    ))  # fmt: skip
    token = "\n".join((
        auth, f"www_authenticate_uri = {lab.url('keystone')}/v3", "service_token_roles_required = false",
        "service_token_roles = admin", "token_cache_time = 300",
    ))  # fmt: skip
    text = string.Template((HERE / "conf" / name).read_text()).substitute(
        run=lab.run, venv=lab.base / "venv", auth=auth, authtoken=token,
        db=f"postgresql+psycopg2://lab@127.0.0.1:{lab.ports['postgres']}",
        rabbit=f"rabbit://lab:lab@127.0.0.1:{lab.ports['rabbit']}/",
        **{f"{port}_port": number for port, number in lab.ports.items()}, **lab.options, **more,
    )  # fmt: skip
    target.write_text(text)


# --- databases --------------------------------------------------------------------------------------------------


def start_postgres(lab: Lab) -> None:
    binaries, data = postgres_bin(), lab.run / "postgres"
    assert binaries is not None
    if not (data / "PG_VERSION").exists():
        data.mkdir(exist_ok=True)
        shutil.chown(data, "postgres", "postgres")
        lab.processes.call(
            "runuser", "-u", "postgres", "--", binaries / "initdb", "-D", data, "-U", "lab", "-A", "trust", "-E",
            "UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        with (data / "postgresql.conf").open("a") as file:
            file.write(
                f"\nlisten_addresses = '127.0.0.1'\nport = {lab.ports['postgres']}\nunix_socket_directories = ''\n"
                "max_connections = 300\nshared_buffers = 128MB\nfsync = off\n"
                "synchronous_commit = off\nfull_page_writes = off\n"
            )
    # setpriv drops its rights and becomes the server: one process, one pid.
    lab.processes.start(
        "postgres",
        [
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
            str(binaries / "postgres"),
            "-D",
            str(data),
        ],
    )
    wait_for("PostgreSQL", lambda: _listens(lab.ports["postgres"]), where=lab.run / "log")


def create_databases(lab: Lab) -> None:
    binaries = postgres_bin()
    assert binaries is not None
    psql = (binaries / "psql", "-h", "127.0.0.1", "-p", str(lab.ports["postgres"]), "-U", "lab", "-d", "postgres", "-c")
    wait_for("PostgreSQL", lambda: bool(lab.processes.call(*psql, "select 1")), where=lab.run / "log")
    for name in DATABASES:
        lab.processes.call(*psql, f"create database {name}")


def sync_keystone(lab: Lab) -> None:
    manage = (lab.program("keystone-manage"), "--config-file", lab.run / "keystone" / "keystone.conf")
    call = lab.processes.call
    call(*manage, "db_sync")
    for keys in ("fernet_setup", "credential_setup"):
        call(*manage, keys, "--keystone-user", "root", "--keystone-group", "root")
    urls = [
        word
        for kind in ("admin", "internal", "public")
        for word in (f"--bootstrap-{kind}-url", f"{lab.url('keystone')}/v3")
    ]
    call(*manage, "bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", "RegionOne", *urls)


def sync_others(lab: Lab) -> None:
    call = lab.processes.call
    call(lab.program("placement-manage"), "--config-file", lab.run / "placement" / "placement.conf", "db", "sync")
    call(lab.program("glance-manage"), "--config-file", lab.run / "glance" / "glance-api.conf", "db_sync")


def sync_nova(lab: Lab) -> None:
    manage, call = (lab.program("nova-manage"), *nova_files(lab)), lab.processes.call
    cell0 = f"postgresql+psycopg2://lab@127.0.0.1:{lab.ports['postgres']}/nova_cell0"
    call(*manage, "api_db", "sync")
    call(*manage, "cell_v2", "map_cell0", "--database_connection", cell0)
    call(*manage, "cell_v2", "create_cell", "--name", "cell1")
    call(*manage, "db", "sync")


def cache_of(lab: Lab) -> Path:
    """The synced databases and Keystone's keys, for this set of versions and these ports."""
    return lab.base / "cache" / f"{_digest('constraints.txt', 'requirements.txt', 'parts.py')}-{lab.port}.tar"


def keep_in_cache(lab: Lab) -> None:
    """With PostgreSQL stopped, so that its files fit together."""
    lab.processes.stop(["postgres"], signal.SIGINT)
    cache = cache_of(lab)
    cache.parent.mkdir(exist_ok=True)
    with tarfile.open(cache.with_suffix(".new"), "w") as tar:
        for name in ("postgres", "keystone/fernet-keys", "keystone/credential-keys"):
            tar.add(lab.run / name, arcname=name)
    cache.with_suffix(".new").rename(cache)
    start_postgres(lab)


def take_from_cache(lab: Lab) -> bool:
    cache = cache_of(lab)
    if not cache.exists():
        return False
    with tarfile.open(cache) as tar:
        tar.extractall(lab.run, filter="fully_trusted")  # it is our own, with the owners that it had
    return True


# --- services ---------------------------------------------------------------------------------------------------


def start_rabbit(lab: Lab) -> None:
    run = lab.run
    lab.processes.start("rabbitmq", [str(RABBIT)], {
        "RABBITMQ_NODENAME": "lab@localhost", "RABBITMQ_CONFIG_FILE": str(run / "rabbit" / "rabbitmq.conf"),
        "RABBITMQ_MNESIA_BASE": str(run / "rabbit" / "data"), "RABBITMQ_LOG_BASE": str(run / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(run / "rabbit" / "enabled_plugins"),
        "RABBITMQ_DIST_PORT": str(lab.ports["rabbit_dist"]),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
        "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(lab.ports["epmd"]),
    })  # fmt: skip


def rabbit_is_up(lab: Lab) -> None:
    wait_for("RabbitMQ", lambda: _listens(lab.ports["rabbit"]), where=lab.run / "log")


def stop_port_mapper(lab: Lab) -> None:
    """RabbitMQ leaves its own behind; ours is known by the folder in its environment."""
    ours = f"LAB_RUN={lab.run}".encode()
    for entry in Path("/proc").iterdir():
        try:
            is_one = entry.name.isdecimal() and (entry / "comm").read_text().strip() == "epmd"
            if is_one and ours in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGTERM)
        except OSError:
            continue


def start_apis(lab: Lab) -> None:
    for name, (application, threads) in APIS.items():
        lab.processes.start(f"{name}-api", [str(lab.program("gunicorn"))], {
            "GUNICORN_CMD_ARGS": f"--config {HERE / 'conf' / 'gunicorn.py'}", "LAB_API_NAME": f"{name}-api",
            "LAB_API_APPLICATION": application, "LAB_API_THREADS": str(threads),
            "LAB_API_BIND": f"127.0.0.1:{lab.ports[name]}", f"OS_{name.upper()}_CONFIG_DIR": str(lab.run / name),
            "OS_NOVA_CONFIG_FILES": "api-paste.ini;nova.conf;controller.conf",
        })  # fmt: skip
    for name in APIS:
        wait_for(name, lambda name=name: _answers(lab.url(name)), timeout_s=180, where=lab.run / "log")  # type: ignore[misc]


def write_catalogue(lab: Lab) -> None:
    endpoints = {
        "placement": lab.url("placement"), "image": lab.url("glance"), "compute": f"{lab.url('nova')}/v2.1",
        "network": lab.url("neutron"),
    }  # fmt: skip
    inside(lab, "catalogue.py", *(f"{kind}={url}" for kind, url in endpoints.items()))


def start_nova(lab: Lab) -> None:
    for name in ("conductor", "scheduler"):
        command = [lab.program("python"), HERE / "inside" / "service.py", name, *nova_files(lab), "--log-file",
                   lab.run / "log" / f"nova-{name}.log"]  # fmt: skip
        lab.processes.start(f"nova-{name}", [str(word) for word in command], THREADS)


def start_computes(lab: Lab, hosts: Iterable[str]) -> None:
    asleep = [host for host in hosts if lab.processes.pid(host) is None]
    if asleep:
        lab.processes.call(lab.program("python"), HERE / "inside" / "computes.py", lab.run, *asleep, more=THREADS)


def discover(lab: Lab, hosts: Iterable[str], zones: int) -> None:
    """Map the hosts to the cell and put them into zones."""
    hosts = list(hosts)
    inside(lab, "hosts.py", "wait", *hosts)
    lab.processes.call(lab.program("nova-manage"), *nova_files(lab), "cell_v2", "discover_hosts")
    inside(lab, "hosts.py", "zones", str(zones), *hosts)


def inside(lab: Lab, name: str, *words: str) -> str:
    more = {"OS_CLIENT_CONFIG_FILE": str(lab.run / "clouds.yaml")}
    return lab.processes.call(lab.program("python"), HERE / "inside" / name, *words, more=more)


def nova_files(lab: Lab) -> tuple[str, ...]:
    return (
        "--config-file",
        str(lab.run / "nova" / "nova.conf"),
        "--config-file",
        str(lab.run / "nova" / "controller.conf"),
    )


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/", timeout=5)
    except urllib.error.HTTPError as error:
        return error.code < 500
    return True
