"""The demo's bookkeeping: what was sent against what each output told, and verdicts against the truth. Pure.

Three outputs tell of every part: the reply to the camera, the PLC's registers, the quality database. Each must tell
exactly one verdict per trigger, and all the same one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inspector.decision.intervals import Interval, clopper_pearson
from inspector.part import Reason, Verdict

GOOD = "good"


@dataclass(frozen=True, slots=True)
class ShownPart:
    """One part that went past the camera. `again`: its image had been shown before in this run.

    `label` is the truth, "good" or a defect class; `band` says how visible a simulated defect is, else empty.
    """

    trigger: int
    file: str
    label: str
    band: str = ""
    again: bool = False

    @property
    def is_good(self) -> bool:
        return self.label == GOOD


@dataclass(frozen=True, slots=True)
class Told:
    """One verdict, as one output told it. `time_ns` is on the monotonic clock, 0 where the output has none."""

    trigger: int
    verdict: Verdict
    reason: Reason
    time_ns: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """A broken promise: a verdict lost, doubled, invented or contradicted."""

    kind: str
    trigger: int
    detail: str

    def __str__(self) -> str:
        return f"trigger {self.trigger}: {self.kind}: {self.detail}"


def find_faults(shown: Sequence[ShownPart], outputs: Mapping[str, Sequence[Told]]) -> list[Fault]:
    """Every broken promise, in trigger order; none means one verdict per trigger, the same on every output."""
    faults: list[Fault] = []
    expected = {part.trigger for part in shown}
    by_output = {name: _by_trigger(told) for name, told in outputs.items()}
    for name, told in by_output.items():
        faults += [
            Fault("invented", trigger, f"{name} tells {_say(verdicts)} of a part that was never sent")
            for trigger, verdicts in told.items()
            if trigger not in expected
        ]
    for trigger in sorted(expected):
        single: dict[str, Told] = {}
        for name, told in by_output.items():
            verdicts = told.get(trigger, [])
            if not verdicts:
                faults.append(Fault("lost", trigger, f"{name} tells no verdict"))
            elif len(verdicts) > 1:
                faults.append(Fault("doubled", trigger, f"{name} tells {len(verdicts)} verdicts: {_say(verdicts)}"))
            else:
                single[name] = verdicts[0]
        if len({(one.verdict, one.reason) for one in single.values()}) > 1:
            words = ", ".join(f"{name} {_say([one])}" for name, one in single.items())
            faults.append(Fault("contradicted", trigger, words))
    return sorted(faults, key=lambda fault: fault.trigger)


def count_agreeing(shown: Sequence[ShownPart], one: Sequence[Told], other: Sequence[Told]) -> int:
    """Parts of which both outputs tell exactly one verdict, with the same reason."""
    ones, others = _by_trigger(one), _by_trigger(other)
    agreeing = 0
    for part in shown:
        first, second = ones.get(part.trigger, []), others.get(part.trigger, [])
        if len(first) == len(second) == 1:
            agreeing += (first[0].verdict, first[0].reason) == (second[0].verdict, second[0].reason)
    return agreeing


def _by_trigger(told: Iterable[Told]) -> dict[int, list[Told]]:
    found: dict[int, list[Told]] = defaultdict(list)
    for one in told:
        found[one.trigger].append(one)
    return found


def _say(verdicts: Sequence[Told]) -> str:
    return ", ".join(f"{one.verdict.name}/{one.reason.name}" for one in verdicts[:4])


@dataclass(frozen=True, slots=True)
class Tally:
    """Verdicts over one group of parts. `wrong` is the group's error rate with its exact 95 % interval.

    Of good parts the wrong verdict is REJECT (a false reject), of defective ones PASS (an escape). An image that was
    shown more than once counts once in the interval, because a repeat is no new evidence.
    """

    group: str
    parts: int
    passed: int
    rejected: int
    unknown: int
    wrong: Interval


def tally(group: str, parts: Sequence[ShownPart], verdicts: Mapping[int, Verdict], wrong: Verdict) -> Tally:
    """Count the verdicts of `parts`; a part without verdict counts in `parts` alone."""
    given = [verdicts.get(part.trigger) for part in parts]
    fresh = [verdicts[part.trigger] for part in parts if not part.again and part.trigger in verdicts]
    counts = {verdict: given.count(verdict) for verdict in Verdict}
    return Tally(
        group,
        len(parts),
        counts[Verdict.PASS],
        counts[Verdict.REJECT],
        counts[Verdict.UNKNOWN],
        clopper_pearson(fresh.count(wrong), len(fresh)),
    )


def truth_table(shown: Sequence[ShownPart], told: Sequence[Told]) -> tuple[list[Tally], list[Tally], list[Tally]]:
    """Tallies of good and defective parts; of each defect class; of each visibility band (simulated parts only)."""
    verdicts = {one.trigger: one.verdict for one in told}
    good = [part for part in shown if part.is_good]
    defective = [part for part in shown if not part.is_good]
    whole = [
        tally("good", good, verdicts, Verdict.REJECT),
        tally("defective", defective, verdicts, Verdict.PASS),
    ]
    return whole, _groups(defective, verdicts, "label"), _groups(defective, verdicts, "band")


def _groups(parts: Sequence[ShownPart], verdicts: Mapping[int, Verdict], key: str) -> list[Tally]:
    groups: dict[str, list[ShownPart]] = defaultdict(list)
    for part in parts:
        groups[getattr(part, key)].append(part)
    return [tally(name, group, verdicts, Verdict.PASS) for name, group in sorted(groups.items()) if name]


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in ms by nearest rank: each is a time that some part really took. NaN if nothing was measured."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    parts: int


def latency(sent_ns: Mapping[int, int], told: Sequence[Told]) -> Latency:
    """From a frame's sending to the first telling of its verdict; both on the same monotonic clock."""
    first: dict[int, int] = {}
    for one in told:
        if one.trigger in sent_ns and one.time_ns:
            first[one.trigger] = min(one.time_ns, first.get(one.trigger, one.time_ns))
    took_ms = sorted((at - sent_ns[trigger]) / 1e6 for trigger, at in first.items())
    p50, p99, p999 = (_nearest_rank(took_ms, share) for share in (0.50, 0.99, 0.999))
    return Latency(p50, p99, p999, len(took_ms))


def _nearest_rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan
