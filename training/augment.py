"""Changes to images that leave their label true, chosen per recipe: only what can happen to this part on this line.

The defaults are safe for every part: a little light and a little shift. A part that is never turned or mirrored on the
line must not be so in training, because a mirrored print or a thread that runs the other way may be the defect.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inspector.errors import ConfigError
from training.torchvision_import import import_transforms


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far an image may be changed. Flips and quarter turns are drawn evenly, the rest between minus and plus.

    `shift` and `zoom` are shares of the image's side, `brightness` and `contrast` shares of what they are; `quarter_turns`
    are for square inputs only.
    """

    flip_horizontal: bool = False
    flip_vertical: bool = False
    quarter_turns: bool = False
    rotation_degrees: float = 0.0
    shift: float = 0.02
    zoom: float = 0.0
    brightness: float = 0.1
    contrast: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.rotation_degrees <= 180:
            raise ConfigError(f"got a rotation of {self.rotation_degrees} degrees: give 0 to 180")
        for name in ("shift", "zoom", "brightness", "contrast"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ConfigError(f"got {name} {getattr(self, name)}: give a share from 0 to 0.5")


NONE = Augmentation(shift=0.0, brightness=0.0, contrast=0.0)


def augmented(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Each image changed by draws of its own: float32 (n, channels, height, width) of 0 to 255, in and out.

    The same generator state gives the same images. Raises ConfigError for quarter turns of images that are not square.
    """
    if how.quarter_turns and images.shape[2] != images.shape[3]:
        raise ConfigError(
            f"quarter turns need a square input, got {images.shape[3]} × {images.shape[2]} px: switch quarter_turns off"
        )
    return torch.stack([_changed(image, how, torch.rand(9, generator=generator).tolist()) for image in images])


def _changed(image: Tensor, how: Augmentation, draws: list[float]) -> Tensor:
    functional = import_transforms()
    if how.flip_horizontal and draws[0] < 0.5:
        image = image.flip(2)
    if how.flip_vertical and draws[1] < 0.5:
        image = image.flip(1)
    if how.quarter_turns:
        image = torch.rot90(image, int(4 * draws[2]), (1, 2))
    turn, x, y, zoom, light, contrast = (2 * draw - 1 for draw in draws[3:])
    if how.rotation_degrees or how.shift or how.zoom:
        image = _moved(image, how, turn, (x, y), zoom)
    if how.brightness:
        image = image * (1 + how.brightness * light)
    if how.contrast:
        mean = functional.rgb_to_grayscale(image).mean() if image.shape[0] == 3 else image.mean()
        image = mean + (image - mean) * (1 + how.contrast * contrast)
    return image.clamp(0.0, 255.0)


def _moved(image: Tensor, how: Augmentation, turn: float, shift: tuple[float, float], zoom: float) -> Tensor:
    """Turned, shifted and zoomed; what comes in at the edges continues the image, so that no black corner teaches."""
    functional = import_transforms()
    height, width = image.shape[1:]
    margin = max(height, width) // 4
    padded = functional.pad(image, [margin], padding_mode="reflect" if margin < min(height, width) else "edge")
    moved = functional.affine(
        padded,
        angle=how.rotation_degrees * turn,
        translate=[how.shift * width * shift[0], how.shift * height * shift[1]],
        scale=1 + how.zoom * zoom,
        shear=[0.0, 0.0],
        interpolation=functional.InterpolationMode.BILINEAR,
    )
    result: Tensor = functional.center_crop(moved, [height, width])
    return result
