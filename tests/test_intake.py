"""Files that people send: resumed, checked by content, limited, and never believed."""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from inspector.errors import ConfigError, ImageStoreError, InvalidRequest, LabelInvalid, NotFound
from inspector.imaging.jpeg import JPEG_MAGIC
from inspector.intake import BY_FOLDER, MAX_CHUNK_BYTES, MAX_UPLOAD_BYTES, Intake, IntakeOptions, options_of
from inspector.records import patterns
from inspector.records.image_sets import ImageSets
from inspector.records.images import ImageStore
from inspector.records.room import RESERVE_BYTES
from inspector.records.store import Store
from inspector.records.uploads import Upload, Uploads, UploadState

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


def png(seed: int, side: int = 24) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def archive(files: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda info: None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            packed.writestr(info, data)
    return stream.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A file that says it is as large as that, and would be if anybody believed it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@dataclass
class Door:
    intake: Intake
    sets: ImageSets
    uploads: Uploads
    images: ImageStore
    folder: Path
    now: list[datetime]

    def begin(self, data: bytes, name: str = "a.png", by: str = "anna", **options: str) -> tuple[Upload, int]:
        digest = hashlib.sha256(data).hexdigest()
        return self.intake.begin("tiles", name, IntakeOptions(**options), len(data), digest, by)

    def send(self, data: bytes, name: str = "a.png", **options: str) -> Upload:
        upload, here = self.begin(data, name, **options)
        self.intake.append(upload.id, here, data[here:], "anna")
        return self.intake.finish(upload.id, "anna")


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with closing(Store(f"sqlite:///{tmp_path / 'quality.db'}")) as store:
        store.upgrade()
        sets, uploads = ImageSets(store.database, "l1"), Uploads(store.database, "l1")
        images = ImageStore(tmp_path / "images")
        now = [START]
        folder = tmp_path / "uploads"
        sets.make("tiles", "anna", START)
        yield Door(Intake(uploads, sets, images, folder, lambda: now[0]), sets, uploads, images, folder, now)


def test_a_picture_in_pieces_goes_on_after_a_broken_connection(door: Door) -> None:
    data = png(1, 64)
    upload, here = door.begin(data, "../x/ä b.png", label="scratch", part_pattern="b")
    assert (here, upload.file_name) == (0, "ä b.png")
    assert door.intake.append(upload.id, 0, data[:1000], "anna") == 1000
    again, here = door.begin(data, "../x/ä b.png", label="scratch", part_pattern="b")
    assert (again.id, here) == (upload.id, 1000), "the same file by the same person goes on"
    with pytest.raises(InvalidRequest, match="go on from 1000"):
        door.intake.append(upload.id, 0, data[:1000], "anna")
    with pytest.raises(InvalidRequest, match=f"1000 of {len(data)} bytes"):
        door.intake.finish(upload.id, "anna")
    door.intake.append(upload.id, 1000, data[1000:], "anna")
    done = door.intake.finish(upload.id, "anna")
    assert (done.state, done.outcome["added"]) == (UploadState.DONE, 1)
    assert door.intake.finish(upload.id, "anna") == done, "a second time nothing happens"
    assert list(door.folder.iterdir()) == []
    (picture,) = door.sets.page("tiles")
    assert door.images.get(picture.sha256)[0] == data
    assert (picture.file_name, picture.part_id, picture.width_px) == ("ä b.png", "b", 64)
    assert picture.agreed is not None
    assert (picture.agreed.what, picture.agreed.author) == ("scratch", "anna")


def test_an_archive_is_taken_with_labels_by_folder_and_says_what_it_left(door: Door) -> None:
    files = {
        "tiles/train/good/1.png": png(1),
        "tiles/test/scratch/exp1_num_7.png": png(2),
        "tiles/test/scratch/copy.png": png(2),
        "tiles/ground_truth/scratch/2.png": png(3),
        "tiles/test/good/notes.txt": b"hello",
        "tiles/test/good/huge.png": huge_png(25_000, 20_000),
        "__MACOSX/tiles/._1.png": b"x",
        "tiles/.DS_Store": b"x",
        "4.png": png(4),
        "bad|class/5.png": png(5),
    }
    done = door.send(archive(files), "all.zip", label=BY_FOLDER, part_pattern="num_([0-9]+)")
    assert done.state is UploadState.DONE, done.outcome
    assert (done.outcome["added"], done.outcome["already"]) == (3, 0)
    reasons = {name: why for name, why in done.outcome["refused"]}
    assert set(reasons) == {
        "tiles/ground_truth/scratch/2.png", "tiles/test/good/notes.txt", "tiles/test/good/huge.png", "bad|class/5.png",
    }  # fmt: skip
    assert "25000 × 20000 px, more than" in reasons["tiles/test/good/huge.png"]
    assert "masks" in reasons["tiles/ground_truth/scratch/2.png"]
    pictures = {one.file_name: one for one in door.sets.page("tiles")}
    assert [(n, [s.what for s in p.current], p.part_id) for n, p in sorted(pictures.items())] == [
        ("1.png", ["good"], ""), ("4.png", [], ""), ("copy.png", ["scratch"], ""),
    ]  # fmt: skip
    again = door.send(archive(files), "all.zip", label=BY_FOLDER)
    assert (again.outcome["added"], again.outcome["already"]) == (0, 3)


BOMB = b"\0" * (60 << 20)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(b"GIF89a....", "neither a JPEG nor a PNG", id="another kind of picture"),
        pytest.param(b"<svg onload=alert(1)>", "neither a JPEG nor a PNG", id="a script"),
        pytest.param(png(1)[:-20], "", id="half a picture"),
        pytest.param(JPEG_MAGIC + b"\0" * 50, "", id="only the beginning of a JPEG"),
        pytest.param(huge_png(25_000, 20_000), "25000 × 20000 px, more than", id="500 megapixels in 67 bytes"),
        pytest.param(archive({"a.txt": b"hello"}), "no picture that can be used", id="nothing in it"),
        pytest.param(archive({"../../etc/a.png": png(1)}), "points outside", id="a path that climbs out"),
        pytest.param(archive({"/etc/a.png": png(1)}), "points outside", id="a path from the root"),
        pytest.param(archive({"a\\..\\b.png": png(1)}), "points outside", id="a path as Windows has it"),
        pytest.param(archive({"C:/a.png": png(1)}), "points outside", id="a drive"),
        pytest.param(archive({"a.png": BOMB}), "would grow to", id="a bomb"),
        pytest.param(
            archive({"a.png": b"/etc/passwd"}, lambda info: setattr(info, "external_attr", (stat.S_IFLNK | 0o777) << 16)),
            "a link",
            id="a link",
        ),
        pytest.param(archive({"a.png": png(1)})[:-30], "damaged", id="half an archive"),
        pytest.param(
            archive({"a.png": png(2)}).replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"),
            "encrypted",
            id="a password",
        ),
    ],
)  # fmt: skip
def test_what_is_refused_as_a_whole(door: Door, data: bytes, error: str) -> None:
    ended = door.send(data, "x.png")
    assert ended.state is UploadState.REFUSED
    assert error in ended.outcome["error"]
    assert door.sets.get("tiles").pictures == 0
    assert list(door.folder.iterdir()) == []


