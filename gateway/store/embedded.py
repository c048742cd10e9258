"""The embedded PostgreSQL server: one data folder, one machine, a unix socket only.

Layout of the data folder::

    postgresql/        the cluster, owned by the server's account, mode 0700
    run/               the socket, same owner, mode 0700
    etc/               configuration, written at each start; own lines go to etc/local.conf
    log/postgresql.log messages of the server (never statements or values: they may be personal)

Who connects is checked by `peer`: the kernel tells the server which account is on the other end, and only root and the
account that started the gateway are let in. There is no password and no TCP port.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import psycopg

from gateway.errors import GatewayError
from gateway.store.programs import Account, account_for, make_folder, programs_for

OWNER, APP, ADMIN = "dn_owner", "dn_app", "postgres"
DATABASE = "dn_gateway"

_log = logging.getLogger(__name__)
_SOCKET_BYTES = 107 - len("/.s.PGSQL.5432")
_ROTATE_BYTES = 20 * 1024 * 1024
_LEFTOVER_SECONDS = 60.0
_GIB = 1024**3


class Server:
    """A server over ``data_dir``. ``durable=False`` gives up safety on a crash of the machine for speed (tests).

    Several processes may use one server: who starts second joins, who stops last stops it.
    """

    def __init__(self, data_dir: str | Path, *, durable: bool = True) -> None:
        self.folder = Path(data_dir).resolve()
        self.data = self.folder / "postgresql"
        self.durable = durable
        self.socket = _socket_folder(self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._use: int | None = None

    # addresses

    def url(self, database: str = DATABASE) -> str:
        """The address for the role of the application."""
        return self._address(APP, database)

    @property
    def owner_url(self) -> str:
        return self.owner_url_of(DATABASE)

    def owner_url_of(self, database: str) -> str:
        return self._address(OWNER, database)

    def admin_url(self, database: str = "postgres") -> str:
        """The address for the superuser: roles and databases only."""
        return self._address(ADMIN, database)

    def _address(self, role: str, database: str) -> str:
        return f"postgresql://{role}@/{database}?host={self.socket}"

    # life

    def start(self) -> Server:
        """Starts the server, or joins a running one, and returns when it accepts connections.

        Waits as long as the server lives, because recovery after a crash may take many minutes. Raises
        ``store.embedded`` when it cannot start.
        """
        make_folder(self.folder)
        with self._starting():
            account = account_for(self.data)
            account.require_access(self.folder)
            self.programs = programs_for(account)
            self._hold()
            try:
                if self._running_pid() is None:
                    self._create(account)
                    self._launch(account)
                self._wait_ready(account)
                self._prepare()
            except OSError as error:
                self._release()
                raise GatewayError("store.embedded", what=f"{error.filename}: {error.strerror}") from error
            except BaseException:
                self._release()
                raise
        return self

    @property
    def running(self) -> bool:
        """Whether the server's first process lives; a dead one is started again by `start`."""
        return self._running_pid() is not None

    def stop(self, *, force: bool = False) -> None:
        """Stops the server unless another process still uses it (``force`` stops it all the same).

        First the fast way (open transactions roll back), after a minute the immediate one.
        """
        self._release()
        with self._starting():
            if not force and not self._unused():
                return
            pid = self._running_pid()
            for number, seconds in ((signal.SIGINT, 60.0), (signal.SIGQUIT, 20.0), (signal.SIGKILL, 10.0)):
                if pid is None or self._ended(pid, number, seconds):
                    break
        self._process = None

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # one starter at a time, and the count of users

    @contextmanager
    def _starting(self) -> Iterator[None]:
        descriptor = os.open(self.folder / "postgresql.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _hold(self) -> None:
        if self._use is None:
            self._use = os.open(self.folder / "postgresql.users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._use, fcntl.LOCK_SH)

    def _release(self) -> None:
        if self._use is not None:
            os.close(self._use)
            self._use = None

    def _unused(self) -> bool:
        descriptor = os.open(self.folder / "postgresql.users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    # the cluster

    def _create(self, account: Account) -> None:
        """Makes the cluster under another name first: an interrupted initdb leaves nothing that looks whole."""
        if (self.data / "PG_VERSION").exists():
            self._check_version()
            return
        fresh = self.folder / "postgresql.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        account.give(fresh)
        command = [
            str(self.programs / "initdb"), "--pgdata", str(fresh), "--username", ADMIN, "--encoding", "UTF8",
            "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C", "--auth", "peer",
        ]  # fmt: skip
        if not self.durable:
            command.append("--no-sync")
        done = subprocess.run(
            command, capture_output=True, text=True, env=_environment(), cwd="/", **account.options()  # type: ignore[call-overload]
        )  # fmt: skip
        if done.returncode:
            raise GatewayError("store.embedded", what="initdb: " + done.stderr.strip()[-500:])
        fresh.rename(self.data)

    def _check_version(self) -> None:
        found = (self.data / "PG_VERSION").read_text().strip()
        version = subprocess.run([self.programs / "postgres", "--version"], capture_output=True, text=True, check=True)
        ours = version.stdout.split()[-1].split(".")[0]
        if found != ours:
            raise GatewayError(
                "store.embedded",
                what=f"данные созданы PostgreSQL {found}, программа содержит {ours}; "
                "перенесите данные командами backup и restore прежней и новой версии",
            )

    def _launch(self, account: Account) -> None:
        """Starts the first process. Nobody runs over these data now, so lock files that say otherwise are leftovers:
        the number in them may have been given to another process."""
        self._configure()
        _private_folder(self.socket, account)
        make_folder(self.folder / "log")
        log = self.folder / "log" / "postgresql.log"
        if log.exists() and log.stat().st_size > _ROTATE_BYTES:
            log.replace(log.with_suffix(".log.1"))
        etc = self.folder / "etc"
        command = [
            str(self.programs / "postgres"), "-D", str(self.data), "-k", str(self.socket),
            "-c", f"config_file={etc / 'postgresql.conf'}", "-c", f"hba_file={etc / 'pg_hba.conf'}",
            "-c", f"ident_file={etc / 'pg_ident.conf'}",
        ]  # fmt: skip
        for leftover in (self.data / "postmaster.pid", *self.socket.glob(".s.PGSQL.*")):
            leftover.unlink(missing_ok=True)
        with log.open("ab") as messages:
            self._log_from = messages.tell()
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages, cwd="/", env=_environment(),
                start_new_session=True, **account.options(),  # type: ignore[call-overload]
            )  # fmt: skip

    def _configure(self) -> None:
        etc = self.folder / "etc"
        make_folder(etc)
        users = sorted({"root", *(pwd.getpwuid(uid).pw_name for uid in (os.geteuid(), self.folder.stat().st_uid))})
        files = {
            "postgresql.conf": _configuration(self.durable, self.folder),
            "pg_hba.conf": "local all all peer map=gateway\n",
            "pg_ident.conf": "".join(f"gateway {user} all\n" for user in users),
        }
        for name, text in files.items():
            (etc / name).unlink(missing_ok=True)
            (etc / name).write_text(text, encoding="utf-8")
            (etc / name).chmod(0o644)
        (etc / "local.conf").touch(mode=0o644)

    def _wait_ready(self, account: Account) -> None:
        """Polls until the server answers. A leftover of a killed server may hold the memory for some seconds more."""
        begun = told = time.monotonic()
        while True:
            try:
                psycopg.connect(self.admin_url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                refusal = error
            if self._process is not None and self._process.poll() is not None:
                text = self._messages()
                if "shared memory block" not in text or time.monotonic() - begun > _LEFTOVER_SECONDS:
                    raise GatewayError("store.embedded", what=text[-600:].strip() or "процесс завершился")
                time.sleep(0.5)
                self._launch(account)
            elif self._process is None and self._running_pid() is None:
                raise GatewayError("store.embedded", what=str(refusal).strip())
            elif "peer authentication" in str(refusal).lower():
                raise GatewayError("store.embedded", what="сервер запущен другой учётной записью")
            if time.monotonic() - told > 10:
                told = time.monotonic()
                _log.info("Встроенная база восстанавливается, прошло %d с", told - begun)
            time.sleep(0.05)

    def _messages(self) -> str:
        with (self.folder / "log" / "postgresql.log").open("rb") as log:
            log.seek(self._log_from)
            return log.read().decode("utf-8", "replace")

    def _prepare(self) -> None:
        """Roles and the database, made once."""
        with psycopg.connect(self.admin_url(), autocommit=True) as connection:
            create_roles(connection)
            create_database(connection, DATABASE)

    # the process

    def _running_pid(self) -> int | None:
        """The pid of a live postmaster over this data folder, ours or a former process's."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        if self._process is not None and self._process.pid == pid and self._process.poll() is not None:
            return None
        try:
            here = Path(f"/proc/{pid}/cwd").resolve(strict=True) == self.data.resolve()
        except OSError:
            return None
        return pid if here else None

    def _ended(self, pid: int, number: signal.Signals, seconds: float) -> bool:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._process is not None and self._process.pid == pid:
                self._process.poll()
            if self._running_pid() != pid:
                return True
            time.sleep(0.02)
        return False


def create_roles(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """The owner (schema, retention) and the application's role, if they are not there yet."""
    present = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
    for role in (OWNER, APP):
        if role not in present:
            connection.execute(f"CREATE ROLE {role} LOGIN".encode())


_BUILTIN_LOCALES = 17_00_00
"""The version of PostgreSQL from which it has locales of its own."""


def create_database(connection: psycopg.Connection[tuple[object, ...]], name: str, template: str | None = None) -> None:
    """A database of the owner, with Unicode rules that do not depend on the machine; from ``template`` if given."""
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
        return
    if template:
        how = f"TEMPLATE {template} STRATEGY file_copy"
    elif connection.info.server_version >= _BUILTIN_LOCALES:
        how = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
    else:
        how = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'"
    connection.execute(f"CREATE DATABASE {name} OWNER {OWNER} {how}".encode())


def _configuration(durable: bool, folder: Path) -> str:
    memory = _memory()
    buffers = min(memory // 8, 2 * _GIB) if durable else 128 * 1024**2
    wal = 6 if shutil.disk_usage(folder).free > 40 * _GIB else 1
    safe = "on" if durable else "off"
    return f"""# Записывается при каждом запуске. Собственные значения — в файле local.conf рядом.
listen_addresses = ''
max_connections = 200
shared_buffers = {buffers // 1024**2}MB
effective_cache_size = {memory // 2 // 1024**2}MB
maintenance_work_mem = {min(memory // 16, _GIB) // 1024**2}MB
work_mem = 16MB
wal_level = minimal
max_wal_senders = 0
max_wal_size = {wal}GB
checkpoint_timeout = 15min
fsync = {safe}
full_page_writes = {safe}
synchronous_commit = {safe}
random_page_cost = 1.1
jit = off
timezone = 'Europe/Moscow'
log_timezone = 'Europe/Moscow'
datestyle = 'iso, dmy'
lc_messages = 'C'
log_line_prefix = '%m [%p] '
# тексты ошибок могут содержать персональные данные, поэтому в журнал сервера они не попадают
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
log_statement = 'none'
include 'local.conf'
"""


def _memory() -> int:
    """Memory of the machine or of its container, bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def _environment() -> dict[str, str]:
    """A clean environment: PG* variables of the caller must not reach the server."""
    return {"PATH": os.defpath, "LANG": "C", "LC_ALL": "C", "TZ": "Europe/Moscow"}


def _socket_folder(folder: Path) -> Path:
    """`run` in the data folder; for a long path (a socket's name has 107 bytes) a private folder of the system."""
    place = folder / "run"
    if len(os.fsencode(place)) <= _SOCKET_BYTES:
        return place
    name = "dn-gateway-" + hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path("/run" if os.geteuid() == 0 else tempfile.gettempdir()) / name


def _private_folder(path: Path, account: Account) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid not in (account.uid, os.geteuid()):
        raise GatewayError("store.embedded", what=f"каталог {path} принадлежит другой учётной записи")
    path.chmod(0o700)
    account.give(path)
