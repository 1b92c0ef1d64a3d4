"""Messages between a run and the devices that share its steps: a few numbers by name, and arrays.

A message is four bytes that say how long its head is, the head in JSON, the arrays' bytes, and a
seal over all of that: HMAC-SHA256 with a key that the run draws when it begins. Nothing in it is
code, and nothing of it is used before the seal, the names, the types and the shapes are checked. So
whoever does not have the key can neither alter a message nor send one of his own, and an old one
does not pass for a new one, because its head says what it answers.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tools.forms import COUNT, misfit

__all__ = ["SEAL_BYTES", "MessageError", "seal", "unseal"]

SEAL_BYTES = 32
"""Bytes of a message's seal."""
_LENGTH_BYTES = 4
_TYPES = {"i4": 4, "u4": 4, "i6": 6, "f8": 8}
"""Bytes of a number of each type; i6 are the 48 bits of a gradient accumulator."""
_FORM = {"head": dict, "arrays": [{"name": str, "type": str, "shape": [COUNT]}]}


class MessageError(ValueError):
    """A message is not what was asked for, or was altered; it says how."""


def seal(key: bytes, head: Mapping[str, Any], arrays: Mapping[str, tuple[str, NDArray[Any]]]) -> bytes:
    """Returns a sealed message of a head and arrays.

    :param key: the run's.
    :param head: whatever JSON can hold.
    :param arrays: arrays by name, each with the type that its numbers travel in: ``i4``, ``u4``,
        ``i6`` (whole numbers of so many bytes) or ``f8``.
    """
    table = [{"name": name, "type": kind, "shape": list(values.shape)} for name, (kind, values) in arrays.items()]
    text = json.dumps({"head": head, "arrays": table}).encode()
    content = b"".join(
        (len(text).to_bytes(_LENGTH_BYTES, "little"), text, *(_encode(*each) for each in arrays.values()))
    )
    return content + _seal(key, content)


def unseal(key: bytes, message: object, form: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Returns the head and the arrays of a message.

    :param form: of the head, in the terms of :func:`~dither.tools.forms.misfit`.
    :returns: the head, and the arrays as int64 or float64.
    :raises MessageError: if the message was altered, was sealed with another key, or is of another
        form.
    """
    if not isinstance(message, bytes) or len(message) < SEAL_BYTES + _LENGTH_BYTES:
        raise MessageError("it is no message")
    content, found = message[:-SEAL_BYTES], message[-SEAL_BYTES:]
    if not hmac.compare_digest(found, _seal(key, content)):
        raise MessageError("its seal does not match its content")
    behind = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    try:
        said = json.loads(content[_LENGTH_BYTES:behind])
    except (ValueError, RecursionError):
        raise MessageError("its head cannot be read") from None
    if trouble := misfit(said, _FORM) or misfit(said["head"], dict(form)):
        raise MessageError(trouble)
    arrays: dict[str, NDArray[Any]] = {}
    for each in said["arrays"]:
        if each["type"] not in _TYPES:
            raise MessageError(f"{each['name']} is of an unknown type")
        size = math.prod(each["shape"]) * _TYPES[each["type"]]
        if behind + size > len(content):
            raise MessageError(f"{each['name']} is cut off")
        try:
            arrays[each["name"]] = _decode(each["type"], content[behind : behind + size]).reshape(each["shape"])
        except (ValueError, OverflowError):
            raise MessageError(f"{each['name']} is of an impossible shape") from None
        behind += size
    if behind != len(content):
        raise MessageError("there are bytes behind its arrays")
    return said["head"], arrays


def _seal(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, hashlib.sha256)


def _encode(kind: str, values: NDArray[Any]) -> bytes:
    if kind != "i6":
        return np.ascontiguousarray(values, f"<{kind}").tobytes()
    return np.ascontiguousarray(values, "<i8").view(np.uint8).reshape(-1, 8)[:, :6].tobytes()


def _decode(kind: str, content: bytes) -> NDArray[Any]:
    if kind == "f8":
        return np.frombuffer(content, "<f8").astype(np.float64)
    if kind != "i6":
        return np.frombuffer(content, f"<{kind}").astype(np.int64)
    wide = np.zeros((len(content) // 6, 8), np.uint8)
    wide[:, 2:] = np.frombuffer(content, np.uint8).reshape(-1, 6)
    # The highest bit becomes the sign, and the shift back brings it down.
    return wide.view("<i8")[:, 0].astype(np.int64) >> 16
