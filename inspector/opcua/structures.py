"""Results in the structures of OPC 40100-1, and what clients ask for in them. Pure, once the types are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from asyncua import ua

from inspector.opcua.book import Question, Result
from inspector.part import Finding, Inspection, Verdict, ViewResult
from inspector.signalling.signal import RecipeReading

UNDEFINED, COMPLETED, PROCESSING, ABORTED, FAILED = range(5)
"""ResultStateDataType, OPC 40100-1:2019, 12.14."""


def state_of(inspection: Inspection) -> int:
    """A part that was not judged is a result that failed."""
    return FAILED if inspection.verdict is Verdict.UNKNOWN else COMPLETED


def result_of(result: Result) -> Any:
    """A ResultDataType."""
    return ua.ResultDataType(**fields_of(result))


def fields_of(result: Result) -> Mapping[str, Any]:
    """Fields that ResultDataType, ResultReadyEventType and GetResultComponentsById have in common, by their names."""
    inspection = result.inspection
    return {
        "ResultId": ua.ResultIdDataType(inspection.name),
        "HasTransferableDataOnFile": False,
        "IsPartial": False,
        "IsSimulated": False,
        "ResultState": state_of(inspection),
        "MeasId": ua.MeasIdDataType(Id=str(inspection.trigger)),
        "PartId": ua.PartIdDataType(Id=inspection.part_id),
        "ExternalRecipeId": external_recipe(inspection.recipe),
        "InternalRecipeId": internal_recipe(inspection.recipe, inspection.bundle),
        "ProductId": ua.ProductIdDataType(Id=""),
        "ExternalConfigurationId": ua.ConfigurationIdDataType(Id=""),
        "InternalConfigurationId": ua.ConfigurationIdDataType(Id=""),
        "JobId": job(result.job_id),
        "CreationTime": inspection.decide_time,
        "ProcessingTimes": ua.ProcessingTimesDataType(
            StartTime=inspection.decide_time - timedelta(milliseconds=inspection.latency_ms),
            EndTime=inspection.decide_time,
            ProcessingDuration=inspection.latency_ms,
        ),
        "ResultContent": [ua.Variant(content_of(result))],
    }


def content_of(result: Result) -> Any:
    """Our own structure: the verdict and everything it rests on."""
    inspection = result.inspection
    return ua.InspectionDataType(
        Verdict=ua.VerdictDataType(int(inspection.verdict)),
        Reason=int(inspection.reason),
        ReasonName=inspection.reason.name,
        Detail=inspection.detail,
        Score=inspection.score,
        Limit=inspection.limit,
        LateScore=result.late_score,
        DefectClass=inspection.defect_class,
        Findings=[_finding(finding) for finding in inspection.findings],
        Sequence=inspection.sequence,
        StationSequence=inspection.station_sequence,
        Trigger=inspection.trigger,
        Camera=inspection.camera,
        Bundle=inspection.bundle,
        ReceiveTime=inspection.receive_time,
        LatencyMs=inspection.latency_ms,
        View=inspection.view,
        Views=[_view(view) for view in inspection.views],
    )


def _view(view: ViewResult) -> Any:
    return ua.ViewResultDataType(
        View=view.view,
        Camera=view.camera,
        Bundle=view.bundle,
        Reason=int(view.reason),
        ReasonName=view.reason.name,
        Detail=view.detail,
        Score=view.score,
        Limit=view.limit,
    )


def _finding(finding: Finding) -> Any:
    box, size = finding.box, finding.size
    return ua.FindingDataType(
        View=finding.view,
        DefectClass=finding.defect_class,
        XPx=box.x_px,
        YPx=box.y_px,
        WidthPx=box.width_px,
        HeightPx=box.height_px,
        AreaPx=finding.area_px,
        Score=finding.score,
        LengthPx=finding.length_px,
        LengthMm=None if size is None else size.length_mm,
        AreaMm2=None if size is None else size.area_mm2,
    )


def job(job_id: str) -> Any:
    """A JobIdDataType."""
    return ua.JobIdDataType(job_id)


def external_recipe(name: str) -> Any:
    """The environment's name of a recipe is that of the line file."""
    return ua.RecipeIdExternalDataType(Id=name)


def internal_recipe(name: str, bundle: str) -> Any:
    """Ours is the same name; its version is the bundle that it judges by."""
    return ua.RecipeIdInternalDataType(Id=name, Version=bundle)


def recipe_name(external: Any, internal: Any = None) -> str:
    """Which recipe a client means by either id; empty if it names none."""
    return text_of(external) or text_of(internal)


def recipe_matches(recipe: RecipeReading, external: Any) -> bool:
    """Whether a recipe is asked for; an empty id asks for all."""
    return text_of(external) in ("", recipe.name)


def text_of(identifier: Any) -> str:
    """The text of an id structure; empty for anything else."""
    found = getattr(identifier, "Id", None)
    return found.strip() if isinstance(found, str) else ""


def question_of(state: Any, meas: Any, part: Any, external: Any, internal: Any, job_id: Any) -> Question | None:
    """What GetResultListFiltered asks for; None if there can be no such result."""
    verdicts: frozenset[Verdict]
    if state in (None, UNDEFINED):
        verdicts = frozenset()
    elif state == COMPLETED:
        verdicts = frozenset({Verdict.PASS, Verdict.REJECT})
    elif state == FAILED:
        verdicts = frozenset({Verdict.UNKNOWN})
    else:
        return None
    version = getattr(internal, "Version", None)
    bundle = version if isinstance(version, str) else ""
    return Question(text_of(meas), text_of(part), recipe_name(external, internal), bundle, verdicts, text_of(job_id))
