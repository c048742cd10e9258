"""A clinic's night, as zeep and PHP play it: 100,000 records sent as GSM, the protocol read, the list ordered into the
mailbox by thousands, collected in parts and confirmed. The union of the files is the list."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import zeep
from lxml import etree
from sqlalchemy import text
from zeep.transports import Transport
from zeep.wsse.username import UsernameToken

from gateway.domain import persons
from gateway.formats.listing import NAMESPACE
from tests import markers
from tests.acceptance.messages import TODAY
from tests.serving import CLINIC, INSURER, ROOT, Gateway, running_gateway

pytestmark = [pytest.mark.trial, pytest.mark.peer]

RECORDS = 100_000
PIECE = 1 << 20
NOT_TAKEN = 50
"""Records of the file that are refused: a wrong ЕНП."""


@contextmanager
def worker(gateway: Gateway, folder: Path) -> Iterator[None]:
    """A worker process of the gateway."""
    environ = gateway.environ | {"DN_GATEWAY_DATA_DIR": str(folder / "data")}
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "worker"], env=environ, cwd=ROOT, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(70)
    told = (folder / "worker.log").read_text(encoding="utf-8")
    assert markers.leaks(told) == []
    assert '"level": "ERROR"' not in told, told[-2000:]


def insured(gateway: Gateway, count: int) -> list[str]:
    """So many insured persons of the clinic; their ЕНП."""
    enps = []
    key = persons.name_key(markers.LAST_NAME, markers.FIRST_NAME, None)
    with gateway.owner.driver() as driver, driver.cursor() as cursor:
        columns = (
            "enp, last_name, first_name, name_key, birth_date, sex, insurer, insured_in_region, attached_organisation"
        )
        with cursor.copy(f"COPY person ({columns}) FROM STDIN".encode()) as copy:
            for number in range(count):
                birth = date(1930, 1, 1) + timedelta(number % 25_000)
                enp = persons.make_enp(40, birth, 2, 20_000 + number // 25_000)
                enps.append(enp)
                copy.write_row((enp, markers.LAST_NAME, markers.FIRST_NAME, key, birth, 2, INSURER, True, CLINIC))
        driver.execute("ANALYZE person")
    return enps


def gsm(enps: list[str], folder: Path) -> Path:
    """A list of the clinic in the format of ГИС ОМС, zipped: GSM with the records of DN_LIST P1.20."""
    name = f"GSM{CLINIC}_2611_1"
    lines = [
        '<?xml version="1.0" encoding="windows-1251"?>\n<DN_LIST><ZGLV><VERSION>P1.20</VERSION><FILE_TYPE>GSM</FILE_TYPE>'
        f"<DATA>{TODAY}</DATA><FILENAME>{name}</FILENAME><REGION_CD>40</REGION_CD><NN_FILE>1</NN_FILE><SD_Z>{len(enps)}</SD_Z></ZGLV>"
    ]
    for number, enp in enumerate(enps, 1):
        if number <= NOT_TAKEN:
            enp = enp[:-1] + str((int(enp[-1]) + 1) % 10)
        lines.append(
            f"<ZAP><CODE_L>{number:036}</CODE_L><ENP>{enp}</ENP><CODE_PINF>ДН</CODE_PINF><DIAG_CODE>{('I10', 'E11.9', 'I20.8')[number % 3]}</DIAG_CODE>"
            f"<DIAG_DATE>2023-02-03</DIAG_DATE><DATE_DN_IN>2024-05-06</DATE_DN_IN><DN_PRVS>76</DN_PRVS><STATUS_DN_IN>1</STATUS_DN_IN>"
            f"<REASON_DN_IN>101</REASON_DN_IN><MCOD>{CLINIC}</MCOD><MO_ASSIGN>1</MO_ASSIGN><DATE_CHECKING>{TODAY}</DATE_CHECKING></ZAP>"
        )
    lines.append("</DN_LIST>")
    with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.xml", "".join(lines).encode("cp1251"))
    return folder / f"{name}.zip"


class Zeep:
    """The night on zeep."""

    def __init__(self, gateway: Gateway, out: Path) -> None:
        login = gateway.clients["clinic"]
        self.out = out
        self.exchange, self.lists = (
            zeep.Client(
                f"{gateway.url}/soap/{name}/v1?wsdl",
                wsse=UsernameToken(login.login, login.password),
                transport=Transport(timeout=30, operation_timeout=60),
                settings=zeep.Settings(xml_huge_tree=True),
            ).service
            for name in ("exchange", "observation")
        )

    def follow(self, operation_id: str) -> object:
        while True:
            answer = self.exchange.GetOperation(operation_id)
            if answer.operation.state not in ("QUEUED", "RUNNING"):
                return answer
            time.sleep(0.2)

    def collect(self, file: object, folder: Path) -> None:
        content = io.BytesIO()
        while True:
            part = self.exchange.GetFile(fileId=file.fileId, offset=content.tell(), length=PIECE)
            content.write(part.content)
            if not part.more:
                break
        assert hashlib.sha256(content.getvalue()).hexdigest() == file.sha256
        (folder / file.fileName).write_bytes(content.getvalue())

    def play(self, source: Path) -> dict[str, str]:
        data, file_id = source.read_bytes(), None
        for offset in range(0, len(data), PIECE):
            file_id = self.exchange.PutFilePart(
                requestId=str(uuid4()), fileId=file_id, fileName=source.name, offset=offset,
                content=data[offset : offset + PIECE], last=offset + PIECE >= len(data),
            ).fileId  # fmt: skip
        upload = self.follow(self.lists.UploadList(requestId=str(uuid4()), fileId=file_id))
        for file in upload.files:
            self.collect(file, self.out / "protocol")
        export = self.follow(
            self.lists.ExportList(
                requestId=str(uuid4()), year=int(TODAY[:4]), month=int(TODAY[5:7]), listType="OBSERVED", recordsPerFile=1000,
                delivery="MAILBOX", format="XML",
            )
        )  # fmt: skip
        first = 1
        while True:
            page = self.exchange.ListFiles(startRecord=first, recordCount=50)
            for file in page.files:
                if file.kind == "EXPORT":
                    self.collect(file, self.out / "list")
                    self.exchange.ConfirmFile(requestId=str(uuid4()), fileId=file.fileId)
            first += page.returnedRecords
            if first > page.totalRecords:
                return {"upload": upload.operation.state, "export": export.operation.state}


def play_php(gateway: Gateway, source: Path, out: Path) -> dict[str, str]:
    login = gateway.clients["clinic"]
    given = {
        "URL": gateway.url, "LOGIN": login.login, "PASSWORD": login.password, "IN": str(source), "OUT": str(out),
        "YEAR": TODAY[:4], "MONTH": TODAY[5:7],
    }  # fmt: skip
    script = Path(__file__).with_name("peers") / "night.php"
    told = subprocess.run(
        ["php", "-d", "memory_limit=512M", str(script)],
        env=os.environ | given,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert told.returncode == 0, told.stderr[-2000:] + told.stdout[-2000:]
    return json.loads(told.stdout)


@pytest.mark.parametrize("peer", ["zeep", "php"])
def test_a_night(peer: str, server, template: str, tmp_path: Path, require) -> None:
    if peer == "php" and shutil.which("php") is None:
        require("php")
    out = tmp_path / "out"
    for name in ("protocol", "list"):
        (out / name).mkdir(parents=True)
    with running_gateway(server, template) as gateway, worker(gateway, tmp_path):
        source = gsm(insured(gateway, RECORDS), tmp_path)
        ended = Zeep(gateway, out).play(source) if peer == "zeep" else play_php(gateway, source, out)
        assert ended == {"upload": "DONE", "export": "DONE"}
        check_protocol(out / "protocol")
        check_list(gateway, out / "list")


def check_protocol(folder: Path) -> None:
    """The machine's protocol names each refused record by its number; nothing personal stands in any protocol's codes."""
    (flk,) = [path for path in folder.iterdir() if path.suffix.lower() == ".xml"]
    refused = etree.parse(str(flk)).getroot().findall("PR")
    assert sorted(int(one.findtext("N_ZAP")) for one in refused) == list(range(1, NOT_TAKEN + 1))
    assert {one.findtext("OSHIB") for one in refused} == {"904"}
    assert all("person.enp-check" in str(one.findtext("COMMENT")) for one in refused)
    assert {path.suffix.lower() for path in folder.iterdir()} >= {".xml", ".csv", ".xlsx"}
    with next(folder.glob("*.csv")).open(encoding="utf-8-sig") as table:
        assert sum(1 for _ in table) == RECORDS + 1


def check_list(gateway: Gateway, folder: Path) -> None:
    """The union of the files is the list, each record once and in the list's order; all files are confirmed."""
    seen: list[tuple[str, str, str]] = []
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == (RECORDS - NOT_TAKEN + 999) // 1000
    for name in names:
        root = etree.parse(str(folder / name)).getroot()
        assert root.tag == f"{{{NAMESPACE}}}ObservationList"
        entries = [
            one for one in root.iter() if etree.QName(one).localname in ("entry", "entries") and one.findtext("{*}enp")
        ]
        assert [int(one.findtext("{*}recordNumber")) for one in entries] == list(
            range(len(seen) + 1, len(seen) + 1 + len(entries))
        )
        seen += [(one.findtext("{*}entryId"), one.findtext("{*}enp"), one.findtext("{*}diagnosis")) for one in entries]
    with gateway.owner.begin() as connection:
        rows = connection.execute(
            text(
                "SELECT id::text, enp, diagnosis FROM entry WHERE status = 'OBSERVED' ORDER BY name_key, birth_date, entry.id"
            )
        )
        differ = sum(one != tuple(row) for one, row in zip(seen, rows, strict=True))
        assert differ == 0  # counted: a comparison of 100,000 lines would be shown for minutes
        left = text("SELECT count(*) FROM file WHERE mailbox AND kind = 'EXPORT' AND confirmed_at IS NULL")
        assert connection.execute(left).scalar_one() == 0
