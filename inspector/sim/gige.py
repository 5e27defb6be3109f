"""A GigE Vision camera without a camera: Aravis' own fake, on an interface of this machine, as a process of its own.

    python -m inspector.sim.gige --serial GV1

It answers on the GigE Vision control port (3956) of that interface, so there is one per address. Its triggers are those of
`trigger_source = "Software"`: with `--pulse-hz` this program gives them, as a light barrier would, and the camera's controller
sends none. `--fault 20:skip` lets the 20th frame, and what follows, go wrong: see FAULTS.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from inspector.ending import call_at_signals

# Registers of the fake camera (arvfakecamera.h).
_WIDTH, _PIXEL_FORMAT, _TRIGGER_SOFTWARE = 0x100, 0x128, 0x30C
_BAYER_RG8 = 0x01080009
_PATTERN = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_uint32] * 3)
_S_NS = 1_000_000_000


@dataclass
class Wrongs:
    """What is wrong with frames from now on: added to ids and clock, the last ones given again, registers to be written."""

    id_offset: int = 0
    clock_offset_ns: int = 0
    repeats_id: bool = False
    registers: list[tuple[int, int]] = field(default_factory=list)


FAULTS: dict[str, Callable[[Wrongs], None]] = {
    "stuck": lambda w: setattr(w, "repeats_id", True),  # another frame under the same id
    "skip": lambda w: setattr(w, "id_offset", w.id_offset + 3),  # three frames that were never sent
    "jump": lambda w: setattr(w, "id_offset", w.id_offset + 5000),
    "back": lambda w: setattr(w, "id_offset", w.id_offset - 100),
    "clock-back": lambda w: setattr(w, "clock_offset_ns", w.clock_offset_ns - 10 * _S_NS),
    "resize": lambda w: w.registers.append((_WIDTH, 64)),
    "empty": lambda w: w.registers.append((_WIDTH, 0)),
    "format": lambda w: w.registers.append((_PIXEL_FORMAT, _BAYER_RG8)),
}


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interface", default="127.0.0.1", help="name or address of the interface")
    parser.add_argument("--serial", default="GV1", help="the device is called Aravis-Fake-SERIAL")
    parser.add_argument("--lost", type=float, default=0.0, help="share of packets that are not sent, 0 to 1")
    parser.add_argument("--pulse-hz", type=float, default=0.0, help="trigger pulses per second")
    parser.add_argument("--grey", type=int, default=100, help="grey level of the part, 0 to 255")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="FRAME:NAME", help=f"one of {', '.join(FAULTS)}"
    )
    options = parser.parse_args()
    faults = {int(number): FAULTS[name] for number, name in (text.split(":") for text in options.fault)}
    library, objects = _library()
    camera = library.arv_gv_fake_camera_new(options.interface.encode(), options.serial.encode())
    if not camera or not library.arv_gv_fake_camera_is_running(camera):
        sys.exit(f"no camera on {options.interface}: is its port 3956 taken, or is it no interface of this machine?")
    objects.g_object_set(camera, b"gvsp-lost-ratio", ctypes.c_double(options.lost), None)
    fake = library.arv_gv_fake_camera_get_fake_camera(camera)
    pattern = _PATTERN(Scene(library, fake, options.grey, faults).fill)
    library.arv_fake_camera_set_fill_pattern(fake, pattern, None)
    ending = threading.Event()
    call_at_signals(ending.set)
    print(f"Aravis-Fake-{options.serial} on {options.interface}", flush=True)
    while not ending.wait(1 / options.pulse_hz if options.pulse_hz else 0.2):
        if options.pulse_hz:
            library.arv_fake_camera_write_register(fake, _TRIGGER_SOFTWARE, 1)


class Scene:
    """What each frame shows, and what is wrong with it."""

    def __init__(self, library: ctypes.CDLL, fake: int, grey: int, faults: dict[int, Callable[[Wrongs], None]]) -> None:
        self._library = library
        self._fake = fake
        self._grey = grey
        self._faults = faults
        self._wrongs = Wrongs()
        self._count = 0
        self._last = 0

    def fill(self, buffer: int, _data: int, _exposure_us: int, _gain: int, _pixel_format: int) -> None:
        """Called by the camera's thread for every frame."""
        library, wrongs = self._library, self._wrongs
        size = ctypes.c_size_t()
        place = library.arv_buffer_get_data(buffer, ctypes.byref(size))
        ctypes.memset(place, self._grey, library.arv_fake_camera_get_payload(self._fake))
        self._count += 1
        if self._count in self._faults:
            self._faults[self._count](wrongs)
        number = (library.arv_buffer_get_frame_id(buffer) + wrongs.id_offset - 1) % 0xFFFF + 1
        clock_ns = library.arv_buffer_get_timestamp(buffer) + wrongs.clock_offset_ns
        last, self._last = self._last, number
        if wrongs.repeats_id:
            number, wrongs.repeats_id = last, False
        library.arv_buffer_set_frame_id(buffer, number)
        library.arv_buffer_set_timestamp(buffer, clock_ns)
        while wrongs.registers:
            library.arv_fake_camera_write_register(self._fake, *wrongs.registers.pop())


def _library() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """Aravis and GObject, with the types of what is called."""
    try:
        library, objects = ctypes.CDLL("libaravis-0.8.so.0"), ctypes.CDLL("libgobject-2.0.so.0")
    except OSError as error:
        sys.exit(f"the camera is part of Aravis, which is not here ({error}): install libaravis-0.8-0 (Debian)")
    for name in ("arv_gv_fake_camera_new", "arv_gv_fake_camera_get_fake_camera", "arv_buffer_get_data"):
        getattr(library, name).restype = ctypes.c_void_p
    library.arv_buffer_get_frame_id.restype = library.arv_buffer_get_timestamp.restype = ctypes.c_uint64
    pointer, number = ctypes.c_void_p, ctypes.c_uint64
    library.arv_fake_camera_get_payload.restype = ctypes.c_size_t
    library.arv_fake_camera_get_payload.argtypes = [pointer]
    library.arv_gv_fake_camera_new.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    library.arv_gv_fake_camera_is_running.argtypes = library.arv_gv_fake_camera_get_fake_camera.argtypes = [pointer]
    library.arv_buffer_get_data.argtypes = [pointer, pointer]
    library.arv_buffer_get_frame_id.argtypes = library.arv_buffer_get_timestamp.argtypes = [pointer]
    library.arv_buffer_set_frame_id.argtypes = library.arv_buffer_set_timestamp.argtypes = [pointer, number]
    library.arv_fake_camera_write_register.argtypes = [pointer, ctypes.c_uint32, ctypes.c_uint32]
    library.arv_fake_camera_set_fill_pattern.argtypes = [pointer, _PATTERN, pointer]
    objects.g_object_set.argtypes = [pointer, ctypes.c_char_p, ctypes.c_double, pointer]
    return library, objects


if __name__ == "__main__":
    main()
