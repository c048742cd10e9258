"""The running gateway for this folder."""

from tests.serving import gateway, running

__all__ = ["gateway", "running"]
