"""The address space: the types of OPC 40100-1 as published, our own types of results, and a VisionSystem for each station.

The standard's types come from the OPC Foundation's node set (see nodeset/README.md), so that clients find them under their
own node ids.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncua import Node, ua
from asyncua.common.structures104 import new_enum, new_struct, new_struct_field
from asyncua.server.server import Server

from inspector.part import Reason, Verdict

MACHINE_VISION = "http://opcfoundation.org/UA/MachineVision"
OWN = "urn:inspector:machine-vision"
NODESET = Path(__file__).parent / "nodeset" / "Opc.Ua.MachineVision.NodeSet2.xml"

VISION_SYSTEM_TYPE, RESULT_MANAGEMENT_TYPE, RECIPE_MANAGEMENT_TYPE, RECIPE_TYPE = 1003, 1007, 1004, 1002
VISION_STATE_MACHINE_TYPE, AUTOMATIC_MODE_TYPE, RECIPE_FOLDER_TYPE = 1017, 1021, 1008
RECIPE_TRANSFER_TYPE = 1014
STATE_CHANGED_EVENT, ERROR_EVENT, ERROR_RESOLVED_EVENT = 1018, 1019, 1020
RECIPE_PREPARED_EVENT, READY_EVENT, RESULT_READY_EVENT, JOB_STARTED_EVENT = 1022, 1023, 1024, 1013
SYSTEM_STATE_DESCRIPTION_TYPE, BINARY_ID_TYPE = 3024, 3019
BINARY_IDS = (
    ("RecipeIdExternalDataType", 3002, 5002),
    ("RecipeIdInternalDataType", 3013, 5268),
    ("ConfigurationIdDataType", 3008, 5090),
)
"""Numeric identifiers in the node set."""
FILE_TYPE = 11575
"""FileType, of OPC UA itself."""

MethodCallback = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Model:
    """The types, loaded into a server. `standard` and `own` are indexes of their namespaces."""

    server: Server
    standard: int
    own: int

    def node(self, number: int) -> Node:
        """A node of the standard's node set."""
        return self.server.get_node(ua.NodeId(number, self.standard))

    def name(self, name: str) -> ua.QualifiedName:
        """A name in the standard's namespace."""
        return ua.QualifiedName(name, self.standard)

    async def child(self, parent: Node, *names: str) -> Node:
        """A child by its browse names in the standard's namespace."""
        return await parent.get_child([self.name(name) for name in names])

    async def instantiate(self, parent: Node, kind: int, name: str) -> Node:
        """An object of a type with everything that is mandatory in it."""
        nodeid = ua.NodeId(f"{parent.nodeid.Identifier}.{name}", self.own)
        kind_id = ua.NodeId(kind, self.standard)
        return await parent.add_object(nodeid, self.name(name), kind_id, instantiate_optional=False)

    async def method(self, parent: Node, kind: int, name: str, callback: MethodCallback) -> None:
        """Let `callback` answer a method of an object; one that its type has as an option is added."""
        method: Node
        try:
            method = await self.child(parent, name)
        except ua.UaStatusCodeError:
            declared = await self.child(self.node(kind), name)
            arguments = [await _arguments(declared, which) for which in ("InputArguments", "OutputArguments")]
            nodeid = ua.NodeId(f"{parent.nodeid.Identifier}.{name}", self.own)
            method = await parent.add_method(nodeid, self.name(name), None, *arguments)
        self.server.link_method(method, callback)


async def _arguments(method: Node, which: str) -> list[ua.Argument]:
    try:
        node = await method.get_child(f"0:{which}")
    except ua.UaStatusCodeError:
        return []
    return list(await node.read_value())


async def load_model(server: Server) -> Model:
    """Load the standard's types and ours. Takes about a second."""
    await server.import_xml(NODESET)
    own = await server.register_namespace(OWN)
    standard = await server.get_namespace_index(MACHINE_VISION)
    await _complete_ids(server, standard)
    await _add_own_types(server, own)
    await server.load_data_type_definitions()
    return Model(server, standard, own)


