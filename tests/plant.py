"""A plant's certificates for tests: an authority, a service on loopback, and clients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from inspector.access.certificates import Authority, Issued, init_authority
from inspector.access.identity import Role
from inspector.access.tls import TlsPaths
from inspector.cameras.connection import ClientTls


@dataclass(frozen=True)
class Plant:
    """An authority in a folder, with a server's certificate for loopback."""

    folder: Path
    authority: Authority
    server: Issued

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def paths(self) -> TlsPaths:
        return TlsPaths(self.server.certificate, self.server.key, self.ca, self.folder / "revoked.pem")

    def camera(self, name: str, *cameras: str, line: str = "a") -> Issued:
        return self.authority.issue_camera(name, line, cameras)

    def user(self, name: str, role: Role = Role.VIEWER) -> Issued:
        return self.authority.issue_user(name, role)

    def client(self, issued: Issued) -> ClientTls:
        return ClientTls(self.ca, issued.certificate, issued.key)

    def channel(self, address: str, issued: Issued | None) -> grpc.Channel:
        """A channel that shows `issued`, or no certificate."""
        credentials = (
            grpc.ssl_channel_credentials(self.ca.read_bytes()) if issued is None else self.client(issued).credentials()
        )
        return grpc.secure_channel(address, credentials, options=[("grpc.use_local_subchannel_pool", 1)])


def plant_in(folder: Path, name: str = "works", hosts: tuple[str, ...] = ("127.0.0.1", "localhost")) -> Plant:
    """A new plant, whose service clients reach under `hosts`."""
    init_authority(folder, name)
    authority = Authority(folder)
    return Plant(folder, authority, authority.issue_server("service", hosts))
