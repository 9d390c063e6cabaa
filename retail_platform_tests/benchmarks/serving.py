"""Requests a second of the API, beside what else could answer: `python -m retail_platform_tests.benchmarks.serving`.

Three questions, asked of three servers on the same PostgreSQL, in turns of some seconds, so that a noisy machine hurts
all alike: the platform's API as `retail serve` runs it (a key, a limit that does not bind, everything else on); a bare
endpoint with hand-written SQL (`bare`); and PostGraphile, where a folder with it is given (`npm install postgraphile
postgraphile-plugin-connection-filter@2` made it). Every answer is compared with the API's before any is timed. At
the end 1,000 connections ask the API at once.

Requests a second are over all turns; of the percentiles, which cannot be added up, the median turn is shown. Processor
time is that of the server's own process for an answer, PostgreSQL's aside: it hardly depends on what else runs.
"""

import asyncio
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click
import httpx
import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from retail_platform.serving.access.accounts import add_key, revoke_key
from retail_platform.serving.access.principals import Role
from retail_platform.serving.access.tables import prepare_access
from retail_platform.settings import CHECKOUT, Settings, get_settings
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.server import warehouse_database
from retail_platform.warehouse.tables import READER, prepare_warehouse

CONNECTIONS = (1, 16, 64)
AT_ONCE = 1000
WIDTH = 160
"""Characters of the table, also where the terminal is narrower or none."""
START_SECONDS = 60
SALES, COUNTED, ANALYTICS, GRAPHQL = "a page of sales", "…, total counted", "monthly analytics", "GraphQL query"
OURS, BARE, POSTGRAPHILE = "retail serve", "bare endpoint", "PostGraphile"

COUNTRIES = ("GB", "DE", "FR", "IE")
DATES = [date(2010, 12, 1) + timedelta(days=17 * number) for number in range(20)]
"""What varies from request to request."""

QUERY = """
query GetSalesAnalytics($granularity: TimeGranularity!) {
  salesAnalytics(granularity: $granularity) { period totalRevenue uniqueCustomers }
  customerSegments { segmentName customerCount avgLifetimeValue }
}
"""
POSTGRAPHILE_QUERY = """
query GetSalesAnalytics($granularity: String!) {
  allSalesByPeriods(condition: {granularity: $granularity}, orderBy: PERIOD_ASC) {
    nodes { period netRevenue customerCount }
  }
  allCustomerSegments(orderBy: RFM_SEGMENT_ASC) { nodes { rfmSegment customerCount avgLifetimeValue } }
}
"""
POSTGRAPHILE_PAGE = """
query Sales($country: BigInt!, $from: Date!) {
  allFactSales(
    first: 50, orderBy: [SALE_DATE_DESC, SALE_ID_DESC]
    condition: {countryKey: $country}, filter: {saleDate: {greaterThanOrEqualTo: $from}}
  ) {
    nodes {
      saleId saleDate invoicedAt dimInvoiceByInvoiceKey { invoiceNo }
      dimProductByProductKey { stockCode description } dimCountryByCountryKey { countryCode countryName }
      dimCustomerByCustomerKey { customerId } quantity unitPrice totalAmount lineType isCancelled
    }
    totalCount
  }
}
"""
POSTGRAPHILE_ANALYTICS = """
query Analytics($granularity: String!, $from: Date!) {
  allSalesByPeriods(
    condition: {granularity: $granularity}, filter: {period: {greaterThanOrEqualTo: $from}}, orderBy: PERIOD_ASC
  ) {
    nodes {
      granularity period periodTo isClosed netRevenue productRevenue postageRevenue feeRevenue discountRevenue
      giftVoucherRevenue manualRevenue sampleRevenue otherRevenue grossRevenue cancelledAmount orderCount
      guestOrderCount cancelledOrderCount customerCount lineCount unitCount avgOrderValue
    }
    totalCount
  }
}
"""


