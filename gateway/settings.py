"""One table of settings: name, default, help. A TOML file gives values, `DN_GATEWAY_*` in the environment overrides it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.errors import GatewayError

_POSITIVE = (
    "threads", "records_per_page", "requests_per_minute", "snapshot_hours", "body_bytes",
    "body_seconds", "header_seconds", "write_seconds", "xml_depth", "xml_elements", "xml_attributes", "xml_name_chars",
    "hashing_threads", "audit_days", "request_days", "change_days",
    "file_bytes", "archive_bytes", "upload_days", "download_days", "mailbox_days", "confirmed_days", "operation_days", "operations_per_client",
    "ferzl_seconds", "ferzl_concurrency", "ferzl_poll_seconds", "ferzl_wait_hours",
)  # fmt: skip
"""Settings that are at least one. Snapshots read the lines that changes kept, so these must be kept longer."""

_PERCENT = ("brake_share", "brake_shrink", "brake_unusable")
_VERSION = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){0,3})?")

_EMAIL = re.compile(r"[^@\s<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,253}")
_WEBHOOK = re.compile(r"https?://[!-.0-~][!-~]{0,499}")

FILE_PART_MOST = 7_000_000
"""Bytes that in base64 stay under the 10 MB of one text that XML parsers take."""


def addresses(text: str) -> list[str]:
    """The addresses of a setting that lists them with commas."""
    return [one.strip() for one in text.split(",") if one.strip()]


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Values in force. Units stand in the help of each setting."""

    database_url: str = _setting("", "адрес базы PostgreSQL 15+ (роль приложения); пусто — встроенный сервер")
    database_owner_url: str = _setting("", "адрес той же базы для роли-владельца: схема, хранение, миграции")
    data_dir: str = _setting("/var/lib/dn-gateway", "каталог встроенной базы и файлов шлюза")
    host: str = _setting("127.0.0.1", "адрес, на котором слушает веб-сервер")
    port: int = _setting(8080, "порт веб-сервера")
    workers: int = _setting(0, "процессов веб-сервера; 0 — по числу ядер")
    threads: int = _setting(6, "потоков исполнения в процессе")
    public_url: str = _setting("", "внешний адрес для WSDL, например https://dn.example.ru; пусто — host:port")
    time_zone: str = _setting("Europe/Moscow", "часовой пояс дат и календаря")
    region_okato: str = _setting("40000", "ОКАТО региона, 5 знаков")
    observation_key: Literal["rubric", "code"] = _setting(
        "rubric",
        "одна открытая запись на лицо и rubric — первые три знака диагноза, code — полный код; выбирается при установке",
    )
    diagnosis_outside: Literal["mark", "refuse"] = _setting(
        "mark", "диагноз вне 168н и 548н: mark — отметить, refuse — отказать"
    )
    items_per_call: int = _setting(1000, "элементов в пакетном вызове, не больше")
    records_per_page: int = _setting(10000, "записей на странице, не больше")
    requests_per_minute: int = _setting(6000, "запросов клиента в минуту, если у клиента не задано своё")
    file_part_bytes: int = _setting(4 * 1024 * 1024, "часть файла, байт, не больше 7000000")
    snapshot_hours: int = _setting(24, "срок хранения снимка списка, часов")
    body_bytes: int = _setting(8 * 1024 * 1024, "тело запроса, байт, не больше")
    body_seconds: int = _setting(30, "время на получение тела запроса, с")
    header_seconds: int = _setting(10, "время на получение заголовков и простой соединения, с")
    write_seconds: int = _setting(30, "сколько ждать клиента, который не читает ответ, с")
    xml_depth: int = _setting(32, "вложенность элементов запроса, не больше")
    xml_elements: int = _setting(50000, "элементов в запросе, не больше")
    xml_attributes: int = _setting(64, "атрибутов у элемента, не больше")
    xml_name_chars: int = _setting(256, "знаков в имени элемента или атрибута, не больше")
    secret_memory_seconds: int = _setting(60, "сколько помнить проверенный секрет, с, не больше 60")
    hashing_threads: int = _setting(2, "одновременных вычислений argon2id в процессе")
    guess_delay_seconds: float = _setting(2.0, "наибольшая задержка ответа после неверных паролей, с")
    trusted_proxies: str = _setting("", "адреса доверенных обратных прокси через запятую")
    certificate_header: str = _setting(
        "x-client-cert-sha256", "заголовок прокси с отпечатком SHA-256 сертификата клиента"
    )
    audit_days: int = _setting(1830, "срок хранения журнала доступа, дней")
    request_days: int = _setting(30, "срок хранения ответов для повторов requestId, дней")
    change_days: int = _setting(400, "срок хранения образов записей для ленты изменений и снимков, дней")
    file_bytes: int = _setting(256 * 1024 * 1024, "размер принимаемого файла, байт, не больше")
    archive_bytes: int = _setting(1024 * 1024 * 1024, "размер содержимого принимаемого архива, байт, не больше")
    upload_days: int = _setting(2, "срок хранения файлов, переданных не целиком или не использованных, дней")
    download_days: int = _setting(7, "срок хранения файлов операций, дней")
    mailbox_days: int = _setting(90, "срок хранения файлов абонентского пункта, дней")
    confirmed_days: int = _setting(14, "срок хранения файлов абонентского пункта после подтверждения, дней")
    operation_days: int = _setting(400, "срок хранения операций и их протоколов, дней")
    operations_per_client: int = _setting(20, "ждущих и идущих операций клиента, не больше")
    smtp_url: str = _setting(
        "", "почтовый сервер для извещений: smtp://имя:пароль@сервер:порт или smtps://…; пусто — без почты"
    )
    mail_from: str = _setting("", "адрес отправителя извещений")
    webhook_secret: str = _setting("", "ключ подписи извещений HTTP (HMAC-SHA256); пусто — без подписи")
    ferzl_url: str = _setting("", "адрес службы ФЕРЗЛ mpiPersonInfoService; пусто — сверки с застрахованными нет")
    ferzl_bulk_url: str = _setting("", "адрес службы ФЕРЗЛ mpiAsyncOperationsService; пусто — тот же, что ferzl_url")
    ferzl_version: str = _setting("", "версия в пространствах имён ФЕРЗЛ: пусто (2023), 3.6, 4.5, 24.1.2")
    ferzl_nobody: str = _setting(
        "409.00.1", "коды отказов ФЕРЗЛ, которые значат «лицо не найдено», через запятую; прочие отказы — не ответ"
    )
    ferzl_token: str = _setting("", "ключ доступа к ФЕРЗЛ (X-Auth-Token), если не задан файл")
    ferzl_token_file: str = _setting("", "файл с ключом доступа к ФЕРЗЛ; читается заново при каждом вызове")
    ferzl_seconds: int = _setting(60, "сколько ждать ответа ФЕРЗЛ, с")
    ferzl_concurrency: int = _setting(8, "одновременных вопросов к ФЕРЗЛ о лицах")
    ferzl_poll_seconds: int = _setting(900, "как часто спрашивать ФЕРЗЛ о готовности начатого запроса, с")
    ferzl_wait_hours: int = _setting(48, "сколько ждать начатый запрос ФЕРЗЛ, часов; дольше — сверка не выполнена")
    brake_share: int = _setting(5, "тормоз сверки: процент списка, больше которого он не теряет без решения оператора")
    brake_count: int = _setting(10, "тормоз сверки: записей списка, до которых процент не важен")
    brake_shrink: int = _setting(3, "тормоз сверки: на сколько процентов может уменьшиться выписка прикреплений")
    brake_unusable: int = _setting(20, "тормоз сверки: процент ответов о лицах, которые нельзя использовать")
    ident_url: str = _setting("", "адрес службы идентификации ЕИС ОМС Санкт-Петербурга (doIdentification)")
    ident_login: str = _setting("", "имя для службы идентификации")
    ident_password: str = _setting("", "пароль для службы идентификации")
    search_upstream: Literal["off", "ferzl", "ident"] = _setting(
        "off", "искать неизвестное лицо во внешнем источнике: off — нет, ferzl — ФЕРЗЛ, ident — служба идентификации"
    )
    search_seconds: float = _setting(2.0, "сколько ждать внешний источник при поиске лица, с")
    monthly_day: int = _setting(
        5, "день месяца (1..28), в который календарь начинает обработку прошедшего месяца, в 02:00"
    )
    monthly_format: Literal["XML", "CSV", "XLSX", "DBF"] = _setting(
        "XML", "формат закрытых списков, которые кладутся в абонентские пункты: XML, CSV, XLSX, DBF"
    )
    alert_emails: str = _setting("", "кому писать о неполадках: адреса почты через запятую; пусто — никому")
    alert_webhook: str = _setting("", "адрес HTTP, по которому сообщается о неполадках; пусто — не сообщается")
    log_level: str = _setting("INFO", "уровень журнала процесса")

    def __post_init__(self) -> None:
        checks = {
            "observation_key": self.observation_key in ("rubric", "code"),
            "diagnosis_outside": self.diagnosis_outside in ("mark", "refuse"),
            "file_part_bytes": 1 <= self.file_part_bytes <= FILE_PART_MOST,
            "secret_memory_seconds": 0 <= self.secret_memory_seconds <= 60,
            "items_per_call": 1 <= self.items_per_call <= 100_000,
            "port": 0 <= self.port <= 65535,
            "workers": self.workers >= 0,
            "guess_delay_seconds": self.guess_delay_seconds >= 0,
            "time_zone": _is_zone(self.time_zone),
            "ferzl_version": bool(_VERSION.fullmatch(self.ferzl_version)),
            "search_upstream": self.search_upstream in ("off", "ferzl", "ident"),
            "monthly_day": 1 <= self.monthly_day <= 28,
            "monthly_format": self.monthly_format in ("XML", "CSV", "XLSX", "DBF"),
            "alert_emails": all(_EMAIL.fullmatch(one) for one in addresses(self.alert_emails)),
            "alert_webhook": not self.alert_webhook or bool(_WEBHOOK.fullmatch(self.alert_webhook)),
            "search_seconds": 0 < self.search_seconds <= 10,
            **{name: 0 <= getattr(self, name) <= 100 for name in _PERCENT},
            "brake_count": self.brake_count >= 0,
            **{name: getattr(self, name) >= 1 for name in _POSITIVE},
        }
        checks["change_days"] = checks["change_days"] and self.change_days * 24 > self.snapshot_hours
        for name, right in checks.items():
            if not right:
                raise GatewayError("setting.invalid", name=name)


