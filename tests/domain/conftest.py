"""No deadline for examples: the machine of the tests may be busy, and time is not what they are about."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