async def _complete_ids(server: Server, standard: int) -> None:
    """Give the three kinds of binary ids, which add no field to their base, definitions of their own.

    The node set defines their base alone. Clients that decode by definitions would not know them, and asyncua would send all
    three under the number of the base, which is abstract.
    """
    base = await server.get_node(ua.NodeId(BINARY_ID_TYPE, standard)).read_data_type_definition()
    for name, kind, encoding in BINARY_IDS:
        definition = copy(base)
        definition.DefaultEncodingId = ua.NodeId(encoding, standard)
        definition.BaseDataType = ua.NodeId(BINARY_ID_TYPE, standard)
        await server.get_node(ua.NodeId(kind, standard)).write_data_type_definition(definition)
        if getattr(ua, name, None) is ua.BinaryIdBaseDataType:
            delattr(ua, name)


async def _add_own_types(server: Server, own: int) -> None:
    verdict_names = ["UNSPECIFIED", *(verdict.name for verdict in sorted(Verdict))]
    verdicts = await new_enum(server, own, "VerdictDataType", list(verdict_names))
    finding, _ = await new_struct(server, own, "FindingDataType", _finding_fields())
    view, _ = await new_struct(server, own, "ViewResultDataType", _view_fields())
    await new_struct(server, own, "InspectionDataType", _inspection_fields(verdicts, finding, view))


def _finding_fields() -> list[ua.StructureField]:
    field, kind = new_struct_field, ua.VariantType
    return [
        field("View", kind.String, description="In whose frame; empty if the part has only one view."),
        field("DefectClass", kind.String),
        field("XPx", kind.UInt32, description="Left edge in pixels of the frame as sent."),
        field("YPx", kind.UInt32, description="Top edge."),
        field("WidthPx", kind.UInt32),
        field("HeightPx", kind.UInt32),
        field("AreaPx", kind.Double),
        field("Score", kind.Double, description="Highest score within the region; NaN if the model gives none."),
        field("LengthPx", kind.Double, optional=True),
        field("LengthMm", kind.Double, optional=True),
        field("AreaMm2", kind.Double, optional=True),
    ]


def _view_fields() -> list[ua.StructureField]:
    field, kind = new_struct_field, ua.VariantType
    return [
        field("View", kind.String),
        field("Camera", kind.String),
        field("Bundle", kind.String),
        field("Reason", kind.UInt16),
        field("ReasonName", kind.String),
        field("Detail", kind.String),
        field("Score", kind.Double, optional=True),
        field("Limit", kind.Double, optional=True),
    ]


def _inspection_fields(verdicts: Node, finding: Node, view: Node) -> list[ua.StructureField]:
    field, kind = new_struct_field, ua.VariantType
    return [
        field("Verdict", verdicts, description="Anything but PASS drives the reject output."),
        field("Reason", kind.UInt16, description=", ".join(f"{int(r)} {r.name}" for r in Reason)),
        field("ReasonName", kind.String),
        field("Detail", kind.String, description="One sentence on the reason."),
        field("Score", kind.Double, optional=True, description="Absent when the part was not judged."),
        field("Limit", kind.Double, optional=True, description="What the score was held against."),
        field("LateScore", kind.Double, optional=True, description="Came after the deadline, changed nothing."),
        field("DefectClass", kind.String, description="Of the strongest finding of a reject."),
        field("Findings", finding, array=True),
        field("Sequence", kind.UInt64, description="Position in the line's verdicts, without gaps."),
        field("StationSequence", kind.UInt64, description="Position in the station's, as shown to the PLC."),
        field("Trigger", kind.UInt64),
        field("Camera", kind.String),
        field("Bundle", kind.String, description="The model, name@digest."),
        field("ReceiveTime", kind.DateTime),
        field("LatencyMs", kind.Double, description="From receipt of the first frame to the verdict."),
        field("View", kind.String, description="The view that decided; empty if the part has only one."),
        field("Views", view, array=True, description="What came of each of several views by then."),
    ]
