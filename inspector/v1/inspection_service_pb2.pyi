import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from inspector.v1 import inspection_pb2 as _inspection_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hello(_message.Message):
    __slots__ = ("line", "camera", "client")
    LINE_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    line: str
    camera: str
    client: str
    def __init__(self, line: _Optional[str] = ..., camera: _Optional[str] = ..., client: _Optional[str] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("station", "recipe", "bundle", "deadline_ms", "max_frame_bytes", "next_trigger", "view", "frame_memory")
    STATION_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    NEXT_TRIGGER_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    FRAME_MEMORY_FIELD_NUMBER: _ClassVar[int]
    station: str
    recipe: str
    bundle: str
    deadline_ms: int
    max_frame_bytes: int
    next_trigger: int
    view: str
    frame_memory: FrameMemory
    def __init__(self, station: _Optional[str] = ..., recipe: _Optional[str] = ..., bundle: _Optional[str] = ..., deadline_ms: _Optional[int] = ..., max_frame_bytes: _Optional[int] = ..., next_trigger: _Optional[int] = ..., view: _Optional[str] = ..., frame_memory: _Optional[_Union[FrameMemory, _Mapping]] = ...) -> None: ...

class FrameMemory(_message.Message):
    __slots__ = ("socket", "token", "name", "size_bytes")
    SOCKET_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    socket: str
    token: bytes
    name: str
    size_bytes: int
    def __init__(self, socket: _Optional[str] = ..., token: _Optional[bytes] = ..., name: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class InspectRequest(_message.Message):
    __slots__ = ("hello", "frame")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    frame: _inspection_pb2.Frame
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., frame: _Optional[_Union[_inspection_pb2.Frame, _Mapping]] = ...) -> None: ...

class InspectResponse(_message.Message):
    __slots__ = ("session", "inspection")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    INSPECTION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    inspection: _inspection_pb2.Inspection
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ..., inspection: _Optional[_Union[_inspection_pb2.Inspection, _Mapping]] = ...) -> None: ...

class InspectFrameRequest(_message.Message):
    __slots__ = ("line", "camera", "frame")
    LINE_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    line: str
    camera: str
    frame: _inspection_pb2.Frame
    def __init__(self, line: _Optional[str] = ..., camera: _Optional[str] = ..., frame: _Optional[_Union[_inspection_pb2.Frame, _Mapping]] = ...) -> None: ...

class InspectFrameResponse(_message.Message):
    __slots__ = ("inspection",)
    INSPECTION_FIELD_NUMBER: _ClassVar[int]
    inspection: _inspection_pb2.Inspection
    def __init__(self, inspection: _Optional[_Union[_inspection_pb2.Inspection, _Mapping]] = ...) -> None: ...

class WatchInspectionsRequest(_message.Message):
    __slots__ = ("line", "verdicts", "after_sequence")
    LINE_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    line: str
    verdicts: _containers.RepeatedScalarFieldContainer[_inspection_pb2.Verdict]
    after_sequence: int
    def __init__(self, line: _Optional[str] = ..., verdicts: _Optional[_Iterable[_Union[_inspection_pb2.Verdict, str]]] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class WatchInspectionsResponse(_message.Message):
    __slots__ = ("inspection",)
    INSPECTION_FIELD_NUMBER: _ClassVar[int]
    inspection: _inspection_pb2.Inspection
    def __init__(self, inspection: _Optional[_Union[_inspection_pb2.Inspection, _Mapping]] = ...) -> None: ...

class GetInspectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetInspectionResponse(_message.Message):
    __slots__ = ("inspection",)
    INSPECTION_FIELD_NUMBER: _ClassVar[int]
    inspection: _inspection_pb2.Inspection
    def __init__(self, inspection: _Optional[_Union[_inspection_pb2.Inspection, _Mapping]] = ...) -> None: ...

class ListInspectionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "line", "part_id", "verdicts", "defect_class", "bundle", "start_time", "end_time")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    DEFECT_CLASS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    line: str
    part_id: str
    verdicts: _containers.RepeatedScalarFieldContainer[_inspection_pb2.Verdict]
    defect_class: str
    bundle: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., line: _Optional[str] = ..., part_id: _Optional[str] = ..., verdicts: _Optional[_Iterable[_Union[_inspection_pb2.Verdict, str]]] = ..., defect_class: _Optional[str] = ..., bundle: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListInspectionsResponse(_message.Message):
    __slots__ = ("inspections", "next_page_token")
    INSPECTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    inspections: _containers.RepeatedCompositeFieldContainer[_inspection_pb2.Inspection]
    next_page_token: str
    def __init__(self, inspections: _Optional[_Iterable[_Union[_inspection_pb2.Inspection, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetImageRequest(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    def __init__(self, sha256: _Optional[str] = ...) -> None: ...

class GetImageResponse(_message.Message):
    __slots__ = ("media_type", "size_bytes", "data")
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    media_type: str
    size_bytes: int
    data: bytes
    def __init__(self, media_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...