def test_an_archive_that_lies_about_sizes_is_stopped(door: Door) -> None:
    """Its directory says ten bytes, and its entry holds more."""
    data = archive({"a.png": png(3, 200)})
    size = struct.pack("<I", len(png(3, 200)))
    assert data.count(size) == 2
    ended = door.send(data.replace(size, struct.pack("<I", 10)), "x.zip")
    assert ended.state is UploadState.REFUSED, ended.outcome


def test_too_many_files_are_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.intake.MAX_ENTRIES", 3)
    ended = door.send(archive({f"{number}.png": png(number) for number in range(4)}), "x.zip")
    assert "holds 4 files, at most 3" in ended.outcome["error"]


def test_bytes_that_are_not_those_announced_are_refused(door: Door) -> None:
    data = png(1)
    upload, _ = door.begin(data)
    door.intake.append(upload.id, 0, data[:-1] + b"x", "anna")
    assert "another SHA-256" in door.intake.finish(upload.id, "anna").outcome["error"]


def test_what_cannot_be_begun_or_continued(door: Door) -> None:
    digest = "ab" * 32
    with pytest.raises(InvalidRequest, match="1 to 4 GiB"):
        door.intake.begin("tiles", "a", IntakeOptions(), MAX_UPLOAD_BYTES + 1, digest, "anna")
    with pytest.raises(InvalidRequest, match="SHA-256"):
        door.intake.begin("tiles", "a", IntakeOptions(), 5, "no", "anna")
    with pytest.raises(NotFound, match="no set of pictures"):
        door.intake.begin("other", "a", IntakeOptions(), 5, digest, "anna")
    upload, _ = door.begin(b"12345")
    with pytest.raises(InvalidRequest, match="begun by anna"):
        door.intake.append(upload.id, 0, b"1", "ben")
    with pytest.raises(InvalidRequest, match="longer than the 5 bytes"):
        door.intake.append(upload.id, 0, b"123456", "anna")
    with pytest.raises(InvalidRequest, match="at most 8 MiB"):
        door.intake.append(upload.id, 0, b"x" * (MAX_CHUNK_BYTES + 1), "anna")
    with pytest.raises(NotFound, match="no upload"):
        door.intake.append("../../x", 0, b"1", "anna")
    given_up = door.intake.give_up(upload.id, "anna")
    assert given_up.state is UploadState.REFUSED
    with pytest.raises(ConfigError, match="no pattern"):
        IntakeOptions(part_pattern="(")
    with pytest.raises(LabelInvalid, match="slashes"):
        options_of({"label": "a/b"})
    assert options_of({"label": " GOOD "}).label == "good"


