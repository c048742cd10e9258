"""The programs in the document for integrators do what they say: send a list, wait, collect files and confirm them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.acceptance.messages import TODAY
from tests.serving import EXCHANGE, ROOT, Gateway, working

pytestmark = pytest.mark.peer
DOCUMENT = (ROOT / "docs" / "integrators.md").read_text(encoding="utf-8")
UUIDS = "function uuid() { return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex(random_bytes(16)), 4)); }\n"


def snippet(language: str) -> str:
    """The only program in the language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    return str(found)


def archive(gateway: Gateway, folder: Path) -> Path:
    """A list of one person in a ZIP."""
    path = folder / "GSM400001_2611_1.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("GSM400001_2611_1.csv", f"ЕНП;Диагноз;Планируемые месяцы\n{gateway.persons[1]};I10;{TODAY[:7]}\n")
    return path


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr


def files_of(gateway: Gateway) -> list[etree._Element]:
    return gateway.call("ListFiles", namespace=EXCHANGE).result.findall("{*}files")


def check(gateway: Gateway, folder: Path) -> None:
    """One entry was taken, every file of the mailbox lies in the folder, whole and confirmed."""
    found = gateway.call("GetPersonEntries", f"<enp>{gateway.persons[1]}</enp>").result
    assert len(found.findall("{*}entries")) == 1
    files = files_of(gateway)
    assert files
    for one in files:
        assert one.findtext("{*}confirmedAt")
        assert (folder / str(one.findtext("{*}fileId"))).stat().st_size == int(one.findtext("{*}size") or -1)


def test_the_python_of_the_document(running: Any, tmp_path: Path) -> None:
    with running() as gateway, working(gateway):
        client = gateway.clients["clinic"]
        archive(gateway, tmp_path)
        head = f"URL, LOGIN, PASSWORD = {gateway.url!r}, {client.login!r}, {client.password!r}\n"
        (tmp_path / "night.py").write_text(head + snippet("python"), encoding="utf-8")
        run([sys.executable, "night.py"], tmp_path)
        check(gateway, tmp_path)
        assert [one.findtext("{*}kind") for one in files_of(gateway)][-1] == "EXPORT"


def test_the_php_of_the_document(running: Any, tmp_path: Path, require: Callable[[str], None]) -> None:
    if not shutil.which("php") or "soap" not in subprocess.run(["php", "-m"], capture_output=True, text=True).stdout:
        require("php")
    with running() as gateway, working(gateway):
        client = gateway.clients["clinic"]
        path = archive(gateway, tmp_path)
        values = (
            f"[$url, $login, $password, $path] = ['{gateway.url}', '{client.login}', '{client.password}', '{path}'];\n"
        )
        (tmp_path / "night.php").write_text(f"<?php\n{values}{UUIDS}{snippet('php')}", encoding="utf-8")
        run(["php", "-d", "display_errors=stderr", "-d", "soap.wsdl_cache_enabled=0", "night.php"], tmp_path)
        check(gateway, tmp_path)