@dataclass(frozen=True)
class Request:
    """A GET of a path, or a POST of a JSON body."""

    path: str
    body: str = ""

    @property
    def method(self) -> str:
        """Of HTTP."""
        return "POST" if self.body else "GET"


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        pid: of its process.
        requests: question -> its variations.
    """

    name: str
    pid: int
    url: str
    requests: Mapping[str, Sequence[Request]]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """What one turn of load gave; latencies in milliseconds."""

    answers: int
    seconds: float
    p50: float
    p99: float
    failures: int
    processor_seconds: float = 0


Load = Callable[[Server, Sequence[Request], int, float], Turn]
"""Asks a server the requests in turn, over some connections, for some seconds."""


def rest_requests(sales: str, analytics: str) -> dict[str, list[Request]]:
    """The two questions over REST, at these paths."""
    pages = [
        {"country": COUNTRIES[number % len(COUNTRIES)], "date_from": day, "page": 1, "size": 50}
        for number, day in enumerate(DATES)
    ]
    periods = [{"granularity": "monthly", "date_from": day} for day in DATES]
    return {
        SALES: [Request(f"{sales}?{urlencode(page)}") for page in pages],
        ANALYTICS: [Request(f"{analytics}?{urlencode(period)}") for period in periods],
    }


def graphql_request(path: str, query: str, **variables: object) -> Request:
    """One operation."""
    return Request(path, json.dumps({"query": query, "variables": variables}, default=str))


def postgraphile_requests(keys: Mapping[str, int]) -> dict[str, list[Request]]:
    """The three questions as PostGraphile takes them.

    Args:
        keys: country_key by country_code.
    """
    wanted = [(COUNTRIES[number % len(COUNTRIES)], day) for number, day in enumerate(DATES)]
    pages = [{"country": str(keys[code]), "from": day} for code, day in wanted]
    periods = [{"granularity": "MONTHLY", "from": day} for day in DATES]
    return {
        SALES: [graphql_request("/graphql", POSTGRAPHILE_PAGE, **page) for page in pages],
        ANALYTICS: [graphql_request("/graphql", POSTGRAPHILE_ANALYTICS, **period) for period in periods],
        GRAPHQL: [graphql_request("/graphql", POSTGRAPHILE_QUERY, granularity="MONTHLY")],
    }


@contextmanager
def our_server(settings: Settings, database: Database) -> Iterator[Server]:
    """`retail serve` with a key made for the time."""
    name = f"benchmark-{os.getpid()}"
    with database.connect(autocommit=True) as connection:
        prepare_access(connection)
        key = add_key(connection, name, Role.ANALYST, timedelta(hours=1))
    paths = rest_requests("/api/v1/sales", "/api/v1/datamart/sales/analytics")
    requests = {**paths, GRAPHQL: [graphql_request("/api/graphql", QUERY, granularity="MONTHLY")]}
    limits = {"RETAIL_RATE_LIMITS": json.dumps({"analyst": "1000000/second"})}
    program = Path(sys.executable).with_name("retail")
    try:
        with running([str(program), "serve", "--port"], {"RETAIL_HOME": str(settings.home), **limits}) as (pid, url):
            yield Server(OURS, pid, url, requests, {"X-API-Key": key})
    finally:
        with database.connect(autocommit=True) as connection:
            revoke_key(connection, name)


@contextmanager
def bare_server(settings: Settings) -> Iterator[Server]:
    """The hand-written endpoint."""
    paths = rest_requests("/sales", "/analytics")
    counted = [Request(request.path.replace("?", "/counted?")) for request in paths[SALES]]
    requests = {**paths, COUNTED: counted, GRAPHQL: [graphql_request("/graphql", QUERY, granularity="MONTHLY")]}
    command = [sys.executable, "-m", "retail_platform_tests.benchmarks.bare"]
    with running(command, {"RETAIL_HOME": str(settings.home)}) as (pid, url):
        yield Server(BARE, pid, url, requests)


@contextmanager
def postgraphile_server(folder: Path, settings: Settings, database: Database) -> Iterator[Server]:
    """PostGraphile 4 as it is run in production: no log, no GraphiQL, no mutations, as many connections as the API.

    The role is set once per connection; as `--default-role` it would cost a transaction per request.
    """
    with database.connect() as connection:
        keys: dict[str, int] = dict(
            connection.execute("select country_code, country_key from gold.dim_country").fetchall()
        )
    address = f"postgresql://{quote(database.user, safe='')}@{quote(database.host, safe='')}:{database.port}"
    options = ["--append-plugins", "postgraphile-plugin-connection-filter", "--use-partitioned-parent"]
    options += ["--disable-query-log", "--disable-graphiql", "--disable-default-mutations", "--dynamic-json"]
    command = ["node", str(folder / "node_modules" / ".bin" / "postgraphile"), *options, "--schema", "gold,marts"]
    command += ["--connection", f"{address}/{database.dbname}", "--max-pool-size", str(settings.api_connections)]
    environment = {"NODE_ENV": "production", "PGOPTIONS": f"-c role={READER} -c jit=off"}
    if database.password:
        environment["PGPASSWORD"] = database.password
    with running([*command, "--host", "127.0.0.1", "--port"], environment, folder) as (pid, url):
        yield Server(POSTGRAPHILE, pid, url, postgraphile_requests(keys))


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], folder: Path = CHECKOUT
) -> Iterator[tuple[int, str]]:
    """Start a server on a free port of this machine, its last argument, and end it; its process and address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, str(port)], env={**os.environ, **environment}, cwd=folder, stdout=log, stderr=log
        )
        try:
            _wait_for(process, port, log)
            yield process.pid, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Any) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    log.seek(0)
    raise click.ClickException(f"{process.args!r} does not listen on port {port}:\n{log.read().decode()[-4000:]}")


