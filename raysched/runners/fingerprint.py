"""What pickled code says, whatever process has pickled it.

Two processes that pickle the same function give different bytes: which equal strings
are one object depends on whether the module was compiled or read from its cache, the
order of a set on the hash seed, and cloudpickle names classes at random. So it is not
the bytes that are hashed but the pickle's operations, with these differences taken out:
the elements of a set are put in the order of what they say, and an object is told where
that order meets it first, which need not be where the pickle does.
"""

from __future__ import annotations

import hashlib
import pickletools
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from typing import TypeAlias, cast

_FRAMING = {"PROTO", "FRAME", "STOP"}
_GET = {"BINGET", "LONG_BINGET"}
_MUTABLE = {"EMPTY_LIST", "EMPTY_DICT", "BYTEARRAY8"}
_CHANGE = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD"}
_IMMUTABLE = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET", "STACK_GLOBAL"}
_DROP = {"POP", "POP_MARK"}

_LONG = 200
"""Text of an immutable value that is longer is told by its hash: it may hold itself many times."""

_DEPTHS = (1, 2, 4, 8, 16, 32)
"""How many objects deep to look for a difference between the elements of a set."""


class _Object:
    """A value that is not the same as an equal one: what makes it, in order."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[_Part]) -> None:
        self.parts = parts


class _Set(_Object):
    """A set, and its elements, in no order."""

    __slots__ = ("elements",)

    def __init__(self, name: str, elements: list[_Part]) -> None:
        super().__init__([name])
        self.elements = elements


_Part: TypeAlias = "str | _Object"
"""A value, as text if an equal one is as good, or an operation on the values before it."""

_Shape = Callable[[_Part, int], str]


def fingerprint(code: bytes) -> str:
    """Return the content hash of pickled code: SHA-256 in hex."""
    return _hash(_told(_read(code)))


def _hash(said: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def _read(code: bytes) -> _Part:
    """Return the pickled value, told instead of made, as the operations build it on a stack."""
    stack: list[_Part] = []
    marks: list[int] = []
    memo: list[_Part] = []
    random_names = _random_names()
    for operation, argument, _ in pickletools.genops(code):
        name = operation.name
        if name in _FRAMING:
            continue
        if name == "MEMOIZE":
            memo.append(stack[-1])
        elif name in _GET:
            stack.append(memo[cast("int", argument)])
        elif name == "MARK":
            marks.append(len(stack))
        elif operation.stack_before:
            taken, to_mark = _reach(name)
            start = (marks.pop() if to_mark else len(stack)) - taken
            values = stack[start:]
            del stack[start:]
            _apply(name, values, stack)
        elif isinstance(argument, str) and argument in random_names:
            stack.append("class")
        else:
            stack.append(_new(name, argument))
    return stack[-1]


def _new(name: str, argument: object) -> _Part:
    if name == "EMPTY_SET":
        return _Set(name, [])
    text = f"{_kind(name)} {argument!r}"
    return _Object([text]) if name in _MUTABLE else text


def _apply(name: str, values: list[_Part], stack: list[_Part]) -> None:
    """Carry an operation out on the values that it has taken from the top of the stack."""
    if name in _CHANGE:
        changed = values[0]
        assert isinstance(changed, _Object)
        changed.parts += values[1:]
        changed.parts.append(name)
        stack.append(changed)
    elif name in _IMMUTABLE and all(isinstance(each, str) for each in values):
        stack.append(_text(name, cast("list[str]", values)))
    elif name == "ADDITEMS":
        changed = values[0]
        assert isinstance(changed, _Set)
        changed.elements += values[1:]
        stack.append(changed)
    elif name == "FROZENSET":
        stack.append(_Set(name, values))
    elif name not in _DROP:
        stack.append(_Object([*values, name]))
    elif name == "POP" and stack:
        _effect(values[0], stack[-1])


def _text(name: str, values: Iterable[str]) -> str:
    text = f"({' '.join(sorted(values) if name == 'FROZENSET' else values)} {name})"
    return text if len(text) <= _LONG else _hash([text])


def _effect(call: _Part, target: _Part) -> None:
    """Add to a value what `setter(value, state)` made of it, whose own result is dropped.

    What else is dropped holds itself: it was met again, and made, while it was being made.
    """
    match call, target:
        case _Object(parts=[_, _Object(parts=[first, *_]), "REDUCE"]), _Object() if first is target:
            target.parts.append(call)


@cache
def _kind(name: str) -> str:
    """Return the operation, without how long its argument is."""
    for kind in ("UNICODE", "BYTES"):
        if name.rstrip("8").endswith(kind):
            return kind
    return name


@cache
def _reach(name: str) -> tuple[int, bool]:
    """Return how many values an operation takes, and whether all above the last mark, too."""
    (before,) = (each.stack_before for each in pickletools.opcodes if each.name == name)
    if pickletools.markobject in before:
        return before.index(pickletools.markobject), True
    return len(before), False


def _random_names() -> set[str]:
    from ray.cloudpickle import cloudpickle

    return set(cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.values())


def _told(value: _Part) -> Iterator[str]:
    """Yield what a value says: an object whole where it is first met, then by its number.

    The elements of sets come last. Two that say the same, as sentinels do, are met outside
    of the set if it matters which is which, and have their numbers then.
    """
    shape = _shapes()
    numbers: dict[_Part, int] = {}
    sets: list[_Set] = []
    yield from _walk([value], numbers, sets)
    for each in sets:  # grows
        yield f"elements of {numbers[each]}"
        yield from _walk(_in_order(each.elements, shape, numbers), numbers, sets)


def _walk(parts: list[_Part], numbers: dict[_Part, int], sets: list[_Set]) -> Iterator[str]:
    ahead: list[Iterator[_Part]] = [iter(parts)]
    while ahead:  # no recursion: values may be nested deeper than that can go
        for part in ahead[-1]:
            if isinstance(part, str):
                yield part
            elif part in numbers:
                yield f"object {numbers[part]}"
            else:
                numbers[part] = len(numbers)
                if isinstance(part, _Set):
                    sets.append(part)
                ahead.append(chain(["("], part.parts, [")"]))
                break
        else:
            ahead.pop()


def _in_order(elements: list[_Part], shape: _Shape, numbers: dict[_Part, int]) -> list[_Part]:
    """Return the elements of a set in an order that hangs on what they say and nothing else."""
    for depth in _DEPTHS:
        if len({shape(each, depth) for each in elements}) == len(elements):
            break
    return sorted(elements, key=lambda each: (shape(each, depth), numbers.get(each, -1)))


def _shapes() -> _Shape:
    """Return a function that tells what a value says down to a depth, in cycles, too."""

    def shape(part: _Part, depth: int) -> str:
        if isinstance(part, str):
            return part
        return of_object(part, depth) if depth else "("

    @cache
    def of_object(value: _Object, depth: int) -> str:
        parts = (shape(each, depth - 1) for each in value.parts)
        elements = value.elements if isinstance(value, _Set) else ()
        return _hash(chain(parts, sorted(shape(each, depth - 1) for each in elements)))

    return shape
