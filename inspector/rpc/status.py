"""Which gRPC status an error of the house becomes. The message is that of the error: fact, reason, next step."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import grpc

from inspector.access.strangers import Strangers
from inspector.errors import (
    AccessDenied,
    CameraBusy,
    ImageStoreError,
    InspectorError,
    InvalidRequest,
    JournalError,
    NotFound,
    Overloaded,
    PageTokenInvalid,
    PromotionOvertaken,
    PromotionRefused,
    SchemaOutdated,
    ServiceStopping,
    SessionError,
    StoreUnavailable,
    TriggerOutOfRange,
    UnknownCamera,
)

log = logging.getLogger(__name__)

# The first that fits counts, so a class stands before its base.
_CODES: tuple[tuple[type[InspectorError], grpc.StatusCode], ...] = (
    (InvalidRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (AccessDenied, grpc.StatusCode.PERMISSION_DENIED),
    (PageTokenInvalid, grpc.StatusCode.INVALID_ARGUMENT),
    (UnknownCamera, grpc.StatusCode.NOT_FOUND),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    # Its own code, so that a camera program can tell "try again, your old stream may still be dying" from all else.
    (CameraBusy, grpc.StatusCode.ALREADY_EXISTS),
    (TriggerOutOfRange, grpc.StatusCode.OUT_OF_RANGE),
    (SessionError, grpc.StatusCode.FAILED_PRECONDITION),
    (SchemaOutdated, grpc.StatusCode.FAILED_PRECONDITION),
    (PromotionOvertaken, grpc.StatusCode.ABORTED),
    (PromotionRefused, grpc.StatusCode.FAILED_PRECONDITION),
    (Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (ServiceStopping, grpc.StatusCode.UNAVAILABLE),
    (StoreUnavailable, grpc.StatusCode.UNAVAILABLE),
    (JournalError, grpc.StatusCode.UNAVAILABLE),
    (ImageStoreError, grpc.StatusCode.UNAVAILABLE),
)
# What no sound client sends: the log says who it was.
_NONSENSE = (InvalidRequest, PageTokenInvalid, UnknownCamera, TriggerOutOfRange, SessionError)
_strangers = Strangers(log)
# gRPC sends the message as a header, and clients refuse headers beyond 8 KiB.
_MAX_MESSAGE = 1024


@contextmanager
def as_status(context: grpc.ServicerContext) -> Iterator[None]:
    """End the call with the status of whatever error leaves the block.

    An unknown error tells the client only an id; the traceback is in the log under that id.
    """
    try:
        yield
    except grpc.RpcError:  # the client went away while we read its stream: nobody is left to be told
        return
    except InspectorError as error:
        code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
        if code is None:
            _tell_unknown(context, error)
        if isinstance(error, _NONSENSE):
            who = str(context.peer()).rpartition(":")[0]
            _strangers.tell(who, type(error).__name__, f"a call was refused ({code.name}): {error}")
        _end(context, code, str(error))
    except Exception as error:  # noqa: BLE001 the outermost edge of a call
        _tell_unknown(context, error)


def _tell_unknown(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    fault = uuid.uuid4().hex[:12]
    log.error("call failed, fault %s", fault, exc_info=error)
    _end(context, grpc.StatusCode.INTERNAL, f"fault {fault} in the service: look it up in the service's log")


def _end(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    # Control characters do not survive in a header.
    printable = "".join(c if c.isprintable() else " " for c in message[:_MAX_MESSAGE])
    context.abort(code, printable)
