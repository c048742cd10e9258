"""What click says by itself (usage, options, mistakes in arguments) in Russian: it has no translations of its own."""

from __future__ import annotations

import click
from click import core, decorators, exceptions, formatting, parser, types, utils

PHRASES = {
    "Usage:": "Вызов:",
    "Options": "Параметры",
    "Positional arguments": "Аргументы",
    "Commands": "Команды",
    "Show this message and exit.": "Показать эту справку.",
    "default: {default}": "по умолчанию: {default}",
    "required": "обязателен",
    "Aborted!": "Прервано",
    "Error: {message}": "Ошибка: {message}",
    "Try '{command} {option}' for help.": "Справка: {command} {option}",
    "Invalid value: {message}": "Неверное значение: {message}",
    "Invalid value for {param_hint}: {message}": "Неверное значение {param_hint}: {message}",
    "Missing command.": "Не указана команда.",
    "Missing argument": "Не указан аргумент",
    "Missing option": "Не указан параметр",
    "Missing parameter": "Не указан параметр",
    "No such option {name!r}.": "Нет такого параметра: {name}.",
    "No such command {name!r}.": "Нет такой команды: {name}.",
    "Could not open file {filename!r}: {message}": "Файл {filename} не открывается: {message}",
    "Option {name!r} does not take a value.": "Параметр {name} не принимает значения.",
    "Option {name!r} requires an argument.": "Параметру {name} нужно значение.",
    "Did you mean {possibility}?": "Похоже на {possibility}?",
    "(Did you mean one of: {possibilities}?)": "(Похоже на: {possibilities}?)",
    "Got unexpected extra argument ({args})": "Лишний аргумент: {args}",
    "Got unexpected extra arguments ({args})": "Лишние аргументы: {args}",
    "Choose from:\n\t{choices}": "Одно из:\n\t{choices}",
    "{value!r} is not one of {choices}.": "допустимо одно из {choices}.",
    "{value!r} does not match the format {format}.": "нужна дата вида ГГГГ-ММ-ДД.",
    "{value!r} is not a valid {number_type}.": "нужно целое число.",
    "{value} is not in the range {range}.": "{value} вне пределов {range}.",
    "file": "файл",
    "directory": "каталог",
    "path": "путь",
    "{name} {filename!r} does not exist.": "{name} {filename} не найден.",
    "{name} {filename!r} is a file.": "{name} {filename} — это файл.",
    "{name} {filename!r} is a directory.": "{name} {filename} — это каталог.",
    "{name} {filename!r} is not readable.": "{name} {filename} недоступен для чтения.",
    "{name} {filename!r} is not writable.": "{name} {filename} недоступен для записи.",
}
_NAMES = ((types.StringParamType, "текст"), (click.IntRange, "число"), (click.types.IntParamType, "число"))


def _russian(phrase: str) -> str:
    return PHRASES.get(phrase, phrase)


def _russian_of(one: str, several: str, count: int) -> str:
    return _russian(one if count == 1 else several)


def install() -> None:
    """From here on click speaks Russian. To be called before commands are declared: a path type names itself at once."""
    for module in (core, decorators, exceptions, formatting, parser, types, utils):
        vars(module).update({"_": _russian, "ngettext": _russian_of})
    for kind, name in _NAMES:
        kind.name = name


class Command(click.Command):
    """A command whose usage line is Russian too."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [_piece(piece) for piece in super().collect_usage_pieces(ctx)]


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [_piece(piece) for piece in super().collect_usage_pieces(ctx)]


def _piece(piece: str) -> str:
    return {"[OPTIONS]": "[ПАРАМЕТРЫ]", "COMMAND [ARGS]...": "КОМАНДА [АРГУМЕНТЫ]…"}.get(piece, piece)
