"""Serves metrics over HTTP to Prometheus: this machine alone, or with the plant's certificates on both sides."""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from inspector.access.identity import Role, identity_of_certificate
from inspector.access.strangers import Strangers
from inspector.access.tls import TlsFiles, TlsMaterial
from inspector.errors import AccessDenied, ConfigError

log = logging.getLogger(__name__)

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_CONNECTIONS = 8
PATIENCE_S = 5.0


class MetricsServer:
    """Answers GET /metrics. At most eight clients at once, each for as long as five seconds without a word."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        tls: TlsFiles | None = None,
        on_refused: Callable[[str, str, str, str], None] = lambda who, what, subject, why: None,
    ) -> None:
        """Take the address. Raises ConfigError if it is not free, or beyond loopback without `tls`.

        With `tls` a client must show a certificate with a role; `on_refused` is called with who, what, on what and why else.
        """
        if tls is None and not _is_loopback(host):
            raise ConfigError(
                f'metrics may not be served on "{host}" without TLS: add the table [grpc.tls], whose certificates count here '
                "too, or listen on 127.0.0.1"
            )
        context = None if tls is None else _Context(tls, on_refused)
        try:
            self._server = _Server((host, port), lambda: generate_latest(registry), context)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"metrics cannot be served on {host}:{port} ({error}): choose another address") from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Context:
    """Server-side TLS whose certificates are those of now: a renewal needs no restart."""

    def __init__(self, tls: TlsFiles, on_refused: Callable[[str, str, str, str], None]) -> None:
        self._tls = tls
        self._on_refused = on_refused
        self._made_of: TlsMaterial | None = None
        self._context: ssl.SSLContext

    def current(self) -> ssl.SSLContext:
        material = self._tls.material
        if material is not self._made_of:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=material.authority.decode())
            # Python loads pairs from files only; these are gone a moment later.
            with tempfile.TemporaryDirectory(prefix="inspector-") as folder:
                pair = Path(folder) / "pair.pem"
                pair.touch(mode=0o600)
                pair.write_bytes(material.certificate + b"\n" + material.key)
                context.load_cert_chain(pair)
            self._context, self._made_of = context, material
        return self._context

    def lets_in(self, shown: ssl.SSLSocket, host: str) -> bool:
        """Whether the client may read: its certificate counts, and has a role."""
        der = shown.getpeercert(binary_form=True) or b""
        try:
            who = identity_of_certificate(ssl.DER_cert_to_PEM_cert(der).encode())
        except AccessDenied as error:
            self._on_refused(host, "metrics", "", str(error))
            return False
        if self._tls.is_revoked(who.serial):
            why = f"the certificate of {who} was revoked"
        elif who.role < Role.VIEWER:
            why = f"the certificate of {who} has no role: reading needs viewer or a higher one"
        else:
            return True
        self._on_refused(f"{who.name} at {host}", "metrics", "", why)
        return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], metrics: Callable[[], bytes], context: _Context | None) -> None:
        self.metrics = metrics
        self.strangers = Strangers(log)
        self._context = context
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, if one of the places is free; otherwise hang up."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._places.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(PATIENCE_S)
        if self._context is None:
            super().finish_request(request, client_address)
            return
        with self._context.current().wrap_socket(request, server_side=True) as secured:
            if not self._context.lets_in(secured, str(client_address[0])):
                return
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that broke off or showed no certificate."""
        self.strangers.tell(client_address[0], "failed", "a metrics client failed; it is shown with --verbose")
        log.debug("metrics client %s failed", client_address[0], exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.0"
    timeout = PATIENCE_S
    server_version, sys_version = "inspector", ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, explain=f"metrics are at {PATH}")
            return
        body = self.server.metrics()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_error(self, format: str, *arguments: Any) -> None:
        """What is no request for metrics."""
        # What the client sent is in the message: shown as it is in a program's text, so that it can forge no line.
        said = ascii(format % arguments)[1:-1]
        self.server.strangers.tell(
            str(self.client_address[0]), "no request", f"a metrics request was refused: {said[:200]}"
        )

    def log_message(self, format: str, *arguments: Any) -> None:
        """Scrapes are not logged."""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
