"""Logging in and out: tokens for a name and password."""

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, ValidationError

from retail_platform.serving.access.credentials import Access
from retail_platform.serving.access.principals import Principal, Role, address_of, require
from retail_platform.serving.access.tokens import LIFE_SECONDS
from retail_platform.serving.problems import ProblemError

JSON, FORM = "application/json", "application/x-www-form-urlencoded"

Body = TypeVar("Body", bound=BaseModel)


class Login(BaseModel):
    """A name and password."""

    username: str = Field(max_length=100, examples=["analyst"])
    password: str = Field(max_length=1000, examples=["correct horse battery staple"])


class Refresh(BaseModel):
    """A refresh token, which holds once."""

    refresh_token: str = Field(max_length=200, examples=["rt_0b2f…"])


class Tokens(BaseModel):
    """Tokens: the first to ask with, the other to get the next two."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.", examples=["eyJhbGciOi…"])
    token_type: str = Field("bearer", examples=["bearer"])
    expires_in: int = Field(description="Seconds that the access token holds.", examples=[LIFE_SECONDS])
    refresh_token: str = Field(description="Holds once, for 14 days.", examples=["rt_0b2f…"])
    role: str = Field(examples=["analyst"])


class Me(BaseModel):
    """Who asks, as the API sees it."""

    name: str = Field(examples=["analyst"])
    role: str = Field(examples=["analyst"])
    way: str = Field(description="token, key, basic or oidc", examples=["token"])
    sees_customers: bool = Field(description="Whether rows about single customers are shown.", examples=[True])


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's word for a body that comes as JSON or as a form, which FastAPI has no parameter for."""
    content = {kind: {"schema": model.model_json_schema()} for kind in (JSON, FORM)}
    return {"requestBody": {"required": True, "content": content}}


routes = APIRouter(tags=["access"])


@routes.post("/auth/token", response_model=Tokens, include_in_schema=False)
@routes.post("/api/v1/auth/token", response_model=Tokens, openapi_extra=_body(Login))
async def log_in(request: Request) -> Response:
    """Get tokens for a name and password, as JSON or as OAuth2's password form."""
    login = await _read(request, Login)
    return _tokens(*await _access(request).log_in(login.username, login.password, address_of(request.scope)))


@routes.post("/api/v1/auth/refresh", response_model=Tokens, openapi_extra=_body(Refresh))
async def refresh(request: Request) -> Response:
    """Change a refresh token for the next tokens. One that was used before ends its session."""
    sent = await _read(request, Refresh)
    return _tokens(*await _access(request).refresh(sent.refresh_token, address_of(request.scope)))


@routes.post("/api/v1/auth/revoke", status_code=204, openapi_extra=_body(Refresh))
async def log_out(request: Request) -> Response:
    """End the session of a refresh token; its access tokens end with it. Answers the same when there is none."""
    sent = await _read(request, Refresh)
    await _access(request).log_out(sent.refresh_token)
    return Response(status_code=204)


@routes.get("/api/v1/auth/me", response_model=Me)
async def who_am_i(principal: Annotated[Principal, Depends(require(Role.VIEWER))]) -> Me:
    """Who asks, and what that role sees."""
    return Me(
        name=principal.name,
        role=str(principal.role),
        way=principal.way,
        sees_customers=principal.sees_customers,
    )


def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


def _tokens(access: str, refresh: str, role: Role) -> Response:
    answer = Tokens(access_token=access, expires_in=LIFE_SECONDS, refresh_token=refresh, role=str(role))
    return Response(answer.model_dump_json(), headers={"Cache-Control": "no-store"}, media_type=JSON)


async def _read(request: Request, model: type[Body]) -> Body:
    """The body, by its content type.

    Raises:
        ProblemError: 422, it is not what the model says; the values, being secrets, are not repeated.
    """
    try:
        if request.headers.get("content-type", "").startswith(FORM):
            return model.model_validate(dict(await request.form()))
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False, include_context=False)
        found = [{"argument": ".".join(map(str, each["loc"])) or "body", "detail": each["msg"]} for each in errors]
        detail = "; ".join(f"{each['argument']}: {each['detail']}" for each in found)
        raise ProblemError(422, detail, errors=found) from error
