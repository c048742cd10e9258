"""spyne 2.14 made to import on Python 3.11, 3.12 and 3.13, quietly; the only module that imports it.

spyne vendors six 1.14, whose importer of ``six.moves`` has no ``find_spec``: Python 3.12 no longer asks the old way.
`cgi`, gone in 3.13, comes from the ``legacy-cgi`` distribution (see pyproject).
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import logging
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_MOVES = "spyne.util.six.moves"


class _SixMoves(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``spyne.util.six.moves`` and what lies below it through six's own importer."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == _MOVES or fullname.startswith(_MOVES + "."):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        moved: Any = sys.modules["spyne.util.six"]
        module: ModuleType = moved._importer.load_module(spec.name)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do: six hands out ready modules."""


if not any(isinstance(finder, _SixMoves) for finder in sys.meta_path):
    sys.meta_path.insert(0, _SixMoves())

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from spyne import (
        Application,
        Boolean,
        ByteArray,
        ComplexModel,
        Date,
        DateTime,
        Decimal,
        Integer32,
        Integer64,
        ServiceBase,
        Unicode,
        rpc,
    )
    from spyne.interface.wsdl import Wsdl11
    from spyne.protocol.soap import Soap11

# six's own importer has only the old way and breaks whoever walks through sys.meta_path
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]

# spyne logs whole malformed requests, which hold personal data, and warns of what is done here on purpose.
logging.getLogger("spyne.protocol.soap.soap11.invalid").disabled = True
logging.getLogger("spyne").setLevel(logging.ERROR)

__all__ = [
    "Application",
    "Boolean",
    "ByteArray",
    "ComplexModel",
    "Date",
    "DateTime",
    "Decimal",
    "Integer32",
    "Integer64",
    "ServiceBase",
    "Soap11",
    "Unicode",
    "Wsdl11",
    "rpc",
]
