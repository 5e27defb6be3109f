"""The line file: everything a service needs to know, as typed values. Only the command line reads this package.

`read_line_file` never stops at the first fault: every problem of the file is returned as a `Problem` with key, fact and
next step. Nothing here opens a bundle, a port or a database; `inspector/service.py` and `inspector check` do.

A new table: its class in `tables.py`, a line in `reading.py`, what it must agree with in `disagreements.py`, and every key in
deploy/line.example.toml.
"""

from inspector.settings.cameras import CAMERA_TABLES, CameraBase, RegionTable
from inspector.settings.line import LineReading, LineSettings, Problem
from inspector.settings.reading import EXAMPLE, MAX_LINE_FILE_BYTES, load_line_file, read_line_file
from inspector.settings.tables import (
    MAX_VIEWS,
    CheckTable,
    GrpcTable,
    GrpcTlsTable,
    HealthTable,
    InferenceTable,
    LineFile,
    LineTable,
    MetricsTable,
    ModbusTable,
    OpcUaTable,
    RecipeTable,
    RecordsTable,
    StationTable,
    ViewTable,
    WebOidcTable,
    WebTable,
)
from inspector.settings.values import Address, parse_address

__all__ = [
    "CAMERA_TABLES",
    "EXAMPLE",
    "MAX_LINE_FILE_BYTES",
    "MAX_VIEWS",
    "Address",
    "CameraBase",
    "CheckTable",
    "GrpcTable",
    "GrpcTlsTable",
    "HealthTable",
    "InferenceTable",
    "LineFile",
    "LineReading",
    "LineSettings",
    "LineTable",
    "MetricsTable",
    "ModbusTable",
    "OpcUaTable",
    "Problem",
    "RecipeTable",
    "RecordsTable",
    "RegionTable",
    "StationTable",
    "ViewTable",
    "WebOidcTable",
    "WebTable",
    "load_line_file",
    "parse_address",
    "read_line_file",
]
