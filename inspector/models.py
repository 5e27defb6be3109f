"""How the recipes of a line file become models that judge: opened, proved on this machine, and queued before its devices."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.control import StationMemory
from inspector.decision.dimensions import check_dimensions
from inspector.errors import (
    BundleError,
    BundleTampered,
    ConfigError,
    EngineError,
    FrameError,
    InspectorError,
)
from inspector.imaging.archive import unarchive
from inspector.imaging.check import CheckSpec
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.locate import locate
from inspector.imaging.location_spec import LocationSpec, NoLocation, location_from_dict
from inspector.imaging.normalise import normalise
from inspector.inference.batching import Batcher, Device
from inspector.inference.bundle import Bundle, open_bundle
from inspector.inference.choice import AUTO, choose_engine
from inspector.inference.cores import own_cores
from inspector.inference.engine import Engine
from inspector.inference.queued import QueuedEngine
from inspector.inference.remote import RemoteEngine
from inspector.inference.self_test import ScoringEngine, SelfTest, self_test
from inspector.inference.signature import check_trust
from inspector.part import Limits
from inspector.promotions import Promotion, ViewKey
from inspector.settings import InferenceTable, LineSettings, RecipeTable, StationTable, ViewTable
from inspector.station import Recipe, Setup, Station, View

log = logging.getLogger(__name__)

MAX_HELD_BYTES = 512 << 20
"""Of pictures that are judged by tiles, by the parts in flight of one station: 10 grey ones of 25 megapixels, 3 in colour."""
PROVIDER_CHOICES = "provider-choices.json"
TIMED_RUNS, _TIMED_S = 6, 1.0
"""Runs from which a queue learns how long a model takes, and after how many seconds they are enough for a slow one."""


@dataclass(frozen=True, slots=True)
class Model:
    """A bundle that passed its self-test on this machine, ready to judge parts located by `location`."""

    bundle: Bundle
    location: LocationSpec
    engine: Engine
    test: SelfTest


@dataclass(frozen=True, slots=True)
class Loaded:
    """The models of a line, and why views have none. `in` says whether a station uses a recipe.

    A recipe that lacks one is not judged by, and keeps those of its other views for the moment when it gets it.
    """

    models: Mapping[ViewKey, Model]
    refused: Mapping[ViewKey, str]

    @property
    def faults(self) -> Mapping[str, str]:
        """Why recipes cannot be used: the fault of their first view that has no model."""
        return {name: fault for (name, _), fault in reversed([*self.refused.items()])}

    def __contains__(self, recipe: object) -> bool:
        return any(name == recipe for name, _ in (*self.models, *self.refused))

    @property
    def bundles(self) -> Sequence[Bundle]:
        """Each once."""
        return list({model.bundle.label: model.bundle for model in self.models.values()}.values())

    def of(self, recipe: str) -> Mapping[str, Model]:
        """The models of a recipe by view; all of them, or none."""
        if any(name == recipe for name, _ in self.refused):
            return {}
        return {view: model for (name, view), model in self.models.items() if name == recipe}

    def held_for(self, recipes: Iterable[str]) -> Sequence[Model]:
        """The models of recipes, also of those that lack another."""
        wanted = set(recipes)
        return [model for (name, _), model in self.models.items() if name in wanted]

    def with_model(self, key: ViewKey, model: Model) -> Loaded:
        """As these, with another model of a view, by which its recipe can be used unless another view has none."""
        refused = {other: fault for other, fault in self.refused.items() if other != key}
        return Loaded({**self.models, key: model}, refused)


NOTHING_PROMOTED: Mapping[ViewKey, Promotion] = {}


def load_models(settings: LineSettings, promoted: Mapping[ViewKey, Promotion] = NOTHING_PROMOTED) -> Loaded:
    """The models of all recipes that stations use, by the bundles of the line file or those `promoted` since.

    A recipe needs those of all its views. Raises if no recipe is left, but not if a promoted bundle is at fault: only a line
    that runs can be rolled back.
    """
    models: dict[ViewKey, Model] = {}
    refused: dict[ViewKey, InspectorError] = {}
    opened: dict[tuple[Path, int], tuple[Bundle, Engine, SelfTest]] = {}
    for name in dict.fromkeys(name for station in settings.file.station for name in (station.recipe, *station.recipes)):
        recipe = settings.file.recipe[name]
        for view, table in recipe.by_view.items():
            key = name, view
            told = name + (view and f", view {view}")
            try:
                model = load_model(settings, table, recipe.deadline_ms, opened, promoted.get(key))
                if table.dimensions is not None:
                    check_dimensions(table.dimensions, model.bundle.manifest.classes, model.engine.outlines_classes)
            except (BundleError, EngineError, ConfigError) as error:
                refused[key] = error
                log.error("recipe %s cannot be used, its stations give UNKNOWN: %s", told, error)
            else:
                models[key] = model
                log.info("recipe %s: bundle %s reproduces its golden images", told, model.bundle.label)
    for one in promoted.values():
        log.info("recipe %s%s: %s was %s", one.recipe, one.view and f", view {one.view}", one.bundle.label, one.told)
    loaded = Loaded(models, {key: str(error) for key, error in refused.items()})
    usable = any(loaded.of(name) for name, _ in models)
    if not usable and not any(recipe in loaded.faults for recipe, _ in promoted):
        raise next(iter(refused.values()))
    return loaded


def load_model(
    settings: LineSettings,
    view: ViewTable,
    deadline_ms: int,
    opened: dict[tuple[Path, int], tuple[Bundle, Engine, SelfTest]] | None = None,
    promoted: Promotion | None = None,
) -> Model:
    """Open and self-test the bundle of a view, or the one `promoted` in its place, and warm it up.

    If the line trusts keys, one of them must have signed it. `opened` remembers bundles, so that views with the same one share
    it. Raises BundleError or EngineError if it may not go live here, ConfigError if the view's location is wrong.
    """
    inference = settings.inference
    path = settings.resolve(view.bundle if promoted is None else promoted.bundle.folder)
    key = path, deadline_ms if inference.oip else 0
    known = (opened or {}).get(key)
    if known is None:
        bundle = open_trusted(settings, path, promoted)
        if inference.oip:
            engine, test = prove_remote(bundle, inference.oip, deadline_ms)
        else:
            kept = settings.data_dir / PROVIDER_CHOICES
            engine, test = prove_bundle(bundle, inference.provider, inference.threads, kept)
        engine.warm_up(inference.max_batch)
        known = bundle, engine, test
        if opened is not None:
            opened[key] = known
    bundle, engine, test = known
    return Model(bundle, location_of(settings, view, bundle), engine, test)


def open_trusted(settings: LineSettings, path: Path, promoted: Promotion | None = None) -> Bundle:
    """Open a bundle that the line trusts, and that is still the one that was `promoted`. BundleError."""
    try:
        bundle = open_bundle(path)
        if promoted is not None and bundle.digest != promoted.bundle.digest:
            raise BundleTampered(f"bundle {path} is now {bundle.label}, which nobody promoted")
        check_trust(bundle, settings.trusted_keys)
    except BundleError as error:
        if promoted is None:
            raise
        raise BundleError(
            f"{promoted.bundle.label}, {promoted.told}, cannot be used: {error}; bring it back to {path}, or go back to the "
            "bundle before it with `inspector rollback`"
        ) from error
    return bundle


def location_of(settings: LineSettings, view: ViewTable, bundle: Bundle) -> LocationSpec:
    """How parts are found in the frames of a view. ConfigError."""
    if view.location is None:
        return location_from_dict(bundle.manifest.input.location, bundle.path)
    return location_from_dict(view.location, settings.path.parent)


def prove_bundle(
    bundle: Bundle, provider: str = "CPU", threads: int = 0, kept: Path | None = None
) -> tuple[Engine, SelfTest]:
    """An engine whose golden images gave their recorded scores and verdicts here; BundleError or EngineError if not.

    `provider` of "auto" takes the fastest that does so, and keeps the choice in the file `kept`.
    """
    prepare = golden_preparation(bundle)

    def prove(name: str) -> tuple[Engine, SelfTest]:
        engine = Engine(bundle, provider=name, threads=threads)
        return engine, golden_test(engine, prepare)

    if provider == AUTO:
        return choose_engine(bundle, prove, threads, kept)
    return prove(provider)


def prove_remote(bundle: Bundle, host: str, timeout_ms: int) -> tuple[Engine, SelfTest]:
    """An engine on the inference server at `host`, which serves the bundle's graph under the bundle's name; proved as here."""
    engine = RemoteEngine(bundle, host, bundle.manifest.name, timeout_ms)
    prepare = golden_preparation(bundle)
    test = golden_test(engine, prepare)
    by_score = sorted(bundle.manifest.golden, key=lambda image: image.score)
    # The best and the worst part: a model that scores everything low, or everything high, fails one of them.
    engine.prove_with([(prepare(bundle.read(image.file)), image.score) for image in (by_score[0], by_score[-1])])
    return engine, test


def golden_preparation(bundle: Bundle) -> Callable[[bytes], NDArray[np.uint8]]:
    """A bundle's golden picture files → model inputs, in the way frames of the line are."""
    location = location_from_dict(bundle.manifest.input.location, bundle.path)
    return functools.partial(_prepare_golden, bundle, location)


