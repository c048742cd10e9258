"""The clock of the region: one source of "now" and "today", handed to features so that tests can set it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """``now`` carries the zone of the region; ``today`` is the day of the calendar there."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Europe/Moscow"))
    source: Callable[[], datetime] = _utc_now

    def now(self) -> datetime:
        return self.source().astimezone(self.zone)

    def today(self) -> date:
        return self.now().date()

    def zoned(self, time: datetime) -> datetime:
        """A time without a zone is meant in the region's."""
        return time if time.tzinfo else time.replace(tzinfo=self.zone)
