"""The images, built and run on a real engine as they run in production; then the compose file, up, at work and down."""

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.real import LAB, MISSING

pytestmark = [pytest.mark.images, pytest.mark.real, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[2]
TARGETS = ("detector", "planner", "executor", "api", "all")
SMALL_MB = 260  # beside the base, whichever that is
HEAVY = {"planner", "all"}
CLOSED = (
    "--read-only",
    "--tmpfs",
    "/tmp",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--network",
    "none",
)


def docker(*words: str, timeout_s: float = 1800, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *words], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert not check or done.returncode == 0, f"docker {' '.join(words)[:200]}: {(done.stdout + done.stderr)[-3000:]}"
    return done


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """The one that this machine has or that DOCKER_HOST names; else one that is started here, and stopped."""
    if shutil.which("docker") is not None and docker("info", check=False).returncode == 0:
        yield
        return
    script = LAB / "images" / "engine.sh"
    up = subprocess.run([script, "up"], stderr=subprocess.PIPE, text=True, timeout=1200, check=False)
    if up.returncode == MISSING:
        pytest.skip(up.stderr.strip().splitlines()[-1])
    assert up.returncode == 0, up.stderr
    said = subprocess.run([script, "env"], capture_output=True, text=True, check=True).stdout
    with pytest.MonkeyPatch.context() as environment:
        for word in shlex.split(said):
            name, is_set, value = word.partition("=")
            if is_set:
                environment.setenv(name, value)
        yield
    subprocess.run([script, "down"], check=False, timeout=120)


def base() -> str:
    return os.environ.get("RESTOW_TEST_PYTHON_IMAGE", "python:3.11-slim")


@pytest.fixture(scope="session")
def images(engine: None) -> tuple[str, ...]:
    """All five, built; with what the environment says of the base image."""
    for target in TARGETS:
        docker(
            "build", "--network", "host", "-f", "deploy/Dockerfile", "--build-arg", f"PYTHON_IMAGE={base()}",
            "--target", target, "-t", f"restow/{target}:0.1.0", ".",
        )  # fmt: skip
    return TARGETS


def test_each_is_for_nobody_special_is_labelled_checks_itself_and_is_small(images: tuple[str, ...]) -> None:
    sizes = {}
    of_base = int(docker("image", "inspect", "--format", "{{.Size}}", base()).stdout) // 10**6
    for target in images:
        (about,) = json.loads(docker("image", "inspect", f"restow/{target}:0.1.0").stdout)
        assert about["Config"]["User"] == "10001:10001"
        assert about["Config"]["Healthcheck"]["Test"][0] == "CMD", "without a shell"
        labels = {
            name.removeprefix("org.opencontainers.image."): one for name, one in about["Config"]["Labels"].items()
        }
        assert {"title", "version", "licenses", "source"} <= set(labels)
        assert labels["base.name"] == base()
        sizes[target] = about["Size"] // 10**6
        assert sizes[target] - of_base < SMALL_MB or target in HEAVY
    print("\n", sizes, f"MB, {of_base} of them the base")


def test_only_the_planner_carries_the_solvers(images: tuple[str, ...]) -> None:
    for target in images:
        program = (
            "from importlib.util import find_spec as f; print(bool(f('ortools')), bool(f('numba')), bool(f('pip')))"
        )
        said = docker("run", "--rm", *CLOSED, "--entrypoint", "python", f"restow/{target}:0.1.0", "-c", program).stdout
        assert said.split() == ([*["True"] * 2, "False"] if target in HEAVY else ["False"] * 3), target


def test_a_board_controller_can_be_asked_by_ipmi_from_every_image(images: tuple[str, ...]) -> None:
    for target in images:
        said = docker("run", "--rm", *CLOSED, "--entrypoint", "ipmitool", f"restow/{target}:0.1.0", "-V").stdout
        assert said.startswith("ipmitool version"), target


def test_the_planner_has_its_search_compiled_where_nothing_can_be_written(images: tuple[str, ...]) -> None:
    program = (
        "import time; from restow_planner.solvers.descent import warm_up\n"
        "began = time.monotonic(); warm_up(); print(time.monotonic() - began)"
    )
    took = docker("run", "--rm", *CLOSED, "--entrypoint", "python", "restow/planner:0.1.0", "-c", program).stdout
    again = docker(
        "run", "--rm", *CLOSED, "-e", "NUMBA_CPU_NAME=x86-64-v2", "--entrypoint", "python",
        "restow/planner:0.1.0", "-c",
        program,
    ).stdout  # fmt: skip
    print(f"\nfrom the image {float(took):.1f} s, compiled anew {float(again):.1f} s")
    assert float(took) < float(again) / 2


@pytest.fixture(scope="module")
def composed(images: tuple[str, ...]) -> Iterator[float]:
    """The compose file, up and healthy; how long that took."""
    environment = {**os.environ, "RESTOW_PORT": os.environ.get("RESTOW_PORT", "18080")}
    began = time.monotonic()
    up = subprocess.run(
        ["docker", "compose", "up", "-d", "--no-build", "--wait"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    try:
        assert up.returncode == 0, up.stderr[-3000:]
        yield time.monotonic() - began
    finally:
        docker("compose", "--profile", "setup", "down", "-v", "--timeout", "30")


def test_compose_is_up_and_one_command_submits_a_plan_and_watches_the_topic(composed: float) -> None:
    began = time.monotonic()
    said = docker("compose", "run", "--rm", "-T", "try", timeout_s=400).stdout
    print(f"\nhealthy after {composed:.0f} s, the plan was done after {time.monotonic() - began:.0f} s more\n{said}")
    for event in ("restow.plan.proposed", "restow.plan.started", "restow.step.finished", "restow.plan.finished"):
        assert event in said


def test_compose_makes_a_key(composed: float) -> None:
    assert "rk_" in docker("compose", "run", "--rm", "-T", "key", timeout_s=120).stdout


def test_every_container_is_closed(composed: float) -> None:
    for name in ("api", "detector", "executor", "planner"):
        container = docker("compose", "ps", "-q", name).stdout.strip()
        (about,) = json.loads(docker("inspect", container).stdout)
        assert about["HostConfig"]["ReadonlyRootfs"] is True
        assert about["HostConfig"]["CapDrop"] == ["ALL"]
        assert about["State"]["Health"]["Status"] == "healthy"
