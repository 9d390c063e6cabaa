"""Dagster's storage on PostgreSQL, with planned events in bulk and pooled connections.

Dagster's own PostgreSQL storage writes each planned event by itself over new connections, 8 ms an asset and partition:
a run of eight assets over two years takes over a minute for that alone. Here such events go in with one statement a
batch, over connections that stay open. The rows are the same as those of the storage in `dagster_postgres`.

Lives here: that storage, named by `dagster.yaml`. Stays out: the folder Dagster works in (`home`).

It builds on names of Dagster that are not public, hence the pinned version. When one of them is gone, the storage of
`dagster_postgres` takes over, slower, with a warning.
"""

import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._config.config_schema import UserConfigSchema
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from sqlalchemy.dialects.postgresql import ARRAY

from retail_platform.settings import get_settings
from retail_platform.warehouse.server import dagster_database

EVENT_BATCH_SIZE = 1000
"""Events a statement; 1,000 of them are about 1 MB of text."""

POOL_OPTIONS: Mapping[str, Any] = {
    "isolation_level": "AUTOCOMMIT",
    "pool_size": 4,
    "max_overflow": 16,
    "pool_pre_ping": True,
    "pool_recycle": 3600,
}
"""For each process: a few connections stay open, threads of the daemon may take more for a moment; a restarted server
is noticed before a connection is used."""

PRIVATE_NAMES = {
    "prepare_insert_event_batch": ("self", "events"),
    "_event_to_row": ("self", "event"),
    "index_transaction": ("self",),
    "_store_asset_event": ("self", "conn", "event", "event_id"),
    "store_asset_check_event": ("self", "event", "event_id"),
}
"""Methods of Dagster's event storage that are used here, with their parameters in the pinned version."""

PLANNED_EVENTS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
}


class BulkEventLogStorage(PostgresEventLogStorage):
    """Dagster's event log on PostgreSQL, which takes planned events in batches as well, with one statement each."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events that Dagster hands over together.

        Args:
            events: Of the types Dagster writes in batches.
        """
        if {event.dagster_event_type for event in events} <= PLANNED_EVENTS:
            self._store_planned_events(events)
        else:
            super().store_event_batch(events)

    def prepare_insert_event_batch(self, events: Sequence[EventLogEntry]) -> Any:
        """The statement that inserts events in their order.

        One parameter a column: to compile the statement with one a value takes longer than to run it.
        """
        rows = [self._event_to_row(event) for event in events]
        columns = [SqlEventLogStorageTable.c[name] for name in rows[0]]
        arrays = [sqlalchemy.cast([row[column.name] for row in rows], ARRAY(column.type)) for column in columns]
        source = sqlalchemy.func.unnest(*arrays).table_valued(*(column.name for column in columns))
        return SqlEventLogStorageTable.insert().from_select(columns, sqlalchemy.select(source.render_derived()))

    def _store_planned_events(self, events: Sequence[EventLogEntry]) -> None:
        insert = self.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
        last_of_asset = {}
        checks = []
        with self.index_transaction() as connection:
            for event, event_id in zip(events, connection.execute(insert).scalars(), strict=True):
                if event.dagster_event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                    checks.append((event, event_id))
                else:
                    last_of_asset[event.get_dagster_event().asset_key] = (event, event_id)
            # An asset has one row, which each of its events overwrites: only the last one's is ever read.
            for event, event_id in last_of_asset.values():
                self._store_asset_event(connection, event, event_id)
        for event, event_id in checks:
            self.store_asset_check_event(event, event_id)


class BulkPostgresStorage(DagsterStorage, ConfigurableClass):
    """Events, runs and schedules in the platform's database for Dagster, over one pool of connections."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        """Open the storage, and create its tables in an empty database.

        Args:
            postgres_url: Address of the database, `postgresql+psycopg2://…`.
            inst_data: Where Dagster read about this storage.
        """
        self._inst_data = inst_data
        self._event_log_storage = BulkEventLogStorage(postgres_url)
        self._run_storage = PostgresRunStorage(postgres_url)
        self._schedule_storage = PostgresScheduleStorage(postgres_url)
        engine: Any = sqlalchemy.create_engine(postgres_url, **POOL_OPTIONS)
        for storage in (self._event_log_storage, self._run_storage, self._schedule_storage):
            storage._engine = engine
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """Where Dagster read about this storage."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """`home`: the platform's folder; without it the one of the process's settings."""
        return {"home": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "BulkPostgresStorage | DagsterPostgresStorage":
        """The storage `dagster.yaml` asks for, on a server that is started when it is down.

        It also turns Dagster's batches of events on, for this process and those it starts.

        Returns:
            This storage, or the one of `dagster_postgres` when that has changed too much.
        """
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH_SIZE))
        settings = get_settings()
        if "home" in config_value:
            settings = settings.model_copy(update={"home": Path(config_value["home"])})
        url = dagster_database(settings).url("psycopg2")
        if changed := changed_private_names():
            logging.getLogger(__name__).warning(
                "Dagster %s has changed %s, so that its own, slower PostgreSQL storage is used. "
                "Install the version in requirements.lock, or adapt %s.",
                dg.__version__,
                ", ".join(changed),
                __name__,
            )
            return DagsterPostgresStorage(url, inst_data=inst_data)
        return cls(url, inst_data)

    @property
    def event_log_storage(self) -> PostgresEventLogStorage:
        """The event log."""
        return self._event_log_storage

    @property
    def run_storage(self) -> PostgresRunStorage:
        """The runs."""
        return self._run_storage

    @property
    def schedule_storage(self) -> PostgresScheduleStorage:
        """The ticks of schedules and sensors."""
        return self._schedule_storage


def changed_private_names() -> list[str]:
    """The names used here that are gone from Dagster or take other parameters; none in the pinned version."""
    methods = [
        name
        for name, parameters in PRIVATE_NAMES.items()
        if not callable(method := getattr(PostgresEventLogStorage, name, None))
        or tuple(inspect.signature(method).parameters) != parameters
    ]
    engines = [
        f"{storage.__name__}._engine"
        for storage in (PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage)
        if "_engine" not in storage.__init__.__code__.co_names
    ]
    return methods + engines
