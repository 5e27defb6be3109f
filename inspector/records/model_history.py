"""What judged when, and who let it: promotions as the service made them, golden results, what each bundle judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from inspector.part import Verdict
from inspector.records import schema
from inspector.records.applying import insert_for, insert_new
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.model_tables import golden_results, promotions
from inspector.records.requests import line_id_of, make_line
from inspector.records.text import DETAIL_LENGTH, clean, finite_or_none


@dataclass(frozen=True, slots=True)
class PromotionRecord:
    """A bundle that judges by a recipe since `time`. `label_before` and `digest_before` are empty if nothing judged before."""

    recipe: str
    view: str
    label: str
    digest: str
    folder: str
    label_before: str
    digest_before: str
    promoted_by: str
    proposed_by: str
    reason: str
    time: datetime
    is_rollback: bool


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """A self-test of a bundle on a machine: `failed` of `checked` golden images. `difference` is the largest of a score."""

    label: str
    machine: str
    provider: str
    checked: int
    failed: int
    difference: float | None
    time: datetime


@dataclass(frozen=True, slots=True)
class BundleUse:
    """What a bundle, or several together, judged on a line; times are of receipt."""

    label: str
    first_time: datetime
    last_time: datetime
    verdicts: Mapping[Verdict, int]


class ModelHistory:
    """The bundles of one line. Thread-safe. Every method raises what `Database` raises."""

    def __init__(self, database: Database, line: str) -> None:
        self._database = database
        self._line = line

    def note_promotion(self, promotion: PromotionRecord) -> None:
        """Put a promotion on record; a second time changes nothing."""
        one = promotion
        with self._database.writing() as connection:
            row = {
                "line_id": make_line(connection, self._line),
                "recipe": clean(one.recipe),
                "view": clean(one.view),
                "label": clean(one.label),
                "digest": clean(one.digest),
                "folder": clean(one.folder, DETAIL_LENGTH),
                "label_before": clean(one.label_before),
                "digest_before": clean(one.digest_before),
                "promoted_by": clean(one.promoted_by),
                "proposed_by": clean(one.proposed_by),
                "reason": clean(one.reason, DETAIL_LENGTH),
                "promoted_us": to_microseconds(one.time),
                "is_rollback": one.is_rollback,
            }
            insert_new(connection, promotions, [row])

    def promotions(self, limit: int = 200) -> Sequence[PromotionRecord]:
        """The newest, newest first."""
        table = promotions
        with self._database.reading() as connection:
            mine = table.c.line_id == line_id_of(connection, self._line)
            query = sa.select(table).where(mine).order_by(table.c.promoted_us.desc(), table.c.id.desc()).limit(limit)
            return [
                PromotionRecord(
                    row.recipe,
                    row.view,
                    row.label,
                    row.digest,
                    row.folder,
                    row.label_before,
                    row.digest_before,
                    row.promoted_by,
                    row.proposed_by,
                    row.reason,
                    from_microseconds(row.promoted_us),
                    row.is_rollback,
                )
                for row in connection.execute(query)
            ]

    def note_golden(self, result: GoldenResult) -> None:
        """Put a self-test on record in place of the one before of that machine and provider."""
        row = {
            "label": clean(result.label),
            "machine": clean(result.machine),
            "provider": clean(result.provider),
            "checked": result.checked,
            "failed": result.failed,
            "difference": finite_or_none(result.difference),
            "tested_us": to_microseconds(result.time),
        }
        with self._database.writing() as connection:
            insert = insert_for(connection, golden_results).values(row)
            rest = {key: insert.excluded[key] for key in ("checked", "failed", "difference", "tested_us")}
            connection.execute(insert.on_conflict_do_update(index_elements=["label", "machine", "provider"], set_=rest))

    def golden(self) -> Sequence[GoldenResult]:
        """The newest self-test of every bundle on every machine."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(golden_results).order_by("label", "machine", "provider")).all()
        return [
            GoldenResult(
                row.label,
                row.machine,
                row.provider,
                row.checked,
                row.failed,
                row.difference,
                from_microseconds(row.tested_us),
            )
            for row in rows
        ]

    def uses(self) -> Sequence[BundleUse]:
        """Every bundle that judged parts of the line, the one that judged last first. Reads an index of all inspections."""
        table = schema.inspections
        ends = sa.func.min(table.c.receive_us).label("first_us"), sa.func.max(table.c.receive_us).label("last_us")
        query = sa.select(table.c.bundle_id, table.c.verdict, sa.func.count().label("parts"), *ends)
        with self._database.reading() as connection:
            mine = table.c.line_id == line_id_of(connection, self._line)
            rows = connection.execute(query.where(mine).group_by(table.c.bundle_id, table.c.verdict)).all()
            labels = {
                row.id: row.label for row in connection.execute(sa.select(schema.bundles.c.id, schema.bundles.c.label))
            }
        found: dict[int, BundleUse] = {}
        for row in rows:
            verdicts = {Verdict(row.verdict): row.parts}
            first, last = from_microseconds(row.first_us), from_microseconds(row.last_us)
            if (known := found.get(row.bundle_id)) is not None:
                first, last = min(first, known.first_time), max(last, known.last_time)
                verdicts = {**known.verdicts, **verdicts}
            found[row.bundle_id] = BundleUse(labels[row.bundle_id], first, last, verdicts)
        return sorted((use for use in found.values() if use.label), key=lambda use: use.last_time, reverse=True)
