"""The parts that depend on the interpreter pass on the other supported versions of Python: domain, formats, contract, a
running server. Each version has an environment of its own, `.venv-3.12` and `.venv-3.13`, made once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("tests/domain", "tests/formats", "tests/contract", "tests/test_logs.py", "tests/acceptance/test_requests.py")
OTHERS = [version for version in ("3.12", "3.13") if version != ".".join(map(str, sys.version_info[:2]))]


def interpreters(version: str) -> Iterator[str]:
    """Where a version may be: on the search path, in the home folder of pyenv."""
    if found := shutil.which(f"python{version}"):
        yield found
    for folder in sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*"), reverse=True):
        yield str(folder / "bin" / f"python{version}")


def works(program: str, version: str) -> bool:
    """Whether it is that version: a shim of pyenv stands on the path without one behind it."""
    code = "import ensurepip, sys, venv; print(*sys.version_info[:2], sep='.')"
    try:
        said = subprocess.run([program, "-c", code], capture_output=True, text=True, timeout=30).stdout
    except OSError:
        return False
    return said.strip() == version


def environment(program: str, version: str) -> Path:
    """The Python of the environment with the project's dependencies, made anew when these change."""
    folder = ROOT / f".venv-{version}"
    stamp, python = folder / "stamp", folder / "bin" / "python"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted and works(str(python), version)):
        shutil.rmtree(folder, ignore_errors=True)
        run(program, "-m", "venv", str(folder))
        run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", ".[dev]")
        stamp.write_text(wanted)
    return python


def run(*command: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    clean |= {"DN_GATEWAY_REQUIRE": ""}
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.trial
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("version", OTHERS)
def test_it_works_on(version: str, require: Callable[[str], None]) -> None:
    program = next((one for one in interpreters(version) if works(one, version)), None)
    if program is None:
        require(f"python{version}")
    assert program is not None
    python = environment(program, version)
    said = run(str(python), "-m", "pytest", "-q", "-m", "not trial", "-k", "not php and not gsoap", *PARTS)
    summary = said.strip().splitlines()[-1]
    print(f"Python {version}: {summary}")
    passed = re.search(r"(\d+) passed", summary)
    assert passed and int(passed[1]) > 500
