"""A SoapUI project made from the contract: every operation with a ready request, address and account as properties."""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree

from gateway.services import examples
from gateway.services.contract import Operation, Service

_CON = "http://eviware.com/soapui/config"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_PASSWORD_TEXT = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText"  # noqa: S105
_HEADER = f"""  <soap:Header>
    <wsse:Security xmlns:wsse="{_WSSE}">
      <wsse:UsernameToken>
        <wsse:Username>${{#Project#login}}</wsse:Username>
        <wsse:Password Type="{_PASSWORD_TEXT}">${{#Project#password}}</wsse:Password>
      </wsse:UsernameToken>
    </wsse:Security>
  </soap:Header>
"""
_NEW_UUID = "${=java.util.UUID.randomUUID()}"


def _element(
    parent: etree._Element, tag: str, text: str | etree.CDATA | None = None, /, **attributes: str
) -> etree._Element:
    made = etree.SubElement(parent, f"{{{_CON}}}{tag}", attributes)
    made.text = text
    return made


def project(services: Sequence[Service], public_url: str) -> bytes:
    """The project file: import it, fill in the properties ``login`` and ``password``, call."""
    root = etree.Element(f"{{{_CON}}}soapui-project", {"name": "dn-gateway"}, nsmap={"con": _CON, "xsi": _XSI})
    for service in services:
        _interface(root, service, public_url)
    properties = _element(root, "properties")
    for name, value in (("address", public_url), ("login", ""), ("password", "")):
        one = _element(properties, "property")
        _element(one, "name", name)
        _element(one, "value", value)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _interface(root: etree._Element, service: Service, public_url: str) -> None:
    endpoint = "${#Project#address}" + service.path
    made = _element(
        root,
        "interface",
        name=f"{service.name}Binding",
        type="wsdl",
        bindingName=f"{{{service.namespace}}}{service.name}Binding",
        soapVersion="1_1",
        anonymous="optional",
        definition=f"{public_url}{service.path}?wsdl",
    )
    made.set(f"{{{_XSI}}}type", "con:WsdlInterface")
    _element(made, "settings")
    _element(made, "definitionCache", type="TEXT", rootPart="")
    _element(_element(made, "endpoints"), "endpoint", endpoint)
    for operation in service.operations.values():
        _operation(made, service, operation, endpoint)


def _operation(interface: etree._Element, service: Service, operation: Operation, endpoint: str) -> None:
    made = _element(
        interface,
        "operation",
        name=operation.name,
        bindingOperationName=operation.name,
        action=service.soap_action(operation),
        type="Request-Response",
        isOneWay="false",
        inputName="",
        receivesAttachments="false",
        sendsAttachments="false",
        anonymous="optional",
    )
    _element(made, "settings")
    call = _element(made, "call", name="Пример")
    _element(call, "settings")
    _element(call, "encoding", "UTF-8")
    _element(call, "endpoint", endpoint)
    body = examples.request(service, operation, indent="    ", requestId=_NEW_UUID)
    _element(call, "request", etree.CDATA(examples.ENVELOPE.format(header=_HEADER, body=body)))
