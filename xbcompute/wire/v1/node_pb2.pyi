from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Problem(_message.Message):
    __slots__ = ("code", "exit", "text", "todo")
    CODE_FIELD_NUMBER: _ClassVar[int]
    EXIT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TODO_FIELD_NUMBER: _ClassVar[int]
    code: str
    exit: int
    text: str
    todo: str
    def __init__(self, code: _Optional[str] = ..., exit: _Optional[int] = ..., text: _Optional[str] = ..., todo: _Optional[str] = ...) -> None: ...

class Json(_message.Message):
    __slots__ = ("body",)
    BODY_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    def __init__(self, body: _Optional[bytes] = ...) -> None: ...

class SessionRef(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    def __init__(self, session: _Optional[bytes] = ...) -> None: ...

class Since(_message.Message):
    __slots__ = ("size",)
    SIZE_FIELD_NUMBER: _ClassVar[int]
    size: int
    def __init__(self, size: _Optional[int] = ...) -> None: ...

class Nothing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Reply(_message.Message):
    __slots__ = ("body", "problem")
    BODY_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    problem: Problem
    def __init__(self, body: _Optional[bytes] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...

class Submitted(_message.Message):
    __slots__ = ("session", "problem")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    problem: Problem
    def __init__(self, session: _Optional[bytes] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...
