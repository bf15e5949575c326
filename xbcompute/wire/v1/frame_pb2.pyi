from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Channel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANNEL_UNSPECIFIED: _ClassVar[Channel]
    CHANNEL_CONTROL: _ClassVar[Channel]
    CHANNEL_ENGINE: _ClassVar[Channel]
CHANNEL_UNSPECIFIED: Channel
CHANNEL_CONTROL: Channel
CHANNEL_ENGINE: Channel

class Header(_message.Message):
    __slots__ = ("session", "channel", "sequence", "kind", "plan", "last", "version")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    channel: Channel
    sequence: int
    kind: str
    plan: bytes
    last: bool
    version: int
    def __init__(self, session: _Optional[bytes] = ..., channel: _Optional[_Union[Channel, str]] = ..., sequence: _Optional[int] = ..., kind: _Optional[str] = ..., plan: _Optional[bytes] = ..., last: _Optional[bool] = ..., version: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("header", "payload")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    header: Header
    payload: bytes
    def __init__(self, header: _Optional[_Union[Header, _Mapping]] = ..., payload: _Optional[bytes] = ...) -> None: ...
