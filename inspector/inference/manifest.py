"""What a bundle says of itself: input, classes, limits and their basis, golden images, provenance, file hashes.

The manifest is JSON. It is read strictly: unknown and repeated keys, wrong types, NaN and infinite numbers, names that
leave the bundle and statements that contradict each other are refused, all of them named in one message.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AwareDatetime,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticSerializationError

from inspector.errors import BundleError, BundleVersionError
from inspector.part import Limits, Verdict

SCHEMA_VERSION = 1
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
SIGNATURE_FILE = "signature.json"
"""Beside the manifest, not in it: what vouches for a content cannot be part of it. See `signature.py`."""
GOLDEN_FOLDER = "golden"

MAX_MANIFEST_BYTES = 1 << 20
"""A manifest of 1024 files is about 150 KiB."""
MAX_FILES = 1024
TILE_GRID_PX = 32
"""Sizes of tiles, and of pictures cut into them, are multiples of this: the coarsest stride of the networks."""
MAX_TILES = 4096
MAX_CLASSES = 256
MAX_GOLDEN = 256
"""The self-test runs at every start, which has 3 s: a bundle brings a few dozen golden images, not its data set."""

# Names that no file system reads otherwise: no separators, drives, leading dots ("..", hidden files) or controls.
_FILE_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_FILE_PATTERN = rf"^{_FILE_PART}(/{_FILE_PART}){{0,2}}$"


def _verdict(value: object) -> Verdict:
    """A verdict by its name, as the manifest writes it; UNKNOWN is no verdict on a golden image."""
    if value in (Verdict.PASS, Verdict.REJECT) and isinstance(value, Verdict):
        return value
    if value == "PASS" or value == "REJECT":
        return Verdict[value]
    raise ValueError("expected PASS or REJECT")


FileName = Annotated[str, Field(pattern=_FILE_PATTERN, max_length=255)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=4096)]
DefectClass = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
GoldenVerdict = Annotated[Verdict, PlainValidator(_verdict), PlainSerializer(lambda verdict: verdict.name)]


@dataclass(frozen=True, slots=True)
class TilingSpec:
    """How a picture larger than the graph's input is cut: into tiles of this size, neighbours sharing `overlap_px` or more.

    `region_of_interest` is the file that says where defects count, a bit per pixel of the picture; empty for everywhere.
    """

    width_px: Annotated[int, Field(ge=TILE_GRID_PX, le=2048, multiple_of=TILE_GRID_PX)]
    height_px: Annotated[int, Field(ge=TILE_GRID_PX, le=2048, multiple_of=TILE_GRID_PX)]
    overlap_px: Annotated[int, Field(ge=0, le=1024, multiple_of=TILE_GRID_PX)]
    region_of_interest: FileName | Literal[""] = ""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What is judged: uint8 (height_px, width_px, channels), grey or RGB. It is the graph's input, or cut by `tiling`.

    `location` says how the part is found in the frame, as the location settings of a recipe do ({} or kind "none": the
    whole frame).
    """

    width_px: Annotated[int, Field(ge=1, le=8192)]
    height_px: Annotated[int, Field(ge=1, le=8192)]
    channels: Literal[1, 3]
    location: Mapping[str, JsonValue] = field(default_factory=dict)
    tiling: TilingSpec | None = None

    @property
    def graph_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image as the graph takes it."""
        size = self.tiling or self
        return size.height_px, size.width_px, self.channels


@dataclass(frozen=True, slots=True)
class PartCount:
    """`count` of `parts`, each scored by a model that was not fitted on it.

    With the confidence of the basis the true share is at most `bound`.
    """

    count: Annotated[int, Field(ge=0)]
    parts: Annotated[int, Field(ge=0)]
    bound: Share


@dataclass(frozen=True, slots=True)
class CostBasis:
    """What a limit was chosen by if not by a promise: the least cost per part of rejecting good parts and passing defects.

    `false_reject` and `escape` are the costs of one, in any one currency; `defect_rate` the share of parts that are
    defective. `cost_per_part` is what the limit is expected to cost, `cost_low` to `cost_high` and `limit_low` to
    `limit_high` hold 90 % of bootstrap samples by part.
    """

    false_reject: Annotated[float, Field(ge=0)]
    escape: Annotated[float, Field(ge=0)]
    defect_rate: Share
    cost_per_part: float
    cost_low: float
    cost_high: float
    limit_low: float
    limit_high: float
    defective_parts: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class LimitBasis:
    """Why the limit is where it is, and what it promises.

    `guaranteed` says whether `good_parts` were enough for `false_reject_rate` at `confidence`; if not,
    `good_parts_needed` says how many would be that the model was not fitted on. `statement` is the promise in words for the
    quality engineer, `assumes` what it takes for granted. `tested` counts rejects of good parts that did not set the limit
    either, `escapes` passes of defective parts; None without such parts. `cost` is there if costs chose the limit: the rate
    is then an outcome.
    """

    method: Annotated[str, Field(min_length=1, max_length=128)]
    false_reject_rate: Share
    confidence: Share
    good_parts: Annotated[int, Field(ge=0)]
    guaranteed: bool
    statement: Text
    good_parts_needed: Annotated[int, Field(ge=0)] = 0
    assumes: Text = ""
    tested: PartCount | None = None
    escapes: PartCount | None = None
    cost: CostBasis | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """How a bundle came from another one: what was done, when, why, and the digest of that `parent`.

    Going back is running the parent, which is never changed. `details` is JSON for people and tools.
    """

    what: Literal["extended", "left out", "recalibrated"]
    parent: Sha256
    time: AwareDatetime
    reason: Text = ""
    details: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GoldenImage:
    """An image in the bundle, `file` ("golden/…"), with the score and verdict that every machine must give it."""

    file: FileName
    media_type: Literal["image/png", "image/jpeg"]
    score: float
    verdict: GoldenVerdict


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a bundle says of itself. `files` maps every file but the manifest to its SHA-256.

    `score_tolerance` is the largest difference between a recorded golden score and this machine's. `dataset_digest`
    names the data set it was fitted on, `image_list` the file in the bundle that lists its images by content; `provenance`
    and `metrics` are free JSON for people and tools. `history` is the bundle's way from the one that was fitted, oldest
    change first; empty for that one.
    """

    # Read by pydantic; holds for the values inside as well.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    model_kind: Annotated[str, Field(min_length=1, max_length=64)]
    created_time: AwareDatetime
    input: InputSpec
    classes: Annotated[tuple[DefectClass, ...], Field(min_length=1, max_length=MAX_CLASSES)]
    limits: Limits
    basis: LimitBasis
    golden: Annotated[tuple[GoldenImage, ...], Field(min_length=1, max_length=MAX_GOLDEN)]
    score_tolerance: Annotated[float, Field(gt=0)]
    dataset_digest: Text = ""
    image_list: FileName | Literal[""] = ""
    provenance: Mapping[str, JsonValue] = field(default_factory=dict)
    metrics: Mapping[str, JsonValue] = field(default_factory=dict)
    history: Annotated[tuple[Change, ...], Field(max_length=256)] = ()
    files: Annotated[Mapping[FileName, Sha256], Field(max_length=MAX_FILES)] = field(default_factory=dict)
    schema_version: Literal[1] = 1


