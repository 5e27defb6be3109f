from __future__ import annotations

import errno
import hashlib
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from record_samples import tiny_disk

from inspector.errors import ImageStoreError, NotFound
from inspector.part import ImageKind
from inspector.records.entries import StoredImage
from inspector.records.images import Expired, ImageStore

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = 3600


def put(store: ImageStore, data: bytes, *, hours_old: float = 0.0) -> str:
    sha256 = store.put(data, ImageKind.FRAME, "image/png").sha256
    at = NOW.timestamp() - hours_old * HOUR
    os.utime(store.path(sha256)[0], (at, at))
    return sha256


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("media_type", "suffix"),
    [("image/png", ".png"), ("image/jpeg", ".jpg"), ("application/octet-stream", ".bin")],
)
def test_a_picture_comes_back_as_it_went_in(tmp_path: Path, media_type: str, suffix: str) -> None:
    store = ImageStore(tmp_path)
    stored = store.put(b"pixels", ImageKind.HEAT_MAP, media_type)
    sha256 = hashlib.sha256(b"pixels").hexdigest()
    assert stored == StoredImage(ImageKind.HEAT_MAP, sha256, media_type, 6)
    assert store.get(sha256) == (b"pixels", media_type)
    assert files(tmp_path) == [tmp_path / sha256[:2] / sha256[2:4] / f"{sha256}{suffix}"]


def test_the_same_picture_is_kept_once_and_made_young_again(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, max_age_days=1)
    sha256 = put(store, b"pixels", hours_old=48)
    assert [e.sha256 for e in store.expired(frozenset(), NOW)] == [sha256]
    assert store.put(b"pixels", ImageKind.FRAME, "image/png").sha256 == sha256
    assert list(store.expired(frozenset(), NOW)) == []
    assert len(files(tmp_path)) == 1


def test_a_half_written_picture_is_written_again(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    sha256 = put(store, b"pixels")
    store.path(sha256)[0].write_bytes(b"")
    put(store, b"pixels")
    assert store.get(sha256)[0] == b"pixels"


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="empty"),
        pytest.param("../../etc/passwd", id="path"),
        pytest.param("A" * 64, id="upper-case"),
        pytest.param("a" * 63, id="too-short"),
        pytest.param("a" * 65, id="too-long"),
        pytest.param("a" * 63 + "\n", id="newline"),
        pytest.param("a" * 61 + "/..", id="path-of-right-length"),
        pytest.param("\0" * 64, id="nul"),
        pytest.param("٠" * 64, id="digits-of-another-script"),
        pytest.param("a" * 1_000_000, id="huge"),
    ],
)
def test_a_key_that_is_no_sha256_finds_nothing(tmp_path: Path, key: str) -> None:
    with pytest.raises(NotFound, match="is no picture key") as told:
        ImageStore(tmp_path).get(key)
    assert len(str(told.value)) < 500


def test_an_unknown_picture_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="never stored here, or retention removed it"):
        ImageStore(tmp_path).get("a" * 64)


def test_a_damaged_picture_is_not_handed_out(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    sha256 = put(store, b"pixels")
    store.path(sha256)[0].write_bytes(b"pixelz")
    with pytest.raises(ImageStoreError, match="is damaged: its content no longer gives its name"):
        store.get(sha256)


def test_an_unknown_media_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageStoreError, match="'text/html' is not kept: expected one of image/png"):
        ImageStore(tmp_path).put(b"<script>", ImageKind.FRAME, "text/html")


def test_a_full_disk_is_told_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "64k") as disk:
        store = ImageStore(disk)
        with pytest.raises(ImageStoreError, match="No space left on device: free some disk space") as told:
            store.put(os.urandom(100_000), ImageKind.FRAME, "image/png")
        assert isinstance(told.value.__cause__, OSError)
        assert told.value.__cause__.errno == errno.ENOSPC
        assert files(disk) == []
        assert store.get(store.put(b"small", ImageKind.FRAME, "image/png").sha256)[0] == b"small"


