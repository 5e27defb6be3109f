import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATION_STATE_UNSPECIFIED: _ClassVar[StationState]
    STATION_STATE_NOT_READY: _ClassVar[StationState]
    STATION_STATE_READY: _ClassVar[StationState]
    STATION_STATE_STOPPING: _ClassVar[StationState]
    STATION_STATE_FAULT: _ClassVar[StationState]
    STATION_STATE_STOPPED: _ClassVar[StationState]

class StationFault(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATION_FAULT_UNSPECIFIED: _ClassVar[StationFault]
    STATION_FAULT_NO_BUNDLE: _ClassVar[StationFault]
    STATION_FAULT_JOURNAL: _ClassVar[StationFault]
    STATION_FAULT_CHECK_FAILED: _ClassVar[StationFault]

class CommandAnswer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMMAND_ANSWER_UNSPECIFIED: _ClassVar[CommandAnswer]
    COMMAND_ANSWER_DONE: _ClassVar[CommandAnswer]
    COMMAND_ANSWER_ACCEPTED: _ClassVar[CommandAnswer]
    COMMAND_ANSWER_REFUSED: _ClassVar[CommandAnswer]
    COMMAND_ANSWER_FAILED: _ClassVar[CommandAnswer]

class CommandReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMMAND_REASON_UNSPECIFIED: _ClassVar[CommandReason]
    COMMAND_REASON_UNKNOWN_COMMAND: _ClassVar[CommandReason]
    COMMAND_REASON_UNKNOWN_RECIPE: _ClassVar[CommandReason]
    COMMAND_REASON_NO_BUNDLE: _ClassVar[CommandReason]
    COMMAND_REASON_BUSY: _ClassVar[CommandReason]
    COMMAND_REASON_CHECK_FAILED: _ClassVar[CommandReason]
    COMMAND_REASON_FAULT_PERSISTS: _ClassVar[CommandReason]
    COMMAND_REASON_INTERNAL_ERROR: _ClassVar[CommandReason]
STATION_STATE_UNSPECIFIED: StationState
STATION_STATE_NOT_READY: StationState
STATION_STATE_READY: StationState
STATION_STATE_STOPPING: StationState
STATION_STATE_FAULT: StationState
STATION_STATE_STOPPED: StationState
STATION_FAULT_UNSPECIFIED: StationFault
STATION_FAULT_NO_BUNDLE: StationFault
STATION_FAULT_JOURNAL: StationFault
STATION_FAULT_CHECK_FAILED: StationFault
COMMAND_ANSWER_UNSPECIFIED: CommandAnswer
COMMAND_ANSWER_DONE: CommandAnswer
COMMAND_ANSWER_ACCEPTED: CommandAnswer
COMMAND_ANSWER_REFUSED: CommandAnswer
COMMAND_ANSWER_FAILED: CommandAnswer
COMMAND_REASON_UNSPECIFIED: CommandReason
COMMAND_REASON_UNKNOWN_COMMAND: CommandReason
COMMAND_REASON_UNKNOWN_RECIPE: CommandReason
COMMAND_REASON_NO_BUNDLE: CommandReason
COMMAND_REASON_BUSY: CommandReason
COMMAND_REASON_CHECK_FAILED: CommandReason
COMMAND_REASON_FAULT_PERSISTS: CommandReason
COMMAND_REASON_INTERNAL_ERROR: CommandReason

class StationRecipe(_message.Message):
    __slots__ = ("name", "bundle", "fault")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    bundle: str
    fault: str
    def __init__(self, name: _Optional[str] = ..., bundle: _Optional[str] = ..., fault: _Optional[str] = ...) -> None: ...

class StationCamera(_message.Message):
    __slots__ = ("name", "streaming")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STREAMING_FIELD_NUMBER: _ClassVar[int]
    name: str
    streaming: bool
    def __init__(self, name: _Optional[str] = ..., streaming: _Optional[bool] = ...) -> None: ...

class BundleFolder(_message.Message):
    __slots__ = ("folder", "bundle", "digest")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    folder: str
    bundle: str
    digest: str
    def __init__(self, folder: _Optional[str] = ..., bundle: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Promotion(_message.Message):
    __slots__ = ("bundle", "bundle_before", "bundle_before_warm", "promoted_by", "proposed_by", "reason", "promote_time", "rollback")
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_BEFORE_WARM_FIELD_NUMBER: _ClassVar[int]
    PROMOTED_BY_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROMOTE_TIME_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    bundle: BundleFolder
    bundle_before: BundleFolder
    bundle_before_warm: bool
    promoted_by: str
    proposed_by: str
    reason: str
    promote_time: _timestamp_pb2.Timestamp
    rollback: bool
    def __init__(self, bundle: _Optional[_Union[BundleFolder, _Mapping]] = ..., bundle_before: _Optional[_Union[BundleFolder, _Mapping]] = ..., bundle_before_warm: _Optional[bool] = ..., promoted_by: _Optional[str] = ..., proposed_by: _Optional[str] = ..., reason: _Optional[str] = ..., promote_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rollback: _Optional[bool] = ...) -> None: ...

class RecipeView(_message.Message):
    __slots__ = ("name", "view", "bundle", "provider", "golden_count", "golden_difference", "fault", "approval_count", "promotion")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    GOLDEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    GOLDEN_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMOTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    view: str
    bundle: BundleFolder
    provider: str
    golden_count: int
    golden_difference: float
    fault: str
    approval_count: int
    promotion: Promotion
    def __init__(self, name: _Optional[str] = ..., view: _Optional[str] = ..., bundle: _Optional[_Union[BundleFolder, _Mapping]] = ..., provider: _Optional[str] = ..., golden_count: _Optional[int] = ..., golden_difference: _Optional[float] = ..., fault: _Optional[str] = ..., approval_count: _Optional[int] = ..., promotion: _Optional[_Union[Promotion, _Mapping]] = ...) -> None: ...

class Station(_message.Message):
    __slots__ = ("name", "cameras", "state", "fault", "recipe", "bundle", "recipes", "in_flight_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CAMERAS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    RECIPES_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    cameras: _containers.RepeatedCompositeFieldContainer[StationCamera]
    state: StationState
    fault: StationFault
    recipe: str
    bundle: str
    recipes: _containers.RepeatedCompositeFieldContainer[StationRecipe]
    in_flight_count: int
    def __init__(self, name: _Optional[str] = ..., cameras: _Optional[_Iterable[_Union[StationCamera, _Mapping]]] = ..., state: _Optional[_Union[StationState, str]] = ..., fault: _Optional[_Union[StationFault, str]] = ..., recipe: _Optional[str] = ..., bundle: _Optional[str] = ..., recipes: _Optional[_Iterable[_Union[StationRecipe, _Mapping]]] = ..., in_flight_count: _Optional[int] = ...) -> None: ...

class CommandOutcome(_message.Message):
    __slots__ = ("answer", "reason", "checked_count", "failed_count")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CHECKED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_COUNT_FIELD_NUMBER: _ClassVar[int]
    answer: CommandAnswer
    reason: CommandReason
    checked_count: int
    failed_count: int
    def __init__(self, answer: _Optional[_Union[CommandAnswer, str]] = ..., reason: _Optional[_Union[CommandReason, str]] = ..., checked_count: _Optional[int] = ..., failed_count: _Optional[int] = ...) -> None: ...
