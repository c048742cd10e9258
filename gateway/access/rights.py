"""Rights: the names of the operations that a client may be allowed to call. What is not granted is denied."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.errors import GatewayError

READING = frozenset(
    {
        "FindPerson", "GetEntry", "GetPersonEntries", "GetList", "ExportList", "GetChanges", "GetDoctors",
        "GetDictionary", "GetMyCalls", "ListOperations", "GetOperation", "AbortOperation", "ListFiles", "GetFile",
        "ConfirmFile", "GetIndicator", "GetIndicatorPersons",
    }
)  # fmt: skip
"""With what belongs to reading: to abort an export of one's own and to confirm its files changes no list."""

CHANGING = frozenset(
    {
        "AddEntries", "UpdatePlans", "ConductObservations", "ExcludeEntries", "ChangeDiagnosis", "AnnulEntry",
        "AnnulVisit", "ReopenEntry", "SaveDoctors", "UploadList", "PutFilePart",
    }
)  # fmt: skip
OPEN = frozenset({"Ping", "GetAllowedOperations", "GetLimits"})
"""May be called by every client that is known; a right to them changes nothing."""

ALL = READING | CHANGING | OPEN


def checked(rights: Iterable[str]) -> list[str]:
    """The rights in order, each once. Raises ``client.right`` for a name that no operation has."""
    named = sorted(set(rights))
    if not ALL.issuperset(named):
        raise GatewayError("client.right")
    return named
