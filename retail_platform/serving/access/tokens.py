"""Access tokens: JSON Web Tokens that the API signs for itself (HS256). Refresh tokens are rows of `store`."""

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import jwt

from retail_platform.settings import Settings

ISSUER, AUDIENCE = "retail-platform", "retail-api"
ALGORITHM = "HS256"
LIFE_SECONDS = 15 * 60
CLAIMS = ["iss", "aud", "sub", "role", "iat", "exp", "jti", "sid"]


class NoSecretError(RuntimeError):
    """There is nothing to sign tokens with; the message says what to set."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says that the API has to look up: whether session and user still stand."""

    name: str
    session: UUID
    expires: float


def token_secret(settings: Settings) -> str:
    """The secret of the settings, or of the embedded platform's own file, made on the first call.

    Raises:
        NoSecretError: a server of the user's is set, and no secret.
    """
    if settings.token_secret is not None:
        return settings.token_secret.get_secret_value()
    if settings.database_url is not None:
        raise NoSecretError(
            "RETAIL_TOKEN_SECRET is not set. Set it to 32 or more random characters, for example the output of "
            "`openssl rand -hex 32`; every process of the API needs the same."
        )
    path = settings.secrets / "token"
    if not path.exists():
        _write_secret(path)
    return path.read_text()


def sign(secret: str, name: str, role: str, session: UUID) -> str:
    """A token that holds for `LIFE_SECONDS`, or until its session ends."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": name, "role": role, "iat": now, "exp": now + LIFE_SECONDS}
    return jwt.encode({**claims, "jti": uuid4().hex, "sid": session.hex}, secret, ALGORITHM)


def read(secret: str, token: str) -> Claims:
    """What a token says.

    Raises:
        jwt.InvalidTokenError: it is not one of ours, or has expired.
    """
    options: jwt.types.Options = {"require": CLAIMS}
    claims = jwt.decode(token, secret, [ALGORITHM], options, issuer=ISSUER, audience=AUDIENCE)
    return Claims(claims["sub"], UUID(claims["sid"]), claims["exp"])


def _write_secret(path: Path) -> None:
    """Put a new secret there whole, for this user alone; when another process was first, its secret stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    with suppress(FileExistsError):
        os.link(part, path)
    part.unlink()
