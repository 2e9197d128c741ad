"""Pickles of plain values, decoded without Python's pickle, which runs what a pickle tells it to.

Numbers, strings, bytes, lists, tuples and dicts are made (pickletools describes the operations), and
bytes as Python 3 writes them for Python 2: by a call of `_codecs.encode` or of `bytes`. Nothing else
is called, and nothing recurses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

Value = None | bool | int | str | bytes | list["Value"] | tuple["Value", ...] | dict["Key", "Value"]
Key = None | bool | int | str | bytes
"""Tuples are no keys: Python's hash of them recurses."""


class _Function(Enum):
    """What a pickle may call."""

    ENCODE = b"_codecs encode"
    BYTES = b"__builtin__ bytes"


_Item = Value | _Function

_DECIMAL = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_QUOTED = re.compile(rb"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)")
_ESCAPES = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def loads(data: bytes) -> Value:
    """Decode a pickle of protocol 0 to 5; a `str` of Python 2 is bytes.

    Raise ValueError if it is damaged or holds anything but plain values.
    """
    decoder = _Decoder(data)
    try:
        return decoder.run()
    except LookupError as error:
        raise ValueError("a damaged pickle") from error


def _decimal(line: bytes) -> int:
    if _DECIMAL.fullmatch(line) is None:
        raise ValueError("an unusual number in a pickle")
    return int(line)


def _integer(line: bytes) -> int:
    return {b"00": False, b"01": True}[line] if line in {b"00", b"01"} else _decimal(line)


def _quoted(line: bytes) -> bytes:
    match = _QUOTED.fullmatch(line)
    if match is None:
        raise ValueError("an unusual string in a pickle")
    return _ESCAPE.sub(_unescaped, match[1] or match[2] or b"")


