from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_samples import START, admission, inspection, picture

from inspector.part import Box, Finding, ImageKind, Inspection, Millimetres, Reason, ViewResult
from inspector.records.codec import (
    LARGEST_NUMBER,
    MAX_PAYLOAD_BYTES,
    CodecError,
    FormatTooNew,
    decode,
    encode,
    from_microseconds,
    to_microseconds,
)
from inspector.records.entries import (
    Admission,
    Evidence,
    LateScore,
    SegmentHeader,
    Settled,
    StationMark,
    StoredImage,
)

times = st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
# Half surrogates too: part ids come from clients.
texts = st.text(st.characters(exclude_categories=()), max_size=40)
numbers = st.integers(0, LARGEST_NUMBER)
scores = st.floats(allow_nan=False)
boxes = st.builds(Box, *[st.integers(0, 1 << 31)] * 4)
plain = st.builds(Finding, texts, boxes, scores, scores)
measured = st.builds(
    Finding,
    texts,
    boxes,
    scores,
    scores,
    scores,
    st.tuples(scores, scores),
    st.none() | st.builds(Millimetres, scores, scores, scores, scores),
    texts,
)
# Of parts with several views: what came of each.
view_results = st.builds(
    ViewResult, texts, texts, texts, st.sampled_from(Reason), texts, st.none() | scores, st.none() | scores
)
findings = st.lists(plain | measured, max_size=4).map(tuple)


@st.composite
def inspections(draw: st.DrawFn) -> Inspection:
    reason = draw(st.sampled_from(Reason))
    return Inspection(
        *draw(st.tuples(texts, texts, texts, numbers, numbers, numbers, texts)),
        reason.verdict,
        reason,
        *draw(st.tuples(texts, st.none() | scores, st.none() | scores, findings, texts, texts)),
        *draw(st.tuples(st.none() | times, times, times, scores, texts)),
        draw(st.lists(view_results, max_size=3).map(tuple)),
    )


images = st.builds(StoredImage, st.sampled_from(ImageKind), texts, texts, numbers, texts, texts)
admissions = st.builds(Admission, texts, texts, numbers, texts, times, st.none() | times)
entries = st.one_of(
    st.builds(Settled, inspections(), st.booleans()),
    admissions,
    st.builds(Evidence, numbers, st.lists(images, max_size=3).map(tuple), times, st.integers(0, 16)),
    st.builds(LateScore, numbers, scores),
    st.builds(
        SegmentHeader,
        texts,
        texts,
        numbers,
        numbers,
        st.dictionaries(texts, st.builds(StationMark, numbers, numbers), max_size=3),
        st.lists(admissions, max_size=3).map(tuple),
        st.lists(numbers, max_size=5).map(tuple),
    ),
)


@given(entries)
def test_decode_gives_back_what_was_encoded(entry: Settled) -> None:
    assert decode(encode(entry)) == entry


@given(st.binary(max_size=200))
def test_decode_refuses_any_other_bytes(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode(data)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="not-an-object"),
        pytest.param(b"{}", id="no-kind"),
        pytest.param(b'{"k":"other"}', id="unknown-kind"),
        pytest.param(b'{"k":"late","seq":1}', id="field-missing"),
        pytest.param(b'{"k":["late"]}', id="kind-not-hashable"),
        pytest.param(encode(Settled(inspection(1))).replace(b'"verdict":1', b'"verdict":9'), id="verdict-unknown"),
        pytest.param(encode(admission(1)).replace(b'"recv":', b'"recv":99999'), id="time-out-of-range"),
        pytest.param(b"[" * 100_000, id="nested-too-deep"),
        pytest.param(encode(admission(1))[:-1], id="cut-off"),
    ],
)
def test_decode_refuses(payload: bytes) -> None:
    with pytest.raises(CodecError):
        decode(payload)


def test_a_later_format_is_told_apart_from_damage() -> None:
    header = encode(SegmentHeader("id", "tiles", 1, 1, {}, (), ()))
    with pytest.raises(FormatTooNew, match="journal format 2"):
        decode(header.replace(b'"version":1', b'"version":2'))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"trigger": LARGEST_NUMBER + 1}, "outside", id="trigger-too-large-for-a-database"),
        pytest.param({"sequence": -1}, "outside", id="negative"),
        pytest.param({"receive_time": datetime(2026, 3, 2)}, "naive", id="naive-time"),  # noqa: DTZ001
        pytest.param({"detail": "x" * (MAX_PAYLOAD_BYTES + 1)}, "is over", id="too-large"),
        pytest.param({"score": "high"}, "could not convert", id="score-is-no-number"),
    ],
)
def test_encode_refuses(change: dict[str, object], message: str) -> None:
    with pytest.raises(CodecError, match=message):
        encode(Settled(replace(inspection(1), **change)))  # type: ignore[arg-type]


def test_a_broken_models_score_is_kept_as_it_is() -> None:
    decoded = decode(encode(Settled(replace(inspection(1), score=math.nan, limit=math.inf))))
    assert isinstance(decoded, Settled)
    assert decoded.inspection.score is not None
    assert math.isnan(decoded.inspection.score)
    assert decoded.inspection.limit == math.inf


def test_a_finding_of_before_lengths_were_kept_is_read() -> None:
    entry = Settled(inspection(3, Reason.SCORE_ABOVE_LIMIT))
    (finding,) = json.loads(encode(entry))["find"]
    assert finding == ["crack", 4, 5, 30, 20, 412.5, 0.75]
    assert decode(encode(entry)) == entry


def test_an_entry_can_be_read_by_a_person() -> None:
    data = json.loads(encode(Evidence(7, (picture(1),), START)))
    assert data == {
        "k": "evidence",
        "seq": 7,
        "at": to_microseconds(START),
        "images": [[1, f"{1:064x}", "image/png", 1001, ""]],
    }


@given(times)
def test_times_are_kept_to_the_microsecond(time: datetime) -> None:
    assert from_microseconds(to_microseconds(time)) == time
    assert to_microseconds(time + timedelta(microseconds=1)) == to_microseconds(time) + 1
