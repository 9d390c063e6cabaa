"""Asking GraphQL over HTTP."""

from collections.abc import Mapping
from typing import Any

import httpx

from retail_platform.serving.access.principals import Role
from retail_platform_tests.serving.served import Served

PATH = "/api/graphql"


def post(api: Served, query: str, role: Role = Role.ANALYST, **variables: Any) -> httpx.Response:
    return api.clients[role].post(PATH, json={"query": query, "variables": variables})


def data(api: Served, query: str, role: Role = Role.ANALYST, **variables: Any) -> Any:
    """The data of an operation that has to succeed."""
    response = post(api, query, role, **variables)
    assert response.status_code == 200, response.text
    assert response.json().keys() == {"data"}
    return response.json()["data"]


def error(api: Served, query: str, role: Role = Role.ANALYST, **variables: Any) -> Mapping[str, Any]:
    """The one error of an operation that has to fail, with its status."""
    response = post(api, query, role, **variables)
    answer = response.json()
    assert answer.keys() == {"errors"}, answer
    assert len(answer["errors"]) == 1
    return {**answer["errors"][0], "status": response.status_code, **answer["errors"][0]["extensions"]}
