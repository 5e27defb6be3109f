"""What people read: states, verdicts and reasons in the words of those who stand at the line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inspector.part import Inspection, Reason, Verdict
from inspector.signalling.signal import StationState
from inspector.web.live import LineNow, StationNow


@dataclass(frozen=True, slots=True)
class State:
    """A state in one word, with a symbol, and what stands behind it. `kind` names its colour in the style sheet."""

    kind: str
    symbol: str
    word: str
    text: str


VERDICT_SYMBOLS: Mapping[Verdict, str] = {Verdict.PASS: "✓", Verdict.REJECT: "✕", Verdict.UNKNOWN: "?"}

REASONS: Mapping[Reason, tuple[str, str]] = {
    Reason.WITHIN_LIMITS: ("Good", "Everything is within its limits."),
    Reason.SCORE_ABOVE_LIMIT: ("Looks defective", "The model's score is above the limit: look at the marked place."),
    Reason.DIMENSION_ABOVE_LIMIT: ("Defect too large", "A defect is longer, larger or more frequent than allowed."),
    Reason.DEADLINE_EXCEEDED: ("Too late", "No verdict was ready in time: the computer is too slow for this rate."),
    Reason.QUEUE_FULL: ("Too many at once", "More parts waited than the line holds: slow down, or call the engineer."),
    Reason.TRIGGER_GAP: ("Picture missing", "The camera skipped this part: check its cable and its trigger."),
    Reason.FRAME_INVALID: ("Picture broken", "The picture could not be read: check the camera and its cable."),
    Reason.FRAME_OVERWRITTEN: (
        "Picture replaced",
        "The camera's program wrote the next picture over this one before it was judged: call the engineer.",
    ),
    Reason.FRAME_TOO_LARGE: ("Picture too large", "The camera sends larger pictures than allowed: check its settings."),
    Reason.IMAGE_TOO_DARK: ("Too dark", "The picture is too dark: check the lamp, the lens cap and the exposure."),
    Reason.IMAGE_SATURATED: ("Too bright", "The picture is overexposed: check the lamp and the exposure."),
    Reason.IMAGE_BLURRED: (
        "Blurred",
        "The picture is not sharp: clean the lens, check the focus and the belt's speed.",
    ),
    Reason.PART_NOT_FOUND: ("No part found", "There is no part where it should be: check how parts lie on the belt."),
    Reason.MODEL_FAILED: ("Model failed", "The model could not judge the picture: call the engineer."),
    Reason.SCORE_INVALID: ("No valid score", "The model gave no number: call the engineer."),
    Reason.MISSING_VIEW: ("View missing", "One of the part's pictures did not come: check that camera."),
    Reason.SERVICE_STOPPING: ("Stopping", "The inspection was being stopped."),
    Reason.SERVICE_RESTARTED: ("Restarted", "The inspection was started anew while this part was under way."),
    Reason.NOT_READY: ("Not ready", "The station was not ready yet: wait until it shows READY."),
    Reason.JOURNAL_FAILED: (
        "Cannot record",
        "The verdict could not be recorded: the disk may be full. Call the engineer.",
    ),
    Reason.INTERNAL_ERROR: ("Internal error", "Something failed inside the inspection: call the engineer."),
    Reason.STATION_STOPPED: ("Station stopped", "The station was stopped on purpose: start it to judge parts."),
    Reason.OVERLOADED: ("Overloaded", "The computer could not judge this part in time: the rate is too high for it."),
}
"""For every reason a headline and what to do, for operators."""


def line_state(now: LineNow) -> State:
    """What the whole line does; the worst of its stations counts."""
    if now.lost:
        return State("lost", "!", "NO CONTACT", f"{now.lost[:1].upper()}{now.lost[1:]}. What is shown may be old.")
    if not now.alive:
        return State("fault", "!", "TOO SLOW", "The service does not keep its deadlines: the PLC rejects every part.")
    states = [station_state(station) for station in now.stations]
    return max(states, key=lambda state: _WORST.index(state.kind), default=_UNKNOWN)


def station_state(station: StationNow) -> State:
    """What one station does."""
    if station.report is None:
        return _UNKNOWN
    state, fault = station.report.reading.state, station.report.fault
    kind, symbol, word, text = _STATES[state]
    if state is StationState.FAULT:
        text = f"{text} The fault: {fault.name.lower().replace('_', ' ')}."
    return State(kind, symbol, word, f"{station.name}: {text}")


_WORST = ("run", "wait", "stop", "fault", "lost")
_UNKNOWN = State(
    "wait", "…", "UNKNOWN", "The service does not know this station: start the desk anew with its line file."
)
_STATES: Mapping[StationState, tuple[str, str, str, str]] = {
    StationState.NOT_READY: ("wait", "…", "NOT READY", "the station is getting ready; parts are rejected until then."),
    StationState.READY: ("run", "✓", "READY", "parts are judged."),
    StationState.STOPPING: ("stop", "■", "STOPPING", "the station is being stopped."),
    StationState.FAULT: ("fault", "!", "FAULT", "the station cannot judge; parts are rejected."),
    StationState.STOPPED: ("stop", "■", "STOPPED", "the station was stopped on purpose; parts are rejected."),
}


def reason_words(inspection: Inspection) -> tuple[str, str]:
    """Why a verdict is what it is: a headline, and what to do. The class of a defect stands in the headline."""
    headline, text = REASONS[inspection.reason]
    if inspection.defect_class and inspection.verdict is Verdict.REJECT:
        headline = f"{headline}: {inspection.defect_class}"
    return headline, text


def number(value: float | None, digits: int = 3) -> str:
    """A measured value, or a dash."""
    return "–" if value is None else f"{value:.{digits}g}"


def share(value: float | None) -> str:
    """A share in percent, or a dash."""
    return "–" if value is None else f"{100 * value:.1f} %"
