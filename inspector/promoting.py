"""Lets another bundle judge by a recipe while the line runs: loaded beside the one that judges, proved, warmed, then swapped.

    wish ──▶ opened, trusted ─▶ loaded ─▶ warmed ─▶ golden images ─▶ fast enough ─▶ on the disk ─▶ next part
                  └──────────────┴── refused: what judged before goes on ──────────────┘

All that runs the new graph takes turns with the parts of the line, one run at a time, so that no part waits for more than
one of them. What judged before is kept warm for a rollback, if there is memory for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from inspector.admission import expiry_s
from inspector.control import Note
from inspector.decision.dimensions import check_dimensions
from inspector.errors import (
    InspectorError,
    InvalidRequest,
    NotFound,
    PromotionOvertaken,
    PromotionRefused,
    ServiceStopping,
)
from inspector.inference.batching import Batcher
from inspector.inference.bundle import Bundle
from inspector.inference.engine import Engine
from inspector.inference.memory import memory_left_bytes
from inspector.inference.queued import QueuedEngine
from inspector.loading import RESERVE_BYTES, WarmUp, load_beside, run_on
from inspector.models import (
    Loaded,
    Model,
    Queues,
    golden_preparation,
    golden_test,
    location_of,
    most_in_flight,
    open_trusted,
    prove_again,
    queue_model,
    setup_of,
)
from inspector.promotions import (
    MAX_REASON,
    PROMOTIONS_FILE,
    BundleAt,
    Promotion,
    ViewKey,
    ViewReading,
    Wish,
    counting,
    newest,
    read_promotions,
    write_promotions,
)
from inspector.settings import LineSettings, RecipeTable, ViewTable
from inspector.station import Setup

log = logging.getLogger(__name__)

TakeOver = Callable[[str, Setup, Callable[[], object], Callable[[], None]], None]
"""`ControlDesk.take_over`."""

Promoted = Callable[[Promotion, Model, Setup], None]
"""Told of every promotion once it counts. Must not block."""


def bases_of(settings: LineSettings) -> dict[ViewKey, Path]:
    """The bundle folders that a line file names, by recipe and view."""
    recipes = settings.file.recipe.items()
    return {
        (name, view): settings.resolve(table.bundle) for name, one in recipes for view, table in one.by_view.items()
    }


def promotions_of(settings: LineSettings) -> tuple[Promotion, ...]:
    """All that is known of promotions on a line, oldest first. ConfigError."""
    return read_promotions(settings.data_dir / PROMOTIONS_FILE)


def promoted_for(settings: LineSettings) -> dict[ViewKey, Promotion]:
    """The promotions that count for a line as its file is now; those that it has overruled are logged. ConfigError."""
    found = newest(promotions_of(settings))
    bases = bases_of(settings)
    valid = counting(found, bases)
    for key in found.keys() - valid.keys():
        one = found[key]
        why = (
            "the line file names another bundle since" if key in bases else "the line file has no such recipe and view"
        )
        log.warning("%s, %s, counts no more for recipe %s: %s", one.bundle.label, one.told, one.recipe, why)
    return valid


class Promoter:
    """Holds the models of a running line and exchanges them, one at a time. May be called from any thread."""

    def __init__(
        self,
        settings: LineSettings,
        loaded: Loaded,
        queues: Queues,
        waiting: int,
        promoted: Mapping[ViewKey, Promotion],
        note: Note,
        on_promoted: Promoted,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`waiting` bounds the queue before a model. Nothing is promoted before `serve`."""
        self.loaded = loaded
        self.queues = queues
        self._settings = settings
        self._waiting = waiting
        self._promoted = dict(promoted)
        self._known = promotions_of(settings)
        self._before: dict[ViewKey, tuple[Model, Batcher]] = {}
        self._note = note
        self._on_promoted = on_promoted
        self._now = now
        self._take_over: TakeOver | None = None
        self._at_work = threading.Lock()
        self._wish: Wish | None = None
        self._loading: Batcher | None = None
        self._closing = False

    def serve(self, take_over: TakeOver) -> None:
        """From now on promote what is asked for."""
        self._take_over = take_over

    def close(self) -> None:
        """Refuse what comes, and what is being loaded; then end the queues."""
        self._closing = True
        if (loading := self._loading) is not None:
            loading.close()
        for _, batcher in self._before.values():
            batcher.close()
        self.queues.close()

    @property
    def line(self) -> str:
        return self._settings.file.line.name

    def check(self, recipe: str) -> int:
        """As `prove_again`, of the models that judge now."""
        return prove_again(self.loaded, self.queues, recipe)

    def readings(self) -> Sequence[ViewReading]:
        """What judges each view of each recipe now."""
        loaded, recipes = self.loaded, self._settings.file.recipe
        return [
            self._reading(loaded, (name, view), table)
            for name, table in recipes.items()
            if name in loaded
            for view in table.by_view
        ]

    def promote(self, wish: Wish) -> ViewReading:
        """Let a bundle judge by a recipe from the next part on, or go back to the one before; returns what judges then.

        Where another view of the recipe has no model, this one is ready for when it gets one, and the reading says so.
        Takes as long as loading and proving does. Raises PromotionRefused if it may not, PromotionOvertaken if another
        promotion came first, NotFound for a recipe that no station has, InvalidRequest for a wish without a reason.
        """
        subject = "/".join(filter(None, (self.line, wish.recipe, wish.view)))
        try:
            if not self._at_work.acquire(blocking=False):
                self._refuse_second()
            try:
                self._wish = wish
                return self._promote(wish)
            finally:
                self._wish = self._loading = None
                self._at_work.release()
        except InspectorError as error:
            details = {"bundle": wish.folder or "the one before", "reason": wish.reason, "why": str(error)[:2000]}
            self._note("refused a promotion", subject, details, wish.client)
            log.warning("recipe %s: %s wanted a promotion, which is refused: %s", wish.recipe, wish.client, error)
            if isinstance(error, PromotionRefused | NotFound | InvalidRequest | ServiceStopping):
                raise
            raise PromotionRefused(f"{error}; what judged before goes on") from error

    def _refuse_second(self) -> NoReturn:
        wish = self._wish
        what = "another bundle" if wish is None else f"{wish.folder or 'the bundle before'} for recipe {wish.recipe}"
        who = "somebody" if wish is None else wish.by
        raise PromotionOvertaken(f"{who} is promoting {what} at this moment: wait for that, and look what judges then")

    def _promote(self, wish: Wish) -> ViewReading:
        key = wish.recipe, wish.view
        recipe = self._recipe_of(wish)
        self._check_words(wish, recipe)
        self._check_replaced(wish)
        earlier = self._promoted.get(key)
        judging = self.loaded.models.get(key)
        if wish.folder:
            folder, digest = wish.folder, wish.digest
        elif earlier is None or earlier.before is None:
            raise PromotionRefused(
                f"recipe {wish.recipe} was never promoted to another bundle: there is nothing to go back to"
            )
        else:
            folder, digest = earlier.before.folder, earlier.before.digest
        bundle = open_trusted(self._settings, self._settings.resolve(folder))
        if digest and not bundle.digest.startswith(digest):
            raise PromotionRefused(f"{bundle.path} holds {bundle.label} and not {digest[:12]}: look at it again")
        if judging is not None and bundle.digest == judging.bundle.digest:
            raise PromotionRefused(f"{bundle.label} judges by recipe {wish.recipe} already")
        view = recipe.by_view[wish.view]
        model, batcher = self._ready(bundle, view, recipe.deadline_ms)
        self._check_fit(wish, recipe, view, model, batcher)
        loaded, queues = self.loaded.with_model(key, model), self.queues.with_batcher(key, batcher)
        before = earlier.bundle if earlier is not None else None
        if judging is not None:
            before = _bundle_at(judging.bundle)
        base = str(self._settings.resolve(view.bundle))
        about = (base, wish.by, wish.proposed_by, wish.reason, self._now(), not wish.folder)
        promotion = Promotion(wish.recipe, wish.view, _bundle_at(bundle), before, *about)
        setup = setup_of(wish.recipe, recipe, loaded, queues)

        def prove() -> None:
            try:
                prove_again(loaded, queues, wish.recipe)
            except InspectorError as error:
                raise PromotionRefused(
                    f"recipe {wish.recipe} failed its golden check, and would with {bundle.label} too: {error}; promote "
                    "another bundle for that view first, or name sound ones in the line file and start the line again"
                ) from error

        def commit() -> None:
            if self._closing:
                raise ServiceStopping("the service is being stopped: promote again when it runs")
            known = (*self._known, promotion)
            write_promotions(self._settings.data_dir / PROMOTIONS_FILE, known)
            self._keep_before(key)
            self.loaded, self.queues, self._known = loaded, queues, known
            self._promoted = {**self._promoted, key: promotion}

        if self._take_over is None:
            raise PromotionRefused("the line is still starting: try again in a moment")
        self._take_over(wish.recipe, setup, prove, commit)
        self._tell(wish, promotion, model, setup)
        return self._reading(loaded, key, recipe)

    def _recipe_of(self, wish: Wish) -> RecipeTable:
        recipe = self._settings.file.recipe.get(wish.recipe)
        if recipe is None or wish.recipe not in self.loaded:
            known = ", ".join(name for name in self._settings.file.recipe if name in self.loaded)
            raise NotFound(f"no station has a recipe {wish.recipe[:80]!a}; there are {known}: correct the name")
        if wish.view not in recipe.by_view:
            views = ", ".join(filter(None, recipe.by_view)) or "one view, without a name"
            raise NotFound(f"recipe {wish.recipe} has no view {wish.view[:80]!a}, it has {views}: correct the name")
        return recipe

    def _check_words(self, wish: Wish, recipe: RecipeTable) -> None:
        """A reason, and the second person where the recipe wants one. Going back is one person's to do."""
        if not wish.reason.strip() or len(wish.reason) > MAX_REASON or not wish.reason.isprintable():
            raise InvalidRequest(f"a promotion needs a reason, of up to {MAX_REASON} characters in one line")
        if recipe.approvals < 2 or not wish.folder:
            return
        proposer, approver = (" ".join(name.split()).casefold() for name in (wish.proposed_by, wish.by))
        if not proposer:
            raise PromotionRefused(
                f"recipe {wish.recipe} wants two persons (approvals = 2): let one propose the bundle and another approve it"
            )
        if proposer == approver:
            raise PromotionRefused(
                f"recipe {wish.recipe} wants two persons, and {wish.by} proposed this bundle: let somebody else approve it"
            )

    def _check_replaced(self, wish: Wish) -> None:
        """What the person saw must still be what judges."""
        judging = self.loaded.models.get((wish.recipe, wish.view))
        if not wish.replaces or (judging is not None and judging.bundle.digest.startswith(wish.replaces)):
            return
        now = "nothing" if judging is None else judging.bundle.label
        earlier = self._promoted.get((wish.recipe, wish.view))
        told = f", {earlier.told}" if earlier is not None else ""
        raise PromotionOvertaken(
            f"recipe {wish.recipe} is judged by {now}{told}, and not by {wish.replaces[:12]} as you saw it: look at that first"
        )

    def _ready(self, bundle: Bundle, view: ViewTable, deadline_ms: int) -> tuple[Model, Batcher]:
        """A model that was proved just now, with its queue; loaded if it is not warm. BundleError, EngineError, Overloaded."""
        location = location_of(self._settings, view, bundle)
        warm = self._warm(bundle)
        if warm is None:
            running = next((model.engine.provider for model in self.loaded.models.values()), "CPU")
            engine = load_beside(self._settings, bundle, deadline_ms, running)
            inference = self._settings.inference
            batcher = queue_model(engine, inference, self._waiting, self.queues.devices)
            warm_up = WarmUp(engine, inference.max_batch, batcher.device)
            self._loading = warm_up.batcher
            warm_up.run()
            self._loading = batcher
        else:
            engine, batcher = warm
        queued = QueuedEngine(batcher, bundle, engine.provider)
        test = golden_test(queued, golden_preparation(bundle))
        run_on(queued, engine, len(test.checks))
        return Model(bundle, location, engine, test), batcher

    def _warm(self, bundle: Bundle) -> tuple[Engine, Batcher] | None:
        """The same content, if it is loaded already."""
        for key, model in self.loaded.models.items():
            if model.bundle.digest == bundle.digest:
                return model.engine, self.queues.batchers[key]
        for model, batcher in self._before.values():
            if model.bundle.digest == bundle.digest:
                return model.engine, batcher
        return None

    def _check_fit(self, wish: Wish, recipe: RecipeTable, view: ViewTable, model: Model, batcher: Batcher) -> None:
        """Whether the line can do with it what it does with the one that judges. ConfigError, PromotionRefused."""
        if view.dimensions is not None:
            check_dimensions(view.dimensions, model.bundle.manifest.classes, model.engine.outlines_classes)
        run_ms = batcher.times.expect_s(1, time.monotonic()) * 1000
        if run_ms > 1000 * expiry_s(0.0, recipe.deadline_ms / 1000):
            raise PromotionRefused(
                f"{model.bundle.label} takes {run_ms:.0f} ms for a part here, and recipe {wish.recipe} gives it "
                f"{recipe.deadline_ms}: every part would be UNKNOWN; fit a faster kind, or raise deadline_ms"
            )
        for station in self._settings.file.station:
            if wish.recipe not in (station.recipe, *station.recipes):
                continue
            most = most_in_flight(station.max_in_flight, model.engine, len(station.by_view))
            now = self._most_now(station.name)
            if most < now:
                raise PromotionRefused(
                    f"pictures of {model.bundle.label} are so large that station {station.name} could hold {most} parts and "
                    f"not {now}: name it in the line file and start the line again"
                )

    def _most_now(self, name: str) -> int:
        (station,) = (one for one in self._settings.file.station if one.name == name)
        held = self.loaded.held_for((station.recipe, *station.recipes))
        views = len(station.by_view)
        return min((most_in_flight(station.max_in_flight, model.engine, views) for model in held), default=1)

    def _keep_before(self, key: ViewKey) -> None:
        """Keep what judged until now warm, unless memory is short. What is not kept goes with the last part that it judges."""
        self._before.pop(key, None)
        model = self.loaded.models.get(key)
        left = memory_left_bytes()
        if model is not None and (left is None or left >= RESERVE_BYTES):
            self._before[key] = model, self.queues.batchers[key]

    def _tell(self, wish: Wish, promotion: Promotion, model: Model, setup: Setup) -> None:
        """On record; the parts that come are judged by it already."""
        before = promotion.before
        details = {
            "bundle": promotion.bundle.label,
            "new_digest": promotion.bundle.digest,
            "folder": promotion.bundle.folder,
            "bundle_before": "" if before is None else before.label,
            "old_digest": "" if before is None else before.digest,
            "reason": promotion.reason,
            "proposed_by": promotion.proposed_by,
            "golden_images": len(model.test.checks),
            "golden_difference": model.test.largest_difference,
        }
        subject = "/".join(filter(None, (self.line, *promotion.key)))
        self._note(
            "rolled back a bundle" if promotion.is_rollback else "promoted a bundle", subject, details, wish.client
        )
        log.warning(
            "recipe %s%s: %s %s, %s",
            wish.recipe,
            wish.view and f", view {wish.view}",
            promotion.bundle.label,
            "judges from the next part on" if setup.is_usable else "is ready, and another view still has no model",
            promotion.told,
        )
        self._on_promoted(promotion, model, setup)

    def _reading(self, loaded: Loaded, key: ViewKey, recipe: RecipeTable) -> ViewReading:
        model, fault = loaded.models.get(key), loaded.refused.get(key) or loaded.faults.get(key[0], "")
        promotion, warm = self._promoted.get(key), key in self._before
        if model is None:
            return ViewReading(*key, None, "", 0, 0.0, fault or "it has no model", recipe.approvals, promotion, warm)
        return ViewReading(
            recipe=key[0],
            view=key[1],
            bundle=_bundle_at(model.bundle),
            provider=model.engine.provider,
            checked=len(model.test.checks),
            difference=model.test.largest_difference,
            fault=fault,
            approvals=recipe.approvals,
            promotion=promotion,
            before_is_warm=warm,
        )


def _bundle_at(bundle: Bundle) -> BundleAt:
    return BundleAt(str(bundle.path), bundle.label, bundle.digest)
