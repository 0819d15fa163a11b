"""The documents tell the truth: every target, command, file, variable, path and table that they name exists."""

import re
import shlex
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from restow.messages.events import CATALOGUE, Topic
from restow.policy import Policy, parse_policy
from restow.runtime.settings import Settings
from support.commands import command_line

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
DEPLOYMENT = [
    ROOT / "docker-compose.yml",
    ROOT / "deploy" / "Dockerfile",
    *sorted((ROOT / "deploy" / "helm").rglob("*.yaml")),
    *sorted((ROOT / "deploy" / "helm").rglob("*.tpl")),
]
TOP_LEVEL = ("services/", "shared/", "tests/", "deploy/", "docs/", "constraints/", ".ci/")
OF_COMPOSE = {"RESTOW_DB_PASSWORD", "RESTOW_PORT"}  # variables of the compose file alone
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def code_in(page: Path) -> Iterator[str]:
    """The lines of code blocks and the code spans of a page."""
    for line in page.read_text().splitlines():
        if line.startswith("    "):
            yield line.strip()
        yield from re.findall(r"`([^`]+)`", line)


def variables_in(files: Iterable[Path]) -> set[str]:
    """Not those whose names a template makes: they end in an underscore."""
    names = re.compile(r"RESTOW_[A-Z0-9_]*[A-Z0-9](?!_)\b")
    return {name for file in files for name in names.findall(file.read_text())}


def variables_in_code() -> set[str]:
    """Fields of the shared settings and of the api's; names that stand in full in the services and the command."""
    own = [*ROOT.glob("services/*/src/*/settings.py"), *ROOT.glob("services/api/src/restow_api/c*/**/*.py")]
    own.append(ROOT / "services/api/src/restow_api/client.py")
    own.append(ROOT / "shared/src/restow/cloud/openstack/settings.py")
    fields = {*Settings.model_fields, *import_module("restow_api.settings").ApiSettings.model_fields}
    return {f"RESTOW_{name.upper()}" for name in fields} | variables_in(own)


@pages
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for code in code_in(page) for target in re.findall(r"^make ([a-z][a-z-]*)", code)}
    assert named <= targets


@pages
def test_every_command_and_option_that_a_page_names_exists(page: Path) -> None:
    for code in code_in(page):
        found = re.match(r"(?:docker compose run --rm \w+ )?(?:\.venv/bin/)?restow ((?!/).+)", code)
        if found:
            command_line(found[1].split("#")[0].split(), where=f"{page.name}: {code}")


@pages
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
    for code in code_in(page):
        if code.startswith(TOP_LEVEL) and " " not in code:
            assert (ROOT / code).exists(), code


@pages
def test_every_topic_and_event_that_a_page_names_exists(page: Path) -> None:
    known = {*CATALOGUE, *Topic, "restow.services", "restow.commands", "restow.yaml", "restow.planner"}
    for code in code_in(page):
        found = re.fullmatch(r"(restow\.[a-z0-9.-]+)", code)
        if found and not code.endswith("."):
            assert found[1] in known, code


def test_the_makefile_runs_commands_that_exist() -> None:
    for line in re.findall(r"^\t\$\(BIN\)/restow (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE):
        command_line(line.split(), where=f"Makefile: {line}")


def test_the_compose_file_runs_commands_that_exist() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name, service in compose["services"].items():
        if service.get("image", "").startswith("restow/") and "command" in service:
            words = shlex.split(service["command"][0])[1:] if "entrypoint" in service else service["command"]
            command_line(words, where=name)
    for line in re.findall(r"^CMD (\[.+\])$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE):
        command_line(yaml.safe_load(line), where="Dockerfile")


def test_every_setting_has_its_line_and_no_page_or_deployment_names_another() -> None:
    known = variables_in_code()
    assert variables_in([ROOT / "docs" / "settings.md"]) == known
    of_tests = variables_in([ROOT / "tests" / "support" / "real.py", ROOT / "tests" / "conftest.py"])
    assert variables_in([*PAGES, *DEPLOYMENT]) - OF_COMPOSE - {"RESTOW_NAME"} - of_tests <= known


def test_the_defaults_on_the_settings_page_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(RESTOW_\w+)` \| (.+?) \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    said = dict(rows)
    fields = {
        **Settings.model_fields,
        **import_module("restow_api.settings").ApiSettings.model_fields,
    }
    for name, field in fields.items():
        default = field.get_default(call_default_factory=True)
        shown = said[f"RESTOW_{name.upper()}"]
        match default:
            case None:
                assert shown.startswith("none"), name
            case "":
                assert shown == "empty", name
            case bool():
                assert shown == f"`{str(default).lower()}`", name
            case int() | float():
                assert float(shown.strip("`")) == default, name
            case Path():
                assert Path(shown.strip("`")).expanduser() == default, name
            case _:
                assert shown == f"`{default}`", name


def test_the_api_page_has_every_endpoint_and_no_other() -> None:
    access = import_module("restow_api.access").ACCESS
    paths = {path for _, path in access if path.startswith("/v1/")}
    said = set(re.findall(r"/v1/[a-z{][a-z/{}-]*", (ROOT / "docs" / "api.md").read_text()))
    assert said == paths


def test_the_map_names_every_table() -> None:
    sources = [*(ROOT / "services").rglob("*.py"), *(ROOT / "shared").rglob("*.py")]
    written = {name for file in sources for name in re.findall(r'__tablename__ = "(\w+)"', file.read_text())}
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = text[text.index("## Tables") : text.index("## I want to")]
    rows = re.findall(r"^\| [a-z].*? \| (.+) \|$", section, re.MULTILINE)
    said = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert said == written


def test_the_example_policy_is_one_and_shows_every_part() -> None:
    text = (ROOT / "docs" / "examples" / "policy.yaml").read_text()
    parse_policy(text)
    assert set(yaml.safe_load(text)) == set(Policy.model_fields)
