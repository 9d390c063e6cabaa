"""What assets work with. Each is made when a run starts, from the settings of that moment."""

import dagster as dg
from dagster_dbt import DbtCliResource

from retail_platform.defs.marts import dbt_project
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings, get_settings


@dg.resource(description="The settings of the platform, from RETAIL_* variables.")
def platform_settings() -> Settings:
    """The settings."""
    return get_settings()


@dg.resource(description="The Delta tables of the platform.")
def platform_lake() -> Lake:
    """The lake."""
    return Lake(get_settings().lake)


RESOURCES = {
    "settings": platform_settings,
    "lake": platform_lake,
    "dbt": DbtCliResource(project_dir=dbt_project),
}
