"""The rules every file follows: frozen, no unknown keys, no silent conversion, a version that may be too new."""

from __future__ import annotations

import datetime as dt
import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from xbcompute.core.errors import InputError

FILE_VERSION = 1
SHANGHAI = dt.timezone(dt.timedelta(hours=8), "UTC+08:00")
"""Asia/Shanghai and Asia/Singapore: both UTC+8, no daylight saving."""

Identifier = Annotated[str, Strict(), StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Text = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=500)]
Name = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=200)]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0)]
Positive = Annotated[int, Strict(), Field(ge=1)]
Number = Annotated[float, Strict()]
Sha256Text = Annotated[str, Strict(), StringConstraints(pattern=r"^(sha256:)?[0-9a-f]{64}$")]


def _to_moment(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, dt.datetime):
        return value if value.tzinfo else value.replace(tzinfo=SHANGHAI)
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day, tzinfo=SHANGHAI)
    return value


Moment = Annotated[dt.datetime, BeforeValidator(_to_moment)]
"""A date (00:00 at UTC+8) or a date and time; always with a time zone once read."""


class Spec(BaseModel):
    """Base of every file model."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = {field.alias or name for name, field in cls.model_fields.items()} | set(cls.model_fields)
            shown = sorted(field.alias or name for name, field in cls.model_fields.items())
            for key in data:
                if key not in known:
                    near = difflib.get_close_matches(str(key), shown, n=1, cutoff=0.0)
                    raise PydanticCustomError(
                        "unknown_key",
                        "unknown key '{key}'; the nearest known key is '{near}'",
                        {"key": str(key), "near": near[0] if near else "none"},
                    )
        return data

    def plain(self) -> dict[str, Any]:
        """JSON-ready form with the names people write; what digests are taken of."""
        return self.model_dump(mode="json", by_alias=True)


class Window(Spec):
    """A half-open interval ``[from, to)``; an absent end is open."""

    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.from_ is not None and self.to is not None and not self.from_ < self.to:
            raise PydanticCustomError("window", "'from' must be earlier than 'to'")
        return self

    def covers(self, moment: dt.datetime) -> bool:
        """Whether ``moment`` lies in ``[from, to)``."""
        return (self.from_ is None or self.from_ <= moment) and (self.to is None or moment < self.to)


SpecT = TypeVar("SpecT", bound=Spec)


def explain_validation(error: ValidationError, file: str) -> InputError:
    """One :class:`InputError` for the first fault pydantic found: file, key and what is wrong, no value."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"]) or "the file"
    what = fault["msg"]
    if fault["type"] == "union_tag_invalid":
        wrong, name = fault["ctx"]["tag"], fault["ctx"]["discriminator"].strip("'")
        known = [tag.strip().strip("'") for tag in fault["ctx"]["expected_tags"].split(",")]
        what = f"unknown {name} '{wrong}'; the nearest is '{difflib.get_close_matches(wrong, known, 1, 0.0)[0]}'"
    more = error.error_count() - 1
    also = f" ({more} more after it)" if more else ""
    return InputError("file.invalid", f"{file}: {place}: {what}{also}.", todo="Correct the key and run again.")


def parse(model: type[SpecT], data: Mapping[str, Any], file: str) -> SpecT:
    """``data`` as ``model``.

    Raises:
        InputError: naming ``file``, the key and the nearest known key; or a version newer than this release knows.
    """
    body = dict(data)
    version = body.pop("version", FILE_VERSION) if "version" not in model.model_fields else FILE_VERSION
    if version != FILE_VERSION:
        raise InputError(
            "file.version",
            f"{file}: version {version} is not known to this release (it reads {FILE_VERSION}).",
            todo="Install a newer xbcompute.",
        )
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise explain_validation(error, file) from None


def read_toml(path: Path, *, shown: str | None = None) -> dict[str, Any]:
    """The tables of a TOML file; an unreadable or malformed one is an :class:`InputError` with its place."""
    name = shown or path.name
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise InputError(
            "file.missing", f"{name}: the file does not exist.", todo="Add it to the study folder."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("file.unreadable", f"{name}: cannot be read as UTF-8 text ({type(error).__name__}).") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError("file.toml", f"{name}: not valid TOML: {error}.") from None