def golden_test(engine: ScoringEngine, prepare: Callable[[bytes], NDArray[np.uint8]]) -> SelfTest:
    """The golden self-test. BundleError, also for images that cannot be read; EngineError."""
    try:
        return self_test(engine, prepare)
    except FrameError as error:
        raise BundleError(
            f"a golden image of bundle {engine.bundle.label} cannot be read: {error}; export it again"
        ) from error


def _prepare_golden(bundle: Bundle, location: LocationSpec, data: bytes) -> NDArray[np.uint8]:
    """A golden picture file → model input, by the same steps as a frame of the line."""
    image = decode(unarchive(data), DecodeLimits())
    spec = bundle.manifest.input
    return normalise(image, locate(image, location), spec.width_px, spec.height_px, spec.channels)


@dataclass(frozen=True, slots=True)
class Queues:
    """The queues before the models, by recipe and view, and the devices on which they take turns, by name."""

    batchers: Mapping[ViewKey, Batcher]
    devices: dict[str, Device]

    def close(self) -> None:
        """Let what runs finish, answer what waits, and end the workers."""
        for batcher in self.batchers.values():
            batcher.close()
        for device in self.devices.values():
            device.close()

    def with_batcher(self, key: ViewKey, batcher: Batcher) -> Queues:
        """As these, with another queue for a view."""
        return replace(self, batchers={**self.batchers, key: batcher})


