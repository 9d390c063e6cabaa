"""Tokens of an outside issuer, which is a small real HTTP server that publishes keys made here."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from retail_platform.serving.access.issuer import Issuer
from retail_platform.settings import Settings
from retail_platform_tests.serving.access.conftest import Api, StartApi
from retail_platform_tests.serving.access.test_credentials import assert_refused

AUDIENCE = "the-retail-api"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
STRANGER = rsa.generate_private_key(65537, 2048)


@contextmanager
def publishing(documents: dict[str, Any]) -> Iterator[str]:
    """An HTTP server that answers with JSON documents by their paths."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = documents.get(self.path)
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(found if isinstance(found, bytes) else json.dumps(found).encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The issuer's address, which is its name."""
    keys = [
        {**RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True), "kid": "rsa", "use": "sig", "alg": "RS256"},
        {**ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True), "kid": "ec", "use": "sig"},
    ]
    documents: dict[str, Any] = {"/keys": {"keys": keys}}
    with publishing(documents) as url:
        documents["/.well-known/openid-configuration"] = {"issuer": url, "jwks_uri": f"{url}/keys"}
        yield url


@pytest.fixture(scope="module")
def api(start_api: StartApi, issuer: str) -> Iterator[Api]:
    roles = {"retail-analysts": "analyst", "retail-admins": "admin"}
    claim = "realm_access.roles"
    with start_api(oidc_issuer=issuer, oidc_audience=AUDIENCE, oidc_role_claim=claim, oidc_roles=roles) as running:
        yield running


def claims(issuer: str, **changed: Any) -> dict[str, Any]:
    now = int(time.time())
    usual = {"iss": issuer, "aud": AUDIENCE, "sub": "ana@example.org", "iat": now, "exp": now + 300}
    return usual | {"realm_access": {"roles": ["other", "retail-analysts"]}} | changed


@pytest.mark.parametrize(("key", "kid", "algorithm"), [(RSA_KEY, "rsa", "RS256"), (EC_KEY, "ec", "ES256")])
def test_a_token_of_the_issuer_is_a_way_in(api: Api, issuer: str, key: Any, kid: str, algorithm: str) -> None:
    me = api.bearer(jwt.encode(claims(issuer), key, algorithm, headers={"kid": kid}))
    assert me.json() == {
        "name": "oidc:ana@example.org",
        "role": "analyst",
        "way": "oidc",
        "sees_customers": True,
    }


def test_the_highest_role_counts(api: Api, issuer: str) -> None:
    both = claims(issuer, realm_access={"roles": ["retail-analysts", "retail-admins"]})
    assert api.bearer(jwt.encode(both, RSA_KEY, "RS256", headers={"kid": "rsa"})).json()["role"] == "admin"


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another-api"},
        {"exp": int(time.time()) - 60},
        {"realm_access": {"roles": ["admin"]}},
        {"realm_access": "retail-admins"},
        {"sub": None},
    ],
)
def test_tokens_that_are_not_for_us_are_refused(api: Api, issuer: str, changed: dict[str, Any]) -> None:
    assert_refused(api.bearer(jwt.encode(claims(issuer, **changed), RSA_KEY, "RS256", headers={"kid": "rsa"})))


@pytest.mark.parametrize("kid", ["rsa", "unknown", None])
def test_a_stranger_s_signature_is_refused(api: Api, issuer: str, kid: str | None) -> None:
    assert_refused(api.bearer(jwt.encode(claims(issuer), STRANGER, "RS256", headers={"kid": kid} if kid else None)))


def test_the_public_key_as_a_secret_is_refused(api: Api, issuer: str) -> None:
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": "rsa"}
    parts = [jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, claims(issuer))]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(b".".join(parts), public)
    assert_refused(api.bearer(b".".join([*parts, jwt.utils.base64url_encode(signature)]).decode()))


def test_a_token_without_signature_is_refused(api: Api, issuer: str) -> None:
    assert_refused(api.bearer(jwt.encode(claims(issuer), "", "none", headers={"kid": "rsa"})))


def test_without_the_issuer_s_keys_nobody_is_let_in_and_nobody_blamed(start_api: StartApi) -> None:
    gone = "http://127.0.0.1:9"
    with start_api(oidc_issuer=gone, oidc_audience=AUDIENCE) as api:
        answer = api.bearer(jwt.encode(claims(gone), RSA_KEY, "RS256", headers={"kid": "rsa"}))
    assert answer.status_code == 503


FOUND = {"jwks_uri": "{url}/keys"}


@pytest.mark.parametrize(
    ("document", "published"),
    [(b"<html>", {}), ({"issuer": "x"}, {}), (["x"], {}), (FOUND, b"<html>"), (FOUND, {"keys": []}), (FOUND, [1])],
)
def test_what_is_no_issuer_is_told(start_api: StartApi, document: Any, published: Any) -> None:
    documents: dict[str, Any] = {"/keys": published}
    with publishing(documents) as url:
        if isinstance(document, dict):
            document = {name: value.format(url=url) for name, value in document.items()}
        documents["/.well-known/openid-configuration"] = document
        with start_api(oidc_issuer=url, oidc_audience=AUDIENCE) as api:
            answer = api.bearer(jwt.encode(claims(url), RSA_KEY, "RS256", headers={"kid": "rsa"}))
    assert answer.status_code == 503, answer.text
    assert url in answer.json()["detail"]


def test_an_issuer_without_audience_is_refused() -> None:
    with pytest.raises(ValueError, match="RETAIL_OIDC_AUDIENCE"):
        Issuer(Settings(oidc_issuer="https://issuer.example", oidc_audience=None))
