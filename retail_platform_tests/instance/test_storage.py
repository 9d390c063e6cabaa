"""The bulk storage writes what Dagster's own PostgreSQL storage writes, and knows when it no longer can."""

from dataclasses import replace

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage, PostgresRunStorage

from retail_platform.instance.home import open_instance
from retail_platform.instance.storage import BulkPostgresStorage, changed_private_names
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.server import DAGSTER
from retail_platform_tests.instance.graph import DAYS, facts, mart, run_all_days, sales

EVENTS = """
    select dagster_event_type, asset_key, partition, step_key, count(*) from event_logs
    where run_id = %s and dagster_event_type is not null
    group by 1, 2, 3, 4 order by 1, 2, 3, 4
"""
ORDER = """
    select dagster_event_type, asset_key, partition from event_logs
    where run_id = %s and asset_key is not null order by id
"""
ASSETS = """
    select asset_key, last_materialization is not null, last_run_id is not null,
           last_materialization_timestamp is not null, asset_details, wipe_timestamp
    from asset_keys where last_run_id = %s order by 1
"""
CHECKS = """
    select asset_key, check_name, partition, execution_status, materialization_event_storage_id is not null, count(*)
    from asset_check_executions where run_id = %s group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
"""


@pytest.fixture(scope="module")
def bulk_side(settings: Settings, database: Database) -> tuple[Database, str]:
    """The platform's database `dagster`, and the id of a run in it."""
    with open_instance(settings) as instance:
        return replace(database, dbname=DAGSTER), run_all_days(instance)


@pytest.fixture(scope="module")
def stock_side(database: Database, tmp_path_factory: pytest.TempPathFactory) -> tuple[Database, str]:
    """A database of Dagster's own storage, and the id of the same run in it."""
    stock = replace(database, dbname="dagster_stock")
    with database.connect(autocommit=True) as connection:
        connection.execute("create database dagster_stock template template0")
    storage = {"postgres": {"postgres_url": stock.url("psycopg2")}}
    reference = InstanceRef.from_dir(str(tmp_path_factory.mktemp("stock")), overrides={"storage": storage})
    with dg.DagsterInstance.from_ref(reference) as instance:
        return stock, run_all_days(instance)


def rows(side: tuple[Database, str], query: str) -> list[tuple[object, ...]]:
    database, run_id = side
    with database.connect() as connection:
        return connection.execute(query, [run_id]).fetchall()


@pytest.mark.parametrize("query", [EVENTS, ORDER, ASSETS, CHECKS], ids=["events", "order", "assets", "checks"])
def test_rows_are_those_of_dagsters_own_storage(
    query: str, bulk_side: tuple[Database, str], stock_side: tuple[Database, str]
) -> None:
    found = rows(bulk_side, query)
    assert found == rows(stock_side, query)
    assert found


def test_each_event_keeps_its_own_content(bulk_side: tuple[Database, str]) -> None:
    query = "select id from event_logs where run_id = %s and partition is not null and strpos(event, partition) = 0"
    assert rows(bulk_side, query) == []


def test_dagster_reads_what_was_written(settings: Settings, bulk_side: tuple[Database, str]) -> None:
    with open_instance(settings) as instance:
        days = set(DAYS.get_partition_keys())
        assert instance.get_materialized_partitions(sales.key) == days
        assert instance.get_materialized_partitions(facts.key) == days
        assert instance.get_latest_materialization_event(mart.key) is not None


def test_no_batch_falls_back_to_single_events(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    with open_instance(settings) as instance:
        run_all_days(instance)
    assert "Exception while storing event batch" not in capfd.readouterr().err


def test_storages_share_one_pool(settings: Settings) -> None:
    with open_instance(settings) as instance:
        storages = (instance.event_log_storage, instance.run_storage, instance.schedule_storage)
        assert len({id(storage._engine) for storage in storages}) == 1  # type: ignore[union-attr]


def test_lost_connections_are_replaced(settings: Settings, database: Database) -> None:
    with open_instance(settings) as instance:
        count = instance.get_runs_count()
        with database.connect() as connection:
            query = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
            connection.execute(query, [DAGSTER])
        assert instance.get_runs_count() == count


def test_private_names_are_those_of_the_pinned_dagster() -> None:
    assert changed_private_names() == []


def test_changed_names_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(PostgresEventLogStorage, "_store_asset_event")
    monkeypatch.delattr(PostgresEventLogStorage.__mro__[1], "_store_asset_event")
    monkeypatch.setattr(PostgresEventLogStorage, "index_transaction", lambda self, retries: None)
    monkeypatch.setattr(PostgresRunStorage, "__init__", lambda self, postgres_url: None)
    assert changed_private_names() == ["index_transaction", "_store_asset_event", "PostgresRunStorage._engine"]


def test_changed_dagster_gets_its_own_storage_and_a_warning(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(PostgresEventLogStorage.__mro__[1], "_event_to_row")
    storage = BulkPostgresStorage.from_config_value(None, {"home": str(settings.home)})
    assert isinstance(storage, DagsterPostgresStorage)
    assert "_event_to_row" in caplog.text
