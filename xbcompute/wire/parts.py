"""The outer layer of a wire message: length-delimited parts in a fixed order, read without copying.

Frames and messages are protobuf, but their bulk (payload, array data) is joined and split here by hand: protobuf's own
Python code would copy every megabyte twice more.
"""

from __future__ import annotations

from xbcompute.core.errors import IntegrityError

LENGTH_MAX = (1 << 35) - 1
"""Greatest length that five bytes of a varint hold."""


def varint(number: int) -> bytes:
    """``number`` (0 or more) as a protobuf varint of the fewest bytes."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def opening(field: int, length: int) -> bytes:
    """Tag and length that precede the ``length`` bytes of part ``field`` (1 to 15)."""
    return bytes((field << 3 | 2,)) + varint(length)


def split(data: memoryview, fields: tuple[int, ...], *, what: str) -> list[memoryview]:
    """The parts of ``data``, one for each of ``fields``, as views.

    Raises:
        IntegrityError: unless ``data`` is exactly these parts in this order, with shortest lengths and nothing after.
    """
    views: list[memoryview] = []
    at = 0
    for field in fields:
        if at >= len(data) or data[at] != field << 3 | 2:
            raise IntegrityError("wire.part", f"{what}: part {field} is missing or another part stands in its place.")
        length, at = _length(data, at + 1, what)
        if length > len(data) - at:
            raise IntegrityError("wire.cut", f"{what}: part {field} is cut short.")
        views.append(data[at : at + length])
        at += length
    if at != len(data):
        raise IntegrityError("wire.trailing", f"{what}: bytes follow its end.")
    return views


def _length(data: memoryview, at: int, what: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                break
            return value, at
    raise IntegrityError("wire.length", f"{what}: a length is cut, too long or not in its shortest form.")
