"""Bucket 5: what makes a value the one that an exception's message asks for."""

from __future__ import annotations

CASTS: tuple[tuple[str, str, str], ...] = (
    (
        "TypeError",
        r"concatenate str|must be str, not|unsupported operand.*'str'|expected str instance|not 'int'|bytes-like",
        "str({}) | int({}) | float({}) | repr({}) | {}.encode() | {}.decode() | ''.join({}) | map(str, {}) | [{}]",
    ),
    (
        "TypeError",
        r"not supported between|must be real number|a number is required|bad operand",
        "int({}) | str({}) | float({}) | len({}) | abs({})",
    ),
    (
        "TypeError",
        r"concatenate list|only concatenate tuple|unsupported operand.*'(?:list|tuple|set|range|map|dict)",
        "[{}] | list({}) | tuple({}) | set({}) | ({},) | len({}) | sum({})",
    ),
    (
        "TypeError",
        r"unsupported operand",
        "int({}) | float({}) | str({}) | len({}) | list({}) | {}()",
    ),
    (
        "TypeError",
        r"not iterable|cannot unpack|must support iteration",
        "[{}] | range({}) | str({}) | {}.items() | ({} or []) | {}() | range(len({})) | list({}) | enumerate({})",
    ),
    (
        "TypeError",
        r"not subscriptable|not a sequence|doesn't support item|does not support item",
        "list({}) | {}() | str({}) | dict({}) | tuple({}) | bytearray({})",
    ),
    (
        "TypeError",
        r"unhashable",
        "tuple({}) | str({}) | frozenset({}) | repr({}) | tuple(sorted({})) | tuple({}.items()) | id({})",
    ),
    (
        "TypeError",
        r"has no len|object of type",
        "list({}) | str({}) | [{}] | ({} or []) | {}()",
    ),
    (
        "TypeError",
        r"indices must be|interpreted as an integer|non-int|integer",
        "int({}) | len({}) | round({}) | range({}) | slice({}) | ord({})",
    ),
    (
        "TypeError",
        r"JSON serializable",
        "str({}) | list({}) | dict({}) | vars({}) | {}.isoformat() | float({})",
    ),
    (
        "ValueError",
        r"invalid literal|could not convert|base 10",
        "float({}) | int(float({})) | {}.strip() | ({} or 0) | {}.replace(',', '') | str({}) | {}.split()[0]",
    ),
    (
        "ValueError",
        r"unpack",
        "{}.items() | enumerate({}) | {}.split() | {}.split(',') | [{}] | {}[:2] | zip({}, {}) | {}.split(' ', 1)",
    ),
    (
        "ValueError",
        r"math domain|negative|non-negative",
        "abs({}) | max({}, 0) | complex({})",
    ),
    (
        "RuntimeError",
        r"changed size",
        "list({}) | {}.copy() | set({})",
    ),
    (
        "AttributeError",
        r"'(?:str|int|float|NoneType)' object",
        "str({}) | ({} or '') | [{}] | list({}) | {{}}",
    ),
    (
        "AttributeError",
        r"'(?:list|tuple|dict|set|generator|map|filter|zip|dict_keys|dict_values)' object",
        "list({}) | set({}) | {}[0] | dict({}) | ''.join({}) | str({})",
    ),
    (
        "AttributeError",
        r"'bytes' object",
        "{}.decode()",
    ),
    (
        "AttributeError",
        r"'(?:function|method|builtin_function_or_method|type)' object",
        "{}()",
    ),
)
"""(exception, pattern of its message, forms of the value in question)."""
