"""A value that does not print, compare, format or travel."""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar

from xbcompute.core.errors import IntegrityError

T = TypeVar("T")


class Secret(Generic[T]):
    """Holds a secret; only :meth:`expose` gives it back, so every use can be found by name."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def expose(self) -> T:
        """The secret itself. Call it as late as possible and store the answer nowhere."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        raise IntegrityError("secret.format", "a secret was about to be formatted.")

    def __eq__(self, other: object) -> NoReturn:
        raise IntegrityError("secret.compare", "a secret was about to be compared.", todo="Use hmac.compare_digest.")

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise IntegrityError("secret.pickle", "a secret was about to be serialised.")
