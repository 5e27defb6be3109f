"""Who may make which call. With TLS a client is what its certificate says; without, only this machine can reach the port."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import grpc

from inspector.access.identity import Identity, Role, identity_of_certificate
from inspector.access.pace import CallPace
from inspector.access.strangers import Strangers
from inspector.access.tls import TlsFiles
from inspector.errors import AccessDenied, Overloaded
from inspector.rpc.lookout import Callers

log = logging.getLogger(__name__)

Refused = Callable[[str, str, str, str], None]
"""Called with who, what, on what and why, when a client is turned away. Must not block or raise."""


def _unheard(who: str, what: str, subject: str, why: str) -> None:
    """Nobody keeps a record."""


class Door:
    """Lets calls in, or raises AccessDenied or Overloaded."""

    def __init__(
        self,
        tls: TlsFiles | None = None,
        calls_hz: float = 0.0,
        on_refused: Refused = _unheard,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`calls_hz` of 0 does not bound how often a client reads; cameras are bounded by their streams."""
        self._tls = tls
        self._pace = CallPace(calls_hz) if calls_hz else None
        self._on_refused = on_refused
        self._now = now
        self._strangers = Strangers(log)
        self.callers = Callers()

    def stranger(self, host: str) -> None:
        """Tell of one whose connection gRPC ended before it made a call."""
        why = "what it sent is no HTTP/2"
        if self._tls is not None:
            why = "no TLS handshake with a certificate of this plant"
        self._strangers.tell(host, "no call", f"a connection to the gRPC port was refused: {why}")
        self._on_refused(host, "gRPC connection", "", why)

    def camera(self, context: grpc.ServicerContext, line: str, camera: str) -> Identity | None:
        """Who streams as that camera; None on a port without TLS."""
        who = self._enter(context, "stream", f"{line}/{camera}")
        if who is not None and (line, camera) not in who.cameras:
            self._refuse(
                context,
                who,
                "stream",
                f"{line}/{camera}",
                f'the certificate of {who} does not let it stream as camera "{camera}" of line "{line}": issue one that does',
            )
        return who

    def reader(self, context: grpc.ServicerContext, call: str) -> Identity | None:
        """Who reads inspections or pictures; None on a port without TLS."""
        who = self._enter(context, call, "")
        self._keep_pace(context, who, call)
        if who is not None and who.role < Role.VIEWER:
            self._refuse(
                context, who, call, "", f"the certificate of {who} has no role: reading needs viewer or a higher one"
            )
        return who

    def commander(self, context: grpc.ServicerContext, command: str, subject: str, right: Role) -> str:
        """The name for the audit log of a client that gives a command, for which it needs the role `right`."""
        who = self._enter(context, command, subject)
        self._keep_pace(context, who, command)
        if who is not None and who.role < right:
            needs = f"{right.name.lower()} or a higher one"
            self._refuse(context, who, command, subject, f"{who} may not give this command: it needs the role {needs}")
        return _name(context, who)

    def known(self, context: grpc.ServicerContext, call: str) -> Identity | None:
        """Any client whose certificate counts, whatever it may do; None on a port without TLS."""
        return self._enter(context, call, "")

    def check(self, who: Identity | None) -> None:
        """Raise AccessDenied if the certificate of a client that was let in counts no more. Reads memory only."""
        if who is None or self._tls is None:
            return
        if self._tls.is_revoked(who.serial):
            why = f"the certificate of {who} was revoked"
        elif who.expires is not None and self._now() >= who.expires:
            why = f"the certificate of {who} ended on {who.expires:%Y-%m-%d}: renew it"
        else:
            return
        self._on_refused(who.name, "connection", "", why)
        raise AccessDenied(why)

    def _enter(self, context: grpc.ServicerContext, call: str, subject: str) -> Identity | None:
        self.callers.note(context.peer())
        if self._tls is None:
            return None
        (pem,) = context.auth_context().get("x509_pem_cert", (b"",))
        try:
            who = identity_of_certificate(bytes(pem))
        except AccessDenied as error:
            self._refuse(context, None, call, subject, str(error))
        self.check(who)
        return who

    def _keep_pace(self, context: grpc.ServicerContext, who: Identity | None, call: str) -> None:
        """Raises Overloaded if this client reads too often; other clients, and every camera, are not concerned."""
        if self._pace is None:
            return
        try:
            self._pace.check(_host(context) if who is None else f"{who.name} ({who.serial:x})")
        except Overloaded as error:
            self._on_refused(_name(context, who), call, "", str(error))
            raise

    def _refuse(
        self, context: grpc.ServicerContext, who: Identity | None, call: str, subject: str, why: str
    ) -> NoReturn:
        self._on_refused(_name(context, who), call, subject, why)
        raise AccessDenied(why)


def _name(context: grpc.ServicerContext, who: Identity | None) -> str:
    return _host(context) if who is None else f"{who.name} at {_host(context)}"


def _host(context: grpc.ServicerContext) -> str:
    """Address without port, such as ipv4:10.0.0.7: the port differs with every connection."""
    return str(context.peer()).rpartition(":")[0]
