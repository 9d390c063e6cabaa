"""GraphQL over HTTP."""

import json
from hashlib import sha256
from typing import Any

import httpx
import pytest

from retail_platform.serving.access.principals import Role
from retail_platform.serving.graphql.page import DEFAULT_QUERY
from retail_platform_tests.serving.graphql.asking import PATH, post
from retail_platform_tests.serving.served import Served

QUERY = "query Fresh { freshness { version } }"
ANSWER = {"data": {"freshness": {"version": 1}}}


def get(api: Served, headers: dict[str, str] | None = None, **parameters: str) -> httpx.Response:
    return api.clients[Role.ANALYST].get(PATH, params=parameters, headers=headers)


def test_get_asks_as_post_does(shop: Served) -> None:
    response = get(shop, query=DEFAULT_QUERY, variables='{"granularity": "YEARLY"}', operationName="GetSalesAnalytics")
    assert response.json() == post(shop, DEFAULT_QUERY, granularity="YEARLY").json()


def test_an_unchanged_warehouse_answers_304(shop: Served) -> None:
    first = get(shop, query=QUERY)
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    assert first.headers["cache-control"] == "private, max-age=0, must-revalidate"
    again = get(shop, {"If-None-Match": tag}, query=QUERY)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert get(shop, {"If-None-Match": tag}, query="{ freshness { version } }").status_code == 200
    assert post(shop, QUERY).headers["etag"] == tag


def test_a_viewers_answer_has_a_tag_of_its_own(shop: Served) -> None:
    assert post(shop, QUERY, Role.VIEWER).headers["etag"] != post(shop, QUERY).headers["etag"]


def persisted(hash_: str, version: int = 1) -> dict[str, Any]:
    return {"persistedQuery": {"version": version, "sha256Hash": hash_}}


def test_persisted_queries(shop: Served) -> None:
    client = shop.clients[Role.ANALYST]
    query = "query Kept { freshness { version } }"
    hash_ = sha256(query.encode()).hexdigest()
    only_hash = json.dumps(persisted(hash_))
    unknown = get(shop, extensions=only_hash).json()
    assert unknown["errors"][0]["message"] == "PersistedQueryNotFound"
    assert unknown["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    wrong = client.post(PATH, json={"query": QUERY, "extensions": persisted(hash_)}).json()
    assert "sha256Hash" in wrong["errors"][0]["message"]
    assert client.post(PATH, json={"query": query, "extensions": persisted(hash_)}).json() == ANSWER
    assert get(shop, extensions=only_hash).json() == ANSWER
    assert client.post(PATH, json={"extensions": persisted(hash_)}).json() == ANSWER
    assert client.post(PATH, json={"extensions": persisted(hash_, 2)}).status_code == 400


def test_a_wrong_query_is_not_kept(shop: Served) -> None:
    query = "{ nothing }"
    extensions = persisted(sha256(query.encode()).hexdigest())
    shop.clients[Role.ANALYST].post(PATH, json={"query": query, "extensions": extensions})
    assert get(shop, extensions=json.dumps(extensions)).json()["errors"][0]["message"] == "PersistedQueryNotFound"


@pytest.mark.parametrize(
    ("content", "media_type", "status", "says"),
    [
        (b"{", "application/json", 400, "JSON"),
        (b"[]", "application/json", 400, "Batches"),
        (b"1", "application/json", 400, "object"),
        (b"{}", "application/json", 400, "query"),
        (b'{"query": 1}', "application/json", 400, "query"),
        (b'{"query": "{ __typename }", "variables": []}', "application/json", 400, "variables"),
        (b"{ __typename }", "application/graphql", 415, "application/json"),
        (b"query=x", "application/x-www-form-urlencoded", 415, "application/json"),
    ],
)
def test_what_is_no_graphql_request(shop: Served, content: bytes, media_type: str, status: int, says: str) -> None:
    headers = {"Content-Type": media_type}
    response = shop.clients[Role.ANALYST].post(PATH, content=content, headers=headers)
    assert response.status_code == status
    assert says in response.json()["errors"][0]["message"]


def test_strangers_are_asked_for_a_name(shop: Served) -> None:
    response = httpx.post(f"{shop.url}{PATH}", json={"query": "{ __typename }"})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Basic")


def test_openapi_has_both_methods(shop: Served) -> None:
    operations = shop.json("/openapi.json")["paths"][PATH]
    assert operations.keys() == {"get", "post"}
    for operation in operations.values():
        assert operation["summary"]
        assert operation["security"]
        assert "application/graphql-response+json" in operation["responses"]["200"]["content"]
