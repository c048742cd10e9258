"""ДН lists: entries, visits, corrections, history, pages, month closes."""

from gateway.lists.batches import Batches
from gateway.lists.closing import Closing
from gateway.lists.corrections import Corrections
from gateway.lists.pages import Pages
from gateway.lists.persons import Persons


class Lists(Batches, Corrections, Pages, Closing, Persons):
    """The feature that doors, command line and jobs call."""


__all__ = ["Lists"]
