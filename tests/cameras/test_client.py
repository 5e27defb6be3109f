"""The camera client against a live server: every part numbered, every trigger answered once, whatever the connection does."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import pytest
from rpc_line import Line, Lines, wait_for
from rpc_twin import DEADLINE_MS, TwinPipeline

from inspector.cameras.client import Answer, CameraClient
from inspector.cameras.connection import translate
from inspector.cameras.ledger import MAX_UNANSWERED, Ledger
from inspector.errors import CameraBusy, SessionError, TriggerOutOfRange, UnknownCamera
from inspector.part import Frame, PixelFormat, Reason, Verdict
from inspector.ring import Place
from inspector.sim.demo.processes import free_ports
from inspector.wire import encode_frame

GOOD, BAD = b"\0", b"\1"
LONG_AGO_NS = 2 * DEADLINE_MS * 1_000_000


def shot(data: bytes = GOOD, part_id: str = "") -> Frame:
    return Frame(0, PixelFormat.MONO8, 1, 1, 0, data, part_id)


@dataclass
class Told:
    """Collects answers."""

    answers: list[Answer] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, answer: Answer) -> None:
        with self.lock:
            self.answers.append(answer)

    def outcome(self) -> dict[int, str]:
        """Reason (or LOST) by trigger; fails if any was answered twice."""
        counts = Counter(answer.trigger for answer in self.answers)
        assert set(counts.values()) <= {1}, counts
        return {a.trigger: "LOST" if a.inspection is None else Reason(a.inspection.reason).name for a in self.answers}


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.cameras.client.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("inspector.cameras.client.LONGEST_PAUSE_S", 0.02)


def connect(target: str, told: Callable[[Answer], None], **options: object) -> CameraClient:
    return CameraClient(target, "a", "cam1", told, client="test 1", **options)  # type: ignore[arg-type]


def cut(line: Line, client: CameraClient) -> None:
    """Take the server away; returns when the client has noticed."""
    line.server.stop(0)
    wait_for(lambda: client._link is None, "the client to see the broken connection")


def test_parts_are_numbered_and_answered(line: Line, told: Told) -> None:
    with connect(line.server.address, told) as client:
        assert client.session.recipe == "r"
        assert [client.send(shot(GOOD, "p1")), client.send(shot(BAD))] == [1, 2]
        assert client.wait_answered(10)
        assert client.unanswered == 0
    assert told.outcome() == {1: "WITHIN_LIMITS", 2: "SCORE_ABOVE_LIMIT"}
    assert [frame.part_id for frame in line.pipeline.frames] == ["p1", ""]
    for answer in told.answers:
        assert 0 < answer.sent_ns < answer.received_ns <= time.monotonic_ns()
    assert line.pipeline.busy == {}, "the service frees the camera before the client is closed"


def test_numbering_goes_on_where_the_service_stands(line: Line, told: Told) -> None:
    for first in (1, 3):
        with connect(line.server.address, told) as client:
            assert [client.send(shot()), client.send(shot())] == [first, first + 1]
            assert client.wait_answered(10)
    assert told.outcome() == dict.fromkeys((1, 2, 3, 4), "WITHIN_LIMITS")


def test_a_frame_beyond_the_limit_is_unknown_and_the_stream_lives(line: Line, told: Told) -> None:
    with connect(line.server.address, told) as client:
        client.send(shot(bytes(20_000_000)))
        client.send(shot())
        assert client.wait_answered(10)
        assert client.reconnects == 0
    assert told.outcome() == {1: "FRAME_TOO_LARGE", 2: "WITHIN_LIMITS"}


def test_what_has_no_room_is_told_at_once_and_never_waited_for(line: Line, told: Told) -> None:
    line.pipeline.hold()
    with connect(line.server.address, told, max_in_flight=2) as client:
        assert [client.send(shot(GOOD, part)) for part in "abcd"] == [1, 2, 3, 4]
        assert not client.wait_for_room(0)
        assert client.crowded_out == 2
        wait_for(lambda: line.pipeline.held == 4, "all four, without a fifth or an end that would show the gap")
        assert [(trigger, part) for trigger, part, _, _ in line.pipeline.faults] == [(3, "c"), (4, "d")]
        assert line.pipeline.faults[0][3] == "2 frames wait for the service, which is slower than this camera"
        line.pipeline.release()
        assert client.wait_for_room(10)
        assert client.send(shot()) == 5
        assert client.wait_answered(10)
    expected = {1: "WITHIN_LIMITS", 2: "WITHIN_LIMITS", 3: "TRIGGER_GAP", 4: "TRIGGER_GAP", 5: "WITHIN_LIMITS"}
    assert told.outcome() == expected


@pytest.mark.parametrize(
    ("count", "messages"),
    [
        pytest.param(1, 1, id="one"),
        pytest.param(16, 16, id="few, each with its reason"),
        pytest.param(150, 2, id="many, the last with its reason and the rest by steps that no gap is too large for"),
    ],
)
def test_lost_parts_are_told_at_once(line: Line, told: Told, count: int, messages: int) -> None:
    with connect(line.server.address, told) as client:
        client.send(shot())
        assert client.announce("3 of 1144 packets came", count=count, part_id="p") == count + 1
        assert client.wait_answered(10)
        assert client.send(shot()) == count + 2
        assert client.wait_answered(10)
    gaps = dict.fromkeys(range(2, count + 2), "TRIGGER_GAP")
    assert told.outcome() == {1: "WITHIN_LIMITS", **gaps, count + 2: "WITHIN_LIMITS"}
    assert len(line.pipeline.faults) == messages
    assert line.pipeline.faults[-1] == (count + 1, "p", Reason.TRIGGER_GAP, "3 of 1144 packets came")


def test_parts_lost_during_an_outage_are_told_after_it(lines: Lines, told: Told) -> None:
    line = lines.make()
    with connect(line.server.address, told) as client:
        cut(line, client)
        assert client.announce("no exposure", count=2) == 2
        lines.start(line.pipeline, line.server.port)
        assert client.wait_answered(10)
    assert told.outcome() == {1: "TRIGGER_GAP", 2: "TRIGGER_GAP"}
    assert line.pipeline.faults[-1][3] == "no exposure"


def test_parts_that_pass_during_an_outage_are_numbered_and_told(lines: Lines, told: Told) -> None:
    line = lines.make()
    with connect(line.server.address, told) as client:
        client.send(shot())
        assert client.wait_answered(10)
        cut(line, client)
        for shown in [client._ledger.enter("", time.monotonic_ns() - LONG_AGO_NS) for _ in range(2)]:
            client._ledger.hold(shown, shot())
        assert [client.send(shot(BAD)), client.send(shot())] == [4, 5]
        assert not client.wait_answered(0)
        lines.start(line.pipeline, line.server.port)
        assert client.wait_answered(10)
        assert client.reconnects == 1
        assert client.send(shot()) == 6
        assert client.wait_answered(10)
    assert told.outcome() == {
        1: "WITHIN_LIMITS",
        2: "TRIGGER_GAP",
        3: "TRIGGER_GAP",
        4: "SCORE_ABOVE_LIMIT",
        5: "WITHIN_LIMITS",
        6: "WITHIN_LIMITS",
    }


def test_an_outage_that_outlasts_every_deadline_is_told_without_another_part(lines: Lines, told: Told) -> None:
    line = lines.make()
    with connect(line.server.address, told) as client:
        cut(line, client)
        for _ in range(3):
            client._ledger.enter("", time.monotonic_ns() - LONG_AGO_NS)
        lines.start(line.pipeline, line.server.port)
        wait_for(lambda: not client.unanswered, "the answers")
    assert told.outcome() == {1: "TRIGGER_GAP", 2: "TRIGGER_GAP", 3: "TRIGGER_GAP"}


def test_a_verdict_given_while_nobody_listened_is_fetched(lines: Lines, told: Told) -> None:
    line = lines.make()
    line.pipeline.hold()
    with connect(line.server.address, told) as client:
        client.send(shot(BAD))
        wait_for(lambda: line.pipeline.held == 1, "the frame")
        cut(line, client)
        line.pipeline.release()
        lines.start(line.pipeline, line.server.port)
        assert client.wait_answered(10)
    assert told.outcome() == {1: "SCORE_ABOVE_LIMIT"}
    assert len(line.pipeline.inspections) == 1


def test_a_connection_made_anew_while_a_frame_is_packed_sends_it_once(
    lines: Lines, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = lines.make()
    with connect(line.server.address, told) as client:
        packed: list[Frame] = []

        def pack(frame: Frame, max_data_bytes: int, place: Place | None) -> bytes:
            packed.append(frame)
            if len(packed) == 1:
                cut(line, client)
                lines.start(line.pipeline, line.server.port)
                wait_for(lambda: client._link is not None, "the new connection")
            return encode_frame(frame, max_data_bytes, place)

        monkeypatch.setattr("inspector.cameras.connection.encode_frame", pack)
        client.send(shot())
        client.send(shot())
        assert client.wait_answered(10)
    assert [frame.trigger for frame in line.pipeline.frames] == [1, 2]


@pytest.mark.parametrize("parts", [150, 450, 5000])
def test_an_outage_longer_than_the_services_largest_gap(lines: Lines, told: Told, parts: int) -> None:
    line = lines.make()
    with connect(line.server.address, told, max_in_flight=1) as client:
        cut(line, client)
        for _ in range(parts):
            client.send(shot())
        lines.start(line.pipeline, line.server.port)
        assert client.wait_answered(30)
        client.send(shot())
        assert client.wait_answered(10)
    assert sorted(told.outcome()) == list(range(1, parts + 2))
    assert [one.trigger for one in line.pipeline.inspections] == list(range(1, parts + 2))


def test_a_service_with_a_very_small_largest_gap(lines: Lines, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rpc_twin.MAX_GAP", 3)
    line = lines.make()
    with connect(line.server.address, told, max_in_flight=1) as client:
        cut(line, client)
        for _ in range(300):
            client.send(shot())
        lines.start(line.pipeline, line.server.port)
        assert client.wait_answered(30)
    assert sorted(told.outcome()) == list(range(1, 301))


def test_a_service_that_lost_its_journal(lines: Lines, told: Told) -> None:
    line = lines.make()
    with connect(line.server.address, told) as client:
        for _ in range(5):
            client.send(shot())
        assert client.wait_answered(10)
        cut(line, client)
        assert client.send(shot()) == 6
        lines.start(TwinPipeline(), line.server.port)
        wait_for(lambda: client._link is not None, "the connection")
        assert client.send(shot()) == 1
        assert client.wait_answered(10)
    assert [(a.trigger, a.inspection is None) for a in told.answers][-2:] == [(6, True), (1, False)]
    assert "lost its numbering" in told.answers[-2].lost


def test_a_trigger_that_another_client_took_is_not_taken_for_ones_own(lines: Lines, told: Told) -> None:
    line = lines.make()
    with connect(line.server.address, told) as client:
        cut(line, client)
        assert client.send(shot(BAD)) == 1
        line.pipeline.submit("cam1", Frame(1, PixelFormat.MONO8, 1, 1, 0, GOOD), lambda _: None)
        lines.start(line.pipeline, line.server.port)
        assert client.wait_answered(10)
        assert client.send(shot(BAD)) == 2
        assert client.wait_answered(10)
    assert told.outcome() == {1: "LOST", 2: "SCORE_ABOVE_LIMIT"}
    assert "another client" in told.answers[0].lost


def test_closing_tells_what_was_not_answered(line: Line, told: Told) -> None:
    line.pipeline.hold()
    with connect(line.server.address, told) as client:
        client.send(shot())
        wait_for(lambda: line.pipeline.held == 1, "the frame")
        assert not client.wait_answered(0)
    assert told.outcome() == {1: "LOST"}
    assert "stopped before the answer came" in told.answers[0].lost
    with pytest.raises(SessionError, match="closed"):
        client.send(shot())
    line.pipeline.release()
    assert [one.trigger for one in line.pipeline.inspections] == [1]


def test_closing_does_not_wait_for_a_service_that_is_away(lines: Lines, told: Told) -> None:
    line = lines.make()
    with connect(line.server.address, told) as client:
        cut(line, client)
        started_s = time.monotonic()
    assert time.monotonic() - started_s < 5


def test_no_service_there(told: Told) -> None:
    (port,) = free_ports(1)
    with (
        pytest.raises(SessionError, match=rf"no stream to 127\.0\.0\.1:{port} .* is the service running there\?"),
        connect(f"127.0.0.1:{port}", told, connect_timeout_s=0.05),
    ):
        pass


def test_a_failing_connection_is_told_once_and_not_at_every_try(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    (port,) = free_ports(1)
    with pytest.raises(SessionError), connect(f"127.0.0.1:{port}", told, connect_timeout_s=1.0):
        pass
    messages = [record.getMessage() for record in caplog.records]
    assert sum("trying again" in message for message in messages) == 1
    tries = [int(message.split()[-2]) for message in messages if "still no stream" in message]
    assert tries
    assert tries == [2**n for n in range(1, len(tries) + 1)]


def test_a_service_that_comes_late(lines: Lines, told: Told) -> None:
    (port,) = free_ports(1)
    entered = threading.Thread(target=lambda: _send_one(f"127.0.0.1:{port}", told))
    entered.start()
    lines.make(port=port)
    entered.join(20)
    assert told.outcome() == {1: "WITHIN_LIMITS"}


def _send_one(target: str, told: Told) -> None:
    with connect(target, told) as client:
        client.send(shot())
        client.wait_answered(10)


def test_an_unknown_camera_is_refused_at_once(line: Line, told: Told) -> None:
    client = CameraClient(line.server.address, "a", "nobody", told)
    with pytest.raises(UnknownCamera, match='no camera "nobody"'), client:
        pass


def test_a_camera_of_another_client_is_waited_for_and_then_given_up(line: Line, told: Told) -> None:
    other = line.camera()
    with (
        pytest.raises(CameraBusy, match="already streams"),
        connect(line.server.address, told, busy_patience_s=0.1),
    ):
        pass
    threading.Timer(0.1, other.call.cancel).start()
    with connect(line.server.address, told, busy_patience_s=10) as client:
        client.send(shot())
        assert client.wait_answered(10)


def test_a_trigger_that_will_never_fit_is_given_up(line: Line, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rpc_twin.MAX_GAP", -1)
    with connect(line.server.address, told) as client:
        client.send(shot())
        with pytest.raises(TriggerOutOfRange, match="was expected"):
            client.wait_answered(10)
        with pytest.raises(TriggerOutOfRange):
            client.send(shot())
    assert told.outcome() == {1: "LOST"}


def test_a_callback_that_fails_is_not_hidden_and_ends_no_stream(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    def fail(answer: Answer) -> None:
        raise ZeroDivisionError("in the program's own code")

    with connect(line.server.address, fail) as client:
        for _ in range(5):
            client.send(shot())
        assert client.wait_answered(10)
        assert (client.is_refused, client.reconnects) == (False, 0)
        wait_for(lambda: client._faults == 5, "the last callback")
    told = [record for record in caplog.records if "on_answer failed" in record.getMessage()]
    assert len(told) == 3, "at the first, second and fourth"
    assert "in the program's own code" in caplog.text


def test_a_stormy_connection_loses_and_doubles_nothing(lines: Lines, told: Told) -> None:
    """Servers come and go while parts pass: every trigger is answered once, with what the pipeline decided."""
    line = lines.make()
    storm_over = threading.Event()

    def storm() -> None:
        current = line
        for _ in range(12):
            seen = len(told.answers)
            wait_for(lambda seen=seen: len(told.answers) > seen + 20, "some answers")
            current.server.stop(0)
            current = lines.start(line.pipeline, line.server.port)
        storm_over.set()

    weather = threading.Thread(target=storm)
    with connect(line.server.address, told, max_in_flight=8) as client:
        weather.start()
        while not storm_over.is_set():
            client.send(shot(bytes([client._ledger.next_trigger % 2])))
            client.wait_for_room(0.01)
        weather.join()
        assert client.wait_answered(20)
        assert client.reconnects >= 10
    outcome = told.outcome()
    assert sorted(outcome) == list(range(1, max(outcome) + 1))
    assert outcome == {one.trigger: one.reason.name for one in line.pipeline.inspections}
    verdicts = Counter(one.verdict for one in line.pipeline.inspections)
    assert verdicts[Verdict.PASS] > 50
    assert verdicts[Verdict.REJECT] > 50


def test_what_is_remembered_of_an_endless_outage_is_bounded() -> None:
    ledger = Ledger()
    for _ in range(MAX_UNANSWERED):
        ledger.enter("", 0)
    assert ledger.overdue() == []
    ledger.enter("", 0)
    ledger.enter("", 0)
    assert [shown.trigger for shown in ledger.overdue()] == [1, 2]
    assert len(ledger) == MAX_UNANSWERED


class Broken(grpc.RpcError):
    """A stream that ended with a status."""

    def __init__(self, code: grpc.StatusCode, details: str | None) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details


@pytest.mark.parametrize(
    ("code", "kind", "is_final"),
    [
        ("NOT_FOUND", UnknownCamera, True),
        ("INVALID_ARGUMENT", SessionError, True),
        ("FAILED_PRECONDITION", SessionError, True),
        ("UNIMPLEMENTED", SessionError, True),
        ("ALREADY_EXISTS", CameraBusy, False),
        ("OUT_OF_RANGE", TriggerOutOfRange, False),
        ("UNAVAILABLE", SessionError, False),
        ("INTERNAL", SessionError, False),
        ("RESOURCE_EXHAUSTED", SessionError, False),
        ("CANCELLED", SessionError, False),
        ("UNKNOWN", SessionError, False),
    ],
)
def test_what_a_broken_stream_means(code: str, kind: type[SessionError], is_final: bool) -> None:
    for details in ("why", None):
        error, final = translate(Broken(grpc.StatusCode[code], details), "host:1")
        assert type(error) is kind
        assert final is is_final
        assert str(error)


def test_a_counter_that_all_cameras_see_numbers_the_parts(line: Line, told: Told) -> None:
    """Numbers left out are parts that this camera did not see; a counter that goes back is told."""
    with connect(line.server.address, told) as client:
        assert [client.send(shot(), trigger) for trigger in (3, 4, 7)] == [3, 4, 7]
        with pytest.raises(SessionError, match="ran backwards"):
            client.send(shot(), 7)
        assert client.send(shot()) == 8
        assert client.wait_answered(10)
    assert set(told.outcome()) == {3, 4, 7, 8}


def test_a_camera_of_several_counts_on_where_it_was_whatever_the_others_have_sent(lines: Lines, told: Told) -> None:
    """The service stands at 9 when the stream is back, for others went on: the next part is still this camera's third."""
    line = lines.make()
    line.pipeline.view = "side"
    with connect(line.server.address, told) as client:
        assert [client.send(shot()), client.send(shot())] == [1, 2]
        assert client.wait_answered(10)
        cut(line, client)
        held = client.send(shot())
        line.pipeline.next_trigger["cam1"] = 9
        lines.start(line.pipeline, line.server.port)
        wait_for(lambda: client.reconnects == 1, "the new stream")
        assert (held, client.send(shot())) == (3, 4)


def test_a_jump_of_a_counter_elsewhere_is_refused_and_not_walked(line: Line, told: Told) -> None:
    with connect(line.server.address, told) as client:
        assert client.send(shot(), 2**50) == 2**50
        wait_for(lambda: client._error is not None, "the service to refuse the number for good")
    assert [frame.trigger for frame in line.pipeline.frames] == [2**50] * 2, "tried once more, and no number in between"
