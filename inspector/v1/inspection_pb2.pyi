import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_PASS: _ClassVar[Verdict]
    VERDICT_REJECT: _ClassVar[Verdict]
    VERDICT_UNKNOWN: _ClassVar[Verdict]

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_WITHIN_LIMITS: _ClassVar[Reason]
    REASON_SCORE_ABOVE_LIMIT: _ClassVar[Reason]
    REASON_DIMENSION_ABOVE_LIMIT: _ClassVar[Reason]
    REASON_DEADLINE_EXCEEDED: _ClassVar[Reason]
    REASON_QUEUE_FULL: _ClassVar[Reason]
    REASON_TRIGGER_GAP: _ClassVar[Reason]
    REASON_FRAME_INVALID: _ClassVar[Reason]
    REASON_FRAME_TOO_LARGE: _ClassVar[Reason]
    REASON_IMAGE_TOO_DARK: _ClassVar[Reason]
    REASON_IMAGE_SATURATED: _ClassVar[Reason]
    REASON_IMAGE_BLURRED: _ClassVar[Reason]
    REASON_PART_NOT_FOUND: _ClassVar[Reason]
    REASON_MODEL_FAILED: _ClassVar[Reason]
    REASON_SCORE_INVALID: _ClassVar[Reason]
    REASON_MISSING_VIEW: _ClassVar[Reason]
    REASON_SERVICE_STOPPING: _ClassVar[Reason]
    REASON_SERVICE_RESTARTED: _ClassVar[Reason]
    REASON_NOT_READY: _ClassVar[Reason]
    REASON_JOURNAL_FAILED: _ClassVar[Reason]
    REASON_INTERNAL_ERROR: _ClassVar[Reason]
    REASON_STATION_STOPPED: _ClassVar[Reason]
    REASON_OVERLOADED: _ClassVar[Reason]
    REASON_FRAME_OVERWRITTEN: _ClassVar[Reason]

class PixelFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PIXEL_FORMAT_UNSPECIFIED: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO10: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO12: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO16: _ClassVar[PixelFormat]
    PIXEL_FORMAT_RGB8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_BGR8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_BAYER_RG8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_BAYER_GR8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_BAYER_GB8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_BAYER_BG8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_JPEG: _ClassVar[PixelFormat]
    PIXEL_FORMAT_PNG: _ClassVar[PixelFormat]

class ImageKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_KIND_UNSPECIFIED: _ClassVar[ImageKind]
    IMAGE_KIND_FRAME: _ClassVar[ImageKind]
    IMAGE_KIND_HEAT_MAP: _ClassVar[ImageKind]
VERDICT_UNSPECIFIED: Verdict
VERDICT_PASS: Verdict
VERDICT_REJECT: Verdict
VERDICT_UNKNOWN: Verdict
REASON_UNSPECIFIED: Reason
REASON_WITHIN_LIMITS: Reason
REASON_SCORE_ABOVE_LIMIT: Reason
REASON_DIMENSION_ABOVE_LIMIT: Reason
REASON_DEADLINE_EXCEEDED: Reason
REASON_QUEUE_FULL: Reason
REASON_TRIGGER_GAP: Reason
REASON_FRAME_INVALID: Reason
REASON_FRAME_TOO_LARGE: Reason
REASON_IMAGE_TOO_DARK: Reason
REASON_IMAGE_SATURATED: Reason
REASON_IMAGE_BLURRED: Reason
REASON_PART_NOT_FOUND: Reason
REASON_MODEL_FAILED: Reason
REASON_SCORE_INVALID: Reason
REASON_MISSING_VIEW: Reason
REASON_SERVICE_STOPPING: Reason
REASON_SERVICE_RESTARTED: Reason
REASON_NOT_READY: Reason
REASON_JOURNAL_FAILED: Reason
REASON_INTERNAL_ERROR: Reason
REASON_STATION_STOPPED: Reason
REASON_OVERLOADED: Reason
REASON_FRAME_OVERWRITTEN: Reason
PIXEL_FORMAT_UNSPECIFIED: PixelFormat
PIXEL_FORMAT_MONO8: PixelFormat
PIXEL_FORMAT_MONO10: PixelFormat
PIXEL_FORMAT_MONO12: PixelFormat
PIXEL_FORMAT_MONO16: PixelFormat
PIXEL_FORMAT_RGB8: PixelFormat
PIXEL_FORMAT_BGR8: PixelFormat
PIXEL_FORMAT_BAYER_RG8: PixelFormat
PIXEL_FORMAT_BAYER_GR8: PixelFormat
PIXEL_FORMAT_BAYER_GB8: PixelFormat
PIXEL_FORMAT_BAYER_BG8: PixelFormat
PIXEL_FORMAT_JPEG: PixelFormat
PIXEL_FORMAT_PNG: PixelFormat
IMAGE_KIND_UNSPECIFIED: ImageKind
IMAGE_KIND_FRAME: ImageKind
IMAGE_KIND_HEAT_MAP: ImageKind

