"""Шлюз ДН: SOAP gateway for lists of dispensary observation (ДН) and registers of accounts (ОМС)."""

__version__ = "0.1.0"
