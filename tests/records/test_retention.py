from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from record_samples import LINE, inspection, label

from inspector.errors import NotFound, StoreUnavailable
from inspector.part import ImageKind
from inspector.records import retention
from inspector.records.entries import Evidence, Settled
from inspector.records.images import ImageStore
from inspector.records.retention import RetentionKeeper, Sweep, sweep
from inspector.records.store import Store

NOW = datetime.now(UTC)


def keep(store: Store, images: ImageStore, sequence: int, *, days_old: float, size: int = 1000) -> str:
    """An inspection with a picture of its own; its SHA-256."""
    picture = images.put(os.urandom(size), ImageKind.FRAME, "image/png")
    at = (NOW - timedelta(days=days_old)).timestamp()
    os.utime(images.path(picture.sha256)[0], (at, at))
    store.apply(LINE, [Settled(inspection(sequence)), Evidence(sequence, (picture,), NOW - timedelta(days=days_old))])
    return picture.sha256


def test_old_pictures_go_and_leave_a_note_but_labelled_ones_stay(store: Store, tmp_path: Path) -> None:
    images = ImageStore(tmp_path / "images", max_age_days=30)
    old, labelled, young = (keep(store, images, n, days_old=d) for n, d in ((1, 31), (2, 300), (3, 29)))
    store.add_labels([label(2, "scratch")])
    assert sweep(images, store, NOW) == Sweep(1, 1000)
    with pytest.raises(NotFound):
        images.get(old)
    assert images.get(labelled)[0]
    assert images.get(young)[0]
    gone = store.get(LINE, 1).images[0]
    assert (gone.sha256, gone.lost_reason) == ("", f"removed by retention (age) on {NOW:%Y-%m-%d}")
    assert store.get(LINE, 2).images[0].sha256 == labelled
    assert sweep(images, store, NOW) == Sweep()


def test_the_quota_holds_but_never_takes_a_labelled_picture(store: Store, tmp_path: Path) -> None:
    images = ImageStore(tmp_path / "images", quota_bytes=5000)
    kept = [keep(store, images, n, days_old=20 - n) for n in range(1, 11)]
    store.add_labels([label(1, "scratch")])
    done = sweep(images, store, NOW)
    assert images.measure() <= 5000
    assert images.get(kept[0])[0], "the oldest is labelled"
    assert images.get(kept[-1])[0], "the newest is there"
    assert done.removed == 6
    assert store.get(LINE, 2).images[0].lost_reason.startswith("removed by retention (quota)")


def test_pictures_that_no_record_names_go_too(store: Store, tmp_path: Path) -> None:
    images = ImageStore(tmp_path / "images", max_age_days=1)
    stray = images.put(b"stray", ImageKind.FRAME, "image/png")
    os.utime(images.path(stray.sha256)[0], (0, 0))
    assert sweep(images, store, NOW) == Sweep(1, 5)


def test_without_the_database_nothing_goes(tmp_path: Path) -> None:
    images = ImageStore(tmp_path / "images", max_age_days=1)
    picture = images.put(b"old", ImageKind.FRAME, "image/png")
    os.utime(images.path(picture.sha256)[0], (0, 0))
    with pytest.raises(StoreUnavailable):
        sweep(images, Store(f"sqlite:///{tmp_path / 'none.db'}"), NOW)
    assert images.get(picture.sha256)[0] == b"old"


def test_a_sweep_that_died_is_completed_by_the_next(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImageStore(tmp_path / "images", max_age_days=30)
    keep(store, images, 1, days_old=31)

    def die(_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(images, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            sweep(images, store, NOW)
    assert store.get(LINE, 1).images[0].lost_reason
    assert sweep(images, store, NOW) == Sweep(1, 1000)


def test_a_label_that_comes_during_the_sweep_still_protects(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImageStore(tmp_path / "images", max_age_days=30)
    sha256 = keep(store, images, 1, days_old=31)
    protected = store.protected_pictures()
    store.add_labels([label(1, "good")])
    monkeypatch.setattr(store, "protected_pictures", lambda: protected)
    assert sweep(images, store, NOW) == Sweep()
    assert images.get(sha256)[0]


def test_the_keeper_sweeps_until_it_is_stopped(
    store: Store, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    images = ImageStore(tmp_path / "images", max_age_days=30)
    sha256 = keep(store, images, 1, days_old=31)
    swept, errors, calls = threading.Event(), [StoreUnavailable("away"), ValueError("odd")], []

    def watched(*arguments: object) -> Sweep:
        calls.append(1)
        if errors:
            raise errors.pop(0)
        done = sweep(*arguments)  # type: ignore[arg-type]
        swept.set()
        return done

    monkeypatch.setattr(retention, "sweep", watched)
    keeper = RetentionKeeper(images, lambda: Store(url), interval_s=0.01)
    assert swept.wait(20)
    keeper.stop()
    after = len(calls)
    with pytest.raises(NotFound):
        images.get(sha256)
    assert "pictures are kept for now: away" in caplog.text
    assert "retention failed" in caplog.text
    assert len(calls) == after
