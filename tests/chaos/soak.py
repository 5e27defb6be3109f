"""One long run: as many triggers as you like, as fast as they are judged, and what memory, files and threads do meanwhile.

Real processes: `inspector serve` with SQLite, journal, pictures under a quota and metrics, a PLC and a camera per station.
Every camera keeps a window of frames in flight, so that the line is busy all the time and no queue ever overflows. A part
in a hundred is defective. The service is killed and started again early in the run; the rest is one life, whose memory is
to be flat. In the end reply, PLC and database must tell exactly one verdict of every trigger, the right one.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from chaos.camera import CannotMeasure
from chaos.pictures import SIZE
from chaos.processes import INSPECTOR, PlcProcess, Process, free_port, pause, wait_for
from chaos.pump import Pump
from chaos.soak_books import close_books
from chaos.soak_memory import Sample, draw, growth_of, write_csv
from rich.console import Console
from toys import toy_bundle

LINE = "soak"
CAMERAS = 4
# The service dies when so much of the run is done; what comes after the last is one life.
_KILLS_AT = (0.03, 0.06)
_PLC_POLL_MS = 30
_SAMPLE_S = 1.0
_QUOTA_MIB = 4
# Samples between two scrapes of the metrics.
_SCRAPE_EVERY = 10
_LOOK_S = 0.02
# Results and ejections in a PLC's file carry the number of their verdict.
_SEQUENCE = re.compile(rb'"sequence": (\d+)[,}]')
_TAIL_BYTES = 512


class _SoakLine:
    """The processes of the run."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.data_dir = folder / "var"
        self._grpc, self._modbus, self._metrics = free_port(), free_port(), free_port()
        self._write_line_file()
        self.service = self._start()
        self.lives = 1
        self.plcs = [self._plc(unit) for unit in range(1, CAMERAS + 1)]
        each = count // CAMERAS
        self.pumps = [
            Pump(f"127.0.0.1:{self._grpc}", LINE, _station(unit), each + (count % CAMERAS if unit == 1 else 0))
            for unit in range(1, CAMERAS + 1)
        ]

    @property
    def answered(self) -> int:
        return sum(pump.answered for pump in self.pumps)

    def kill(self) -> None:
        """kill -9, and the next start."""
        self.service.kill()
        self.service = self._start()
        self.lives += 1

    def scrape(self) -> None:
        """As Prometheus does; a service that just starts is missed."""
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=5) as page:
            page.read()

    def stop(self) -> int:
        """Wait until the PLCs have read the last verdict, then end all. Exit status of the service."""
        for plc, pump in zip(self.plcs, self.pumps, strict=True):
            wait_for(lambda p=plc, t=pump.count: _last_read(p.results) == t, f"{plc.name} does not end", 30, 0.2)
        status = self.service.stop()
        for plc in self.plcs:
            plc.stop()
        return status

    def end(self) -> None:
        for process in (self.service, *self.plcs):
            process.kill()

    def _start(self) -> Process:
        command = (*INSPECTOR, "serve", str(self.folder / "line.toml"))
        return Process("inspector serve", command, self.folder / "serve.log")

    def _plc(self, unit: int) -> PlcProcess:
        plc = PlcProcess(_station(unit), self._modbus, unit, self.folder, poll_ms=_PLC_POLL_MS)
        # A PLC is a machine of its own, which this one's load cannot hold up.
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, plc.pid, -10)
        return plc

    def _write_line_file(self) -> None:
        bundle = self.folder / "bundle"
        self.folder.mkdir(parents=True, exist_ok=True)
        toy_bundle(bundle, size=SIZE)
        text = f"""
[line]
name = "{LINE}"
data_dir = "{self.data_dir}"
[grpc]
listen = "127.0.0.1:{self._grpc}"
max_frames_per_s = 100000
[modbus]
listen = "127.0.0.1:{self._modbus}"
[metrics]
listen = "127.0.0.1:{self._metrics}"
[records]
pass_sampling = 0.001
image_quota_mib = {_QUOTA_MIB}
[inference]
threads = 1
max_batch = 8
[recipe.toy]
bundle = "{bundle}"
deadline_ms = 60000
"""
        for unit in range(1, CAMERAS + 1):
            name = _station(unit)
            text += f'[[station]]\nname = "{name}"\ncamera = "cam-{name}"\nunit = {unit}\nrecipe = "toy"\n'
        (self.folder / "line.toml").write_text(text)


