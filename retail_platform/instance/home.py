"""The folder Dagster works in, and the environment its processes need.

Lives here: DAGSTER_HOME of a platform, and opening its instance in this process. Stays out: the storage (`storage`),
the settings of the instance (`dagster.yaml` at the top of the checkout).
"""

import os
import sys
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from retail_platform.instance.storage import EVENT_BATCH_SIZE, BulkPostgresStorage
from retail_platform.settings import CHECKOUT, Settings

SENSOR_TIMEOUT_SECONDS = 600
"""A sensor registers what landed: hashing a first delivery of many gigabytes takes longer than Dagster's 60 s."""


def prepare_dagster_home(settings: Settings) -> dict[str, str]:
    """Have a DAGSTER_HOME that follows the checkout's `dagster.yaml`.

    Args:
        settings: Of the platform whose folder it is.

    Returns:
        What processes of Dagster need in their environment, to be laid over the one of this process.

    Raises:
        FileExistsError: There is a `dagster.yaml` of the user's own in the folder.
    """
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    link, target = settings.dagster_home / "dagster.yaml", CHECKOUT / "dagster.yaml"
    if link.is_symlink() and link.readlink() != target:
        link.unlink()
    if not link.is_symlink():
        link.symlink_to(target)
    programs = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    return {
        "RETAIL_HOME": str(settings.home),
        "DAGSTER_HOME": str(settings.dagster_home),
        "DAGSTER_EVENT_BATCH_SIZE": str(EVENT_BATCH_SIZE),
        "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": str(SENSOR_TIMEOUT_SECONDS),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "PATH": path if path.split(os.pathsep)[0] == programs else os.pathsep.join([programs, path]),
    }


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open a platform's instance in this process, whatever DAGSTER_HOME says.

    Args:
        settings: Of the platform; only `home` may differ from the settings of the process.

    Returns:
        The instance, to be used as a context manager.
    """
    prepare_dagster_home(settings)
    storage = {
        "module": BulkPostgresStorage.__module__,
        "class": BulkPostgresStorage.__name__,
        "config": {"home": str(settings.home)},
    }
    reference = InstanceRef.from_dir(str(settings.dagster_home), overrides={"storage": {"custom": storage}})
    return dg.DagsterInstance.from_ref(reference)
