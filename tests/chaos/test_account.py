"""The account itself: every broken promise must be found, or the chaos tests prove nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from chaos.account import PLC, REPLIES, Announced, Told, reconcile

from inspector.part import Reason, Verdict
from inspector.signalling.registers import SEQUENCE_MODULUS

OUTPUTS = (REPLIES, PLC, "database")
PASS = (Verdict.PASS, Reason.WITHIN_LIMITS)


def _told(trigger: int = 1, *, outputs: tuple[str, ...] = OUTPUTS, number: int | None = None) -> list[Told]:
    number = trigger if number is None else number
    return [Told(output, "s", trigger, number, *PASS, 0 if output == PLC else number) for output in outputs]


def _announced(*triggers: int) -> dict[tuple[str, int], Announced]:
    return {("s", trigger): Announced("kind", {Reason.WITHIN_LIMITS}) for trigger in triggers}


def _only(told: list[Told], output: str, **changes: Any) -> list[Told]:
    return [replace(one, **changes) if one.output == output else one for one in told]


UNKNOWN: dict[str, Any] = {"verdict": Verdict.UNKNOWN, "reason": Reason.TRIGGER_GAP}


@pytest.mark.parametrize(
    ("told", "outcomes"),
    [
        pytest.param(_told(), [], id="all outputs agree"),
        pytest.param([], ["lost", "lost", "lost"], id="silence everywhere"),
        pytest.param(_told(outputs=(REPLIES, PLC)), ["lost"], id="not on record"),
        pytest.param(_told(outputs=(REPLIES, "database")), ["lost"], id="the PLC never saw it"),
        pytest.param(_told(outputs=(PLC, "database")), ["lost"], id="the camera got no reply"),
        pytest.param(_told() + _told(outputs=(PLC,)), ["doubled"], id="the PLC saw it twice"),
        pytest.param(_told() + _told(outputs=(REPLIES,)), ["doubled"], id="two replies to one frame"),
        pytest.param(_only(_told(), PLC, **UNKNOWN), ["disagreeing", "invented"], id="the PLC was told otherwise"),
        pytest.param(_only(_told(), PLC, station_sequence=9), ["disagreeing"], id="another number on the PLC"),
        pytest.param(_only(_told(), REPLIES, sequence=9), ["disagreeing"], id="another id in the reply"),
        pytest.param([replace(one, **UNKNOWN) for one in _told()], ["invented"], id="a reason without a cause"),
        pytest.param(
            [replace(one, verdict=Verdict.UNKNOWN) for one in _told()], ["invented"], id="a verdict against its reason"
        ),
        pytest.param(_told() + _told(2), ["invented"], id="a trigger that never was"),
        pytest.param(_told(number=2), ["lost"], id="a hole in the record's numbers"),
    ],
)
def test_every_broken_promise_is_found(told: list[Told], outcomes: list[str]) -> None:
    assert [fault.outcome for fault in reconcile(_announced(1), told, OUTPUTS)] == outcomes


def test_a_number_given_to_two_triggers_is_found() -> None:
    found = reconcile(_announced(1, 2), _told(1) + _told(2, number=1), OUTPUTS)

    assert [(fault.outcome, fault.key) for fault in found] == [("doubled", ("s", 2))]


@pytest.mark.parametrize(
    ("allowed", "outputs"),
    [
        pytest.param({Reason.FRAME_INVALID}, OUTPUTS, id="nothing shows the part"),
        pytest.param({Reason.SCORE_ABOVE_LIMIT}, OUTPUTS, id="a defective part"),
        pytest.param({Reason.SCORE_ABOVE_LIMIT, Reason.SERVICE_RESTARTED}, OUTPUTS, id="a defective part at a restart"),
        pytest.param({Reason.SCORE_ABOVE_LIMIT}, (PLC,), id="on the PLC alone"),
    ],
)
def test_a_part_that_must_not_pass_and_does_escaped(allowed: set[Reason], outputs: tuple[str, ...]) -> None:
    announced = {("s", 1): Announced("fault", allowed, owed=0)}

    found = reconcile(announced, _told(outputs=outputs), outputs)

    assert [(fault.outcome, fault.kind) for fault in found if fault.outcome != "lost"] == [("escaped", "fault")]


def test_a_good_part_may_pass_in_any_weather() -> None:
    assert Announced("kill", {Reason.WITHIN_LIMITS, Reason.SERVICE_RESTARTED}).may_pass
    assert not Announced("kill", {Reason.SCORE_ABOVE_LIMIT, Reason.SERVICE_RESTARTED}).may_pass


def test_duplicates_are_owed_one_reply_each() -> None:
    announced = {("s", 1): Announced("duplicate", {Reason.WITHIN_LIMITS}, frames=2, owed=2)}

    assert reconcile(announced, _told() + _told(outputs=(REPLIES,)), OUTPUTS) == []
    assert [fault.outcome for fault in reconcile(announced, _told(), OUTPUTS)] == ["lost"]


def test_a_skipped_trigger_whose_frame_comes_late_is_answered_twice_at_most() -> None:
    skipped = Announced("order", {Reason.WITHIN_LIMITS}, frames=1, owed=1, skipped=True)
    again = _told(outputs=(REPLIES,))

    assert reconcile({("s", 1): skipped}, _told() + again, OUTPUTS) == []
    assert [fault.outcome for fault in reconcile({("s", 1): skipped}, _told() + again + again, OUTPUTS)] == ["doubled"]


def test_a_forgotten_reply_need_not_come_but_the_verdict_must() -> None:
    announced = {("s", 1): Announced("cut", {Reason.WITHIN_LIMITS}, forgotten=True)}

    assert reconcile(announced, _told(outputs=(PLC, "database")), OUTPUTS) == []
    assert [fault.outcome for fault in reconcile(announced, [], OUTPUTS)] == ["lost", "lost"]


def test_the_plc_counts_in_32_bits() -> None:
    told = _only(_told(), PLC, station_sequence=1)
    told = [replace(one, station_sequence=SEQUENCE_MODULUS + 1) if one.output != PLC else one for one in told]

    assert reconcile(_announced(1), told, OUTPUTS) == []
