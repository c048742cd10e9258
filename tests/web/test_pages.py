"""What the gateway answers beside SOAP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lxml import etree

from tests.serving import PATHS, Gateway


def test_state(gateway: Gateway) -> None:
    assert gateway.http.get(gateway.url + "/health").json()["status"] == "ok"
    assert gateway.http.get(gateway.url + "/ready").json() == {"status": "ok"}


def test_wsdl_address_is_not_taken_from_the_request(gateway: Gateway) -> None:
    for path in PATHS.values():
        answer = gateway.http.get(f"{gateway.url}{path}?wsdl", headers={"Host": "evil.example"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/xml")
        assert b"evil" not in answer.content
        (address,) = etree.fromstring(answer.content).iter("{http://schemas.xmlsoap.org/wsdl/soap/}address")
        assert address.get("location") == gateway.url + path
    assert gateway.http.get(gateway.url + "/soap/none/v1?wsdl").status_code == 404
    assert gateway.http.get(gateway.url + PATHS["urn:dn-gateway:exchange:v1"] + "?WSDL").status_code == 200


def test_metrics_are_for_neighbours_only(gateway: Gateway) -> None:
    assert "dn_gateway" in gateway.http.get(gateway.url + "/metrics").text
    through = gateway.http.get(gateway.url + "/metrics", headers={"X-Forwarded-For": "203.0.113.9"})
    assert through.status_code == 404


def test_public_url(running: Callable[..., Any]) -> None:
    with running(public_url="https://dn.example.ru/", workers=1) as gateway:
        answer = gateway.http.get(gateway.url + "/soap/exchange/v1?wsdl")
        assert b'location="https://dn.example.ru/soap/exchange/v1"' in answer.content


def test_certificate_from_a_trusted_proxy(running: Callable[..., Any]) -> None:
    from gateway.access import clients
    from tests.serving import envelope

    body = envelope('<Ping xmlns="urn:dn-gateway:exchange:v1"/>')
    with running(trusted_proxies="127.0.0.1", workers=1) as gateway:
        with gateway.store.begin() as connection:
            clients.add_certificate(connection, "clinic", "ab" * 32)
        path = "/soap/exchange/v1"
        assert gateway.post(path, body, x_client_cert_sha256="AB" * 32).fault is None
        assert gateway.post(path, body, x_client_cert_sha256="cd" * 32).fault == "access.certificate"
        assert gateway.post(path, body).fault == "access.no-credentials"
