"""A line file that holds together, with its paths resolved; and what is wrong with one that does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.errors import ConfigError
from inspector.inference.cores import share_cores
from inspector.records.place import database_url
from inspector.settings.tables import InferenceTable, LineFile
from inspector.settings.values import Address, address, parse_address

if TYPE_CHECKING:
    from inspector.access.tls import TlsPaths


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a line file."""

    file: Path
    key: str
    fact: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.fact}; {self.next_step}"


@dataclass(frozen=True, slots=True)
class LineSettings:
    """A line file that holds together, with its paths resolved."""

    path: Path
    file: LineFile

    @property
    def data_dir(self) -> Path:
        return self.resolve(self.file.line.data_dir)

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the quality database; by default SQLite in the data folder. May hold a password."""
        return database_url(self.file.records.database, self.data_dir, self.path.parent)

    @property
    def grpc_listen(self) -> Address:
        return parse_address(self.file.grpc.listen)

    @property
    def modbus_listen(self) -> Address:
        return parse_address(self.file.modbus.listen)

    @property
    def metrics_listen(self) -> Address | None:
        """Where Prometheus reads, None: nowhere."""
        return parse_address(self.file.metrics.listen) if self.file.metrics.listen else None

    @property
    def tls_paths(self) -> TlsPaths | None:
        """Certificate files of the gRPC listener, None without TLS."""
        from inspector.access.tls import TlsPaths

        table = self.file.grpc.tls
        if table is None:
            return None
        revoked = self.resolve(table.revoked) if table.revoked else None
        return TlsPaths(self.resolve(table.certificate), self.resolve(table.key), self.resolve(table.ca), revoked)

    @property
    def inference(self) -> InferenceTable:
        """How graphs run here: as the file says, and what it leaves open by this machine's cores and the line's cameras.

        A graphics processor, and an inference server, share themselves out among parts: there is one run at a time unless told.
        """
        table = self.file.inference
        shares_itself = table.oip or table.provider in ("CUDA", "TensorRT")
        cameras = 1 if shares_itself else sum(len(station.by_view) for station in self.file.station)
        workers, threads = share_cores(cameras, table.workers, table.threads)
        # Runs side by side have a core each: a part that joined another's run would wait for it and make it wait.
        max_batch = table.max_batch or (1 if workers > 1 and not shares_itself else 2)
        return table.model_copy(update={"workers": workers, "threads": threads, "max_batch": max_batch})

    @property
    def trusted_keys(self) -> tuple[Path, ...]:
        """Public keys, one of which must have signed a bundle; none: every bundle is trusted."""
        return tuple(self.resolve(path) for path in self.file.inference.trust)

    def warnings(self) -> tuple[str, ...]:
        """What is allowed but a person should know before the line runs."""
        found = []
        address = self.modbus_listen
        if not address.is_loopback:
            found.append(
                f"modbus.listen: {address} is open to {', '.join(self.file.modbus.allow)} and Modbus has no login and no "
                "encryption: whoever sends from there can read every verdict; keep it on the machine network"
            )
        if self.file.modbus.write_allow and not address.is_loopback:
            found.append(
                f"modbus.write_allow: {', '.join(self.file.modbus.write_allow)} may start and stop stations and change "
                "recipes, known by its address alone: give that network to the PLC and this service only"
            )
        if self.file.inference.oip and not parse_address(self.file.inference.oip).is_loopback:
            found.append(
                f"inference.oip: pictures of parts go to {self.file.inference.oip} and scores come back without encryption or "
                "login; keep that server on the machine network"
            )
        return tuple(found)

    def with_oip(self, host: str) -> LineSettings:
        """These settings with an inference server at `host`, "name:port". Raises ConfigError."""
        try:
            address(host)
        except ValueError as error:
            raise ConfigError(f"--oip: {error}") from error
        inference = self.file.inference.model_copy(update={"oip": host})
        return replace(self, file=self.file.model_copy(update={"inference": inference}))

    def resolve(self, path: str) -> Path:
        """`path`, relative to the line file's folder."""
        return (self.path.parent / path).resolve()


@dataclass(frozen=True, slots=True)
class LineReading:
    """What a line file says. `settings` is None if there is any problem.

    `draft` holds what can be read all the same, None if that is nothing: what `is_sound` denies has its default in it, or is
    absent if it has none.
    """

    settings: LineSettings | None
    problems: tuple[Problem, ...]
    draft: LineSettings | None = None
    faults: tuple[tuple[str | int, ...], ...] = ()

    def is_sound(self, *key: str | int) -> bool:
        """Whether neither the key nor a table around or below it is at fault, such as `is_sound("line", "data_dir")`."""
        return not any(fault[: len(key)] == key or key[: len(fault)] == fault for fault in self.faults)