def check_answers(servers: Sequence[Server]) -> None:
    """Ask every server every request; they have to answer the same rows and totals, or nothing is timed."""
    expected: dict[tuple[str, int], list[object]] = {}
    for server in servers:
        for question, requests in server.requests.items():
            for number, request in enumerate(requests):
                found = rows_of(ask(server, request))
                known = expected.setdefault((question.replace(COUNTED, SALES), number), found)
                if found != known:
                    raise click.ClickException(
                        f"{server.name} answers {request} otherwise than {servers[0].name}: "
                        f"{_first_difference(found, known)}"
                    )


def ask(server: Server, request: Request) -> Any:
    """The JSON of one answer."""
    headers = {**server.headers, "Content-Type": "application/json"}
    response = httpx.request(
        request.method, server.url + request.path, content=request.body, headers=headers, timeout=30
    )
    if response.status_code != 200 or "errors" in response.json():
        raise click.ClickException(f"{server.name}, {request}: {response.status_code} {response.text[:2000]}")
    return json.loads(response.text, parse_float=Decimal)


def rows_of(answer: Any) -> list[object]:
    """The values of an answer in order, then the total: numbers as such, whether they came as text or not."""
    values = list(_leaves(answer["data"]))
    return [*values, Decimal(answer["pagination"]["total"])] if "pagination" in answer else values


def _leaves(value: Any) -> Iterator[object]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
        return
    try:
        yield value if value is None or isinstance(value, bool) else Decimal(value)
    except InvalidOperation:
        yield value


def _first_difference(found: Sequence[object], known: Sequence[object]) -> str:
    if len(found) != len(known):
        return f"{len(found)} values, expected {len(known)}"
    place = next(number for number, pair in enumerate(zip(found, known, strict=True)) if pair[0] != pair[1])
    return f"value {place} is {found[place]!r}, expected {known[place]!r}"


def load_by_wrk(server: Server, requests: Sequence[Request], connections: int, seconds: float) -> Turn:
    """A turn of load by wrk, which takes a fraction of the processor time that a client in Python does."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "requests.lua")
        script.write_text(_lua(server, requests))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "--latency"]
        ended = subprocess.run(
            [*command, "-s", str(script), server.url], capture_output=True, text=True, check=True, timeout=seconds + 60
        )
    found = json.loads(ended.stdout.rpartition("RESULT ")[2])
    return Turn(found["answers"], found["us"] / 1e6, found["p50"] / 1e3, found["p99"] / 1e3, found["failures"])


def _lua(server: Server, requests: Sequence[Request]) -> str:
    headers = {**server.headers, "Content-Type": "application/json"}
    table = ", ".join(f"[ {_text(name)} ] = {_text(value)}" for name, value in headers.items())
    formatted = "\n".join(
        f"  requests[{number}] = wrk.format({_text(request.method)}, {_text(request.path)}, headers, "
        f"{_text(request.body) if request.body else 'nil'})"
        for number, request in enumerate(requests)
    )
    return f"""