def test_leftovers_of_a_killed_process_are_removed_by_the_writer_and_by_no_reader(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    (tmp_path / "incoming" / "1-1").write_bytes(b"half")
    ImageStore(tmp_path)
    assert len(files(tmp_path)) == 1
    store.discard_unfinished()
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageStoreError, match="cannot be used: Not a directory"):
        ImageStore(tmp_path / "file")


def test_age_removes_the_old_but_not_the_protected(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, max_age_days=2)
    old, labelled, _young = (put(store, bytes([n]) * 10, hours_old=h) for n, h in ((1, 49), (2, 490), (3, 47)))
    assert [(e.sha256, e.size_bytes, e.reason) for e in store.expired({labelled}, NOW)] == [(old, 10, "age")]


def test_the_quota_removes_the_oldest_first(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, quota_bytes=10_000)
    pictures = [put(store, bytes([n]) * 1000, hours_old=20 - n) for n in range(14)]
    expired = list(store.expired({pictures[1]}, NOW))
    assert store.usage_bytes == 14_000
    # 14 are there, 9.5 may stay, the second is protected.
    assert sorted(e.sha256 for e in expired) == sorted(pictures[n] for n in (0, 2, 3, 4, 5))
    assert {e.reason for e in expired} == {"quota"}


def test_what_age_removes_counts_for_the_quota(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, max_age_days=1, quota_bytes=3000)
    old = [put(store, bytes([n]) * 1000, hours_old=30) for n in range(3)]
    for n in range(3, 6):
        put(store, bytes([n]) * 1000, hours_old=n)
    assert sorted(e.sha256 for e in store.expired(frozenset(), NOW)) == sorted(old)


def test_a_quota_filled_by_protected_pictures_removes_all_others(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, quota_bytes=2000)
    protected = {put(store, bytes([n]) * 1000, hours_old=5) for n in range(3)}
    other = put(store, b"x" * 100, hours_old=1)
    assert [e.sha256 for e in store.expired(protected, NOW)] == [other]


def test_without_limits_everything_stays(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    put(store, b"pixels", hours_old=100_000)
    assert list(store.expired(frozenset(), NOW)) == []


def test_a_picture_stored_anew_since_the_sweep_saw_it_stays(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, max_age_days=1)
    put(store, b"pixels", hours_old=30)
    (expired,) = store.expired(frozenset(), NOW)
    store.put(b"pixels", ImageKind.FRAME, "image/png")
    assert not store.remove(expired)
    assert store.get(expired.sha256)[0] == b"pixels"


def test_removing_twice_does_nothing(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, max_age_days=1)
    put(store, b"pixels", hours_old=30)
    assert store.measure() == 6
    (expired,) = store.expired(frozenset(), NOW)
    assert store.remove(expired)
    assert store.usage_bytes == 0
    assert not store.remove(expired)
    assert not store.remove(Expired("a" * 64, 1, 0.0, "age"))


def test_past_the_quota_pictures_are_lost_before_the_disk_is_full(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, quota_bytes=1000)
    store.measure()
    put(store, b"a" * 1050)
    with pytest.raises(ImageStoreError, match=r"quota of 0 MiB in .* is used up: raise it") as told:
        put(store, b"b" * 100)
    assert isinstance(told.value.__cause__, OSError)
    assert told.value.__cause__.errno == errno.EDQUOT
    assert store.usage_bytes == 1050


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, max_age_days=1, quota_bytes=1)
    (tmp_path / "ab" / "cd").mkdir(parents=True)
    for name in ("notes.txt", "short.png", "ab/cd/README.png"):
        (tmp_path / name).write_text("mine")
    assert list(store.expired(frozenset(), NOW)) == []
    assert store.usage_bytes == 0


def test_many_threads_store_the_same_pictures(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    store.measure()

    def work() -> None:
        for n in range(20):
            store.put(bytes([n]) * 100, ImageKind.FRAME, "image/png")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files(tmp_path)) == 20