def _unescaped(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return bytes([int(escape[1:], 16)]) if len(escape) > 1 else _ESCAPES[escape]


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _unsigned(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


_MADE: dict[bytes, Callable[[], Value]] = {
    b"N": lambda: None,
    b"\x88": lambda: True,
    b"\x89": lambda: False,
    b"]": list,
    b")": tuple,
    b"}": dict,
}
_LINES: dict[bytes, Callable[[bytes], Value]] = {
    b"I": _integer,
    b"L": lambda line: _decimal(line.removesuffix(b"L")),
    b"S": _quoted,
    b"V": lambda line: line.decode("raw-unicode-escape"),
}
_FIXED: dict[bytes, tuple[int, Callable[[bytes], Value]]] = {
    b"J": (4, _signed),
    b"K": (1, _unsigned),
    b"M": (2, _unsigned),
}
# The bytes of the length that stands in front, and what is made.
_COUNTED: dict[bytes, tuple[int, Callable[[bytes], Value]]] = {
    b"T": (4, bytes),
    b"U": (1, bytes),
    b"B": (4, bytes),
    b"C": (1, bytes),
    b"\x8e": (8, bytes),
    b"X": (4, _text),
    b"\x8c": (1, _text),
    b"\x8d": (8, _text),
    b"\x8a": (1, _signed),
    b"\x8b": (4, _signed),
}


class _Decoder:
    """The machine that a pickle is a program for."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._encoded = 0
        self._stack: list[_Item] = []
        self._marked: list[list[_Item]] = []
        self._memo: dict[int, _Item] = {}
        self._operations: dict[bytes, Callable[[], None]] = {
            b"(": self._mark,
            b"0": self._drop,
            b"1": lambda: self._to_mark().clear(),
            b"2": lambda: self._push(self._stack[-1]),
            b"a": lambda: self._extend([self._pop()]),
            b"e": lambda: self._extend(self._to_mark()),
            b"s": lambda: self._set([self._pop(), self._pop()][::-1]),
            b"u": lambda: self._set(self._to_mark()),
            b"l": lambda: self._push(self._to_mark()),
            b"t": lambda: self._push(tuple(self._to_mark())),
            b"d": self._dict,
            b"c": self._global,
            b"R": self._reduce,
            b"p": lambda: self._put(_decimal(self._line())),
            b"q": lambda: self._put(_unsigned(self._bytes(1))),
            b"r": lambda: self._put(_unsigned(self._bytes(4))),
            b"\x94": lambda: self._put(len(self._memo)),
            b"g": lambda: self._get(_decimal(self._line())),
            b"h": lambda: self._get(_unsigned(self._bytes(1))),
            b"j": lambda: self._get(_unsigned(self._bytes(4))),
            b"\x85": lambda: self._tuple(1),
            b"\x86": lambda: self._tuple(2),
            b"\x87": lambda: self._tuple(3),
            b"\x80": lambda: self._skip(1),  # the protocol's number
            b"\x95": lambda: self._skip(8),  # the length of a frame
        }

    def run(self) -> Value:
        """Run up to the end. Raise ValueError or LookupError if that can't be done."""
        while (code := self._bytes(1)) != b".":
            if code in _MADE:
                self._push(_MADE[code]())
            elif code in _LINES:
                self._push(_LINES[code](self._line()))
            elif code in _FIXED:
                width, make = _FIXED[code]
                self._push(make(self._bytes(width)))
            elif code in _COUNTED:
                width, make = _COUNTED[code]
                self._push(make(self._bytes(_unsigned(self._bytes(width)))))
            elif code in self._operations:
                self._operations[code]()
            else:
                raise ValueError(f"a pickle with the operation {code!r}")
        return self._pop()

    def _bytes(self, size: int) -> bytes:
        begin, self._position = self._position, self._position + size
        if self._position > len(self._data):
            raise ValueError("a pickle that is cut short")
        return self._data[begin : self._position]

    def _skip(self, size: int) -> None:
        self._bytes(size)

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self._position)
        if end < 0:
            raise ValueError("a pickle that is cut short")
        return self._bytes(end + 1 - self._position)[:-1]

    # The stack.

    def _push(self, item: _Item) -> None:
        self._stack.append(item)

    def _pop(self) -> Value:
        return _value(self._stack.pop())

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _to_mark(self) -> list[Value]:
        items, self._stack = self._stack, self._marked.pop()
        return [_value(item) for item in items]

    def _drop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._stack = self._marked.pop()

    def _put(self, number: int) -> None:
        self._memo[number] = self._stack[-1]

    def _get(self, number: int) -> None:
        self._push(self._memo[number])

    # What is made of the stack.

    def _tuple(self, size: int) -> None:
        parts = [self._pop() for _ in range(size)]
        self._push(tuple(reversed(parts)))

    def _extend(self, values: list[Value]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise ValueError("a pickle that appends to no list")  # noqa: TRY004 - damage, no bug
        target.extend(values)

    def _set(self, values: list[Value]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError("a pickle that sets no item of a dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not (key is None or isinstance(key, int | str | bytes)):
                raise ValueError("a pickle with an unusual key")
            target[key] = value

    def _dict(self) -> None:
        values = self._to_mark()
        self._push({})
        self._set(values)

    def _global(self) -> None:
        module, name = self._line(), self._line()
        self._push(_Function(module.replace(b"builtins", b"__builtin__") + b" " + name))

    def _reduce(self) -> None:
        """Call a function, the only ones that there are."""
        arguments, function = self._pop(), self._stack.pop()
        match function, arguments:
            case _Function.ENCODE, (str(text), "latin1"):
                self._encoded += len(text)
                if self._encoded > len(self._data):  # the same text again and again
                    raise ValueError("a pickle that makes more bytes than it has")
                self._push(text.encode("latin-1"))
            case _Function.BYTES, ():
                self._push(b"")
            case _:
                raise ValueError("a pickle that calls a function")


def _value(item: _Item) -> Value:
    if isinstance(item, _Function):
        raise ValueError("a pickle with a function in it")  # noqa: TRY004 - damage, no bug
    return item
