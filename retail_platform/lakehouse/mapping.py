"""Mappings: how a retailer's files are named and read, and what its codes mean.

A mapping is data (`mappings.toml`, and the file of `settings.mappings`): add a retailer there, not here. Reading bytes
stays out (`formats.py`), and so do the rules of silver, which take prefixes, codes and repeats from a mapping.
"""

import json
import re
import tomllib
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from glob import escape
from hashlib import sha256
from importlib.resources import files
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from retail_platform.lakehouse.formats import SetAside
from retail_platform.settings import Settings

REQUIRED_COLUMNS = ("invoice_no", "stock_code", "quantity", "invoice_date", "unit_price")
TEXT_COLUMNS = (
    "invoice_no",
    "stock_code",
    "description",
    "quantity",
    "invoice_date",
    "unit_price",
    "customer_id",
    "country",
)
"""The text columns of bronze, in its order."""

CORRECTIONS = "corrections"
"""Folder of landing that corrections of rejected rows are written to; those of a mapping in a folder of its name."""

PARSER_VERSION = 1
"""Raise it when the same bytes and mapping parse to something else, so that stages are made again."""


class MappingError(Exception):
    """The mappings themselves are wrong: correct the mappings file."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Prefixes(_Part):
    """Prefixes of invoice numbers (cancelled, adjustment) and of stock codes (test)."""

    cancelled: tuple[str, ...] = ()
    adjustment: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


class CodeRule(_Part):
    """One rule from stock code to line type: it fits by exact code, prefix or pattern (searched)."""

    line_type: str
    exact: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    pattern: str | None = None


class Stamp(_Part):
    """Where a file's name says when it was delivered: a pattern with a group `stamp`, and its strptime format (UTC)."""

    pattern: str
    format: str

    @field_validator("pattern")
    @classmethod
    def _has_group(cls, pattern: str) -> str:
        return _with_group(pattern, "stamp")


