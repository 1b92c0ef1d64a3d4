"""What JSON from a file must look like, as data, and what is wrong with a value that does not."""

from __future__ import annotations

from typing import Any

__all__ = ["COUNT", "POSITIVE", "misfit"]

COUNT = range(1 << 63)
"""Form of whole numbers from 0 on."""
POSITIVE = range(1, 1 << 63)
"""Form of whole numbers from 1 on."""
_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


def misfit(value: Any, form: Any, name: str = "") -> str | None:
    """Returns what is wrong with a value, in a few words; None if nothing is.

    :param name: of the value, which the words begin with.
    :param form: a type of JSON (``float`` takes any number, ``str`` what UTF-8 can hold); a range
        of whole numbers; None; a tuple of forms, one of which must fit; a list with the form of all
        elements; a dictionary with forms by key, where a key ending in ``?`` may be missing, other
        keys may be there besides, and the key ``str`` stands for any.
    """
    if isinstance(form, tuple):
        return None if any(misfit(value, each, name) is None for each in form) else f"{name} cannot be {_shown(value)}"
    if form is None:
        return None if value is None else f"{name} must be null, not {_shown(value)}"
    if isinstance(form, range):
        good = type(value) is int and value in form
        return None if good else f"{name} must be a whole number from {form.start} on, not {_shown(value)}"
    kind = type(form) if isinstance(form, (dict, list)) else form
    good = type(value) in (int, float) if kind is float else type(value) is kind
    if kind is str and good:
        good = not any("\ud800" <= character <= "\udfff" for character in value)
    if not good:
        return f"{name or 'it'} must be {_NAMES[kind]}, not {_shown(value)}"
    inner = f"{name}." if name else ""
    if isinstance(form, list):
        parts = [(each, form[0], f"{name}[{number}]") for number, each in enumerate(value)]
    elif isinstance(form, dict):
        if str in form:
            parts = [(each, form[str], f"{inner}{key}") for key, each in value.items()]
        else:
            keys = {key: key.removesuffix("?") for key in form}
            missing = [name for key, name in keys.items() if key == name and name not in value]
            if missing:
                return f"{inner}{missing[0]} is missing"
            parts = [(value[key], form[mark], f"{inner}{key}") for mark, key in keys.items() if key in value]
    else:
        parts = []
    return next((said for part in parts if (said := misfit(*part))), None)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:36]} ..."
