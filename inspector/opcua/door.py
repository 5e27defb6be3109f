"""Who may come in over OPC UA and what a client may cost: what asyncua leaves to its user, or takes on trust.

connection ──▶ GuardedConnection: bounded bytes, bounded clients; what is no OPC UA ends the connection
  message  ──▶ GuardedProcessor: only what is signed and encrypted, only services that read and call
  session  ──▶ GuardedSession: its own subscriptions only, and not too many
  login    ──▶ HouseUsers (users.py): names and passwords of the file of users, wrong ones slowed
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.server import Server
from asyncua.server.uaprocessor import UaProcessor
from cryptography import x509

from inspector.access.identity import Identity
from inspector.access.strangers import Strangers
from inspector.opcua.users import (
    HouseUser,
    HouseUsers,
    Refused,
    host_of_caller,
    identity_of_caller,
    session_of_caller,
    thumbprint,
)

log = logging.getLogger(__name__)


CHUNK_BYTES = 65_535
MAX_MESSAGE_BYTES = 2 << 20
ACTIVATION_S, DEAF_S = 10.0, 10.0
MAX_PENDING = 100
SUBSCRIPTIONS, MONITORED_ITEMS = 8, 1000
"""Of one session."""
QUEUE, UNACKNOWLEDGED = 2000, 200
MIN_PUBLISHING_MS = 50.0
_HEADER_BYTES = 8

_KINDS = {b"HEL", b"OPN", b"MSG", b"CLO"}
_DISCOVERY = {"GetEndpointsRequest", "FindServersRequest", "CloseSecureChannelRequest"}
_SESSION = {"CreateSessionRequest", "ActivateSessionRequest", "CloseSessionRequest"}
_USE = {
    "ReadRequest",
    "BrowseRequest",
    "TranslateBrowsePathsToNodeIdsRequest",
    "RegisterNodesRequest",
    "UnregisterNodesRequest",
    "CallRequest",
    "HistoryReadRequest",
    "CreateSubscriptionRequest",
    "ModifySubscriptionRequest",
    "DeleteSubscriptionsRequest",
    "SetPublishingModeRequest",
    "CreateMonitoredItemsRequest",
    "ModifyMonitoredItemsRequest",
    "DeleteMonitoredItemsRequest",
    "SetMonitoringModeRequest",
    "PublishRequest",
    "RepublishRequest",
}


def _ids(names: Iterable[str]) -> frozenset[ua.NodeId]:
    return frozenset(ua.NodeId(getattr(ua.ObjectIds, f"{name}_Encoding_DefaultBinary")) for name in names)


_DISCOVERY_IDS, _SESSION_IDS, _USE_IDS = _ids(_DISCOVERY), _ids(_SESSION), _ids(_USE)
_CREATE_SESSION = next(iter(_ids({"CreateSessionRequest"})))
_CREATE_OR_ACTIVATE = _ids({"CreateSessionRequest", "ActivateSessionRequest"})

_NOBODY = User(role=UserRole.Anonymous)


class GuardedSession(InternalSession):
    """A session that reaches its own subscriptions only, and bounds them."""

    def _own(self, number: int) -> None:
        found = self.subscription_service.subscriptions.get(number)
        if self.external and (found is None or found.session_id != self.session_id):
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)

    def _count(self) -> int:
        return sum(sub.session_id == self.session_id for sub in self.subscription_service.subscriptions.values())

    async def create_subscription(self, params: Any, callback: Any, request_callback: Any = None) -> Any:
        if self.external:
            if self._count() >= SUBSCRIPTIONS:
                raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
            wanted = params.RequestedPublishingInterval
            params.RequestedPublishingInterval = max(wanted if math.isfinite(wanted) else 0.0, MIN_PUBLISHING_MS)
        return await super().create_subscription(params, callback, request_callback)

    async def create_monitored_items(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        sub = self.subscription_service.subscriptions[params.SubscriptionId]
        there = len(sub.monitored_item_srv._monitored_items)
        if self.external and there + len(params.ItemsToCreate or ()) > MONITORED_ITEMS:
            raise ServiceError(ua.StatusCodes.BadTooManyMonitoredItems)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return await super().modify_monitored_items(params)

    async def delete_monitored_items(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return await super().delete_monitored_items(params)

    async def set_monitoring_mode(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return await super().set_monitoring_mode(params)

    async def set_publishing_mode(self, params: Any) -> Any:
        for number in params.SubscriptionIds:
            self._own(number)
        return await super().set_publishing_mode(params)

    async def delete_subscriptions(self, ids: list[int]) -> Any:
        for number in ids:
            self._own(number)
        return await super().delete_subscriptions(ids)

    def republish(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return super().republish(params)

    def modify_subscription(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return super().modify_subscription(params)


class GuardedInternalServer(InternalServer):
    """asyncua's server behind the connections, with bounds for a port that anybody may knock at."""

    def __init__(self, users: HouseUsers, max_sessions: int) -> None:
        super().__init__(user_manager=users)
        self.allow_remote_admin = False
        self.max_sessions = max_sessions
        self.max_connections = 2 * max_sessions + 16
        self.max_subscriptions = SUBSCRIPTIONS * max_sessions + 16
        self.max_pending_messages_per_connection = MAX_PENDING
        self.max_pending_activation_seconds = ACTIVATION_S
        self.max_session_timeout_ms = 300_000.0
        self.max_monitored_item_queue_size = QUEUE
        self.max_unacked_messages_per_subscription = UNACKNOWLEDGED
        self.max_lifetime_count = 6000
        self.max_keep_alive_count = 2000

    def create_session(
        self,
        name: Any,
        user: User = _NOBODY,
        external: bool = False,
    ) -> InternalSession:
        if external and len(self._external_sessions) >= self.max_sessions:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        return GuardedSession(self, self.aspace, self.subscription_service, name, user=user, external=external)

    def has_session(self, session_id: object) -> bool:
        """Whether a client's session is still there."""
        return any(one.session_id == session_id for one in self._external_sessions.values())

    def decrypt_user_token(self, isession: Any, token: Any) -> tuple[str, str]:
        # RSA with PKCS #1 v1.5 would let whoever times our answers read passwords (Bleichenbacher); the channel is encrypted.
        if token.EncryptionAlgorithm and not str(token.EncryptionAlgorithm).endswith(("rsa-oaep", "rsa-oaep-sha2-256")):
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)
        name, password = super().decrypt_user_token(isession, token)
        return name, password


