"""Review, labels, class book and label files over the API: several people, bad input, and what must come back."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from web_desk import LINE, WebDesk, prepare, serving

from inspector.records.audit import AUDIT_FILE, AuditLog

API = "/api/v1"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDesk]:
    """A desk whose labels these tests change."""
    with serving(prepare(tmp_path_factory.mktemp("review"), 200)) as running:
        yield running


@pytest.fixture
def otto(own: WebDesk) -> Iterator[httpx.Client]:
    with closing(own.client("otto")) as client:
        yield client


@pytest.fixture
def erna(own: WebDesk) -> Iterator[httpx.Client]:
    with closing(own.client("erna")) as client:
        yield client


def claim(client: httpx.Client, window: str, count: int = 3, **asked: Any) -> list[int]:
    answer = client.post(f"{API}/review/claims", json={"window": window, "count": count, "order": "newest", **asked})
    assert answer.status_code == 200, answer.text
    return [part["sequence"] for part in answer.json()["parts"]]


def release(client: httpx.Client, window: str) -> None:
    assert client.post(f"{API}/review/release", json={"window": window}).status_code == 204


def reason(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["kind"], error["message"]


# The queue over the API


def test_two_people_get_different_parts_and_say_what_they_are(
    own: WebDesk, otto: httpx.Client, erna: httpx.Client
) -> None:
    first, second = claim(otto, "w"), claim(erna, "w")
    assert len(first) == len(second) == 3
    assert not set(first) & set(second)
    stolen = otto.post(f"{API}/review/decisions", json={"window": "w", "sequence": second[0], "what": "good"})
    assert reason(stolen)[:2] == (409, "ClaimLost")
    assert "is with erna" in reason(stolen)[2]
    said = otto.post(f"{API}/review/decisions", json={"window": "w", "sequence": first[0], "what": "good"})
    assert said.status_code == 204
    (label,) = own.store.labels(LINE, first[0]).history
    assert (label.what, label.author) == ("good", "otto")
    undone = otto.post(f"{API}/review/undo", json={"window": "w", "sequence": first[0]})
    assert undone.json() == {"what": "withdrawn"}
    entries = [(one.actor, one.action, one.subject) for one in AuditLog(own.data_dir / AUDIT_FILE).entries()]
    assert ("otto", "reviewed a part", f"#{first[0]}") in entries
    assert ("otto", "took back a review", f"#{first[0]}") in entries
    for client in (otto, erna):
        release(client, "w")


def test_a_count_of_none_holds_what_one_has(own: WebDesk, otto: httpx.Client) -> None:
    first = claim(otto, "hold")
    assert claim(otto, "hold", 0, besides=first) == []
    release(otto, "hold")


WRONG = [
    pytest.param("/review/claims", {"window": ""}, 422, id="no window"),
    pytest.param("/review/claims", {"window": "w", "order": "random"}, 422, id="an unknown order"),
    pytest.param("/review/claims", {"window": "w", "kinds": ["pass"]}, 422, id="an unknown kind"),
    pytest.param("/review/claims", {"window": "w", "count": 10**9}, 422, id="a billion parts"),
    pytest.param("/review/claims", {"window": "w", "station": "<b>"}, 404, id="an unknown station"),
    pytest.param(
        "/review/decisions", {"window": "w", "sequence": 10**30, "what": "good"}, 422, id="a number too large"
    ),
    pytest.param("/review/decisions", {"window": "w", "sequence": 999_999, "what": "good"}, 404, id="an unknown part"),
    pytest.param(
        "/review/decisions", {"window": "w", "sequence": 12, "what": "a/../b"}, 422, id="a class with path parts"
    ),
    pytest.param("/review/decisions", {"window": "w", "sequence": 12, "what": ""}, 422, id="no class"),
    pytest.param(
        "/review/decisions",
        {"window": "w", "sequence": 12, "what": "x", "image": "f" * 64},
        422,
        id="a picture of another part",
    ),
    pytest.param("/review/undo", {"window": "w", "sequence": 12}, 404, id="nothing to take back"),
    pytest.param(
        "/labels/12",
        {"version": 0, "what": "dent", "areas": [{"class": "dent", "box": [0, 0, 1e99, 1]}]},
        422,
        id="a box too large",
    ),
    pytest.param(
        "/labels/12",
        {"version": 0, "what": "dent", "areas": [{"class": "dent", "box": [90, 0, 20, 20]}]},
        422,
        id="a box beyond the picture",
    ),
    pytest.param(
        "/labels/12",
        {"version": 0, "what": "dent", "areas": [{"class": "dent", "polygon": [[1, 1], [2, None], [3, 3]]}]},
        422,
        id="a corner of nothing",
    ),
    pytest.param(
        "/labels/12",
        {"version": 0, "what": "dent", "areas": [{"class": "dent", "mask": {"size": [5, 5], "counts": [0, 25]}}]},
        422,
        id="a mask of another size",
    ),
    pytest.param(
        "/labels/12", {"version": 0, "what": "dent", "areas": [{"class": "dent"}]}, 422, id="an area of nothing"
    ),
    pytest.param(
        "/labels/12",
        {"version": 0, "what": "dent", "areas": [{"class": "dent", "box": [1, 1, 2, 2]}] * 300},
        422,
        id="hundreds of areas",
    ),
    pytest.param(
        "/labels/12",
        {"version": 0, "what": "good", "areas": [{"class": "dent", "box": [1, 1, 2, 2]}]},
        422,
        id="a defect on a good part",
    ),
    pytest.param("/labels/999999", {"version": 0, "what": "good"}, 404, id="a label of an unknown part"),
    pytest.param("/labels/12", {"version": 7, "what": "good"}, 409, id="a version that never was"),
]


@pytest.mark.parametrize(("path", "body", "status"), WRONG)
def test_what_the_api_refuses(own: WebDesk, erna: httpx.Client, path: str, body: dict[str, Any], status: int) -> None:
    answer = erna.post(API + path, json=body)
    assert reason(answer)[0] == status, answer.text
    release(erna, "w")
    assert own.store.labels(LINE, 12).history == ()


# Labels over the API


def test_a_label_with_every_kind_of_area_comes_back_and_a_second_edit_is_told(
    own: WebDesk, erna: httpx.Client, otto: httpx.Client
) -> None:
    mask = {"size": [96, 96], "counts": [96 * 10 + 5, 20, 96 * 96 - 96 * 10 - 25]}
    areas = [
        {"class": "crack", "box": [3, 4, 20, 10]},
        {"class": "crack", "polygon": [[1.5, 2.25], [40.0, 2.0], [30.0, 50.5]]},
        {"class": "crack", "mask": mask},
        {"class": "", "box": [0, 90, 96, 6]},
    ]
    before = erna.get(f"{API}/labels/16").json()
    assert before["version"] == 0
    body = {"version": 0, "what": "crack", "note": "<i>deep</i>", "areas": areas, "image": before["part"]["image"]}
    saved = erna.post(f"{API}/labels/16", json=body).json()
    assert (saved["version"], saved["agreed"]) == (1, "crack")
    assert saved["history"][0]["areas"] == areas
    assert erna.get(f"{API}/labels/16/history/0").json() == areas
    late = otto.post(f"{API}/labels/16", json={"version": 0, "what": "good"})
    assert reason(late)[:2] == (409, "EditConflict")
    assert "erna has labelled #16 as crack" in reason(late)[2]
    again = otto.post(f"{API}/labels/16", json={"version": 1, "what": "good"}).json()
    assert [one["author"] for one in again["history"]] == ["erna", "otto"]
    assert again["outcome"] == "disagreement"
    listed = erna.get(f"{API}/labels", params={"which": "disagreed"}).json()
    assert [one["sequence"] for one in listed] == [16]


def test_the_models_region_is_offered(erna: httpx.Client) -> None:
    regions = erna.get(f"{API}/labels/20/regions").json()
    assert regions[0]["defect_class"] in ("crack", "")
    assert len(regions[0]["polygon"]) >= 3
    assert erna.get(f"{API}/labels/20/regions", params={"level": 255}).json() == []
    assert reason(erna.get(f"{API}/labels/1/regions"))[0] == 404


def test_parts_are_found_by_number_and_id(erna: httpx.Client) -> None:
    assert [one["sequence"] for one in erna.get(f"{API}/labels/find", params={"part": "16"}).json()] == [16]
    assert [one["sequence"] for one in erna.get(f"{API}/labels/find", params={"part": "P000016"}).json()] == [16]
    nasty = erna.get(f"{API}/labels/find", params={"part": "<img src=x onerror=alert(1)>"}).json()
    assert [one["sequence"] for one in nasty] == [4]
    assert reason(erna.get(f"{API}/labels/find", params={"part": "nobody"}))[0] == 404
    assert reason(erna.get(f"{API}/labels/find", params={"part": "9" * 5000}))[0] in (404, 422)


def test_the_class_book_over_the_api(own: WebDesk, erna: httpx.Client, otto: httpx.Client) -> None:
    image = erna.get(f"{API}/labels/24").json()["part"]["image"]
    wanted = {
        "definition": "A <b>hollow</b>.",
        "colour": "#123456",
        "hot_key": 5,
        "examples": [{"sequence": 24, "image": image}],
    }
    saved = erna.put(f"{API}/classes/hollow", json=wanted).json()
    assert (saved["version"], saved["hot_key"]) == (1, 5)
    assert erna.get(saved["examples"][0]["thumbnail"]).headers["content-type"] == "image/jpeg"
    assert reason(erna.put(f"{API}/classes/hollow", json=wanted))[:2] == (409, "EditConflict")
    assert reason(otto.put(f"{API}/classes/hollow", json=wanted | {"version": 1}))[0] == 403
    assert reason(erna.put(f"{API}/classes/good", json=wanted))[0] == 422
    book = otto.get(f"{API}/classes").json()
    assert {one["name"] for one in book} >= {"hollow", "crack"}
    assert erna.delete(f"{API}/classes/hollow", params={"version": 1}).status_code == 204


# Files over the API


def test_labels_go_out_and_in_over_the_api(own: WebDesk, erna: httpx.Client, otto: httpx.Client) -> None:
    answer = erna.get(f"{API}/label-files/coco")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        document = json.loads(archive.read("annotations.json"))
    assert document["inspector"]["version"] == 1
    back = erna.post(f"{API}/label-files", params={"file": "labels.zip"}, content=answer.content)
    assert back.json()["added"] == 0, back.text
    assert reason(otto.get(f"{API}/label-files/coco"))[0] == 403
    assert not list((own.folder / "web").glob(".labels-*")), "nothing is left behind"


FILES = [
    pytest.param("x.exe", b"MZ", "no ZIP, JSON or CSV", id="a program"),
    pytest.param("x.zip", b"PK\x03\x04", "looks like no format|no whole ZIP|no column", id="half an archive"),
    pytest.param("../../x.json", b"[]", "no label", id="an empty list under a path"),
    pytest.param("x.csv", b"part,label\n#28,good\n#999999,good\n", "not on record", id="one unknown part of two"),
    pytest.param(
        "x.csv", b"part,label,time\n#28,good,2999-01-01T06:00:00\n", "line 2: its time 2999", id="a time to come"
    ),
    pytest.param("x.csv", b"", "is empty", id="nothing"),
    pytest.param("x.json", b'{"images": NaN}', "NaN is no number", id="NaN"),
]


@pytest.mark.parametrize(("file", "content", "says"), FILES)
def test_files_that_are_refused(own: WebDesk, erna: httpx.Client, file: str, content: bytes, says: str) -> None:
    answer = erna.post(f"{API}/label-files", params={"file": file}, content=content)
    status, _, message = reason(answer)
    assert status in (404, 422)
    assert any(one in message for one in says.split("|")), message
    assert own.store.labels(LINE, 28).history == ()


def test_labels_under_other_names_need_an_approver(own: WebDesk, erna: httpx.Client) -> None:
    content = b"part,label,author\n#60,good,erna\n#60,good,otto\n#60,good,otto\n"
    refused = erna.post(f"{API}/label-files", params={"file": "x.csv"}, content=content)
    status, kind, message = reason(refused)
    assert (status, kind) == (403, "AccessDenied")
    assert "line 3: the label of #60 is under the name of 'otto'" in message
    assert "ask an approver" in message
    assert own.store.labels(LINE, 60).history == (), "all or nothing"
    with closing(own.client("anton")) as anton:
        assert anton.post(f"{API}/label-files", params={"file": "x.csv"}, content=content).json()["added"] == 2
    last = [one for one in AuditLog(own.data_dir / AUDIT_FILE).entries() if one.action == "imported labels"][-1]
    assert (last.actor, last.details["authors"]) == ("anton", {"otto": 2, "erna": 1})
    again = erna.post(f"{API}/label-files", params={"file": "x.csv"}, content=content)
    assert again.json() == {"labels": 3, "added": 0}, "what others have said already goes through"


def test_a_bomb_is_refused(erna: httpx.Client) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.csv", b"part,label\n" + b"\n" * (80 << 20))
    answer = erna.post(f"{API}/label-files", params={"file": "bomb.zip"}, content=stream.getvalue())
    assert "unpacks to more than" in reason(answer)[2]
