"""The account of a run: what was announced to the line against what each output told of it. Pure.

Five outputs tell of every part: the reply to the camera, the PLC's registers, the journal, the quality database and the
watch stream. Each must tell exactly one verdict per trigger, all the same one, and one that the part's frame and the
faults of its time allow. A part that is known to be defective, or that no frame shows, must pass on none of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from inspector.part import Reason, Verdict
from inspector.signalling.registers import SEQUENCE_MODULUS

REPLIES, PLC = "reply", "plc"
# "untold": the PLC was not told in time that the inspector does not answer. "unnamed": the log does not say who did it.
OUTCOMES = ("lost", "doubled", "invented", "escaped", "disagreeing", "untold", "unnamed")
Key = tuple[str, int]


@dataclass(slots=True)
class Announced:
    """One trigger of a station. `allowed` are the reasons that its verdict may have.

    `frames` counts the frames sent with this number, at most as many replies may come, and one more if it was `skipped`
    before; `owed` are those whose stream lived on, so that their replies must come. `forgotten`: the camera lost its
    connection and did not ask again, so it may never have seen a reply.
    """

    kind: str
    allowed: set[Reason]
    frames: int = 1
    owed: int = 1
    skipped: bool = False
    forgotten: bool = False

    @property
    def may_pass(self) -> bool:
        """Whether it is a good part, shown by a frame that can be judged."""
        return any(reason.verdict is Verdict.PASS for reason in self.allowed)


@dataclass(frozen=True, slots=True)
class Told:
    """One verdict, as one output told it. `sequence` counts the line's verdicts, 0 on the PLC, which does not see it."""

    output: str
    station: str
    trigger: int
    station_sequence: int
    verdict: Verdict
    reason: Reason
    sequence: int = 0

    @property
    def key(self) -> Key:
        return self.station, self.trigger

    @property
    def content(self) -> tuple[int, Verdict, Reason]:
        """What must be the same on every output."""
        return self.station_sequence % SEQUENCE_MODULUS, self.verdict, self.reason

    def __str__(self) -> str:
        return f"{self.output} says #{self.station_sequence} {self.verdict.name}/{self.reason.name}"


@dataclass(frozen=True, slots=True)
class Fault:
    """A broken promise."""

    outcome: str
    kind: str
    key: Key
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.key[0]} trigger {self.key[1]}: {self.outcome}: {self.detail}"


@dataclass(slots=True)
class Tally:
    """What became of one kind of fault: how often it was done, the triggers of its time, and the promises it broke.

    `must_not_pass` are the triggers of defective parts and of parts that nothing shows; `told_ms` is how long the PLC took at
    most to see that the inspector does not answer, 0 if it always did. Fewer faults than `expected` prove nothing.
    """

    faults: int = 0
    expected: int = 0
    triggers: int = 0
    must_not_pass: int = 0
    told_ms: float = 0.0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    broken: list[Fault] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """The same kind, done to another line."""
        self.faults += other.faults
        self.expected += other.expected
        self.triggers += other.triggers
        self.must_not_pass += other.must_not_pass
        self.told_ms = max(self.told_ms, other.told_ms)
        self.verdicts += other.verdicts
        self.broken += other.broken

    def count(self, outcome: str) -> int:
        return sum(fault.outcome == outcome for fault in self.broken)


def reconcile(announced: Mapping[Key, Announced], told: Sequence[Told], outputs: Iterable[str]) -> list[Fault]:
    """Every broken promise. `outputs` are those that must tell of every trigger; replies are counted per frame."""
    by_key: dict[Key, dict[str, list[Told]]] = defaultdict(lambda: defaultdict(list))
    for one in told:
        by_key[one.key][one.output].append(one)
    faults: list[Fault] = []
    for key in sorted(by_key.keys() - announced.keys()):
        said = [one for ones in by_key[key].values() for one in ones]
        faults.append(Fault("invented", "no trigger", key, f"never announced, yet {_say(said)}"))
    recorded = [output for output in outputs if output != REPLIES]
    for key, part in sorted(announced.items()):
        faults += _judge(key, part, by_key.get(key, {}), recorded)
    return faults + list(_numbering(announced, told))


def _judge(key: Key, part: Announced, said: Mapping[str, list[Told]], recorded: Sequence[str]) -> Iterable[Fault]:
    for output in recorded:
        count = len(said.get(output, []))
        if count == 0:
            yield Fault("lost", part.kind, key, f"{output} tells nothing")
        elif count > 1:
            yield Fault("doubled", part.kind, key, f"{output} tells {count} verdicts: {_say(said[output])}")
    replies = len(said.get(REPLIES, []))
    if replies < part.owed and not part.forgotten:
        yield Fault("lost", part.kind, key, f"the camera got {replies} of {part.owed} replies")
    if replies > part.frames + part.skipped:
        yield Fault("doubled", part.kind, key, f"{replies} replies to {part.frames} frames")
    all_said = [one for ones in said.values() for one in ones]
    if len({one.content for one in all_said}) > 1 or len({one.sequence for one in all_said if one.sequence}) > 1:
        yield Fault("disagreeing", part.kind, key, _say(all_said))
    allowed = ", ".join(sorted(reason.name for reason in part.allowed))
    escaped = [one for one in all_said if one.verdict is Verdict.PASS and not part.may_pass]
    if escaped:
        yield Fault("escaped", part.kind, key, f"{_say(escaped)}; nothing but {allowed} has a cause")
    wrong = [one for one in all_said if one.reason not in part.allowed or one.verdict is not one.reason.verdict]
    if wrong := [one for one in wrong if one not in escaped]:
        yield Fault("invented", part.kind, key, f"{_say(wrong)}; nothing but {allowed} has a cause")


def _numbering(announced: Mapping[Key, Announced], told: Sequence[Told]) -> Iterable[Fault]:
    """Numbers without gaps: a hole is a verdict that some output never told, a number twice is two under one id."""
    by_output: dict[str, list[Told]] = defaultdict(list)
    for one in told:
        if one.output not in (REPLIES, PLC):
            by_output[one.output].append(one)
    for output, ones in by_output.items():
        keys = defaultdict(set)
        for one in ones:
            keys[one.sequence].add(one.key)
        for sequence, shared in keys.items():
            for key in sorted(shared)[1:]:
                kind = announced[key].kind if key in announced else "no trigger"
                yield Fault("doubled", kind, key, f"{output} gives its number {sequence} to {len(shared)} triggers")
        for hole in sorted(set(range(1, max(keys, default=0) + 1)) - keys.keys()):
            yield Fault("lost", "no trigger", ("", hole), f"{output} has no verdict {hole}")


def _say(said: Sequence[Told]) -> str:
    words = list(dict.fromkeys(str(one) for one in said))
    return ", ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else "")
