"""The page for integrators as a browser shows it: whole, in Russian, without errors, with every link alive."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

from gateway.services.published import SERVICES
from tests.serving import Gateway

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=3000", "--enable-logging=stderr",
)  # fmt: skip


def test_the_page_in_a_browser(gateway: Gateway, require: Callable[[str], None], tmp_path: Path) -> None:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        require("chromium")
    picture = tmp_path / "page.png"
    command = [str(browser), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]
    address = gateway.url + "/wsdl/"
    subprocess.run([*command, f"--screenshot={picture}", address], check=True, capture_output=True, timeout=120)
    assert picture.stat().st_size > 20_000
    shown = subprocess.run([*command, "--dump-dom", address], check=True, capture_output=True, timeout=120, text=True)
    assert "Шлюз диспансерного наблюдения" in shown.stdout
    assert "CONSOLE" not in shown.stderr
    for service in SERVICES:
        for operation in service.operations.values():
            assert operation.name in shown.stdout and operation.doc in shown.stdout
    links = {urljoin(address, link) for link in re.findall(r'href="([^"#]+)"', shown.stdout)}
    assert len(links) > 10
    for link in links:
        assert link.startswith(gateway.url) and gateway.http.get(link).status_code == 200, link
