from inspector.v1 import station_pb2 as _station_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListStationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListStationsResponse(_message.Message):
    __slots__ = ("stations", "alive")
    STATIONS_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    stations: _containers.RepeatedCompositeFieldContainer[_station_pb2.Station]
    alive: bool
    def __init__(self, stations: _Optional[_Iterable[_Union[_station_pb2.Station, _Mapping]]] = ..., alive: _Optional[bool] = ...) -> None: ...

class WatchStationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchStationsResponse(_message.Message):
    __slots__ = ("stations", "alive")
    STATIONS_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    stations: _containers.RepeatedCompositeFieldContainer[_station_pb2.Station]
    alive: bool
    def __init__(self, stations: _Optional[_Iterable[_Union[_station_pb2.Station, _Mapping]]] = ..., alive: _Optional[bool] = ...) -> None: ...

class StartStationRequest(_message.Message):
    __slots__ = ("name", "on_behalf_of")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    name: str
    on_behalf_of: str
    def __init__(self, name: _Optional[str] = ..., on_behalf_of: _Optional[str] = ...) -> None: ...

class StartStationResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: _station_pb2.CommandOutcome
    def __init__(self, outcome: _Optional[_Union[_station_pb2.CommandOutcome, _Mapping]] = ...) -> None: ...

class StopStationRequest(_message.Message):
    __slots__ = ("name", "on_behalf_of")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    name: str
    on_behalf_of: str
    def __init__(self, name: _Optional[str] = ..., on_behalf_of: _Optional[str] = ...) -> None: ...

class StopStationResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: _station_pb2.CommandOutcome
    def __init__(self, outcome: _Optional[_Union[_station_pb2.CommandOutcome, _Mapping]] = ...) -> None: ...

class ChangeRecipeRequest(_message.Message):
    __slots__ = ("name", "on_behalf_of", "recipe")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    on_behalf_of: str
    recipe: str
    def __init__(self, name: _Optional[str] = ..., on_behalf_of: _Optional[str] = ..., recipe: _Optional[str] = ...) -> None: ...

class ChangeRecipeResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: _station_pb2.CommandOutcome
    def __init__(self, outcome: _Optional[_Union[_station_pb2.CommandOutcome, _Mapping]] = ...) -> None: ...

class AcknowledgeFaultRequest(_message.Message):
    __slots__ = ("name", "on_behalf_of")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    name: str
    on_behalf_of: str
    def __init__(self, name: _Optional[str] = ..., on_behalf_of: _Optional[str] = ...) -> None: ...

class AcknowledgeFaultResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: _station_pb2.CommandOutcome
    def __init__(self, outcome: _Optional[_Union[_station_pb2.CommandOutcome, _Mapping]] = ...) -> None: ...

class ResetStationRequest(_message.Message):
    __slots__ = ("name", "on_behalf_of")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    name: str
    on_behalf_of: str
    def __init__(self, name: _Optional[str] = ..., on_behalf_of: _Optional[str] = ...) -> None: ...

class ResetStationResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: _station_pb2.CommandOutcome
    def __init__(self, outcome: _Optional[_Union[_station_pb2.CommandOutcome, _Mapping]] = ...) -> None: ...

class CheckStationRequest(_message.Message):
    __slots__ = ("name", "on_behalf_of")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    name: str
    on_behalf_of: str
    def __init__(self, name: _Optional[str] = ..., on_behalf_of: _Optional[str] = ...) -> None: ...

class CheckStationResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: _station_pb2.CommandOutcome
    def __init__(self, outcome: _Optional[_Union[_station_pb2.CommandOutcome, _Mapping]] = ...) -> None: ...

class ListRecipesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRecipesResponse(_message.Message):
    __slots__ = ("views",)
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedCompositeFieldContainer[_station_pb2.RecipeView]
    def __init__(self, views: _Optional[_Iterable[_Union[_station_pb2.RecipeView, _Mapping]]] = ...) -> None: ...

class PromoteBundleRequest(_message.Message):
    __slots__ = ("name", "on_behalf_of", "view", "bundle_folder", "reason", "proposed_by", "digest", "replaced_digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FOLDER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_BY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    REPLACED_DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    on_behalf_of: str
    view: str
    bundle_folder: str
    reason: str
    proposed_by: str
    digest: str
    replaced_digest: str
    def __init__(self, name: _Optional[str] = ..., on_behalf_of: _Optional[str] = ..., view: _Optional[str] = ..., bundle_folder: _Optional[str] = ..., reason: _Optional[str] = ..., proposed_by: _Optional[str] = ..., digest: _Optional[str] = ..., replaced_digest: _Optional[str] = ...) -> None: ...

class PromoteBundleResponse(_message.Message):
    __slots__ = ("view",)
    VIEW_FIELD_NUMBER: _ClassVar[int]
    view: _station_pb2.RecipeView
    def __init__(self, view: _Optional[_Union[_station_pb2.RecipeView, _Mapping]] = ...) -> None: ...

class RollbackBundleRequest(_message.Message):
    __slots__ = ("name", "on_behalf_of", "view", "reason", "replaced_digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REPLACED_DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    on_behalf_of: str
    view: str
    reason: str
    replaced_digest: str
    def __init__(self, name: _Optional[str] = ..., on_behalf_of: _Optional[str] = ..., view: _Optional[str] = ..., reason: _Optional[str] = ..., replaced_digest: _Optional[str] = ...) -> None: ...

class RollbackBundleResponse(_message.Message):
    __slots__ = ("view",)
    VIEW_FIELD_NUMBER: _ClassVar[int]
    view: _station_pb2.RecipeView
    def __init__(self, view: _Optional[_Union[_station_pb2.RecipeView, _Mapping]] = ...) -> None: ...