def queue_models(loaded: Loaded, inference: InferenceTable, waiting: int) -> Queues:
    """A queue of at most `waiting` parts before each model, timed once. Views with the same model share it."""
    devices: dict[str, Device] = {}
    queues: dict[int, Batcher] = {}
    for model in loaded.models.values():
        if id(model.engine) not in queues:
            queue = queues[id(model.engine)] = queue_model(model.engine, inference, waiting, devices)
            try:
                time_runs(queue, model.engine)
            except EngineError as error:
                log.warning("%s proved itself and now fails, its parts will tell: %s", model.bundle.label, error)
    at_once = "models take turns, %d at a time by %d threads each, on: %s"
    log.info(at_once, inference.workers, inference.threads, ", ".join(devices))
    batchers = {key: queues[id(model.engine)] for key, model in loaded.models.items()}
    return Queues(batchers, devices)


def queue_model(engine: Engine, inference: InferenceTable, waiting: int, devices: dict[str, Device]) -> Batcher:
    """A queue before one model, on its device among `devices`, which is made if it is not there."""
    name = _device_of(engine)
    if name not in devices:
        # Where a run has several threads, the library's own would not give way with the one that waits for them.
        alone = inference.workers > 1 and inference.threads == 1
        homes = own_cores(inference.workers) if alone else ()
        devices[name] = Device(inference.workers, gives_way=alone, homes=homes)
    judge_until = None if engine.tiles is None else engine.judge_until
    return Batcher(engine, inference.max_batch, waiting, judge_until=judge_until, device=devices[name])


