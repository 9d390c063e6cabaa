"""DAGSTER_HOME of a platform, and that the checkout's `dagster.yaml` is in force there."""

from pathlib import Path

import pytest
from dagster._core.instance.config import PoolGranularity
from dagster._core.run_coordinator import QueuedRunCoordinator

from retail_platform.instance.home import open_instance, prepare_dagster_home
from retail_platform.instance.launcher import LocalRunLauncher
from retail_platform.settings import CHECKOUT, Settings


def test_home_follows_the_checkout(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    environment = prepare_dagster_home(settings)
    assert environment["DAGSTER_HOME"] == str(settings.dagster_home)
    assert environment["RETAIL_HOME"] == str(tmp_path)
    assert (settings.dagster_home / "dagster.yaml").resolve() == CHECKOUT / "dagster.yaml"


def test_link_to_a_checkout_that_moved_is_renewed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.dagster_home.mkdir()
    (settings.dagster_home / "dagster.yaml").symlink_to(tmp_path / "elsewhere")
    prepare_dagster_home(settings)
    prepare_dagster_home(settings)
    assert (settings.dagster_home / "dagster.yaml").resolve() == CHECKOUT / "dagster.yaml"


def test_users_own_file_is_not_overwritten(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.dagster_home.mkdir()
    (settings.dagster_home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    with pytest.raises(FileExistsError):
        prepare_dagster_home(settings)


def test_programs_of_this_python_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = prepare_dagster_home(Settings(home=tmp_path))["PATH"]
    monkeypatch.setenv("PATH", path)
    assert prepare_dagster_home(Settings(home=tmp_path))["PATH"] == path
    assert (Path(path.split(":")[0]) / "dbt").exists()


def test_instance_is_as_the_checkout_says(settings: Settings) -> None:
    with open_instance(settings) as instance:
        assert instance.root_directory == str(settings.dagster_home)
        assert instance.get_concurrency_config().pool_config.pool_granularity == PoolGranularity.RUN
        assert isinstance(instance.run_launcher, LocalRunLauncher)
        coordinator = instance.run_coordinator
        assert isinstance(coordinator, QueuedRunCoordinator)
        assert coordinator.dequeue_interval_seconds == 1
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
