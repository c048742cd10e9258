"""ДН lists: entries, visits, corrections, history, pages, month closes."""

from gateway.lists.batches import Batches
from gateway.lists.changes import Changes
from gateway.lists.closing import Closing
from gateway.lists.corrections import Corrections
from gateway.lists.exporting import Exporting
from gateway.lists.indicators import Indicators
from gateway.lists.marking import Marking
from gateway.lists.pages import Pages
from gateway.lists.persons import Persons
from gateway.lists.renewal import Renewal
from gateway.lists.uploading import Uploading


class Lists(Batches, Corrections, Exporting, Pages, Changes, Closing, Persons, Renewal, Uploading, Marking, Indicators):
    """The feature that doors, command line and jobs call."""


__all__ = ["Lists"]