class GuardedProcessor(UaProcessor):
    """Lets through what is signed and encrypted, and of that only services that look and call: nothing here can be written."""

    trusted: frozenset[str] | None = None
    strangers = Strangers(log)
    on_refused: Refused = staticmethod(lambda *_: None)

    async def _process_message(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> Any:
        secured = self._connection.security_policy.Mode == ua.MessageSecurityMode.SignAndEncrypt
        if typeid not in _DISCOVERY_IDS:
            if not secured:
                self.strangers.tell(str(self.name[0]) if self.name else "", "clear", "asked for a session in clear")
                raise ServiceError(ua.StatusCodes.BadSecurityModeInsufficient)
            if typeid not in _SESSION_IDS and typeid not in _USE_IDS:
                raise ServiceError(ua.StatusCodes.BadServiceUnsupported)
            self._check_session(typeid, requesthdr)
        if typeid == _CREATE_SESSION:
            self._check_certificate()
        host_of_caller.set(str(self.name[0]) if self.name else "")
        user = None if self.session is None else self.session.user
        session_of_caller.set(None if self.session is None else self.session.session_id)
        identity_of_caller.set(user.identity if isinstance(user, HouseUser) else Identity("nobody"))
        return await super()._process_message(typeid, requesthdr, seqhdr, body)

    def _should_close_session_on_transport_loss(self) -> bool:
        # Nobody can come back to it (see below), and it would keep a place from others.
        return self.session is not None

    def _check_session(self, typeid: Any, requesthdr: Any) -> None:
        """One session for each connection, and only its own."""
        if self.session is None:
            # asyncua would let another connection take over a session whose number it guessed; clients make a new one instead.
            if typeid != _CREATE_SESSION:
                raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        elif typeid == _CREATE_SESSION:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        elif requesthdr.AuthenticationToken != self.session.auth_token:
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)

    def _check_certificate(self) -> None:
        """The certificate that the channel is secured by counts, whatever another one the request shows."""
        der = self._connection.security_policy.peer_certificate
        try:
            certificate = x509.load_der_x509_certificate(der)
            in_time = certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc
        except (ValueError, TypeError) as error:
            raise ServiceError(ua.StatusCodes.BadCertificateInvalid) from error
        who = f"certificate {thumbprint(der)[:16]} at {self.name[0] if self.name else ''}"
        if not in_time:
            self.on_refused(who, "OPC UA session", "", "the client's certificate has ended, or does not count yet")
            raise ServiceError(ua.StatusCodes.BadCertificateTimeInvalid)
        if self.trusted is not None and thumbprint(der) not in self.trusted:
            self.on_refused(who, "OPC UA session", "", "the client's certificate does not lie in opcua.trusted")
            raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)


