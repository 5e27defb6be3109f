"""What the decoder learns from: augmented views of labelled images, seen once by the frozen trunk and kept as features.

Regions are also pasted onto good parts, so that a few of them are seen in many places: Ghiasi, Cui, Srinivas, Qian, Lin, Cubuk,
Le, Zoph, "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from training.data.training_set import LabelledImages
from training.device import at_work
from training.models.segmentation.network import Features
from training.progress import Progress, silent
from training.torchvision_import import import_timm

IGNORED = 255
"""Target of a cell that teaches nothing: outside the region of interest, unlabelled, or on the rim of a mark."""
_MARKED_FROM, _CLEAN_TO = 64, 13
"""Of 255, the share of a cell that is marked from which it counts as defective, and up to which as background."""
_BATCH = 8
_PAD = 0.125

GOOD, DEFECTIVE, PASTED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How views of a part may differ: only as parts on the line do. A part that is never flipped is not.

    Angles in degrees to either side, `shift` and `zoom` as shares of the image, `light` as a share of brightness and contrast.
    """

    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 5.0
    shift: Annotated[float, Field(ge=0, le=0.1)] = 0.05
    zoom: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    light: Annotated[float, Field(ge=0, le=0.9)] = 0.2

    def transform(self) -> Callable[..., Any]:
        """A torchvision v2 transform of images with masks; random by torch's global generator."""
        import_timm()  # torchvision does not import beside every torch without what this declares
        from torchvision.transforms import v2

        steps: list[Any] = [
            v2.RandomAffine(self.rotate_degrees, (self.shift, self.shift), (1 - self.zoom, 1 + self.zoom)),
            v2.ColorJitter(brightness=self.light, contrast=self.light),
        ]
        if self.flip in ("horizontal", "both"):
            steps.append(v2.RandomHorizontalFlip())
        if self.flip in ("vertical", "both"):
            steps.append(v2.RandomVerticalFlip())
        composed: Callable[..., Any] = v2.Compose(steps)
        return composed


@dataclass(frozen=True, slots=True)
class Example:
    """One image to learn from: `sources` are the images it shows, `kind` GOOD, DEFECTIVE or PASTED.

    `shares` has for each class marked, by its number from 1, the share of each pixel: uint8 (height, width); `taught` is bool
    (height, width), where pixels teach anything. `label` is the number of the main class; 0 for good parts.
    """

    sources: tuple[int, ...]
    kind: int
    label: int
    pixels: NDArray[np.uint8]
    shares: Mapping[int, NDArray[np.uint8]]
    taught: NDArray[np.bool_]

    @property
    def share(self) -> NDArray[np.uint8]:
        """The share of each pixel that bears a mark of any class."""
        return np.maximum.reduce(list(self.shares.values())) if self.shares else np.zeros(self.taught.shape, np.uint8)


@dataclass(frozen=True, slots=True)
class Views:
    """n views as the trunk sees them: per level float16 (n, channels, rows, columns); targets uint8 (n, rows, columns).

    `sources` int64 (n, 2) are the images in each view (twice the same if it is one), `kinds` and `labels` int64 (n,).
    """

    levels: tuple[Tensor, ...]
    targets: Tensor
    sources: Tensor
    kinds: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def only(self, images: Sequence[int]) -> Tensor:
        """Numbers of the views that show nothing but `images`."""
        allowed = torch.tensor(list(images), dtype=torch.int64)
        return torch.isin(self.sources, allowed).all(dim=1).nonzero().squeeze(1)


def example_of(data: LabelledImages, image: int, classes: Sequence[str], unmarked: str) -> Example | None:
    """The example an image gives; None for a defective image without a mark, whose pixels are of unknown class.

    With `unmarked` "unknown", the pixels of a defective image that bear no mark teach nothing either.
    """
    masks = data.class_masks(image)
    if masks is None or (not data.is_good(image) and not any((mask >= _MARKED_FROM).any() for mask in masks.values())):
        return None
    pixels = data.pixels(image)
    taught = np.ones(pixels.shape[:2], bool) if data.region_of_interest is None else data.region_of_interest
    if (ignored := data.ignored(image)) is not None:
        taught = taught & ~ignored
    if data.is_good(image):
        return Example((image, image), GOOD, 0, pixels, {}, taught)
    # A class that no image has as its main one is not taught: its marks are left out, neither that class nor background.
    shares = {1 + classes.index(name): mask * taught for name, mask in masks.items() if name in classes}
    if not any((share >= _MARKED_FROM).any() for share in shares.values()):
        return None
    for name, mask in masks.items():
        if name not in classes:
            taught = taught & (mask == 0)
    example = Example((image, image), DEFECTIVE, 1 + classes.index(data.label(image)), pixels, shares, taught)
    return replace(example, taught=taught & (example.share > 0)) if unmarked == "unknown" else example


