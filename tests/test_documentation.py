"""The documents name all there is (settings, codes, operations, jobs, commands, metrics) and nothing that is not there."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from gateway import metrics
from gateway.cli import main
from gateway.errors import ACCEPTED, KINDS
from gateway.operations.queue import TASKS
from gateway.services.published import SERVICES
from gateway.settings import Settings
from gateway.sync.jobs import JOBS

ROOT = Path(__file__).parents[1]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/*.md"))}
PAGES = DOCS | {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CHANGELOG.md")}
PLACES = PAGES | {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("deploy/**/*"))
    if path.is_file()
}
OUTSIDE = {"CONFIG", "REFERENCE", "REQUIRE"}
"""What `DN_GATEWAY_` may precede beside the settings: the file of settings, and what the tests look for."""


def rows(document: str, title: str) -> list[list[str]]:
    """The cells of the table whose header begins with the title."""
    (table,) = re.findall(rf"^\| {title} \|.*\n\|[ -|]+\n((?:\|.*\n)+)", document, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())


def test_every_setting_with_its_default() -> None:
    shown = [(name.strip("`"), default, text) for name, default, text in rows(DOCS["administrators.md"], "настройка")]
    assert shown == [
        (one.name, f"`{one.default}`" if one.default != "" else "—", one.metadata["help"]) for one in fields(Settings)
    ]


@pytest.mark.parametrize("name", PLACES)
def test_every_variable_is_a_setting(name: str) -> None:
    known = {one.name.upper() for one in fields(Settings)} | OUTSIDE
    assert known >= set(re.findall(r"DN_GATEWAY_([A-Z]+(?:_[A-Z]+)*)", PLACES[name]))


def test_every_code_and_operation() -> None:
    document = DOCS["integrators.md"]
    for code in (*KINDS, *ACCEPTED):
        assert f"\n| `{code}` |" in document, code
    for service in SERVICES:
        assert f"\n### {service.name}\n" in document
        for operation in service.operations:
            assert f"\n#### {operation}\n" in document, operation


@pytest.mark.parametrize("name", PAGES)
def test_every_named_code_is_one(name: str) -> None:
    """Dotted words that begin as codes of refusal do are codes or jobs, or names of files."""
    trees = {word.split(".")[0] for word in KINDS} - {"store"}
    named = set(re.findall(r"`([a-z]+\.[a-z]+(?:-[a-z]+)*)`", PAGES[name]))
    files = {word for word in named if word.rpartition(".")[2] in ("json", "py", "toml", "csv")}
    assert {
        word for word in named - files if word.split(".")[0] in trees
    } <= KINDS.keys() | ACCEPTED.keys() | TASKS.keys()


def test_every_job_with_its_time() -> None:
    shown = {name.strip("`"): when for name, when, _ in rows(DOCS["administrators.md"], "задание")}
    assert shown.keys() == JOBS.keys()
    for job in JOBS.values():
        minute, hour, *_ = job.cron.split()
        clock = f"{int(hour):02}:{int(minute):02}" if hour != "*" else minute if minute != "*" else "каждую минуту"
        assert clock in shown[job.name]


def test_every_command() -> None:
    shown = {
        name
        for row in rows(DOCS["administrators.md"], r"команда \| смысл")
        for name in re.findall(r"`([a-z ]+)", row[0])
    }
    assert {name.strip() for name in shown} == {" ".join(path) for path in COMMANDS}


def calls() -> Iterator[tuple[str, str]]:
    """Everything that the documents tell to type, with its place."""
    for name, text in PLACES.items():
        for found in re.findall(r"(?:^|[` ]|bin/)dn-gateway((?: +[^\s`|#,;]+)+)", text, re.MULTILINE):
            if re.match(" +(-|[a-z])", found):
                yield name, found.strip()


@pytest.mark.parametrize(("name", "typed"), sorted(set(calls())))
def test_what_is_told_to_type_exists(name: str, typed: str) -> None:
    words = shlex.split(typed.replace("…", ""))
    options = {option for param in main.params for option in (*param.opts, *param.secondary_opts)}
    while words and words[0] in options:
        del words[:2]
    if words == ["команда"]:
        return
    (path,) = [path for path in COMMANDS if tuple(words[: len(path)]) == path] or [()]
    assert path, typed
    known = {option for param in COMMANDS[path].params for option in param.opts}
    given = {word for word in words if word.startswith("--")}
    assert given <= known, typed


def test_every_metric() -> None:
    text, _ = metrics.exposition()
    shown = {name.strip("`") for name, *_ in rows(DOCS["operation.md"], "метрика")}
    kinds = re.findall(r"^# TYPE (dn_gateway_\w+) ", text.decode(), re.MULTILINE)
    assert shown == {name for name in kinds if not name.endswith("_created")}


def test_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    text = DOCS["dependencies.md"].casefold().replace("psycopg 3", "psycopg")
    for requirement in needed:
        name = re.split(r"[\[<>=;! ]", requirement)[0]
        assert re.search(rf"\b{re.escape(name.casefold())}\b", text), name


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    folder = ROOT if name in ("README.md", "CHANGELOG.md") else ROOT / "docs"
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[name]):
        assert (folder / target).exists(), target
    for target in re.findall(r"`((?:docs|deploy|wsdl|schemas|gateway)/[\w./-]*\w)`", PAGES[name]):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("name", PAGES)
def test_every_target_of_make_exists(name: str) -> None:
    known = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"(?:^|`|&& )make ([a-z]+)\b", PAGES[name], re.MULTILINE)) <= set(known)
