"""What all assets of a layer share: group, kinds, owners, pool, retries. Named once, so that a policy reads as one."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import dagster as dg
from deltalake import Schema

from retail_platform.contracts import Table
from retail_platform.defs.partitions import DAILY

OWNERS = ["team:retail-data"]

LAKE_POOL = "lake"
"""Runs that write the lake or the warehouse take turns (dagster.yaml limits the pool to one run)."""

AFTER_MARTS = {"dagster/priority": "-1"}
"""Tag of the steps that no mart waits for: they come after publication, which one of them that fails does not keep."""

# A database that restarts is back within seconds; more attempts would only hide a fault.
TRANSIENT_FAULTS = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def asset_key(layer: str, name: str) -> dg.AssetKey:
    """The key of a table's asset: its layer and its name."""
    return dg.AssetKey([layer, name])


def key_of(table: Table) -> dg.AssetKey:
    """The key of the asset that holds a table of the lake."""
    return asset_key(table.layer, table.name)


def table_spec(table: Table, *deps: dg.AssetKey, daily: bool = False, **extra: Any) -> dg.AssetSpec:
    """The asset of a table: everything the catalogue shows comes from its contract.

    Args:
        table: the table.
        deps: keys of the assets it is made from.
        daily: whether it is partitioned by the day of the sale.
        extra: further arguments of `AssetSpec`.
    """
    return dg.AssetSpec(
        key_of(table),
        deps=deps,
        description=catalogue_page(table),
        group_name=table.layer,
        kinds={"deltalake", "polars"},
        owners=OWNERS,
        metadata={"dagster/column_schema": column_schema(table, delta_types(table))},
        partitions_def=DAILY if daily else None,
        **extra,
    )


def catalogue_page(table: Table) -> str:
    """The docstring of a table's contract as Markdown, with its `Grain: `, `Units: ` … on lines of their own."""
    return re.sub(r"(?<=\S)\n(?=[A-Z][a-z]+: )", "  \n", inspect.cleandoc(table.contract.__doc__ or ""))


def delta_types(table: Table) -> dict[str, str]:
    """Column name -> type as the Delta table has it."""
    fields = Schema.from_arrow(table.empty().to_arrow().schema).fields
    return {field.name: str(getattr(field.type, "type", field.type)) for field in fields}


def column_schema(table: Table, types: Mapping[str, str]) -> dg.TableSchema:
    """The columns of a table as the catalogue shows them.

    Args:
        table: the table.
        types: column name -> type, of the columns to show.
    """
    descriptions, nullable = table.descriptions, table.nullable
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type_name,
                description=descriptions[name],
                constraints=dg.TableColumnConstraints(nullable=nullable[name], unique=table.key == (name,)),
            )
            for name, type_name in types.items()
        ]
    )
