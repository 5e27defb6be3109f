"""The registers of one station: written by the pipeline, read by the server, always as one consistent whole."""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence

from inspector.part import Inspection
from inspector.signalling import registers
from inspector.signalling.commands import Answer, Fault, Outcome, PlcWatch
from inspector.signalling.signal import StationState

_BUNDLES_REMEMBERED = 8


class StationRegisters:
    """One station's register image.

    Writers change a working copy under a lock that guards memory only, then put a new immutable image in its place. A
    reader takes the image once per request, so that an answer never mixes two results and never waits for a writer.
    """

    def __init__(self, heartbeat_ms: int) -> None:
        self._working = bytearray(registers.IMAGE_SIZE * 2)
        registers.pack_fixed(self._working, heartbeat_ms)
        self._lock = threading.Lock()
        self._class_numbers: dict[str, dict[str, int]] = {}
        self._recipe = ""
        self._bundle = ""
        self._results = 0
        self._image = bytes(self._working)
        self._control = bytearray(registers.CONTROL_SIZE * 2)
        self._answered = (0, Outcome(Answer.NONE))
        self._fault, self._watch = Fault.NONE, PlcWatch.OFF
        self._beat_s: float | None = None
        self._answer = b""
        self._pack_answer()

    def publish(self, inspection: Inspection) -> None:
        """Show a result as the latest and in the ring."""
        with self._lock:
            self._results = min(self._results + 1, registers.RING_SIZE)
            number = self._class_number(inspection.bundle, inspection.defect_class)
            registers.pack_result(self._working, inspection, number, self._results)
            self._image = bytes(self._working)

    def set(
        self, state: StationState, recipe: str | None = None, bundle: str | None = None, classes: Sequence[str] = ()
    ) -> None:
        """Show the state and, unless None, the recipe and bundle in use with the bundle's defect classes."""
        with self._lock:
            registers.pack_state(self._working, state)
            if recipe is not None:
                self._recipe = recipe
            if bundle is not None:
                self._bundle = bundle
                self._remember_classes(bundle, classes)
            registers.pack_identity(self._working, self._recipe, self._bundle)
            self._image = bytes(self._working)

    @property
    def has_fault(self) -> bool:
        """Whether a fault is shown."""
        return self._fault is not Fault.NONE

    def write(self, address: int, values: Sequence[int], now_s: float) -> tuple[int, int, int] | None:
        """Take what a PLC wrote within the control block; gives number, command and recipe code if that is a new command."""
        with self._lock:
            before, _, _, beat_before = registers.unpack_control(bytes(self._control))
            place = (address - registers.CONTROL_ADDRESS) * 2
            struct.pack_into(f">{len(values)}H", self._control, place, *values)
            number, command, recipe_code, beat = registers.unpack_control(bytes(self._control))
            if beat != beat_before:
                self._beat_s = now_s
            return None if number == before else (number, command, recipe_code)

    def answer(self, number: int, outcome: Outcome) -> None:
        """Show what became of the newest command; what comes late of an older one would hide its answer."""
        with self._lock:
            if number != registers.unpack_control(bytes(self._control))[0]:
                return
            self._answered = (number, outcome)
            self._pack_answer()

    def show_fault(self, fault: Fault) -> None:
        """Show a fault, or with NONE that it was acknowledged."""
        with self._lock:
            self._fault = fault
            self._pack_answer()

    def watch_plc(self, timeout_s: float, now_s: float) -> PlcWatch | None:
        """Look whether the PLC's heartbeat moved within `timeout_s`; gives the new state if it changed.

        A PLC is watched from its first beat on.
        """
        with self._lock:
            if self._beat_s is None:
                return None
            watch = PlcWatch.ALIVE if now_s - self._beat_s <= timeout_s else PlcWatch.SILENT
            if watch is self._watch:
                return None
            self._watch = watch
            self._pack_answer()
            return watch

    def read_control(self, address: int, count: int) -> list[int]:
        """Registers of the control and answer blocks, between which there is no gap."""
        data = bytes(self._control) + self._answer
        return list(struct.unpack_from(f">{count}H", data, (address - registers.CONTROL_ADDRESS) * 2))

    def _pack_answer(self) -> None:
        number, outcome = self._answered
        about = (number, outcome.answer, outcome.why, self._fault, self._watch, outcome.checked, outcome.failed)
        self._answer = registers.pack_answer(*about)

    def read(self, address: int, count: int, heartbeat: int) -> list[int]:
        """Registers `address` to `address + count - 1` of one image, which must lie within it, with this heartbeat."""
        values = list(struct.unpack_from(f">{count}H", self._image, address * 2))
        place = registers.ADDRESS["heartbeat"] - address
        if 0 <= place < count:
            values[place] = heartbeat
        return values

    def _remember_classes(self, bundle: str, classes: Sequence[str]) -> None:
        # By bundle, because parts of the old bundle are still published after a changeover.
        self._class_numbers.pop(bundle, None)
        self._class_numbers[bundle] = {name: number for number, name in enumerate(classes, start=1)}
        if len(self._class_numbers) > _BUNDLES_REMEMBERED:
            del self._class_numbers[next(iter(self._class_numbers))]

    def _class_number(self, bundle: str, defect_class: str) -> int:
        if not defect_class:
            return registers.CLASS_NONE
        return self._class_numbers.get(bundle, {}).get(defect_class, registers.CLASS_UNLISTED)
