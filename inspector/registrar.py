"""Puts the bundles and recipes in use on record, as soon as the quality database answers."""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from inspector.errors import InspectorError
from inspector.inference.bundle import Bundle
from inspector.inference.manifest import manifest_bytes
from inspector.records.model_history import GoldenResult, ModelHistory, PromotionRecord
from inspector.records.store import Store

log = logging.getLogger(__name__)

RETRY_S = 5.0


class Registrar:
    """Tries in a thread of its own until all is recorded or `stop` is called: the line never waits for it."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        bundles: Sequence[Bundle],
        together: Mapping[str, Sequence[str]],
        recipes: Mapping[str, Mapping[str, object]],
    ) -> None:
        """`together` has the labels of bundles that judge together, under the label that inspections name for them."""
        self._open_store = open_store
        self._waiting: list[Callable[[Store], None]] = []
        self._changed = threading.Condition()
        self._stopped = False
        self.add(bundles, together, recipes)
        self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)
        self._thread.start()

    def add(
        self,
        bundles: Sequence[Bundle],
        together: Mapping[str, Sequence[str]],
        recipes: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        """More that is in use now."""
        self._later(functools.partial(_record, list(bundles), dict(together), dict(recipes or {})))

    def add_promotion(self, line: str, promotion: PromotionRecord) -> None:
        """A bundle judges by a recipe since; told again at every start, which changes nothing."""
        self._later(lambda store: ModelHistory(store.database, line).note_promotion(promotion))

    def add_golden(self, line: str, results: Sequence[GoldenResult]) -> None:
        """How bundles proved themselves on this machine."""

        def record(store: Store) -> None:
            for result in results:
                ModelHistory(store.database, line).note_golden(result)

        self._later(record)

    def stop(self) -> None:
        """Record what waits, unless the database does not answer: then the next start records it."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _later(self, record: Callable[[Store], None]) -> None:
        with self._changed:
            self._waiting.append(record)
            self._changed.notify()

    def _run(self) -> None:
        failed = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if not self._waiting or (self._stopped and failed):
                    return
                record = self._waiting[0]
            try:
                store = self._open_store()
                try:
                    record(store)
                finally:
                    store.close()
            except InspectorError as error:
                log.warning("bundles and recipes are not on record yet: %s", error)
                failed = True
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped, RETRY_S)
                continue
            failed = False
            with self._changed:
                self._waiting.pop(0)


def _record(
    bundles: Sequence[Bundle],
    together: Mapping[str, Sequence[str]],
    recipes: Mapping[str, Mapping[str, object]],
    store: Store,
) -> None:
    now = datetime.now(UTC)
    for bundle in bundles:
        manifest = json.loads(manifest_bytes(bundle.manifest))
        store.record_bundle(bundle.label, bundle.digest, manifest, now)
    for label, labels in together.items():
        store.record_bundle(label, label.rpartition("@")[2], {"bundles": list(labels)}, now)
    for name, content in recipes.items():
        store.record_recipe(name, content, now)
