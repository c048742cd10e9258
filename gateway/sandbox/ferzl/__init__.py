"""A stand-in for ФЕРЗЛ over the invented region: the real contract on a port of its own, with faults to order."""
