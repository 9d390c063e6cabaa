"""Starts one of Dagster's programs in the environment that the platform's settings give: `entrypoint.py PROGRAM …`."""

import os
import sys

from retail_platform.instance.home import prepare_dagster_home
from retail_platform.settings import get_settings

if __name__ == "__main__":
    settings = get_settings()
    os.environ.update(prepare_dagster_home(settings))
    settings.landing.mkdir(exist_ok=True)
    os.execvp(sys.argv[1], sys.argv[1:])
