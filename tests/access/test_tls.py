"""Certificate files are taken up when they change, and only when they hold together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from plant import Plant, plant_in
from rpc_line import wait_for

from inspector.access.pace import MAX_CLIENTS, Bucket, CallPace
from inspector.access.tls import TlsFiles, TlsPaths
from inspector.errors import AccessError, Overloaded


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return plant_in(tmp_path / "plant")


def test_a_renewal_is_taken_up_when_it_is_looked_at(plant: Plant) -> None:
    files = TlsFiles(plant.paths)
    before = files.material
    plant.authority.renew(plant.server.certificate)
    assert files.material is before
    files.look()
    assert files.material.certificate == plant.server.certificate.read_bytes() != before.certificate
    assert files.material.key == plant.server.key.read_bytes()


def test_a_thread_looks_by_itself(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.access.tls.LOOK_EVERY_S", 0.01)
    files = TlsFiles(plant.paths)
    files.watch()
    plant.authority.renew(plant.server.certificate)
    wait_for(lambda: files.material.key == plant.server.key.read_bytes(), "the renewal")
    files.close()


def test_half_a_renewal_is_not_taken_up(plant: Plant, tmp_path: Path) -> None:
    files = TlsFiles(plant.paths)
    before = files.material
    shutil.copytree(plant.folder, tmp_path / "new")
    renewed = Plant(tmp_path / "new", type(plant.authority)(tmp_path / "new"), plant.server)
    new = renewed.authority.renew(tmp_path / "new" / "service.pem")
    shutil.copy(new.certificate, plant.server.certificate)
    files.look()
    assert files.material is before
    shutil.copy(new.key, plant.server.key)
    files.look()
    assert files.material.key == new.key.read_bytes()


def test_a_file_that_vanished_changes_nothing(plant: Plant) -> None:
    files = TlsFiles(plant.paths)
    before = files.material
    plant.server.key.unlink()
    files.look()
    assert files.material is before


def test_a_new_list_of_revoked_certificates_counts_soon(plant: Plant) -> None:
    camera = plant.camera("cam1", "cam1")
    files = TlsFiles(plant.paths)
    assert not files.is_revoked(camera.serial)
    plant.authority.revoke(camera.certificate)
    files.look()
    assert files.is_revoked(camera.serial)


def test_files_that_do_not_belong_together_are_refused_at_the_start(plant: Plant) -> None:
    camera = plant.camera("cam1", "cam1")
    with pytest.raises(AccessError, match="does not belong to its key"):
        TlsFiles(TlsPaths(plant.server.certificate, camera.key, plant.ca))
    with pytest.raises(AccessError, match="cannot be read"):
        TlsFiles(TlsPaths(plant.server.certificate, plant.folder / "none.key", plant.ca))


def test_a_bucket_gives_its_rate_and_its_burst() -> None:
    bucket = Bucket(10.0, 3.0, 0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [0.0] * 3
    assert bucket.take(0.0) == pytest.approx(0.1)
    assert bucket.take(0.11) == 0.0
    assert [bucket.take(100.0) for _ in range(3)] == [0.0] * 3
    assert bucket.take(100.0) > 0


def test_one_client_that_floods_costs_no_other_its_turn() -> None:
    pace = CallPace(1.0, Clock())
    pace.check("ipv4:10.0.0.1")
    pace.check("ipv4:10.0.0.1")
    with pytest.raises(Overloaded, match="more often than 1 times a second"):
        pace.check("ipv4:10.0.0.1")
    pace.check("ipv4:10.0.0.2")


def test_the_memory_of_clients_is_bounded() -> None:
    pace = CallPace(1.0, Clock())
    for number in range(3 * MAX_CLIENTS):
        pace.check(str(number))
    assert len(pace._buckets) == MAX_CLIENTS