_ADAPTER = TypeAdapter(Manifest)


def parse_manifest(text: bytes, source: str) -> Manifest:
    """Read a manifest; `source` names it in messages.

    Raises BundleVersionError if it was written for another schema version, else BundleError with every problem found.
    """
    raw = _strict_json(text, source)
    _check_version(raw, source)
    try:
        manifest = _ADAPTER.validate_json(text)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, e['loc'])) or 'manifest'}: {e['msg']}" for e in error.errors(include_url=False)
        ]
        raise _refusal(source, problems) from error
    if problems := _contradictions(manifest):
        raise _refusal(source, problems)
    return manifest


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest as it stands in the bundle: indented UTF-8 JSON. Raises BundleError if it cannot be that."""
    text = json.dumps(_plain(manifest), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def manifest_digest(manifest: Manifest) -> str:
    """SHA-256 of the canonical manifest (sorted keys, no white space), which holds the hash of every other file."""
    text = json.dumps(_plain(manifest), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(manifest: Manifest) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = _ADAPTER.dump_python(manifest, mode="json", warnings=False)
        if manifest.input.tiling is None:
            # Bundles from before there were tiles, or lists of images, keep the digest that records name them by.
            del plain["input"]["tiling"]
        if not manifest.image_list:
            del plain["image_list"]
        json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        message = (
            f"the manifest of bundle {manifest.name} is not plain JSON: {error}; use finite numbers, text, lists, maps"
        )
        raise BundleError(message) from error
    return plain


def _strict_json(text: bytes, source: str) -> object:
    """Parse JSON without Python's leniences: no NaN, no number that overflows to infinity, no repeated key."""
    try:
        return json.loads(
            text.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unique_keys,
        )
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BundleError(f"{source} is no valid manifest: {reason}; export the bundle again") from error


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number that a limit or score may have")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:32]} is out of range")
    return value


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return unique