def _convert(name: str, kind: str, value: Any) -> Any:
    try:
        if kind == "int" and not isinstance(value, float | bool):
            return int(value)
        if kind == "float":
            return float(value)
    except (TypeError, ValueError):
        raise GatewayError("setting.invalid", name=name) from None
    if not isinstance(value, str):
        raise GatewayError("setting.invalid", name=name)
    return value


def load(path: str | Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from an optional TOML file, then the environment, then ``overrides`` (command-line options).

    Raises ``setting.file`` for a file that cannot be read, ``setting.invalid`` for an unknown name or a wrong value.
    """
    environ = os.environ if environ is None else environ
    known = {f.name: str(f.type) for f in fields(Settings)}
    values: dict[str, Any] = {}
    path = path or environ.get("DN_GATEWAY_CONFIG")
    if path:
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError):
            raise GatewayError("setting.file") from None
        for name, value in table.items():
            if name not in known:
                raise GatewayError("setting.invalid", name=name)
            values[name] = _convert(name, known[name], value)
    for name, kind in known.items():
        raw = environ.get("DN_GATEWAY_" + name.upper())
        if raw is not None:
            values[name] = _convert(name, kind, raw)
    if "DATABASE_URL" in environ and "database_url" not in values:
        values["database_url"] = environ["DATABASE_URL"]
    values.update({name: value for name, value in overrides.items() if value is not None})
    return Settings(**values)