def test_a_pattern_that_would_take_years_is_stopped_and_says_what_to_change(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns.found_in, "__defaults__", (2.0,))
    endless = {"part_pattern": "([0-9]+)*x"}
    name = "1" * 200 + ".png"
    for data, sent_as in ((png(1), name), (archive({name: png(2)}), "all.zip")):
        done = door.send(data, sent_as, **endless)
        assert done.state is UploadState.REFUSED
        assert "takes more than 2 s on these names: leave out repetitions of repetitions" in done.outcome["error"]


def test_what_a_pattern_finds_is_its_group_or_all_of_it() -> None:
    names = ["exp1_num_17.png", "ä\udcff num_3", "none"]
    assert patterns.found_in("num_([0-9]+)", names) == ["17", "3", ""]
    assert patterns.found_in("num_[0-9]", names) == ["num_1", "num_3", ""]
    assert patterns.found_in("(x)?num", names[:1]) == [""]
    assert patterns.found_in("", names) == ["", "", ""]


def test_a_full_disk_says_so_and_the_upload_goes_on_once_there_is_space(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = png(1, 64)
    upload, _ = door.begin(data)
    door.intake.append(upload.id, 0, data[:100], "anna")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fdatasync", full)
        with pytest.raises(ImageStoreError, match="No space left on device: free space and go on"):
            door.intake.append(upload.id, 100, data[100:], "anna")
    assert door.intake.offset(upload.id)[1] == 100, "the half that came is taken back"
    door.intake.append(upload.id, 100, data[100:], "anna")
    assert door.intake.finish(upload.id, "anna").state is UploadState.DONE


def test_the_disk_keeps_room_for_the_line_and_for_what_others_announced(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = RESERVE_BYTES + (10 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    digests = (f"{number:064x}" for number in range(9))
    begin = lambda size: door.intake.begin("tiles", "a.zip", IntakeOptions(), size, next(digests), "anna")[0]  # noqa: E731
    first = begin(8 << 20)
    with pytest.raises(ImageStoreError, match="210 MiB free, 11 MiB are to come and 200 MiB stay free for the line"):
        begin(3 << 20)
    assert [one.state for one in door.uploads.list()].count(UploadState.REFUSED) == 1
    begin(2 << 20)
    door.intake.append(first.id, 0, b"x" * 1000, "anna")
    free = RESERVE_BYTES
    with pytest.raises(ImageStoreError, match="free space and go on"):
        door.intake.append(first.id, 1000, b"x", "anna")
    free = RESERVE_BYTES + (10 << 20)
    door.now[0] += timedelta(hours=2)
    assert begin(9 << 20), "what did not go on for an hour keeps no room"


def test_pictures_of_an_archive_are_put_into_the_set_before_they_fill_memory(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.intake._BATCH_BYTES", 1)
    sizes = []
    add = door.sets.add
    monkeypatch.setattr(door.sets, "add", lambda name, new, *rest: (sizes.append(len(new)), add(name, new, *rest))[1])
    assert door.send(archive({f"{n}.png": png(n) for n in range(3)}), "all.zip").outcome["added"] == 3
    assert sizes == [1, 1, 1]


def test_what_nobody_went_on_with_is_swept(door: Door) -> None:
    upload, _ = door.begin(png(1))
    door.intake.append(upload.id, 0, b"12", "anna")
    door.now[0] = datetime.now(UTC) + timedelta(days=8)
    assert door.intake.sweep(7 * 86_400) == 1
    assert door.uploads.get(upload.id).outcome["error"] == "nobody went on with it"
    assert list(door.folder.iterdir()) == []


def test_two_that_send_the_same_piece_at_once_leave_it_there_once(door: Door) -> None:
    data = png(1, 64)
    upload, _ = door.begin(data)
    together, outcomes = threading.Barrier(2), []

    def send() -> None:
        together.wait()
        try:
            outcomes.append(door.intake.append(upload.id, 0, data, "anna"))
        except InvalidRequest as error:
            outcomes.append(str(error).partition(":")[0])

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == sorted(
        [str(len(data)), f"this piece begins at 0 and {len(data)} bytes are here"]
    )
    assert door.intake.finish(upload.id, "anna").state is UploadState.DONE
