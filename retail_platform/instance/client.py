"""Runs of Dagster from outside of it: started, looked at and ended over HTTP, by Dagster's own client.

Lives here: what the API asks of Dagster's webserver. Stays out: what may be started by whom (`serving`), and the jobs
themselves (`defs`). Importing it takes seconds and every call waits for an answer: both belong in a thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
from gql import Client, GraphQLRequest
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.requests import RequestsHTTPTransport
from requests.exceptions import RequestException

TIMEOUT_SECONDS = 30
"""For one answer; a launch waits until the job's definition is read."""

RUN = """
fragment run on Run {
  runId jobName status creationTime startTime endTime
  tags { key value }
  stepStats { stepKey status startTime endTime }
  executionPlan { steps { key } }
}
"""
RUN_BY_ID = RUN + "query Run($id: ID!) { runOrError(runId: $id) { __typename ... on Run { ...run } } }"
RUNS_BY_TAGS = (
    RUN + "query Runs($tags: [ExecutionTag!], $limit: Int)"
    "{ runsOrError(filter: {tags: $tags}, limit: $limit) { __typename ... on Runs { results { ...run } } } }"
)
FAILURES = """
    query Failures($id: ID!) {
      runOrError(runId: $id) {
        ... on Run {
          eventConnection {
            events {
              __typename
              ... on ExecutionStepFailureEvent { stepKey error { message errorChain { error { message } } } }
              ... on RunFailureEvent { message }
            }
          }
        }
      }
    }
"""


class DagsterDownError(Exception):
    """Dagster's webserver does not answer; the message says where it was looked for."""


class DagsterRefusedError(Exception):
    """Dagster does not do what it was asked; the message is Dagster's own."""


@dataclass(frozen=True)
class Step:
    """A step of a run: `status` is Dagster's (SUCCESS, FAILURE, SKIPPED, IN_PROGRESS), None before it starts."""

    key: str
    status: str | None
    started_at: float | None
    ended_at: float | None


@dataclass(frozen=True)
class Run:
    """A run as Dagster has it; times in seconds since 1970, `status` in Dagster's words (QUEUED … CANCELED)."""

    run_id: str
    job: str
    status: str
    tags: Mapping[str, str]
    created_at: float
    started_at: float | None
    ended_at: float | None
    steps: Sequence[Step]


class RunsClient:
    """Asks one webserver; a connection a call, so that any thread may use it."""

    def __init__(self, url: str) -> None:
        """Remember where the webserver is.

        Args:
            url: for example `http://127.0.0.1:3000`.
        """
        self._url = url.rstrip("/")

    def launch(self, job: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Start a job.

        Returns:
            The id of its run, which is queued.

        Raises:
            DagsterDownError: the webserver does not answer.
            DagsterRefusedError: there is no such job, or the configuration does not fit it.
        """
        client = self._dagster()
        try:
            return str(client.submit_job_execution(job, run_config=config, tags=dict(tags)))
        except DagsterGraphQLClientError as error:
            raise self._explained(error) from error

    def terminate(self, run_id: str) -> None:
        """Have a run end before its time.

        Raises:
            DagsterDownError: the webserver does not answer.
            DagsterRefusedError: the run has ended already, or there is none.
        """
        client = self._dagster()
        try:
            client.terminate_run(run_id)
        except DagsterGraphQLClientError as error:
            raise self._explained(error) from error

    def run(self, run_id: str) -> Run | None:
        """A run, None when there is none of this id.

        Raises:
            DagsterDownError: the webserver does not answer.
        """
        found = self._ask(RUN_BY_ID, {"id": run_id})["runOrError"]
        return _read_run(found) if found["__typename"] == "Run" else None

    def runs(self, tags: Mapping[str, str], limit: int) -> list[Run]:
        """The latest runs that have these tags, the latest first.

        Raises:
            DagsterDownError: the webserver does not answer.
        """
        wanted = [{"key": key, "value": value} for key, value in tags.items()]
        found = self._ask(RUNS_BY_TAGS, {"tags": wanted, "limit": limit})["runsOrError"]
        return [_read_run(run) for run in found.get("results", [])]

    def failures(self, run_id: str) -> list[str]:
        """What a run failed with, the innermost error of each step.

        Raises:
            DagsterDownError: the webserver does not answer.
        """
        events = self._ask(FAILURES, {"id": run_id})["runOrError"].get("eventConnection", {"events": []})["events"]
        steps = [_innermost(event) for event in events if event["__typename"] == "ExecutionStepFailureEvent"]
        return steps or [event["message"] for event in events if event["__typename"] == "RunFailureEvent"]

    def _transport(self) -> RequestsHTTPTransport:
        return RequestsHTTPTransport(url=f"{self._url}/graphql", timeout=TIMEOUT_SECONDS)

    def _dagster(self) -> DagsterGraphQLClient:
        return DagsterGraphQLClient(str(urlsplit(self._url).hostname), transport=self._transport())

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Dagster's client reads no more of a run than its status; the client beneath it asks the rest."""
        try:
            return dict(
                Client(transport=self._transport()).execute(GraphQLRequest(query, variable_values=dict(variables)))
            )
        except TransportQueryError as error:
            raise DagsterRefusedError(f"Dagster says: {error}") from error
        except (TransportError, RequestException) as error:
            raise self._down() from error

    def _explained(self, error: DagsterGraphQLClientError) -> DagsterDownError | DagsterRefusedError:
        if isinstance(error.__cause__, TransportError | RequestException):
            return self._down()
        # With a cause, the error's own text is the whole query.
        said = [error.__cause__] if error.__cause__ else error.args
        return DagsterRefusedError(f"Dagster says: {' '.join(map(str, said))}")

    def _down(self) -> DagsterDownError:
        return DagsterDownError(f"Dagster does not answer at {self._url}.")


def _innermost(event: Mapping[str, Any]) -> str:
    error = event["error"]
    chain = [link["error"]["message"] for link in error["errorChain"]]
    return f"{event['stepKey']}: {(chain or [error['message']])[-1].strip()}"


def _read_run(run: Mapping[str, Any]) -> Run:
    stats = {stat["stepKey"]: stat for stat in run["stepStats"]}
    planned = [step["key"] for step in (run["executionPlan"] or {"steps": []})["steps"]]
    steps = [
        Step(key, stat.get("status"), stat.get("startTime"), stat.get("endTime"))
        for key in planned or stats
        for stat in [stats.get(key, {})]
    ]
    return Run(
        run_id=run["runId"],
        job=run["jobName"],
        status=run["status"],
        tags={tag["key"]: tag["value"] for tag in run["tags"]},
        created_at=run["creationTime"],
        started_at=run["startTime"],
        ended_at=run["endTime"],
        steps=steps,
    )
