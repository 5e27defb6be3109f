"""Disks of a test's own, which are full, slow or stand still. All of them need root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chaos.camera import NotPossibleHere

_THROTTLE = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")


@contextmanager
def small_disk(folder: Path, size_kib: int) -> Iterator[None]:
    """A file system of its own at `folder`. NotPossibleHere if this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    _as_root("mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(folder))
    try:
        yield
    finally:
        _undo("umount", "-l", str(folder))


def resize_small_disk(folder: Path, size_kib: int) -> None:
    """Make a `small_disk` larger or smaller, but never smaller than what lies on it. NotPossibleHere."""
    _as_root("mount", "-o", f"remount,size={size_kib}k", str(folder))


def used_kib(folder: Path) -> int:
    """What lies on the disk of `folder`."""
    disk = os.statvfs(folder)
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize >> 10


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """While the context lasts there is no room left on the disk of `folder`."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


class Disk:
    """An ext4 file system in a file, mounted at `folder`. Use `ext4_disk`."""

    def __init__(self, folder: Path, device: str) -> None:
        self._folder = folder
        number = os.stat(device).st_rdev
        self._device = f"{os.major(number)}:{os.minor(number)}"

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Whoever writes waits, as before a controller that does not answer (FIFREEZE)."""
        _as_root("fsfreeze", "-f", str(self._folder))
        try:
            yield
        finally:
            _undo("fsfreeze", "-u", str(self._folder))

    @contextmanager
    def slow(self, bytes_per_s: int) -> Iterator[None]:
        """The device takes no more than that. NotPossibleHere if this kernel cannot throttle it."""
        self._throttle(bytes_per_s)
        try:
            yield
        finally:
            self._throttle(0)

    def _throttle(self, bytes_per_s: int) -> None:
        try:
            _THROTTLE.write_text(f"{self._device} {bytes_per_s}")
        except OSError as error:
            raise NotPossibleHere(f"this kernel throttles no disk at {_THROTTLE}: {error.strerror}") from error


@contextmanager
def ext4_disk(folder: Path, size_mib: int) -> Iterator[Disk]:
    """A disk of its own at `folder`. NotPossibleHere if this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder.with_name(f"{folder.name}.img")
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    _as_root("mkfs.ext4", "-q", "-F", str(image))
    device = _as_root("losetup", "--find", "--show", str(image)).strip()
    try:
        _as_root("mount", device, str(folder))
        try:
            yield Disk(folder, device)
        finally:
            _undo("umount", "-l", str(folder))
    finally:
        _undo("losetup", "--detach", device)
        with suppress(OSError):
            image.unlink()


def _as_root(*command: str) -> str:
    """Output of a program. NotPossibleHere if it is not there, fails, or this user may not."""
    if os.geteuid() != 0:
        raise NotPossibleHere(f"only root may do that: {' '.join(command)}")
    try:
        return _call(*command)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotPossibleHere(f"{' '.join(command)}: {getattr(error, 'stderr', '') or error}") from error


def _undo(*command: str) -> None:
    """What cannot be undone is left to the machine: a test that ends must not hide why it failed."""
    with suppress(OSError, subprocess.SubprocessError):
        _call(*command)


def _call(*command: str) -> str:
    done = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    return done.stdout
