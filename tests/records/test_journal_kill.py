"""kill -9 at any moment: what the process was told is written must be there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from record_samples import LINE

from inspector.records.entries import Settled
from inspector.records.journal import Journal

# Admits and settles as fast as it can, and says after each settle which verdict it would now signal.
PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from record_samples import LINE, admission, inspection
from inspector.records.journal import Journal

journal = Journal.open(Path(sys.argv[1]), LINE, segment_bytes=64 << 10, sync_interval_s=0.01)
for old in journal.state.unsettled:
    sequence = journal.next_sequence
    journal.settle(inspection(sequence, trigger=old.trigger))
sys.stdout.write(f"{journal.next_sequence - 1}\\n")
while True:
    sequence = journal.next_sequence
    trigger = journal._ledger.mark("top").next_trigger
    journal.admit(admission(trigger))
    sys.stdout.write(f"admitted {trigger}\\n")
    journal.settle(inspection(sequence, trigger=trigger))
    sys.stdout.write(f"settled {sequence}\\n")
"""


def run_and_kill(folder: Path, lines: int) -> tuple[int, int]:
    """(last verdict signalled, last trigger admitted) that the process told of before it died."""
    here = Path(__file__).parent
    arguments = [sys.executable, "-u", "-c", PROGRAM, str(folder), str(here), str(here.parent)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
    assert told[0].strip().isdigit(), "the process did not start"
    whole = [line.split() for line in told if line.endswith("\n")]
    settled = [int(words[-1]) for words in whole if words[0] != "admitted"]
    admitted = [int(words[-1]) for words in whole if words[0] == "admitted"]
    return max(settled), max(admitted, default=0)


def test_nothing_that_was_told_is_lost(tmp_path: Path) -> None:
    random_lines = random.Random(20260302)
    for _ in range(8):
        settled, admitted = run_and_kill(tmp_path, random_lines.randrange(1, 1500))
        with closing(Journal.open(tmp_path, LINE, segment_bytes=64 << 10)) as journal:
            entries = [entry for _, entry in journal.read() if isinstance(entry, Settled)]
            found = [entry.inspection.sequence for entry in entries]
            assert found == list(range(1, len(found) + 1)), "a verdict is missing or doubled"
            assert settled <= len(found) <= settled + 1
            assert all(d.what == "torn or damaged end" for d in journal.damage)
            assert journal.state.next_sequence == len(found) + 1
            assert len(journal.state.unsettled) <= 1
            owed = {a.trigger for a in journal.state.unsettled}
            known = {entry.inspection.trigger for entry in entries}
            assert set(range(1, admitted + 1)) <= owed | known, "an admitted part is owed no verdict"