def pasted(good: Example, defective: Example, random: np.random.Generator) -> Example:
    """The marked region of one image on another, at a random place, brought to the brightness found there."""
    marks = defective.share
    ys, xs = np.nonzero(marks >= _MARKED_FROM)
    height, width = marks.shape
    margin = 4
    top, bottom = max(int(ys.min()) - margin, 0), min(int(ys.max()) + margin + 1, height)
    left, right = max(int(xs.min()) - margin, 0), min(int(xs.max()) + margin + 1, width)
    y = int(random.integers(0, height - (bottom - top) + 1))
    x = int(random.integers(0, width - (right - left) + 1))
    into = (slice(y, y + bottom - top), slice(x, x + right - left))
    source_window = (slice(top, bottom), slice(left, right))
    share = marks[source_window]
    source = defective.pixels[source_window].astype(np.float32)
    pixels = good.pixels.copy()
    target = pixels[into].astype(np.float32)
    around = share == 0
    if around.any():  # the patch without its mark shows the surface that it lay on
        source = source + (target.mean((0, 1)) - source[around].mean(0))
    weight = np.maximum(cv2.GaussianBlur(share, (0, 0), 2.0), share).astype(np.float32)[..., None] / 255
    pixels[into] = np.clip(target + (source - target) * weight, 0, 255).astype(np.uint8)
    placed = {number: np.zeros_like(mask) for number, mask in defective.shares.items()}
    for number, mask in defective.shares.items():
        placed[number][into] = mask[source_window]
    return Example((good.sources[0], defective.sources[0]), PASTED, defective.label, pixels, placed, good.taught)


def augmented(example: Example, transform: Callable[..., Any], seed: int) -> Example:
    """One seeded view of an example. Edges are continued by reflection, so that turning leaves no blank corners."""
    import_timm()
    from torchvision import tv_tensors
    from torchvision.transforms.v2 import functional

    height, width = example.taught.shape
    down, across = round(height * _PAD), round(width * _PAD)
    reflect = [(down, down), (across, across)]
    pixels = np.pad(example.pixels, [*reflect, (0, 0)], mode="reflect").transpose(2, 0, 1)
    masks = np.stack([example.taught.astype(np.uint8), *example.shares.values()])
    masks = np.pad(masks, [(0, 0), *reflect], mode="reflect")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image, moved = transform(tv_tensors.Image(torch.from_numpy(pixels)), tv_tensors.Mask(torch.from_numpy(masks)))
    image, moved = (functional.center_crop(value, [height, width]) for value in (image, moved))
    turned = np.ascontiguousarray(image.numpy().transpose(1, 2, 0))
    shares = dict(zip(example.shares, moved[1:].numpy(), strict=True))
    return replace(example, pixels=turned, shares=shares, taught=moved[0].numpy() > 0)


def target_of(example: Example, rows: int, columns: int) -> NDArray[np.uint8]:
    """What each cell shows: uint8 (rows, columns) of 0 background, 1… the class, or IGNORED.

    A cell is defective from a quarter of its area on, because scratches are thinner than cells; below that its rim.
    """
    size = (columns, rows)
    taught = cv2.resize(example.taught.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    target = np.zeros((rows, columns), np.uint8)
    strongest = np.zeros((rows, columns), np.uint8)
    for number, mask in example.shares.items():
        share = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        target[(share >= _MARKED_FROM) & (share > strongest)] = number
        strongest = np.maximum(strongest, share)
    target[(strongest > _CLEAN_TO) & (strongest < _MARKED_FROM)] = IGNORED
    target[taught < 0.5] = IGNORED
    return target


@torch.no_grad()
def look(features: Features, examples: Callable[[int], Example], count: int, progress: Progress = silent) -> Views:
    """Run `count` examples, made when their turn comes, through the trunk. Raises ValueError for none."""
    if not count:
        raise ValueError("there are no examples to look at")
    levels: list[Tensor] = []
    targets: Tensor | None = None
    about: list[Example] = []
    progress("Looking at views", 0, count)
    with at_work(features) as see:
        for start in range(0, count, _BATCH):
            batch = [examples(number) for number in range(start, min(start + _BATCH, count))]
            outputs = see(np.stack([example.pixels for example in batch]))
            rows, columns = outputs[0].shape[-2:]
            if targets is None:
                levels = [torch.empty((count, *output.shape[1:]), dtype=torch.float16) for output in outputs]
                targets = torch.empty((count, rows, columns), dtype=torch.uint8)
            for kept, output in zip(levels, outputs, strict=True):
                kept[start : start + len(batch)] = output
            for number, example in enumerate(batch, start):
                targets[number] = torch.from_numpy(target_of(example, rows, columns))
                about.append(replace(example, pixels=_NOTHING, shares={}, taught=_NOTHING.astype(bool)))
            progress("Looking at views", start + len(batch), count)
    assert targets is not None
    return Views(
        tuple(levels),
        targets,
        torch.tensor([example.sources for example in about]),
        torch.tensor([example.kind for example in about]),
        torch.tensor([example.label for example in about]),
    )


_NOTHING = np.zeros(0, np.uint8)