class GuardedConnection(OPCUAProtocol):
    """One client's connection, which ends at the first bytes that are no OPC UA."""

    _buffer: bytes

    def __init__(self, *parts: Any, door: Doorkeeper) -> None:
        super().__init__(*parts)
        self._door = door
        self.host = ""
        self._deaf: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        host = str(peer[0]) if peer else ""
        if not self._door.has_room(self.clients, host):
            transport.abort()  # type: ignore[attr-defined]
            return
        self.host = host
        self._door.enter(host)
        super().connection_made(transport)
        if self.transport is None:
            return
        processor = GuardedProcessor(self.iserver, self.transport, self.limits)
        processor.set_policies(self.policies)
        processor.trusted, processor.on_refused = self._door.trusted, self._door.on_refused
        processor.strangers = self._door.strangers
        self.processor = processor

    def connection_lost(self, ex: BaseException | None) -> None:
        self._leave()
        if self._deaf is not None:
            self._deaf.cancel()
        if self.transport is not None:
            super().connection_lost(ex)

    def data_received(self, data: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        # Looked at before anything is kept: asyncua would wait for as many bytes as a header announces.
        joined = self._buffer + data
        place = 0
        while len(joined) - place >= _HEADER_BYTES:
            kind, size = joined[place : place + 3], int.from_bytes(joined[place + 4 : place + 8], "little")
            if kind not in _KINDS or not _HEADER_BYTES < size <= CHUNK_BYTES:
                self.drop("what it sent is no OPC UA, or larger than a chunk may be")
                return
            place += size
        super().data_received(data)

    def _leave(self) -> None:
        """Count no more."""
        if self.host:
            self._door.leave(self.host)
            self.host = ""

    def pause_writing(self) -> None:
        """The client does not read its answers: take no more requests of it, and give it up if that goes on."""
        assert self.transport is not None
        self.transport.pause_reading()
        self._deaf = asyncio.get_running_loop().call_later(DEAF_S, self.drop, "it does not read its answers")

    def resume_writing(self) -> None:
        """It reads again."""
        assert self.transport is not None
        if self._deaf is not None:
            self._deaf.cancel()
            self._deaf = None
        self.transport.resume_reading()

    async def _process_one_msg(self, header: Any, buf: Any) -> bool:
        if header.MessageType == ua.MessageType.SecureMessage and not self.has_channel:
            self.drop("it sent a message before it opened a channel")
            return False
        try:
            return bool(await super()._process_one_msg(header, buf))
        except Exception as error:  # noqa: BLE001 - the edge of a connection: whatever it sent, the others are served
            self.drop(f"its message cannot be taken: {error!r:.200}")
            return False

    def drop(self, why: str) -> None:
        """End the connection of a client that misbehaves."""
        self._door.strangers.tell(self.host, why.partition(":")[0], f"an OPC UA client was hung up on: {why}")
        self._leave()
        if self.transport is not None:
            self.transport.abort()

    @property
    def has_channel(self) -> bool:
        """Whether a channel is open, secured or not."""
        return self.processor is not None and bool(self.processor._connection.is_open())

    @property
    def is_activated(self) -> bool:
        """Whether somebody has logged in on this connection."""
        session = None if self.processor is None else self.processor.session
        return session is not None and session.is_activated()


class Doorkeeper:
    """What all connections share: how many there are, from where, and whose certificates are trusted."""

    def __init__(self, max_connections: int, trusted: frozenset[str] | None, on_refused: Refused) -> None:
        self._max = max_connections
        self._per_host = max(4, max_connections // 2)
        self.trusted = trusted
        self.on_refused = on_refused
        self.hosts: Counter[str] = Counter()
        self.strangers = Strangers(log)

    def enter(self, host: str) -> None:
        """Count a connection."""
        self.hosts[host] += 1

    def leave(self, host: str) -> None:
        """It is gone."""
        self.hosts[host] -= 1
        if not self.hosts[host]:
            del self.hosts[host]

    def has_room(self, clients: list[Any], host: str) -> bool:
        """Whether one more may connect; the oldest that has not logged in gives way, of the same host if that has too many."""
        own = self.hosts[host] >= self._per_host
        if not own and len(clients) < self._max:
            return True
        idle = next((one for one in clients if not one.is_activated and (one.host == host or not own)), None)
        if idle is None:
            count = self.hosts[host] if own else len(clients)
            whose = "its own" if own else "clients"
            self.on_refused(host, "OPC UA connection", "", f"{count} connections ({whose}) are open, which is the most")
            return False
        idle.drop("another client needs its place, and it had not logged in")
        clients.remove(idle)
        return True


class GuardedServer(Server):
    """asyncua's server with all of the above, on one address, for Basic256Sha256 signed and encrypted alone."""

    def __init__(
        self, host: str, port: int, users: HouseUsers, doorkeeper: Doorkeeper, max_sessions: int, anonymous: bool
    ) -> None:
        super().__init__(iserver=GuardedInternalServer(users, max_sessions))
        InternalSession.max_connections = max_sessions
        self.socket_address = (host, port)
        self._doorkeeper = doorkeeper
        self.limits = TransportLimits(CHUNK_BYTES, CHUNK_BYTES, MAX_MESSAGE_BYTES // CHUNK_BYTES + 1, MAX_MESSAGE_BYTES)
        self.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
        tokens: list[type] = [ua.UserNameIdentityToken]
        self.set_identity_tokens([*tokens, ua.AnonymousIdentityToken] if anonymous else tokens)

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await self._setup_server_nodes()
        await self.iserver.start()
        assert self.socket_address is not None
        bserver = _GuardedBinaryServer(self.iserver, *self.socket_address, self.limits)
        bserver.doorkeeper = self._doorkeeper
        bserver.set_policies(self._policies)
        await bserver.start()
        self.bserver = bserver


class _GuardedBinaryServer(BinaryServer):
    doorkeeper: Doorkeeper

    def _make_protocol(self) -> OPCUAProtocol:
        parts = (self.iserver, self._policies, self.clients, self.closing_tasks, self.limits)
        return GuardedConnection(*parts, door=self.doorkeeper)
