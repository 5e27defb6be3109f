"""What a station may be asked, by a PLC or over the API, and what is answered. The numbers are those of the registers."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Command(enum.IntEnum):
    """What a station is told to do."""

    START = 1
    STOP = 2
    CHANGE_RECIPE = 3
    ACKNOWLEDGE = 4
    RESET = 5
    CHECK = 6


class Answer(enum.IntEnum):
    """How a command ended; ACCEPTED says that it is being done."""

    NONE = 0
    DONE = 1
    ACCEPTED = 2
    REFUSED = 3
    FAILED = 4


class Why(enum.IntEnum):
    """Why a command was refused or failed."""

    NONE = 0
    UNKNOWN_COMMAND = 1
    UNKNOWN_RECIPE = 2
    NO_BUNDLE = 3
    BUSY = 4
    CHECK_FAILED = 5
    FAULT_PERSISTS = 6
    INTERNAL_ERROR = 7


class Fault(enum.IntEnum):
    """What keeps, or kept, a station from judging; shown until it is acknowledged."""

    NONE = 0
    NO_BUNDLE = 1
    JOURNAL = 2
    CHECK_FAILED = 3


class PlcWatch(enum.IntEnum):
    """Whether the PLC lives, by the heartbeat that it writes."""

    OFF = 0
    ALIVE = 1
    SILENT = 2


@dataclass(frozen=True, slots=True)
class Request:
    """A command as it came from `client`, as the audit log shall name it.

    A PLC's `number` tells a command from the one before. CHANGE_RECIPE names the recipe by its code, or by `recipe`.
    """

    station: str
    number: int
    command: int
    recipe_code: int
    client: str
    recipe: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command. `checked` and `failed` count golden images, if it looked at any."""

    answer: Answer
    why: Why = Why.NONE
    checked: int = 0
    failed: int = 0