class Frame(_message.Message):
    __slots__ = ("trigger", "part_id", "view", "capture_time", "pixel_format", "width", "height", "stride", "data", "lost_reason", "shared")
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    PIXEL_FORMAT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LOST_REASON_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    trigger: int
    part_id: str
    view: str
    capture_time: _timestamp_pb2.Timestamp
    pixel_format: PixelFormat
    width: int
    height: int
    stride: int
    data: bytes
    lost_reason: str
    shared: SharedPixels
    def __init__(self, trigger: _Optional[int] = ..., part_id: _Optional[str] = ..., view: _Optional[str] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pixel_format: _Optional[_Union[PixelFormat, str]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., stride: _Optional[int] = ..., data: _Optional[bytes] = ..., lost_reason: _Optional[str] = ..., shared: _Optional[_Union[SharedPixels, _Mapping]] = ...) -> None: ...

class SharedPixels(_message.Message):
    __slots__ = ("name", "offset", "length", "generation")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    offset: int
    length: int
    generation: int
    def __init__(self, name: _Optional[str] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("x_px", "y_px", "width_px", "height_px")
    X_PX_FIELD_NUMBER: _ClassVar[int]
    Y_PX_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    x_px: int
    y_px: int
    width_px: int
    height_px: int
    def __init__(self, x_px: _Optional[int] = ..., y_px: _Optional[int] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("defect_class", "box", "area_px", "score", "length_px", "centre", "size", "view")
    DEFECT_CLASS_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    AREA_PX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LENGTH_PX_FIELD_NUMBER: _ClassVar[int]
    CENTRE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    defect_class: str
    box: Box
    area_px: float
    score: float
    length_px: float
    centre: Point
    size: Millimetres
    view: str
    def __init__(self, defect_class: _Optional[str] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., area_px: _Optional[float] = ..., score: _Optional[float] = ..., length_px: _Optional[float] = ..., centre: _Optional[_Union[Point, _Mapping]] = ..., size: _Optional[_Union[Millimetres, _Mapping]] = ..., view: _Optional[str] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("x_px", "y_px")
    X_PX_FIELD_NUMBER: _ClassVar[int]
    Y_PX_FIELD_NUMBER: _ClassVar[int]
    x_px: float
    y_px: float
    def __init__(self, x_px: _Optional[float] = ..., y_px: _Optional[float] = ...) -> None: ...

class Millimetres(_message.Message):
    __slots__ = ("length_mm", "area_mm2", "x_mm", "y_mm")
    LENGTH_MM_FIELD_NUMBER: _ClassVar[int]
    AREA_MM2_FIELD_NUMBER: _ClassVar[int]
    X_MM_FIELD_NUMBER: _ClassVar[int]
    Y_MM_FIELD_NUMBER: _ClassVar[int]
    length_mm: float
    area_mm2: float
    x_mm: float
    y_mm: float
    def __init__(self, length_mm: _Optional[float] = ..., area_mm2: _Optional[float] = ..., x_mm: _Optional[float] = ..., y_mm: _Optional[float] = ...) -> None: ...

class ImageReference(_message.Message):
    __slots__ = ("kind", "sha256", "media_type", "size_bytes", "lost_reason", "view")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOST_REASON_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    kind: ImageKind
    sha256: str
    media_type: str
    size_bytes: int
    lost_reason: str
    view: str
    def __init__(self, kind: _Optional[_Union[ImageKind, str]] = ..., sha256: _Optional[str] = ..., media_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., lost_reason: _Optional[str] = ..., view: _Optional[str] = ...) -> None: ...

class ViewResult(_message.Message):
    __slots__ = ("view", "camera", "bundle", "reason", "detail", "score", "limit")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    view: str
    camera: str
    bundle: str
    reason: Reason
    detail: str
    score: float
    limit: float
    def __init__(self, view: _Optional[str] = ..., camera: _Optional[str] = ..., bundle: _Optional[str] = ..., reason: _Optional[_Union[Reason, str]] = ..., detail: _Optional[str] = ..., score: _Optional[float] = ..., limit: _Optional[float] = ...) -> None: ...

class Inspection(_message.Message):
    __slots__ = ("name", "sequence", "line", "station", "camera", "station_sequence", "trigger", "part_id", "verdict", "reason", "detail", "score", "limit", "defect_class", "findings", "recipe", "bundle", "capture_time", "receive_time", "decide_time", "latency_ms", "late_score", "images", "view", "views")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    STATION_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    STATION_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    DEFECT_CLASS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    DECIDE_TIME_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    LATE_SCORE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    name: str
    sequence: int
    line: str
    station: str
    camera: str
    station_sequence: int
    trigger: int
    part_id: str
    verdict: Verdict
    reason: Reason
    detail: str
    score: float
    limit: float
    defect_class: str
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    recipe: str
    bundle: str
    capture_time: _timestamp_pb2.Timestamp
    receive_time: _timestamp_pb2.Timestamp
    decide_time: _timestamp_pb2.Timestamp
    latency_ms: float
    late_score: float
    images: _containers.RepeatedCompositeFieldContainer[ImageReference]
    view: str
    views: _containers.RepeatedCompositeFieldContainer[ViewResult]
    def __init__(self, name: _Optional[str] = ..., sequence: _Optional[int] = ..., line: _Optional[str] = ..., station: _Optional[str] = ..., camera: _Optional[str] = ..., station_sequence: _Optional[int] = ..., trigger: _Optional[int] = ..., part_id: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., reason: _Optional[_Union[Reason, str]] = ..., detail: _Optional[str] = ..., score: _Optional[float] = ..., limit: _Optional[float] = ..., defect_class: _Optional[str] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., recipe: _Optional[str] = ..., bundle: _Optional[str] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., decide_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., latency_ms: _Optional[float] = ..., late_score: _Optional[float] = ..., images: _Optional[_Iterable[_Union[ImageReference, _Mapping]]] = ..., view: _Optional[str] = ..., views: _Optional[_Iterable[_Union[ViewResult, _Mapping]]] = ...) -> None: ...
