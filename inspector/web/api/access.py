"""What every route of the API has: the role it needs, and how its errors look."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from inspector.access.identity import Role
from inspector.errors import (
    AccessDenied,
    ClaimLost,
    EditConflict,
    InspectorError,
    NotFound,
    Overloaded,
    PromotionOvertaken,
    RecordsError,
    ServiceUnreachable,
)
from inspector.web.accounts.user import User

log = logging.getLogger(__name__)

# The first that fits. What is none of these is the request's own fault.
_STATUS: tuple[tuple[type[InspectorError], int], ...] = (
    (AccessDenied, 403),
    (NotFound, 404),
    (EditConflict, 409),
    (ClaimLost, 409),
    (PromotionOvertaken, 409),
    (Overloaded, 429),
    (ServiceUnreachable, 502),
)
_OWN_FAULT = ("StoreUnavailable", "SchemaOutdated", "AuditError", "ImageStoreError", "JournalError")


def needs(role: Role) -> Any:
    """A dependency that gives the `User` who asks, or refuses who has less than `role`."""

    def user(request: Request) -> User:
        return check(request, role)

    user.role = role  # type: ignore[attr-defined]
    return Depends(user)


def check(request: Request, role: Role) -> User:
    """Who asks. AccessDenied for who has less than `role`; puts that on record."""
    user: User | None = request.state.user
    if user is None:
        raise HTTPException(401, "you are not logged in, or no longer: log in at /login, or send a token")
    if not user.may(role):
        why = f"{user.name} is {user.role.name.lower()}, and this needs {role.name.lower()}: ask an admin"
        request.app.state.desk.refuse(user.name, "web request", f"{request.method} {request.url.path}", why)
        raise AccessDenied(why)
    return user


def status_of(error: InspectorError) -> int:
    """The HTTP status that an error of the house has."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return 503 if isinstance(error, RecordsError) and type(error).__name__ in _OWN_FAULT else 422


def tell_errors(app: FastAPI) -> None:
    """Errors as JSON: {"error": {"kind": …, "message": …}}, the message with fact, reason and next step."""

    @app.exception_handler(InspectorError)
    async def of_the_house(request: Request, error: InspectorError) -> JSONResponse:
        return _json(status_of(error), type(error).__name__, str(error))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> JSONResponse:
        kind = "RequestTooLarge" if error.status_code == 413 else "HttpError"
        return _json(error.status_code, kind, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def of_a_request(request: Request, error: RequestValidationError) -> JSONResponse:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return _json(422, "InvalidRequest", f"the request is not as /api/v1/openapi.json says: {told[:2000]}")

    @app.exception_handler(Exception)
    async def of_nobody(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _json(500, "InternalError", "the desk failed at this: its log says why; tell who looks after it")


def _json(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    content = jsonable_encoder({"error": {"kind": kind, "message": message}})
    return JSONResponse(content, status_code=status, headers=headers)