def main(count: int, output: Path, out: Console) -> int:
    """Run `count` triggers and write soak.json, soak.csv, soak.svg and soak.png. 0 if every promise was kept."""
    with tempfile.TemporaryDirectory(prefix="inspector-soak-") as name, out.status("starting") as status:
        line = _SoakLine(Path(name), count)
        try:
            samples = _run(line, count, status.update)
            if (code := line.stop()) != 0:
                raise CannotMeasure(f"the service ended with status {code}")
            status.update("closing the books")
            books = close_books(line.pumps, [plc.results for plc in line.plcs], line.data_dir / "quality.db")
        except BaseException:
            out.print(line.service.tail(), markup=False)
            raise
        finally:
            line.end()
    growth, seconds = growth_of(samples), samples[-1].at_s
    write_csv(samples, output / "soak.csv")
    draw(samples, output)
    result = {
        **asdict(books),
        "cameras": CAMERAS,
        "kills": line.lives - 1,
        "seconds": round(seconds, 1),
        "triggers_per_s": round(count / seconds, 1),
        "books_are_even": books.are_even,
        "memory": asdict(growth),
        "memory_is_flat": growth.is_flat,
    }
    (output / "soak.json").write_text(json.dumps(result, indent=2) + "\n")
    out.print_json(json.dumps(result))
    out.print(f"{count:,} triggers in {seconds:.0f} s, {count / seconds:.0f} a second; {output / 'soak.svg'}")
    return 0 if books.are_even and growth.is_flat else 1


def _run(line: _SoakLine, count: int, say: Callable[[str], None]) -> list[Sample]:
    """Let all cameras send all they have; kill the service on the way."""
    samples: list[Sample] = []
    for pump in line.pumps:
        pump.start()
    threading.Thread(target=_follow_plcs, args=(line,), name="belt", daemon=True).start()
    started = due = time.monotonic()
    kills_at = [share * count for share in _KILLS_AT]
    while any(pump.is_alive() for pump in line.pumps):
        due += _SAMPLE_S
        pause(max(0.0, due - time.monotonic()))
        at_s = time.monotonic() - started
        samples += _sample(line, at_s)
        if len(samples) % _SCRAPE_EVERY == 0:
            line.scrape()
        say(f"{line.answered:,} of {count:,} triggers, {line.answered / at_s:.0f} a second")
        if kills_at and line.answered >= kills_at[0]:
            kills_at.pop(0)
            line.kill()
    for pump in line.pumps:
        pump.check()
    return samples


def _sample(line: _SoakLine, at_s: float) -> list[Sample]:
    """None while the service starts."""
    pid = line.service.pid
    try:
        status = dict(row.split(":", 1) for row in Path(f"/proc/{pid}/status").read_text().splitlines())
        handles = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return []
    kib = {name: int(status[name].split()[0]) for name in ("VmRSS", "RssAnon") if name in status}
    if not kib:
        return []
    memory = (kib["VmRSS"] / 1024, kib["RssAnon"] / 1024)
    return [Sample(at_s, line.answered, line.lives, *memory, handles, int(status["Threads"]))]


def _follow_plcs(line: _SoakLine) -> None:
    """Let the belts see how far their PLCs have read."""
    while any(pump.is_alive() for pump in line.pumps):
        for plc, pump in zip(line.plcs, line.pumps, strict=True):
            pump.read_by_plc = max(pump.read_by_plc, _last_read(plc.results))
        pause(_LOOK_S)


def _last_read(results: Path) -> int:
    """Number of the last verdict that a PLC wrote down; here that is its trigger, because none is left out."""
    if not results.exists():
        return 0
    with results.open("rb") as file:
        file.seek(max(0, results.stat().st_size - _TAIL_BYTES))
        numbers = _SEQUENCE.findall(file.read())
    return int(numbers[-1]) if numbers else 0


def _station(unit: int) -> str:
    return f"station{unit}"