def _check_version(raw: object, source: str) -> None:
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise BundleError(f"{source} names no schema version, so it is no bundle manifest; export the bundle again")
    if version != SCHEMA_VERSION:
        step = (
            "upgrade the inspector"
            if version > SCHEMA_VERSION
            else "export it again with this version's inspector-train"
        )
        raise BundleVersionError(
            f"{source} has schema version {version}, this inspector reads version {SCHEMA_VERSION}: {step}"
        )


def _contradictions(manifest: Manifest) -> list[str]:
    """What is well-formed and still cannot be true."""
    problems = []
    if len(set(manifest.classes)) < len(manifest.classes):
        problems.append("classes: a class is named twice")
    if MODEL_FILE not in manifest.files:
        problems.append(f"files: {MODEL_FILE} has no hash")
    if MANIFEST_FILE in manifest.files:
        problems.append(f"files: {MANIFEST_FILE} cannot hold its own hash")
    if SIGNATURE_FILE in manifest.files:
        problems.append(f"files: {SIGNATURE_FILE} vouches for the manifest and cannot be part of it")
    if len({name.casefold() for name in manifest.files}) < len(manifest.files):
        problems.append("files: two names differ only in case, which some file systems take for one")
    if manifest.input.tiling is not None:
        problems += _tiling_contradictions(manifest.input, manifest.input.tiling, manifest.files)
    if manifest.image_list and manifest.image_list not in manifest.files:
        problems.append(f"image_list: {manifest.image_list} has no hash in files")
    names = [image.file for image in manifest.golden]
    if len(set(names)) < len(names):
        problems.append("golden: an image is named twice")
    for index, image in enumerate(manifest.golden):
        expected = Verdict.REJECT if image.score > manifest.limits.score else Verdict.PASS
        if image.verdict is not expected:
            problems.append(
                f"golden.{index}: verdict {image.verdict.name} contradicts score {image.score:g} "
                f"against limit {manifest.limits.score:g}"
            )
        if not re.match(rf"{GOLDEN_FOLDER}/", image.file):
            problems.append(f"golden.{index}: {image.file} is not in {GOLDEN_FOLDER}/")
        if image.file not in manifest.files:
            problems.append(f"golden.{index}: {image.file} has no hash in files")
    return problems


def _tiling_contradictions(whole: InputSpec, tiling: TilingSpec, files: Mapping[str, str]) -> list[str]:
    problems = []
    tiles = 1
    for side_px, tile_px in ((whole.width_px, tiling.width_px), (whole.height_px, tiling.height_px)):
        if side_px < tile_px or side_px % TILE_GRID_PX:
            problems.append(
                f"input.tiling: a side of {side_px} px cannot be cut into tiles of {tile_px} px: it must be a multiple of "
                f"{TILE_GRID_PX} and no shorter"
            )
        if 2 * tiling.overlap_px > tile_px:
            problems.append(f"input.tiling: tiles of {tile_px} px share {tiling.overlap_px} px, more than half")
            continue
        tiles *= 1 + -(-max(side_px - tile_px, 0) // (tile_px - tiling.overlap_px))
    if tiles > MAX_TILES:
        problems.append(f"input.tiling: it makes {tiles} tiles, the most are {MAX_TILES}")
    if tiling.region_of_interest and tiling.region_of_interest not in files:
        problems.append(f"input.tiling: {tiling.region_of_interest} has no hash in files")
    return problems


def _refusal(source: str, problems: list[str]) -> BundleError:
    shown = "; ".join(problems[:20]) + (f"; and {len(problems) - 20} more" if len(problems) > 20 else "")
    return BundleError(f"{source} is no valid manifest: {shown}. Export the bundle again")
