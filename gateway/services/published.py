"""The services that the gateway publishes, in the order in which they are shown."""

from __future__ import annotations

from gateway.services import exchange_v1, observation_v1
from gateway.services.contract import Service

SERVICES: tuple[Service, ...] = (observation_v1.SERVICE, exchange_v1.SERVICE)
BY_PATH: dict[str, Service] = {service.path: service for service in SERVICES}
