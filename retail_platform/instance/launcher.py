"""Which runs are still alive, so that run monitoring fails the others.

Dagster's launcher for one machine hears of a killed worker only while the code server that started it lives. After a
crash of the machine, or a kill of a run in a terminal, the run would count as running for ever, and block the pools it
is in.

Lives here: the launcher that knows, named by `dagster.yaml`. Stays out: what is done about a dead run (Dagster's run
monitoring and retries, set in `dagster.yaml`).
"""

import json

import dagster as dg
import psutil  # type: ignore[import-untyped]
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG


class LocalRunLauncher(dg.DefaultRunLauncher):
    """Launches runs through code servers, and looks for their processes on this machine."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring may ask: yes."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a started run still exists.

        A run on a code server of another machine, or one that has not named its process yet, counts as running.

        Args:
            run: A run in status STARTED.

        Returns:
            RUNNING, or NOT_FOUND with the number of the process that is gone.
        """
        server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
        if server.get("host", "localhost") not in ("localhost", "127.0.0.1"):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        process = self._process(run.run_id)
        if process is None or _exists(*process):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"There is no process {process[0]} any more.")

    def _process(self, run_id: str) -> tuple[int, float] | None:
        """Number of the run's latest process, and when it said so in seconds since 1970."""
        for entry in reversed(self._instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)):
            metadata = entry.get_dagster_event().engine_event_data.metadata
            if "pid" in metadata:
                return int(str(metadata["pid"].value)), entry.timestamp
        return None


def _exists(pid: int, seen_at: float) -> bool:
    """Whether a process runs under that number which is not a later one."""
    try:
        return bool(psutil.Process(pid).create_time() <= seen_at)
    except psutil.NoSuchProcess:
        return False
