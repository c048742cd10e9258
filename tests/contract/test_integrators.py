"""The page for integrators: everything on it can be downloaded, is right by the contract, and needs no other site."""

from __future__ import annotations

import re
import shutil
import subprocess
from urllib.parse import urlsplit

import pytest
from lxml import etree, html
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gateway.errors import KINDS
from gateway.services import examples, integrators
from gateway.services.published import SERVICES

URL = "https://dn.example.ru"
CON = "{http://eviware.com/soapui/config}"
OPERATIONS = [(service, operation) for service in SERVICES for operation in service.operations.values()]


@pytest.fixture(scope="module")
def client():
    with TestClient(Starlette(routes=integrators.routes(SERVICES, URL))) as made:
        yield made


@pytest.fixture(scope="module")
def page(client):
    return html.fromstring(client.get("/wsdl/").content)


def test_the_page_leads_only_to_itself_and_to_files_that_are_there(client, page):
    assert client.get("/wsdl", follow_redirects=False).headers["location"] == "/wsdl/"
    files = 0
    for link in page.xpath("//@href | //@src"):
        if link.startswith("#"):
            assert page.xpath(f"//*[@id='{link[1:]}']")
        elif urlsplit(link).netloc:
            assert link.startswith(URL)
        else:
            answer = client.get("/wsdl/" + link)
            assert (answer.status_code, link in answer.headers["content-disposition"]) == (200, True)
            files += 1
    assert files == len(SERVICES) * 2 + len(integrators.SAMPLES) + 2
    assert client.get("/wsdl/absent.txt").status_code == 404


def test_nothing_is_left_unfilled_or_taken_from_elsewhere(client):
    for name, document in integrators.documents(SERVICES, URL).items():
        text = document.body.decode()
        assert "@@" not in text, name
        assert "gateway.invalid" not in text, name
    policy = client.get("/wsdl/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")


def test_every_operation_and_code_that_a_client_meets_is_named(page):
    text = page.text_content()
    assert all(operation.name in text for _, operation in OPERATIONS)
    assert {code for code in KINDS if code.startswith(("request.", "access.", "person.enp", "visit."))} <= set(
        page.xpath("//td/code/text()")
    )
    assert not re.search(r"\bload\.|\bstore\.", text)


@pytest.mark.parametrize(("service", "operation"), OPERATIONS, ids=[one.name for _, one in OPERATIONS])
def test_examples_are_right_by_the_schema(service, operation):
    element = etree.fromstring(examples.request(service, operation))
    assert service.validate(element) == []
    assert service.operation_of(element.tag) is operation


def test_downloaded_contracts_are_those_that_are_served(client):
    for service in SERVICES:
        name = f"/wsdl/{service.name}.{service.version}"
        assert client.get(name + ".wsdl").content == service.wsdl(URL)
        assert etree.fromstring(client.get(name + ".xsd").content).get("targetNamespace") == service.namespace


def test_the_soapui_project_has_every_operation_with_a_right_request(client):
    root = etree.fromstring(client.get("/wsdl/soapui-project.xml").content)
    seen = []
    for interface, service in zip(root.iterfind(CON + "interface"), SERVICES, strict=True):
        binding = interface.get("bindingName").rpartition("}")[2]
        assert service.definitions.xpath("//*[local-name()='binding']/@name")[0] == binding
        for one in interface.iterfind(CON + "operation"):
            operation = service.operations[one.get("name")]
            assert one.get("action") == service.soap_action(operation)
            text = one.findtext(f"{CON}call/{CON}request").replace(
                "${=java.util.UUID.randomUUID()}", examples.REQUEST_ID
            )
            (body,) = etree.fromstring(text).iterfind("{http://schemas.xmlsoap.org/soap/envelope/}Body")
            (element,) = body
            assert service.validate(element) == []
            seen.append(operation)
    assert seen == [operation for _, operation in OPERATIONS]
    properties = {one.findtext(CON + "name"): one.findtext(CON + "value") for one in root.iter(CON + "property")}
    assert properties == {"address": URL, "login": "", "password": ""}


def envelopes(text):
    """The calls written out in a sample."""
    return [
        etree.fromstring(found.replace("$REQUEST_ID", examples.REQUEST_ID))
        for found in re.findall(r"<(?:FindPerson|AddEntries) .*?</(?:FindPerson|AddEntries)>", text, re.S)
    ]


def test_the_calls_of_the_shell_sample_are_right(client):
    calls = envelopes(client.get("/wsdl/curl.sh").text)
    assert len(calls) == 2
    assert all(SERVICES[0].validate(call) == [] for call in calls)


def checked(require, name, command, path):
    program = shutil.which(command[0])
    if program is None:
        require(name)
    run = subprocess.run([program, *command[1:], str(path)], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_samples_are_programs(client, tmp_path):
    compile(client.get("/wsdl/sample.py").text, "sample.py", "exec")
    shell = tmp_path / "curl.sh"
    shell.write_bytes(client.get("/wsdl/curl.sh").content)
    subprocess.run(["/bin/sh", "-n", shell], check=True, timeout=30)


@pytest.mark.peer
def test_the_php_sample_is_a_program(client, tmp_path, require):
    (tmp_path / "sample.php").write_bytes(client.get("/wsdl/sample.php").content)
    checked(require, "php", ["php", "-l"], tmp_path / "sample.php")


@pytest.mark.peer
def test_the_java_sample_is_a_program(client, tmp_path, require):
    (tmp_path / "Sample.java").write_bytes(client.get("/wsdl/Sample.java").content)
    checked(require, "javac", ["javac", "-encoding", "UTF-8", "-d", str(tmp_path)], tmp_path / "Sample.java")


def test_a_gateway_behind_tls_tells_1c_to_use_it(client):
    text = client.get("/wsdl/sample-1c.bsl").text
    assert '"dn.example.ru", 443,' in text
    assert "ЗащищенноеСоединениеOpenSSL" in text
    plain = integrators.documents(SERVICES, "http://10.0.0.5:8080")["sample-1c.bsl"].body.decode()
    assert '"10.0.0.5", 8080,' in plain
    assert "OpenSSL" not in plain
