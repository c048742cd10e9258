"""How ФФОМС lays out its dictionaries: which columns are the code, the name and the days, by dictionary and by rule.

Names of columns are those of the published structures (fields of the dictionaries in order 79 and in the ФФОМС register
of dictionaries), in lower case, since their case differs between packets. A dictionary that is not in the table is read
by rule: the code is the column called or ending in ``code``, ``kod`` or beginning with ``id``, the name the one that is
called or ends in ``name``, ``naim``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_FORM = re.compile(r"[A-Z][0-9]{3}\Z")
_AT_START = re.compile(r"([A-Z][0-9]{3})(?![A-Z0-9])")
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,31}\Z")


@dataclass(frozen=True, slots=True)
class Layout:
    """``code`` ends with the column of the code; those before it go into the code where it alone does not tell lines
    apart. ``names`` are the columns that may hold the name, the first one there is taken; none: the code is the name.
    """

    dictionary: str
    title: str
    code: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def telling(self) -> bool:
        """Whether the columns are the dictionary's own, so that a file can be known by them."""
        return self.code[-1] not in ("code", "kod", "id_test", "s_code") and bool(self.names)

    def fits(self, columns: Iterable[str]) -> bool:
        there = set(columns)
        return self.code[-1] in there and (not self.names or any(name in there for name in self.names))


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a file are taken for; an empty ``name`` stands for the code itself.

    ``code`` is as in `Layout`; with ``joined`` all its columns always go into the code.
    """

    code: tuple[str, ...]
    name: str
    since: str | None = None
    until: str | None = None
    joined: bool = False

    @property
    def taken(self) -> frozenset[str]:
        return frozenset(column for column in (self.code[-1], self.name, self.since, self.until) if column)


_SINCE = ("datebeg", "date_beg", "d_begin", "d_beg", "begdate", "date_begin", "date_b", "datn", "valid_from")
_UNTIL = ("dateend", "date_end", "d_end", "enddate", "date_e", "dato", "valid_to")
_CODE_RULES = (r"code|kod|cod", r"id[a-z0-9_]*", r"(?:kod|code|cod|k)_.*", r".*(?:kod|code|cod)")
_NAME_RULES = (r"name|naim|nam", r".*name", r"(?:nam|naim|n|name)_.*|naim.*", r"opis|descr.*|.*_name.*|mnn")

_TABLE = """
F001 | tf_kod         | name_tfk name_tfp | Территориальные фонды ОМС
F002 | smocod         | nam_smok nam_smop | Страховые медицинские организации
F003 | mcod           | nam_mok nam_mop   | Медицинские организации
F004 | id_exp         | -                 | Эксперты качества медицинской помощи
F005 | ididst         | stname            | Статусы оплаты медицинской помощи
F006 | idvid          | vidname           | Виды контроля
F007 | idved          | vedname           | Ведомственная принадлежность медицинской организации
F008 | iddoc          | docname           | Типы документов, подтверждающих факт страхования
F009 | idstatus       | statusname        | Статусы застрахованного лица
F010 | kod_tf         | subname           | Субъекты Российской Федерации
F011 | iddoc          | docname           | Типы документов, удостоверяющих личность
F012 | kod            | opis              | Ошибки форматно-логического контроля
F013 | kod            | naim              | Значения доступности информации
F014 | kod            | naim              | Причины отказа в оплате медицинской помощи
F015 | kod_ok         | okrname           | Федеральные округа
F032 | mcod           | nam_mok nam_mop   | Медицинские организации (единый реестр)
V001 | idrb           | rbname            | Номенклатура работ и услуг в здравоохранении
V002 | idpr           | prname            | Профили оказанной медицинской помощи
V003 | idrl           | licname           | Перечень работ и услуг лицензии
V004 | idmsp          | mspname           | Медицинские специальности (до V015)
V005 | idpol          | polname           | Пол застрахованного
V006 | idump          | umpname           | Условия оказания медицинской помощи
V007 | idnmo          | nmoname           | Номенклатура медицинских организаций
V008 | idvmp          | vmpname           | Виды медицинской помощи
V009 | idrmp          | rmpname           | Результаты обращения за медицинской помощью
V010 | idsp           | spname            | Способы оплаты медицинской помощи
V011 | idvp           | vpname            | Виды оплаты
V012 | idiz           | izname            | Исходы заболевания
V013 | idkat          | katname           | Категории застрахованного лица
V014 | idfrmmp        | frmmpname         | Формы оказания медицинской помощи
V015 | code           | name              | Медицинские специальности (до V021)
V016 | iddt           | dtname            | Типы диспансеризации
V017 | iddr           | drname            | Результаты диспансеризации
V018 | idhvid         | hvidname          | Виды высокотехнологичной медицинской помощи
V019 | idhm           | hmname            | Методы высокотехнологичной медицинской помощи
V020 | idk_pr         | k_prname          | Профили койки
V021 | idspec         | specname          | Медицинские специальности
V022 | idmpac         | mpacname          | Модели пациента высокотехнологичной медицинской помощи
V023 | idump k_ksg    | n_ksg             | Клинико-статистические группы
V024 | iddkk          | dkkname           | Классификационные критерии КСГ
V025 | idpc           | n_pc              | Цели посещения
V026 | idump k_kpg    | n_kpg             | Клинико-профильные группы
V027 | idcz           | n_cz              | Характер заболевания
V028 | idvn           | n_vn              | Виды направления
V029 | idmet          | n_met             | Методы диагностического исследования
V036 | s_code         | name              | Услуги, применяемые с медицинскими изделиями
N001 | id_prot        | prot_name         | Противопоказания и отказы (онкология)
N002 | id_st          | kod_st            | Стадии
N003 | id_t           | kod_t             | Tumor
N004 | id_n           | kod_n             | Nodus
N005 | id_m           | kod_m             | Metastasis
N007 | id_mrf         | mrf_name          | Гистологические признаки
N008 | id_r_m         | r_m_name          | Результаты гистологических исследований
N010 | id_igh         | igh_name          | Маркёры
N011 | id_r_i         | r_i_name          | Значения маркёров
N013 | id_tlech       | tlech_name        | Типы лечения
N014 | id_thir        | thir_name         | Типы хирургического лечения
N015 | id_tlek_l      | tlek_name_l       | Линии лекарственной терапии
N016 | id_tlek_v      | tlek_name_v       | Циклы лекарственной терапии
N017 | id_tluch       | tluch_name        | Типы лучевой терапии
N018 | id_reas        | reas_name         | Поводы обращения
N019 | id_cons        | cons_name         | Цели консилиума
N020 | id_lekp        | mnn               | Лекарственные препараты
Q015 | id_test        | desc_test id_el   | Технологические правила ФЛК
Q016 | id_test        | desc_test id_el   | Медико-экономические правила МЭК
Q022 | id_test        | desc_test id_el   | Региональные технологические правила ФЛК
Q023 | id_test        | desc_test id_el   | Региональные медико-экономические правила МЭК
"""


def _layouts() -> Iterable[Layout]:
    for line in _TABLE.strip().splitlines():
        dictionary, code, names, title = (part.strip() for part in line.split("|"))
        yield Layout(dictionary, title, tuple(code.split()), tuple(names.split()) if names != "-" else ())


LAYOUTS: dict[str, Layout] = {layout.dictionary: layout for layout in _layouts()}

_TYPES = {
    "PROFOT": "V002", "REZULT": "V009", "KSG": "V023",
    "FLK_MPF": "Q015", "MEK_MPF": "Q016", "FLK_MPR": "Q022", "MEK_MPR": "Q023",
}  # fmt: skip
"""Dictionaries by ``zglv/type`` of their packets."""


def is_official(name: str) -> bool:
    """Whether a name has the form that ФФОМС gives its dictionaries: a letter and three digits."""
    return bool(_FORM.match(name))


def is_name(name: str) -> bool:
    """Whether a dictionary may be called so: upper-case latin letters, digits, underscore, 32 characters at most."""
    return bool(_NAME.match(name))


def of_file(stem: str) -> str | None:
    """The official name with which the name of a file begins: ``V002_v3.0`` is V002."""
    found = _AT_START.match(stem.upper())
    return found[1] if found else None


def of_type(kind: str | None) -> str | None:
    """The dictionary of a packet by its ``zglv/type``."""
    kind = (kind or "").strip().upper()
    return kind if is_official(kind) else _TYPES.get(kind)


def of_columns(columns: Sequence[str]) -> frozenset[str]:
    """Dictionaries whose own columns a file has."""
    leaves = [leaf(column) for column in columns]
    return frozenset(one.dictionary for one in LAYOUTS.values() if one.telling and one.fits(leaves))


def leaf(column: str) -> str:
    """The last part of the name of a nested column: ``d_begin`` of ``medinclude.d_begin``."""
    return column.rpartition(".")[2]


def told(dictionary: str, columns: Sequence[str], code: Sequence[str] = (), name: str | None = None) -> Columns | None:
    """What the columns of a file are, as the operator says, by the table, or by rule; None if they do not tell.

    Raises KeyError for a column that the operator names and the file has not.
    """
    known = LAYOUTS.get(dictionary)
    if known is not None and not known.fits(leaf(column) for column in columns):
        known = None
    codes = tuple(_named(one, columns) for one in code) or _codes(known, columns)
    if not codes:
        return None
    if name:
        names = _named(name, columns)
    elif known and not code:
        names = _first(known.names, columns) or ""
    else:
        names = _by_rule(_NAME_RULES, [column for column in columns if column not in codes]) or ""
        if not names:
            return None
    return Columns(codes, names, _first(_SINCE, columns), _first(_UNTIL, columns), len(code) > 1)


def _codes(known: Layout | None, columns: Sequence[str]) -> tuple[str, ...]:
    if known:
        return tuple(found for one in known.code if (found := _first((one,), columns)))
    found = _by_rule(_CODE_RULES, columns)
    return (found,) if found else ()


def _named(wanted: str, columns: Sequence[str]) -> str:
    found = _first((wanted.strip().lower(),), columns)
    if found is None:
        raise KeyError(wanted)
    return found


def _first(wanted: Iterable[str], columns: Sequence[str]) -> str | None:
    """The first wanted column that is there, under its own name or as the leaf of a nested one."""
    for one in wanted:
        if one in columns:
            return one
        for column in columns:
            if leaf(column) == one:
                return column
    return None


def _by_rule(rules: Sequence[str], columns: Sequence[str]) -> str | None:
    for rule in rules:
        for column in columns:
            if "." not in column and re.fullmatch(rule, column) and column not in (*_SINCE, *_UNTIL):
                return column
    return None
