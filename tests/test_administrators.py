"""The administrator's guide names every setting with its default, every command and every line of the calendar."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import click
import pytest

from gateway.cli import main
from gateway.settings import Settings
from gateway.sync.jobs import JOBS

GUIDE = (Path(__file__).parent.parent / "docs" / "administrators.md").read_text(encoding="utf-8")


def commands(group: click.Group, prefix: str = "") -> list[str]:
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, f"{prefix}{name} ")
        else:
            found.append(prefix + name)
    return found


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda one: one.name)
def test_setting_is_described(setting) -> None:
    default = f"`{setting.default}`" if setting.default != "" else "—"
    assert f"| `{setting.name}` | {default} | {setting.metadata['help']} |" in GUIDE


@pytest.mark.parametrize("command", commands(main))
def test_command_is_described(command: str) -> None:
    assert f"`{command}`" in GUIDE or f"`{command} " in GUIDE


@pytest.mark.parametrize("job", JOBS)
def test_job_is_described(job: str) -> None:
    assert f"| `{job}` |" in GUIDE
