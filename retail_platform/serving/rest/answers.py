"""How a REST route answers: a plan of its query string, one statement, and the JSON that PostgreSQL made, spliced.

Lives here: plans and their keeping, what of an answer is kept with the warehouse's version, entity tags.
Stays out: which questions a route asks (`tables`, `sales`, `datamart`).

Plans are kept by their query string, so that a request asked before costs no reading of its parameters; answers are not
kept, but for what is the same on each page of a list (aggregations; totals, in `database`), and that only while the
warehouse's version, which each statement reads, stays the same.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from fastapi import Request, Response

from retail_platform.serving.access.principals import principal_of
from retail_platform.serving.database import Answers, Warehouse
from retail_platform.serving.etags import digest, etag, is_fresh
from retail_platform.serving.query.shapes import Encoding, Question

PLANS = 2048
"""Query strings of a route whose plans are kept."""
LONGEST_KEPT = 2048
"""Characters; a longer query string is read anew each time."""
KEPT_ANSWERS = 1024
"""Aggregations that a route keeps, beside the totals that the warehouse keeps."""

ENCODINGS = {sees: Encoding(decimals_as_text=False, masks_customers=not sees) for sees in (True, False)}

HEADERS = {
    "Cache-Control": "private, max-age=0, must-revalidate",
    "Vary": "Authorization, X-API-Key, Accept-Encoding",
}

Body = Callable[[Sequence[bytes], Sequence[int]], bytes]
"""Puts the answers to the questions together: the JSON of each, and how many rows are in it."""

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The answer in If-None-Match still holds."}}
"""For `responses=` of these routes."""


@dataclass(frozen=True)
class Plan:
    """What a request asks of the warehouse, and the answer that is made of it.

    Attributes:
        asked: the questions of every request.
        body: of the answers to `asked`, then those to `kept`.
        kept: questions whose answers are kept as long as the warehouse's version stays.
    """

    asked: tuple[Question, ...]
    body: Body
    kept: tuple[Question, ...] = ()

    @cached_property
    def kept_key(self) -> str:
        """By which the answers to `kept` are found."""
        return digest(self.kept)


MakePlan = Callable[[str, bool], Plan]
"""Of a query string, and whether customers may be seen."""

Endpoint = Callable[[Request], Awaitable[Response]]


def planned(path: str, make_plan: MakePlan) -> Endpoint:
    """The endpoint of a GET route.

    Args:
        path: of the route.
        make_plan: of a query string and whether customers may be seen; raises QuestionError.
    """
    kept = Kept()

    def make(query_string: str, sees_customers: bool) -> tuple[Plan, str]:
        return make_plan(query_string, sees_customers), digest(path, query_string, sees_customers)

    make_once = lru_cache(PLANS)(make)

    async def endpoint(request: Request) -> Response:
        sees_customers = principal_of(request).sees_customers
        query_string = request.scope["query_string"].decode("latin-1")
        plan, asked = (make_once if len(query_string) <= LONGEST_KEPT else make)(query_string, sees_customers)
        warehouse: Warehouse = request.app.state.warehouse
        if if_none_match := request.headers.get("if-none-match"):
            tag = etag(await warehouse.version(), asked)
            if is_fresh(if_none_match, tag):
                return Response(status_code=304, headers={**HEADERS, "ETag": tag})
        return await answer(request, plan, kept, asked)

    return endpoint


async def answer(request: Request, plan: Plan, kept: "Kept", asked: str | None = None) -> Response:
    """Answer a request by a plan.

    Args:
        request: whose principal is known.
        plan: of the request.
        kept: the route's.
        asked: digest of what was asked; without one, the answer is not tagged and may not be stored.
    """
    answers = await kept.ask(request.app.state.warehouse, plan, principal_of(request).sees_customers)
    request.scope["state"]["rows"] = sum(answers.rows[: len(plan.asked)])
    headers = {**HEADERS, "ETag": etag(answers.version, asked)} if asked is not None else {"Cache-Control": "no-store"}
    return Response(plan.body(answers.json, answers.rows), 200, headers, "application/json")


class Kept:
    """The answers to `kept` of a route's plans, by who may see them; those kept first go first.

    One is given out as long as the answers to `asked` are of the warehouse's version that it is of, and kept anew then.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, bool], Answers] = OrderedDict()

    async def ask(self, warehouse: Warehouse, plan: Plan, sees_customers: bool) -> Answers:
        """Answer a plan's questions, as a rule in one statement, and in two when the warehouse has just changed.

        Returns:
            The answers to `asked`, then those to `kept`.
        """
        key, encoding = (plan.kept_key, sees_customers), ENCODINGS[sees_customers]
        if plan.kept and (known := self._answers.get(key)):
            answers = await warehouse.ask(plan.asked, encoding)
            if answers.version == known.version:
                return Answers(answers.version, answers.json + known.json, answers.rows + known.rows)
        answers = await warehouse.ask(plan.asked + plan.kept, encoding)
        if plan.kept:
            start = len(plan.asked)
            self._answers[key] = Answers(answers.version, answers.json[start:], answers.rows[start:])
            if len(self._answers) > KEPT_ANSWERS:
                self._answers.popitem(last=False)
        return answers
