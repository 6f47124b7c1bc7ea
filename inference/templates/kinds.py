"""What calls and methods tell about the kind of a value: num, str, list, dict, set, tuple, bool, view, range, iter, seq."""

from __future__ import annotations

import builtins

BUILTINS = frozenset(dir(builtins))
NUMBER_CALLS = frozenset("len int float sum abs round pow ord hash id divmod".split())
STRING_METHODS = frozenset(
    "lower upper strip lstrip rstrip title capitalize replace join format swapcase zfill center ljust rjust casefold splitlines "
    "startswith endswith isdigit isalpha isupper islower encode split".split()
)
METHOD_KINDS = (
    dict.fromkeys(STRING_METHODS, "str")
    | {"append": "list", "extend": "list", "sort": "list", "insert": "list"}
    | {"items": "dict", "keys": "dict", "values": "dict", "get": "dict", "setdefault": "dict"}
    | {"add": "set", "discard": "set", "union": "set", "difference": "set", "intersection": "set"}
)
RESULT_KINDS = (
    dict.fromkeys("lower upper strip lstrip rstrip title capitalize replace join format swapcase zfill".split(), "str")
    | {"split": "list", "splitlines": "list", "startswith": "bool", "endswith": "bool", "isdigit": "bool", "isalpha": "bool"}
    | {"count": "num", "index": "num", "find": "num", "rfind": "num", "items": "view", "keys": "view", "values": "view"}
)
CALL_KINDS = (
    dict.fromkeys(NUMBER_CALLS, "num")
    | {"str": "str", "repr": "str", "chr": "str", "bin": "str", "hex": "str", "input": "str", "list": "list", "sorted": "list"}
    | {"dict": "dict", "set": "set", "frozenset": "set", "tuple": "tuple", "bool": "bool", "any": "bool", "all": "bool"}
    | {"isinstance": "bool", "hasattr": "bool", "callable": "bool", "range": "range", "enumerate": "iter", "zip": "iter", "map": "iter"}
)
SEQUENCES = frozenset({"list", "str", "tuple", "seq", "range"})
SIZED = SEQUENCES | {"dict", "set"}
