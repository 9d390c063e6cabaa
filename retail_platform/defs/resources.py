"""What assets work with. Each is made when a run starts, from the settings of that moment."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from types import ModuleType
from typing import get_args

import dagster as dg

from retail_platform.engines.choose import Engines
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import EngineName, Settings, get_settings
from retail_platform.warehouse.lock import lake_lock
from retail_platform.warehouse.server import warehouse_database


@dg.resource(description="The settings of the platform, from RETAIL_* variables.")
def platform_settings() -> Settings:
    """The settings."""
    return get_settings()


@dg.resource(description="The Delta tables of the platform; one run at a time has them.")
def platform_lake(context: dg.InitResourceContext) -> Iterator[Lake]:
    """The lake, when no other run is writing it.

    The pool of dagster.yaml keeps queued runs apart; this also keeps apart those that `retail` runs in its own process.
    """
    settings = get_settings()
    logger = dg.get_dagster_logger()
    with lake_lock(warehouse_database(settings), lambda: logger.info("Another run has the lake; waiting for its end.")):
        yield Lake(settings.lake, made_by=f"run {context.run.run_id}" if context.run else None)


@dg.resource(description="dbt, imported on the side while the steps before it run.")
def platform_dbt() -> Future[ModuleType]:
    """dbt's command line; its import takes as long as all steps of a run over one day."""
    aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="import-dbt")
    imported = aside.submit(import_module, "dbt.cli.main")
    aside.shutdown(wait=False)
    return imported


@dg.resource(
    description="What the transformations run on.",
    config_schema={
        "name": dg.Field(
            dg.Enum("EngineName", [dg.EnumValue(name) for name in get_args(EngineName)]),
            is_required=False,
            description="Another engine than RETAIL_ENGINE says, for this run.",
        )
    },
)
def platform_engines(context: dg.InitResourceContext) -> Engines:
    """The engines that the run may take."""
    return Engines(get_settings(), context.resource_config.get("name"))


RESOURCES = {
    "settings": platform_settings,
    "lake": platform_lake,
    "engine": platform_engines,
    "dbt": platform_dbt,
}