class Mapping(_Part):
    """How files of one kind are read.

    Attributes:
        name: its name, recorded with every delivery it reads.
        files: glob over the path in landing; None for any.
        columns: column of bronze -> accepted header spellings.
        date_formats: strptime formats of invoice_date, tried in order.
        stamp: when a file was delivered, by its name.
        batch: pattern with a group `batch` in a file's name.
        prefixes: see `Prefixes`.
        codes: rules for line_type, the first that fits.
        decimal: the sign before the fraction in quantity and unit_price, point or comma; the other one is no number.
        repeats: whether equal rows of one delivery are one line (`drop`) or each a line (`keep`).
        corrects: of a mapping for corrections, the mapping whose rows they restate; their rows may waive a rule.
    """

    name: str
    files: str | None = None
    columns: dict[str, tuple[str, ...]]
    date_formats: tuple[str, ...]
    stamp: Stamp | None = None
    batch: str | None = None
    prefixes: Prefixes = Prefixes()
    codes: tuple[CodeRule, ...] = ()
    decimal: Literal[".", ","] = "."
    repeats: Literal["drop", "keep"] = "drop"
    corrects: str | None = None

    @field_validator("batch")
    @classmethod
    def _has_group(cls, pattern: str | None) -> str | None:
        return pattern and _with_group(pattern, "batch")

    @field_validator("date_formats")
    @classmethod
    def _parses(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        if not formats:
            raise ValueError("date_formats is empty: give at least one, for example %Y-%m-%d %H:%M:%S")
        for text in formats:
            if not ("%Y" in text and "%m" in text and "%d" in text):
                raise ValueError(f"date format {text!r} gives no full day: it needs %Y, %m and %d")
        return formats

    @model_validator(mode="after")
    def _knows_columns(self) -> Self:
        if unknown := set(self.columns) - set(TEXT_COLUMNS):
            raise ValueError(f"unknown columns {sorted(unknown)}: known are {', '.join(TEXT_COLUMNS)}")
        if missing := set(REQUIRED_COLUMNS) - set(self.columns):
            raise ValueError(f"no spelling for {sorted(missing)}: each required column needs one")
        spellings = [_plain(spelling) for names in self.columns.values() for spelling in set(map(_plain, names))]
        if double := {spelling for spelling in spellings if spellings.count(spelling) > 1}:
            raise ValueError(f"spellings {sorted(double)} belong to two columns: leave each at one")
        return self

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what parsing depends on: equal bytes and an equal fingerprint make an equal stage."""
        spellings = sorted((_plain(text), column) for text, column in self._spellings.items())
        return _digest([PARSER_VERSION, spellings, self.date_formats])

    @cached_property
    def rules_fingerprint(self) -> str:
        """Hash of what the rules of silver take from this mapping."""
        return _digest(self.model_dump(include={"prefixes", "codes", "decimal", "repeats"}))

    def for_corrections(self) -> Self:
        """The mapping of corrections of what this one reads: bronze's own column names, and the same rules."""
        changes = {
            "name": f"{self.name}.{CORRECTIONS}",
            "files": f"{CORRECTIONS}/{escape(self.name)}/*",
            "columns": {column: (column,) for column in TEXT_COLUMNS},
            "stamp": {"pattern": r"__(?P<stamp>\d{8}T\d{6}\.\d{6}Z)", "format": "%Y%m%dT%H%M%S.%fZ"},
            "batch": None,
            "corrects": self.name,
        }
        return self.model_validate(self.model_dump() | changes)

    def assign(self, header: Sequence[str]) -> dict[str, str]:
        """Which of a file's columns are which of bronze's.

        Args:
            header: the column names of the file.

        Returns:
            Name in the file -> column of bronze, for the names this mapping knows.

        Raises:
            SetAside: two names of the file stand for one column.
        """
        assigned: dict[str, str] = {}
        for name in header:
            if (column := self._spellings.get(_plain(name))) is None:
                continue
            if column in assigned.values():
                both = [other for other, taken in assigned.items() if taken == column] + [name]
                raise SetAside(
                    "duplicate_column",
                    f"columns {both} are all {column} by mapping {self.name!r}; expected one: rename the others",
                )
            assigned[name] = column
        return assigned

    def missing(self, header: Sequence[str]) -> list[str]:
        """The required columns that a file with these column names lacks."""
        found = {self._spellings.get(_plain(name)) for name in header}
        return [column for column in REQUIRED_COLUMNS if column not in found]

    def reads(self, path: str) -> bool:
        """Whether the mapping is for files of this path (relative to landing)."""
        return self.files is None or fnmatchcase(path, self.files)

    def delivered_at(self, file_name: str, modified_at: datetime) -> datetime:
        """When a file was delivered, UTC: the stamp in its name, else its modification time.

        Raises:
            SetAside: the name holds a stamp that is no date.
        """
        match = re.search(self.stamp.pattern, file_name) if self.stamp else None
        if match is None or self.stamp is None:
            return modified_at
        try:
            return datetime.strptime(match["stamp"], self.stamp.format).replace(tzinfo=UTC)
        except ValueError as error:
            raise SetAside(
                "bad_stamp",
                f"the stamp {match['stamp']!r} in the file's name is no date; mapping {self.name!r} expects "
                f"{self.stamp.format} (UTC): correct the name",
            ) from error

    def batch_id(self, file_name: str) -> str | None:
        """The batch id in a file's name, or None."""
        match = re.search(self.batch, file_name) if self.batch else None
        return match["batch"] if match else None

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {_plain(spelling): column for column, names in self.columns.items() for spelling in names}


def load_mappings(settings: Settings) -> dict[str, Mapping]:
    """All mappings by name, in the order in which they are asked: of corrections, the retailer's own, the packaged.

    Raises:
        MappingError: a mappings file is not TOML or says something unknown.
    """
    packaged = _parse(files("retail_platform.lakehouse").joinpath("mappings.toml").read_text("utf-8"), "mappings.toml")
    own = _parse(settings.mappings.read_text("utf-8"), str(settings.mappings)) if settings.mappings else {}
    known = own | {name: mapping for name, mapping in packaged.items() if name not in own}
    return {each.name: each for each in map(Mapping.for_corrections, known.values())} | known


def choose_mapping(mappings: Collection[Mapping], path: str, header: Sequence[str]) -> Mapping:
    """The first mapping that is for this path and whose required columns the file has.

    Args:
        mappings: in the order in which they are asked.
        path: of the file, relative to landing.
        header: the file's column names.

    Raises:
        SetAside: none fits; the message names what the nearest one expected.
    """
    candidates = [mapping for mapping in mappings if mapping.reads(path)]
    for mapping in candidates:
        if not mapping.missing(header):
            return mapping
    if not candidates:
        globs = {mapping.name: mapping.files for mapping in mappings}
        raise SetAside("no_mapping", f"no mapping is for this path; their globs are {globs}: move the file or add one")
    nearest = min(candidates, key=lambda mapping: len(mapping.missing(header)))
    expected = "; ".join(f"{column} as {_quoted(nearest.columns[column])}" for column in nearest.missing(header))
    raise SetAside(
        "missing_column",
        f"found the columns {_quoted(header)}; mapping {nearest.name!r} also expected {expected}: "
        "add the column to the file, or its spelling to a mapping, then send or touch the file again",
    )


def _parse(text: str, source: str) -> dict[str, Mapping]:
    """The mappings of one TOML text."""
    try:
        tables = tomllib.loads(text)
        return {name: Mapping.model_validate({"name": name, **table}) for name, table in tables.items()}
    except (tomllib.TOMLDecodeError, ValidationError, TypeError) as error:
        raise MappingError(f"{source} does not hold mappings, one table each: {error}") from error


def _with_group(pattern: str, group: str) -> str:
    """The pattern, if it compiles and has the group."""
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {error}") from error
    if group not in groups:
        raise ValueError(f"pattern {pattern!r} has no group {group!r}: write (?P<{group}>…)")
    return pattern


def _plain(name: str) -> str:
    """A header name without what does not matter: case, spaces, underscores, byte order mark."""
    return re.sub(r"[\s_\ufeff]", "", name).casefold()


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _digest(value: object) -> str:
    return sha256(json.dumps(value).encode()).hexdigest()[:16]
