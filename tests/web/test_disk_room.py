"""Label files that are sent or made leave the line the space that it writes to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from loops import run_apart
from web_desk import LINE, prepare

from inspector.errors import ImageStoreError, Overloaded
from inspector.records.room import RESERVE_BYTES
from inspector.web.api import label_files

TOLD = "stay free for the line: free space"


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=RESERVE_BYTES))


@pytest.mark.usefixtures("full")
def test_an_export_asks_for_room_for_its_pictures(tmp_path: Path) -> None:
    made = prepare(tmp_path)
    with closing(made.store):
        desk: Any = SimpleNamespace(line=LINE, store=made.store, pictures=made.images, folder=tmp_path / "web")
        with pytest.raises(ImageStoreError, match=TOLD):
            label_files._export(desk, None, "coco", "")  # type: ignore[arg-type]
    assert not desk.folder.exists()


def test_exports_are_made_one_at_a_time() -> None:
    desk: Any = None
    with label_files._EXPORTING, pytest.raises(Overloaded, match="another export of labels is being made"):
        label_files._export(desk, None, "coco", "")  # type: ignore[arg-type]


@pytest.mark.parametrize("headers", [{"content-length": "5000"}, {}], ids=["announced", "chunked"])
def test_a_file_of_labels_is_taken_while_there_is_room(
    headers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = RESERVE_BYTES
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))

    async def stream() -> AsyncIterator[bytes]:
        nonlocal free
        assert not headers, "what says that it is too large is not read at all"
        free -= 9 << 20
        yield b"x" * (9 << 20)

    request: Any = SimpleNamespace(headers=headers, stream=stream)
    with pytest.raises(ImageStoreError, match=TOLD):
        run_apart(label_files._receive(request, tmp_path / "labels.zip"))
