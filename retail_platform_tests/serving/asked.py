"""A small loaded warehouse for tests of the serving room, and a way to ask it without an event loop of the test's own.

Its countries have nulls, equal values, quotes and every kind of column; customers, products and sales are those of
`gold_frames`.
"""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import polars as pl
from psycopg import sql
from psycopg.rows import dict_row

from retail_platform.serving.catalogue import read_catalogue
from retail_platform.serving.database import Answers, Warehouse, open_warehouse
from retail_platform.serving.query.shapes import Encoding, Query, Question
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.load import load_gold
from retail_platform.warehouse.tables import prepare_warehouse
from retail_platform_tests.warehouse.gold_frames import GoldFrames, gold_frames

FIRST = date(2010, 12, 30)
EXACT = Encoding(decimals_as_text=True, masks_customers=False)
NUMBERS = Encoding(decimals_as_text=False, masks_customers=False)
MASKED = Encoding(decimals_as_text=True, masks_customers=True)

Row = dict[str, Any]


def frames() -> GoldFrames:
    """Four days on both sides of a new year."""
    gold = gold_frames(FIRST, days=4, lines_per_day=60, countries=12, products=7)
    number = pl.int_range(pl.len())
    countries = gold.dimensions["dim_country"].with_columns(
        country_name=pl.Series(NAMES),
        region=pl.when(number % 3 > 0).then(pl.format("region {}", number % 4)),
        population=pl.when(number % 4 > 0).then(number % 5 * 1000),
        latitude=pl.when(number % 2 > 0).then(number % 3 + 0.5),
        tax_rate=pl.when(number > 2).then(pl.lit(Decimal("0.1")) * (number % 4)).cast(pl.Decimal(9, 4)),
        is_eu_member=pl.when(number % 5 > 0).then(number % 2 == 0),
    )
    return GoldFrames(gold.dimensions | {"dim_country": countries}, gold.invoices, gold.facts)


NAMES = ("", "a", "A", "'; drop table gold.fact_sale; --", 'B"b"', "%", "_", "\\", "é", "zz\nz", "ab", "$1")


class Asked:
    """A warehouse that answers at once, and its rows as PostgreSQL has them."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.catalogue = read_catalogue()
        self.runner = asyncio.Runner()
        self.warehouse: Warehouse = self.run(open_warehouse(settings))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    def answers(self, *questions: Question, encoding: Encoding = EXACT) -> Answers:
        answers: Answers = self.run(self.warehouse.ask(questions, encoding))
        return answers

    def ask(self, query: Query, *values: Any, encoding: Encoding = EXACT) -> Any:
        return json.loads(self.answers(Question(query, values), encoding=encoding).json[0], parse_float=Decimal)

    def rows(self, table: str) -> list[Row]:
        with self.database.connect(row_factory=dict_row) as connection:
            return connection.execute(f"select * from gold.{table}").fetchall()  # type: ignore[return-value]

    def close(self) -> None:
        self.run(self.warehouse.close())
        self.runner.close()


@contextmanager
def loaded(database: Database, **settings: Any) -> Iterator[Asked]:
    """A database of its own on the server, with the frames in it."""
    own = replace(database, dbname=f"serving_{uuid4().hex}")
    name = sql.Identifier(own.dbname)
    with database.connect(autocommit=True) as server:
        server.execute(sql.SQL("create database {} template template0").format(name))
        fill(own)
        asked = Asked(own, Settings(database_url=own.url(), **settings))
        yield asked
        asked.close()
        server.execute(sql.SQL("drop database {} with (force)").format(name))


def fill(database: Database) -> None:
    gold = frames()
    with database.connect(autocommit=True) as connection:
        prepare_warehouse(connection)
        load_gold(connection, tables=gold.tables, days=gold.days, consumed={}, run_id="run-1")
