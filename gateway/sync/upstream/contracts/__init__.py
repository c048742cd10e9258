"""The contracts of upstream services, re-typed: only what the gateway calls, for any version of their namespaces."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from gateway.errors import GatewayError

PERSON_INFO, ASYNC_OPERATIONS = "mpiPersonInfoService", "mpiAsyncOperationsService"
_OPERATIONS = {
    PERSON_INFO: ("getPersonData", "findPersonsByPersCriteria", "getMergeAncessorOip"),
    ASYNC_OPERATIONS: (
        "getInsuranceStatusChangesStart", "getInsuranceStatusChangesPoll",
        "getViewDataAttachStart", "getViewDataAttachPoll",
    ),
}  # fmt: skip
_VERSION = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){0,3})?")

_MESSAGE = """  <wsdl:message name="{name}Request"><wsdl:part name="payload" element="t:{name}Request"/></wsdl:message>
  <wsdl:message name="{name}Response"><wsdl:part name="payload" element="t:{name}Response"/></wsdl:message>"""
_PORT = """    <wsdl:operation name="{name}">
      <wsdl:input message="s:{name}Request"/><wsdl:output message="s:{name}Response"/>
    </wsdl:operation>"""
_BINDING = """    <wsdl:operation name="{name}">
      <soap:operation soapAction="http://ffoms.ru/services/tfoms/{name}"/>
      <wsdl:input><soap:body use="literal"/></wsdl:input><wsdl:output><soap:body use="literal"/></wsdl:output>
    </wsdl:operation>"""


def document(service: str, version: str) -> bytes:
    """The WSDL of a service with its schema inside; ``version`` is empty or stands in the namespaces, as ``24.1.2``.

    Raises ``setting.invalid`` for a version that no namespace can carry.
    """
    if not _VERSION.fullmatch(version):
        raise GatewayError("setting.invalid", name="ferzl_version")
    text = (files(__name__) / f"{service}.wsdl").read_text(encoding="utf-8")
    filled = text.replace("{version}", f"{version}/" if version else "")
    return filled.replace("{messages}", _messages(_OPERATIONS[service])).encode()


def pinned(root: str) -> dict[Path, bytes]:
    """The contracts as they stand in ``wsdl/upstream`` for people to read: those of ФЕРЗЛ without a version."""
    folder = Path(root, "wsdl", "upstream")
    found = {folder / f"{name}.wsdl": document(name, "") for name in _OPERATIONS}
    return {**found, folder / "Ident.wsdl": (files(__name__) / "Ident.wsdl").read_bytes()}


def _messages(names: tuple[str, ...]) -> str:
    def each(template: str) -> str:
        return "\n".join(template.replace("{name}", name) for name in names)

    return "\n".join(
        (
            each(_MESSAGE),
            '  <wsdl:portType name="TFOMS_PortType">', each(_PORT), "  </wsdl:portType>",
            '  <wsdl:binding name="TFOMS_SoapBinding" type="s:TFOMS_PortType">',
            '    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>',
            each(_BINDING), "  </wsdl:binding>",
            '  <wsdl:service name="TFOMS_Service"><wsdl:port name="TFOMS_Port" binding="s:TFOMS_SoapBinding">',
            '    <soap:address location="http://upstream.invalid/"/>', "  </wsdl:port></wsdl:service>",
        )
    )  # fmt: skip
