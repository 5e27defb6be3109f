"""From the numbers that a camera gives its frames to how many parts passed between two of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# A larger step is no loss of frames but another way of counting: a camera that was restarted. As a station's default max_gap.
MAX_STEP = 1000
_SHORT = 1 << 16
# The number of the first frame after acquisition was started, by the standards.
FIRST_OF_GIGE, FIRST_OF_USB3 = 1, 0


@dataclass(frozen=True, slots=True)
class Step:
    """What a frame's number says: `lost` parts passed before it, for the reason `why`. `again`: the same frame once more.

    `odd` says what is wrong with the number itself; how many parts passed is then not known, and `lost` is the least.
    `unsure` says why it is not known whether any did.
    """

    lost: int = 0
    why: str = ""
    again: bool = False
    odd: str = ""
    unsure: str = ""


class FrameCounter:
    """Frame ids of one camera, in the order of their arrival.

    GigE Vision counts from 1 to 65535 and again from 1 (GigE Vision 1.2, block_id), with extended ids 64 bits; USB3 Vision 64
    bits from 0. A camera that uses 0 against the standard, or more than 16 bits, is known by doing so.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._first: int | None = None
        self._last_taken_ns = 0
        self._is_wide = self._has_zero = False

    def restart(self, first: int | None = None) -> None:
        """The camera counts anew, as after its acquisition was started, from `first`; None if that may be any number."""
        self._last, self._first = None, first

    def step(self, number: int, taken_ns: int) -> Step:
        """The next frame's number, and when it was taken by the camera's clock (0 if the camera has none)."""
        last, last_taken_ns = self._last, self._last_taken_ns
        self._last, self._last_taken_ns = number, taken_ns
        self._is_wide |= number >= _SHORT
        self._has_zero |= number == 0 and last is not None
        if last is None:
            return self._begin(number)
        if number == last:
            if taken_ns == last_taken_ns != 0:
                return Step(again=True)
            return Step(odd=f"the camera numbers another frame {number} again: its counter stands still")
        ahead = number - last
        if ahead < 0 and not self._is_wide:
            ahead += _SHORT if self._has_zero else _SHORT - 1
        if 0 < ahead <= MAX_STEP:
            return Step(ahead - 1, _lost_between(last, number)) if ahead > 1 else Step()
        how = "ran backwards" if number < last else "jumped"
        return Step(1, odd=f"the camera's frame ids {how} from {last} to {number}: it was restarted or set anew")

    def _begin(self, number: int) -> Step:
        """The first frame since the start."""
        first = self._first
        if first is None or number <= first:
            return Step()
        if number - first <= MAX_STEP:
            return Step(
                number - first, f"frame id {number} was the first to arrive since the start, which begins at {first}"
            )
        return Step(
            unsure=f"the first frame since the start has id {number} and not {first}, so that it goes on counting at a start: "
            "whether frames before it were lost is not known; start cameras while the line stands"
        )


def _lost_between(last: int, number: int) -> str:
    return f"frame id {number} came after {last}: nothing of the frames between them arrived"