local requests, n = {{}}, 0
function init(args)
  local headers = {{ {table} }}
{formatted}
end
function request()
  n = n + 1
  return requests[n % {len(requests)}]
end
function done(summary, latency)
  local e = summary.errors
  local failures = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format('RESULT {{"answers": %d, "us": %d, "p50": %d, "p99": %d, "failures": %d}}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failures))
end
"""


def _text(value: str) -> str:
    """As a literal of Lua."""
    return f"[==[{value}]==]"


def load_by_python(server: Server, requests: Sequence[Request], connections: int, seconds: float) -> Turn:
    """A turn of load where there is no wrk: slower itself, so that fast servers come out closer than they are."""

    async def work() -> tuple[list[float], Counter[int]]:
        end, latencies, statuses = time.perf_counter() + seconds, [], Counter[int]()

        async def repeat(first: int) -> None:
            async with _Connection(server) as connection:
                number = first
                while (began := time.perf_counter()) < end:
                    statuses[await connection.ask(requests[number % len(requests)])] += 1
                    latencies.append((time.perf_counter() - began) * 1000)
                    number += 1

        await asyncio.gather(*(repeat(first) for first in range(connections)))
        return latencies, statuses

    began = time.perf_counter()
    latencies, statuses = asyncio.run(work())
    cuts = statistics.quantiles(latencies, n=100)
    elapsed = time.perf_counter() - began
    return Turn(len(latencies), elapsed, cuts[49], cuts[98], len(latencies) - statuses[200])


class _Connection:
    """One connection that stays open."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __aenter__(self) -> "_Connection":
        address = urlsplit(self._server.url)
        self._reader, self._writer = await asyncio.open_connection(address.hostname, address.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def ask(self, request: Request) -> int:
        """The status of an answer, read to its end."""
        body = request.body.encode()
        headers = {**self._server.headers, "Host": "127.0.0.1", "Content-Type": "application/json"}
        lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": str(len(body))}.items()]
        head = "\r\n".join([f"{request.method} {request.path} HTTP/1.1", *lines, "", ""])
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        await self._reader.readexactly(int(answer.partition("content-length:")[2].split("\r\n")[0]))
        return int(answer.split(" ")[1])


def ask_at_once(server: Server, count: int) -> tuple[float, dict[str, int]]:
    """Open so many connections, then ask on all of them at once: seconds to the last answer, and what came back."""
    requests = server.requests[SALES]
    outcomes: Counter[str] = Counter()

    async def ask_one(connection: _Connection, request: Request) -> None:
        try:
            outcomes[str(await asyncio.wait_for(connection.ask(request), 60))] += 1
        except (OSError, EOFError, TimeoutError) as error:
            outcomes[type(error).__name__] += 1

    async def work() -> float:
        connections = [await _Connection(server).__aenter__() for _ in range(count)]
        began = time.perf_counter()
        await asyncio.gather(*(ask_one(each, requests[n % len(requests)]) for n, each in enumerate(connections)))
        elapsed = time.perf_counter() - began
        for each in connections:
            await each.__aexit__()
        return elapsed

    return asyncio.run(work()), dict(outcomes)


def measure(servers: Sequence[Server], load: Load, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Every question at every number of connections, the servers taking turns; figures of each server."""
    figures = []
    for question in (SALES, COUNTED, ANALYTICS, GRAPHQL):
        asked = [server for server in servers if question in server.requests]
        for connections in CONNECTIONS:
            turns: dict[str, list[Turn]] = {server.name: [] for server in asked}
            for _ in range(rounds):
                for server in asked:
                    turns[server.name].append(_turn(load, server, server.requests[question], connections, seconds))
            found = {name: _together(each) for name, each in turns.items()}
            figures.append({"question": question, "connections": connections, "servers": found})
    return figures


def _turn(load: Load, server: Server, requests: Sequence[Request], connections: int, seconds: float) -> Turn:
    """A turn with the processor time it took."""
    process = psutil.Process(server.pid)
    before = process.cpu_times()
    turn = load(server, requests, connections, seconds)
    after = process.cpu_times()
    return replace(turn, processor_seconds=after.user + after.system - before.user - before.system)


def _together(turns: Sequence[Turn]) -> dict[str, float]:
    return {
        "per second": sum(turn.answers for turn in turns) / sum(turn.seconds for turn in turns),
        "p50": statistics.median(turn.p50 for turn in turns),
        "p99": statistics.median(turn.p99 for turn in turns),
        "processor": 1000 * sum(turn.processor_seconds for turn in turns) / sum(turn.answers for turn in turns),
        "failures": sum(turn.failures for turn in turns),
    }


def show(figures: Sequence[dict[str, Any]]) -> Table:
    """What every server gave, and how ours compares."""
    names = list(dict.fromkeys(name for row in figures for name in row["servers"]))
    others = [name for name in names if name != OURS]
    title = "Requests a second | p50 ms | p99 ms | processor ms an answer"
    table = Table("question", "connections", title=title, title_justify="left")
    for name in [*names, *(f"{OURS} / {name}" for name in others)]:
        table.add_column(name, justify="right")
    for row in figures:
        found = row["servers"]
        cells = [_figures(found[name]) if name in found else "" for name in names]
        for name in others:
            both = name in found and OURS in found
            cells.append(f"{found[OURS]['per second'] / found[name]['per second']:.0%}" if both else "")
        is_last = row["connections"] == CONNECTIONS[-1]
        table.add_row(row["question"], str(row["connections"]), *cells, end_section=is_last)
    return table


def _figures(found: Mapping[str, float]) -> str:
    return f"{found['per second']:,.0f} | {found['p50']:.1f} | {found['p99']:.1f} | {found['processor']:.2f}"


@click.command()
@click.option(
    "--home", type=click.Path(file_okay=False, path_type=Path), help="A platform with data; else RETAIL_HOME."
)
@click.option("--seconds", default=3.0, show_default=True, help="Of a turn.")
@click.option("--rounds", default=3, show_default=True, help="Turns of each server for each figure.")
@click.option("--postgraphile", type=click.Path(exists=True, path_type=Path), help="Folder it is installed in.")
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there too.")
def main(home: Path | None, seconds: float, rounds: int, postgraphile: Path | None, output: Path | None) -> None:
    """Check, measure, and print one table."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    settings = get_settings() if home is None else get_settings().model_copy(update={"home": home.resolve()})
    database, console = warehouse_database(settings), Console(width=WIDTH)
    with database.connect() as connection:
        prepare_warehouse(connection)
    load = load_by_wrk if shutil.which("wrk") else load_by_python
    with ExitStack() as stack:
        servers = [stack.enter_context(our_server(settings, database)), stack.enter_context(bare_server(settings))]
        if postgraphile is None:
            console.print("PostGraphile is left out: --postgraphile names no folder with it.")
        else:
            servers.append(stack.enter_context(postgraphile_server(postgraphile.resolve(), settings, database)))
        check_answers(servers)
        figures = measure(servers, load, seconds, rounds)
        at_once_seconds, outcomes = ask_at_once(servers[0], AT_ONCE)
    console.print(show(figures))
    failures = {name: each["failures"] for row in figures for name, each in row["servers"].items() if each["failures"]}
    console.print(f"Failed requests: {failures or 'none'}.")
    console.print(f"{AT_ONCE} connections at once, a page each: {outcomes} in {at_once_seconds:.2f} s.")
    if output:
        at_once = {"connections": AT_ONCE, "seconds": at_once_seconds, "outcomes": outcomes}
        output.write_text(json.dumps({"load": load.__name__, "figures": figures, "at once": at_once}, indent=2))


if __name__ == "__main__":
    main()
