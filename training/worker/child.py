"""The process of one job: reads what it is to do from standard input, tells on standard output, and ends with its worker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

from inspector.errors import InspectorError
from inspector.quiet import quiet_session
from inspector.records.place import RecordsPlace
from training.worker.messages import Teller
from training.worker.tasks import Task, run_task

CANCELLED = 130
_PATIENCE_S = 20.0


def order(kind: str, task: Task) -> str:
    """What a child is sent, as one line."""
    place = task.place
    return json.dumps(
        {
            "kind": kind,
            "number": task.number,
            "spec": dict(task.spec),
            "asked_by": task.asked_by,
            "asked": task.asked.isoformat(),
            "work": str(task.work),
            "place": {
                "database_url": place.database_url,
                "image_folder": str(place.image_folder),
                "line": place.line,
                "bundles": str(place.bundles),
                "desk": str(place.desk),
            },
        }
    )


def read_order(line: str) -> tuple[str, Task]:
    """The inverse of `order`."""
    values: dict[str, Any] = json.loads(line)
    place = values["place"]
    where = RecordsPlace(
        place["database_url"],
        Path(place["image_folder"]),
        place["line"],
        Path(place["bundles"]),
        Path(place["desk"]),
    )
    asked = datetime.fromisoformat(values["asked"])
    task = Task(values["number"], values["spec"], values["asked_by"], asked, where, Path(values["work"]))
    return values["kind"], task


def main() -> None:
    """Do one job. What libraries print goes to standard error, so that standard output has messages alone."""
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    quiet_session()
    tell = Teller(messages)
    kind, task = read_order(sys.stdin.readline())
    threading.Thread(target=_end_with_the_worker, name="worker watch", daemon=True).start()
    try:
        tell.result(run_task(kind, task, tell))
    except InspectorError as error:
        tell.error(str(error))
    except KeyboardInterrupt:
        sys.exit(CANCELLED)
    except BrokenPipeError:
        os._exit(CANCELLED)  # nobody listens any more


def _end_with_the_worker() -> None:
    """Standard input ends when the worker does, however it died: another will take the job up, and two must not be at it."""
    with contextlib.suppress(OSError):
        sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_PATIENCE_S)
    os._exit(CANCELLED)


if __name__ == "__main__":
    main()