def time_runs(batcher: Batcher, engine: Engine) -> None:
    """Run a model on nothing a few times, so that its queue knows how long it takes before the first part comes.

    From the first run alone, which is slow, the queue would expect the next ones to be late. What it learns here fades while
    nothing is run, but the first part then counts as one run of several. EngineError.
    """
    nothing = np.zeros((1, *engine.image_shape), np.uint8)
    end_s = time.monotonic() + _TIMED_S
    for _ in range(TIMED_RUNS):
        begin_s = time.monotonic()
        engine.infer(nothing)
        now_s = time.monotonic()
        batcher.times.note(1, now_s - begin_s, now_s)
        if now_s > end_s:
            break


def _device_of(engine: Engine) -> str:
    """What a model runs on. An inference server orders by itself what is sent to it, model by model."""
    if isinstance(engine, RemoteEngine):
        return f"{engine.provider} for {engine.bundle.label}"
    return "GPU" if engine.provider in ("CUDA", "TensorRT") else "CPU"


def prove_again(loaded: Loaded, queues: Queues, recipe: str) -> int:
    """Prove the models of a recipe while they judge parts: through their queues, one image at a time.

    Returns how many images were looked at. Raises GoldenMismatch, EngineError or Overloaded.
    """
    checked = 0
    for view, model in loaded.of(recipe).items():
        queued = QueuedEngine(queues.batchers[recipe, view], model.bundle, model.engine.provider)
        checked += len(self_test(queued, golden_preparation(model.bundle)).checks)
    return checked


def most_in_flight(wanted: int, engine: Engine, views: int = 1) -> int:
    """Parts of one station that may be in flight: each holds its frames and what the models get of them until its verdict."""
    if engine.tiles is None:
        return wanted
    height, width, channels = engine.image_shape
    return min(wanted, max(2, MAX_HELD_BYTES // (2 * height * width * channels * views)))


def setup_of(name: str, recipe: RecipeTable, loaded: Loaded, queues: Queues) -> Setup:
    """A recipe as stations judge by it, with its models if they may be used."""
    models = loaded.of(name)
    views = tuple(_view(view, table, models.get(view)) for view, table in recipe.by_view.items())
    batchers = {view: queues.batchers[name, view] for view in models}
    return Setup(Recipe(name, recipe.deadline_ms, views), batchers, loaded.faults.get(name, ""))


def _view(name: str, table: ViewTable, model: Model | None) -> View:
    check = table.check
    spec = model.bundle.manifest.input if model else None
    return View(
        name=name,
        bundle=model.bundle.label if model else "",
        classes=model.bundle.manifest.classes if model else (),
        limits=model.bundle.manifest.limits if model else Limits(0.0, 0.0),
        width_px=spec.width_px if spec else 1,
        height_px=spec.height_px if spec else 1,
        channels=spec.channels if spec else 1,
        location=model.location if model else NoLocation(),
        check=CheckSpec(check.min_mean, check.max_saturated_share, check.min_sharpness),
        dimensions=table.dimensions,
    )


def station_of(table: StationTable, setups: Mapping[str, Setup], loaded: Loaded, told: StationMemory | None) -> Station:
    """A station as it was last told to be, or else as the line file says."""
    own = {name: setups[name] for name in (table.recipe, *table.recipes)}
    most = [most_in_flight(table.max_in_flight, one.engine, len(table.by_view)) for one in loaded.held_for(own)]
    first = table.recipe
    if told is not None and told.recipe in own:
        first = told.recipe
    elif told is not None:
        gone = "station %s was told recipe %s, which is no longer its own: it begins with %s"
        log.warning(gone, table.name, told.recipe, first)
    return Station(
        name=table.name,
        cameras=table.by_view,
        setups=own,
        first=first,
        max_in_flight=min([table.max_in_flight, *most]),
        max_gap=table.max_gap,
        stopped=told is not None and told.stopped,
    )
