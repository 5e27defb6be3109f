"""What a table `[camera.NAME]` may say of parts: whose number and id they get, and how rows become frames."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from inspector.settings.values import Table, address_or_none


class CodeRegionTable(Table):
    """`[camera.NAME.code.region]`: where the code is, in pixels of the frame."""

    x_px: int = Field(ge=0)
    y_px: int = Field(ge=0)
    width_px: int = Field(ge=1)
    height_px: int = Field(ge=1)


class CodeTable(Table):
    """`[camera.NAME.code]`: the part's id is read in its picture."""

    formats: list[Literal["data-matrix", "qr", "code-128", "code-39", "ean-13"]] = Field(
        default=["data-matrix", "qr", "code-128"], min_length=1
    )
    region: CodeRegionTable | None = None


class PlcTable(Table):
    """`[camera.NAME.plc]`: a PLC counts the parts and may know their ids; frames get them by the rule in the README.

    Of Modbus `unit`, `first_register` (it and the next hold the number, high word first) and `id_registers` behind them; of
    OPC UA `number_node`, `id_node`, and `certificate` with `key` for a connection that is signed and encrypted.
    """

    protocol: Literal["modbus", "opc-ua"]
    address: str = Field(min_length=1)
    unit: int = Field(default=1, ge=0, le=255)
    first_register: int = Field(default=0, ge=0, le=65_535)
    id_registers: int = Field(default=0, ge=0, le=64)
    number_node: str = ""
    id_node: str = ""
    certificate: str = ""
    key: str = ""
    count: Literal["steps", "trigger"] = "steps"
    poll_ms: int = Field(default=5, ge=1, le=1000)
    delay_ms: float = Field(default=0.0, ge=0.0, le=60_000.0)
    late_ms: float = Field(default=50.0, gt=0.0, le=10_000.0)
    frame_ms: float = Field(default=1000.0, ge=0.0, le=60_000.0)

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if self.protocol == "opc-ua" and not self.number_node:
            raise PydanticCustomError("plc", "number_node is missing: name the node that counts parts")
        if bool(self.certificate) != bool(self.key):
            raise PydanticCustomError(
                "plc", "certificate and key belong together, and one is missing: name both or none"
            )
        if self.protocol == "modbus":
            address_or_none(self.address)
        return self


class LineScanTable(Table):
    """`[camera.NAME.line_scan]`: the camera gives rows. `join` "rows": so many a frame; "edges": from edge to edge."""

    join: Literal["rows", "edges"]
    rows: int = Field(default=1024, ge=1, le=1_000_000)
    overlap_rows: int = Field(default=0, ge=0, le=999_999)
    threshold: float = Field(default=128.0, ge=0.0, le=65_535.0)
    polarity: Literal["bright", "dark"] = "bright"
    edge_rows: int = Field(default=4, ge=1, le=10_000)
    margin_rows: int = Field(default=16, ge=0, le=10_000)
    min_rows: int = Field(default=16, ge=1, le=1_000_000)
    max_rows: int = Field(default=20_000, ge=1, le=1_000_000)
    left_px: int = Field(default=0, ge=0)
    right_px: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if self.join == "rows" and self.overlap_rows >= self.rows:
            raise PydanticCustomError("rows", "overlap_rows must be less than rows")
        if self.min_rows > self.max_rows:
            raise PydanticCustomError("rows", "min_rows is more than max_rows")
        if self.right_px and self.right_px <= self.left_px:
            raise PydanticCustomError("rows", "right_px must be more than left_px, or 0 for the picture's edge")
        return self
