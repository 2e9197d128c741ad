"""Pickles of plain values, loaded by Python's own unpickler, which Ren'Py uses too.

Nothing is imported and no function of a module is called: the names that a pickle may refer to stand
for functions of ours ("Restricting Globals" in Python's documentation of pickle). Python 3 calls
these two functions where it writes bytes for Python 2.
"""

from __future__ import annotations

import io
import pickle


class _Encode:
    """`_codecs.encode` for Latin-1. An instance has no attributes that a pickle could set."""

    __slots__ = ()

    def __call__(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise ValueError("an unusual encoding")
        return text.encode("latin-1")


class _EmptyBytes:
    """`bytes` without arguments."""

    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


_FUNCTIONS = {
    ("_codecs", "encode"): _Encode(),
    ("__builtin__", "bytes"): _EmptyBytes(),
    ("builtins", "bytes"): _EmptyBytes(),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> object:
        return _FUNCTIONS[module, name]


def loads(data: bytes) -> object:
    """Load a pickle of protocol 0 to 5; a `str` of Python 2 becomes bytes.

    Raise ValueError if it is damaged or refers to anything else than plain values.
    """
    try:
        return _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except MemoryError:
        raise
    except Exception as error:  # pickle documents no complete list
        raise ValueError("a pickle that is damaged or has more than plain values") from error
