"""What assets work with, built once per process."""

from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource

from retail_platform.defs.marts import dbt_project
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings, get_settings


def platform_resources(settings: Settings) -> dict[str, Any]:
    """The resources of one platform: its settings, its lake, and dbt."""
    return {
        "settings": dg.ResourceDefinition.hardcoded_resource(settings),
        "lake": dg.ResourceDefinition.hardcoded_resource(Lake(settings.lake)),
        "dbt": DbtCliResource(project_dir=dbt_project),
    }


@dg.definitions
def resources() -> dg.Definitions:
    """The resources of the platform that the environment names."""
    return dg.Definitions(resources=platform_resources(get_settings()), executor=dg.in_process_executor)
