"""Marks of dispensary observation in registers of accounts: who was taken, stands, was removed by what clinics bill."""

from gateway.sync.marks.back import take_back
from gateway.sync.marks.works import CALL, KEEP, KIND, start

__all__ = ["CALL", "KEEP", "KIND", "start", "take_back"]
