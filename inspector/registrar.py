"""Puts the bundles and recipes in use on record, as soon as the quality database answers."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from inspector.errors import InspectorError
from inspector.inference.bundle import Bundle
from inspector.inference.manifest import manifest_bytes
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
        self._together = together
        self._bundles = bundles
        self._recipes = recipes
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give up what is not recorded yet; the next start records it."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._record()
                return
            except InspectorError as error:
                log.warning("bundles and recipes are not on record yet: %s", error)
            self._stopped.wait(RETRY_S)

    def _record(self) -> None:
        store = self._open_store()
        now = datetime.now(UTC)
        try:
            for bundle in self._bundles:
                manifest = json.loads(manifest_bytes(bundle.manifest))
                store.record_bundle(bundle.label, bundle.digest, manifest, now)
            for label, labels in self._together.items():
                store.record_bundle(label, label.rpartition("@")[2], {"bundles": list(labels)}, now)
            for name, content in self._recipes.items():
                store.record_recipe(name, content, now)
        finally:
            store.close()
