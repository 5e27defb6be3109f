"""The web desk of a line: a client of the service on one side, pages and an API on the other.

service ──verdicts, stations──▶ LiveLine ──▶ pages ──▶ browsers
   ▲                                          │
   └──────commands── Commander ◀──────────────┴──▶ quality database, pictures, bundles, audit log
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import time as time_of_day
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import uvicorn

from inspector import __version__
from inspector.errors import ConfigError, RecordsError
from inspector.records.audit import AUDIT_FILE, AuditLog
from inspector.records.auditing import AuditWriter
from inspector.records.images import ImageStore
from inspector.records.lots import lot_finder
from inspector.records.place import image_folder
from inspector.records.store import Store
from inspector.records.users import Users
from inspector.rpc.commander import Commander
from inspector.tuning import spare_the_collector
from inspector.web.accounts.accounts import Accounts
from inspector.web.desk import Desk
from inspector.web.helper import keeping_worker
from inspector.web.live import LiveLine
from inspector.web.memory import Memory
from inspector.web.workroom import Workroom

if TYPE_CHECKING:
    from inspector.web.accounts.oidc import OidcOptions

log = logging.getLogger(__name__)

GOODBYE_S, STUCK_S = 3, 5.0
"""How long open requests may take when the desk is told to stop."""
KEPT_S = 75
"""How long an idle connection is kept: longer than people mostly look at a page, so that the next needs no new connection, and
hardly ever meets one that is just being closed."""


@dataclass(frozen=True, slots=True)
class WebOptions:
    """What the program needs to know. `certificate` None: no TLS. `address` is what people type, empty: where it listens."""

    line: str
    line_file: Path
    stations: tuple[str, ...]
    host: str
    port: int
    address: str
    certificate: Path | None
    key: Path | None
    bundles: Path
    folder: Path
    session_hours: float
    shifts: tuple[time_of_day, ...]
    lot_pattern: str
    service: str
    credentials: grpc.ChannelCredentials | None
    database_url: str
    data_dir: Path
    problems: Callable[[Path], tuple[str, ...]]
    worker: bool = False
    oidc: OidcOptions | None = None

    @property
    def url(self) -> str:
        """Where the desk is reached."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.address or f"{'http' if self.certificate is None else 'https'}://{host}:{self.port}"


@contextmanager
def open_desk(options: WebOptions) -> Iterator[Desk]:
    """Everything that pages work with, while the context lasts. Raises InspectorError."""
    for key, folder in (("[line] data_dir", options.data_dir), ("[web] folder", options.folder)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{key}: {folder} cannot be made ({error.strerror}): name a folder that this program's user may write, as "
                "/var/lib/inspector/LINE/web"
            ) from error
    store = Store(options.database_url)
    audit_log = AuditLog(options.data_dir / AUDIT_FILE)
    live = LiveLine(options.line, options.stations)
    commander = Commander(options.service, options.line, options.credentials)
    writer = AuditWriter(audit_log)
    try:
        store.create()
        store.check_schema()
        pictures = ImageStore(image_folder(options.data_dir))
        yield Desk(
            line=options.line,
            stations=options.stations,
            line_file=options.line_file,
            store=store,
            pictures=pictures,
            accounts=Accounts(Users(store.database), options.session_hours),
            audit_log=audit_log,
            audit_writer=writer,
            live=live,
            commander=commander,
            bundles=options.bundles,
            folder=options.folder,
            shifts=options.shifts,
            lot_of=lot_finder(options.lot_pattern),
            problems=options.problems,
            clock=lambda: datetime.now(UTC),
            work=Workroom(store.database, options.line, pictures, options.folder, lambda: datetime.now(UTC)),
        )
    finally:
        commander.close()
        live.close()
        writer.close()
        store.close()


def run_web(options: WebOptions, ready: Callable[[str, Callable[[], bool]], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises InspectorError.

    Once browsers can connect `ready` is called with the address and a function that says whether the desk's loop turns.
    """
    listener = _listen(options.host, options.port)
    keeping = keeping_worker(options.line_file) if options.worker else contextlib.nullcontext()
    with listener, open_desk(options) as desk, keeping:
        if not any(user.is_active for user in desk.accounts.users.all()):
            log.warning(
                "nobody may log in yet: make the first user with `inspector web-user LINE.toml NAME --role admin`"
            )
        # Only now: NiceGUI takes a second to import.
        from inspector.web.application import make_application

        app = make_application(desk, options.address, options.oidc)
        desk.live.follow(options.service, options.credentials)
        memory = Memory(desk)
        memory.start()
        threading.Thread(target=_load_descriptions, args=(desk,), name="descriptions", daemon=True).start()
        desk.audit_writer.note("started web desk", options.line, {"version": __version__, "url": options.url}, "web")
        try:
            server = _Server(_config(app, options), lambda: ready(options.url, server.alive))
            server.run([listener])
        finally:
            memory.close()
        desk.audit_writer.note("stopped web desk", options.line, {}, "web")


def _load_descriptions(desk: Desk) -> None:
    """Before anybody looks for pictures like another."""
    try:
        desk.work.descriptors.load()
    except RecordsError as error:
        log.warning("the first search for pictures like another will take longer: %s", error)


def _config(app: object, options: WebOptions) -> uvicorn.Config:
    try:
        return uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GOODBYE_S,
            timeout_keep_alive=KEPT_S,
            ssl_certfile=options.certificate,
            ssl_keyfile=options.key,
        )
    except OSError as error:
        raise ConfigError(
            f"web.certificate or web.key cannot be used ({error}): name a PEM certificate and key"
        ) from error


class _Server(uvicorn.Server):
    """Says when it answers, and whether it still does."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._turned_s = time.monotonic()

    def alive(self) -> bool:
        """Whether the loop turns."""
        return time.monotonic() - self._turned_s < STUCK_S

    async def on_tick(self, counter: int) -> bool:
        self._turned_s = time.monotonic()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Otherwise everybody waits for 130 ms now and then, while all that was imported is looked through.
        spare_the_collector()
        self._ready()


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(
            f"the web desk cannot listen on {host}:{port} ({error.strerror or error}): choose an address of this machine and "
            "a free port in web.listen"
        ) from error
    listener.set_inheritable(True)
    return listener
