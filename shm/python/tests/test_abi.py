"""The structs of _native.py are those of nacelle.h, as a C compiler lays them out."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import numpy as np
from conftest import SOURCE_TREE

from nacelle import Code, _native, options

STRUCTS: dict[str, Any] = {
    "nacelle_options": _native.Options,
    "nacelle_text": _native.TEXT,
    "nacelle_call": _native.Call,
    "nacelle_item": _native.ITEM,
    "nacelle_report": _native.Report,
    "nacelle_description": _native.Description,
}


def layout_in_c(knobs: ctypes.CDLL) -> dict[str, tuple[int, int]]:
    layout: dict[str, tuple[int, int]] = {}
    name, first, second = ctypes.c_char_p(), ctypes.c_size_t(), ctypes.c_size_t()
    while knobs.double_layout(
        len(layout), ctypes.byref(name), ctypes.byref(first), ctypes.byref(second)
    ):
        layout[(name.value or b"").decode()] = (first.value, second.value)
    return layout


def layout_in_python() -> dict[str, tuple[int, int]]:
    layout: dict[str, tuple[int, int]] = {}
    for name, struct in STRUCTS.items():
        if isinstance(struct, np.dtype):
            layout[name] = (struct.itemsize, 0)
            for field, (kind, offset, *_) in (struct.fields or {}).items():
                layout[f"{name}.{field}"] = (offset, kind.itemsize)
        else:
            layout[name] = (ctypes.sizeof(struct), 0)
            for field, *_ in struct._fields_:
                at = getattr(struct, field)
                layout[f"{name}.{field}"] = (at.offset, at.size)
    return layout


def test_every_struct_has_the_size_and_offsets_that_a_c_compiler_gives_it(
    knobs: ctypes.CDLL,
) -> None:
    assert layout_in_python() == layout_in_c(knobs)


def test_every_status_has_the_number_that_the_header_gives_it() -> None:
    numbers = enum_in_c("nacelle_status")
    assert {code.name: code.value for code in Code} == numbers
    assert len(numbers) >= 12


def test_every_option_has_the_number_that_the_header_gives_it() -> None:
    assert list(enum_in_c("nacelle_dtype")) == [name.upper() for name in options.DTYPES]
    assert [name.lower() for name in enum_in_c("nacelle_long_input")] == [
        "long_service",
        *options.LONG_INPUTS[1:],
    ]
    assert list(enum_in_c("nacelle_function")) == ["FUNCTION_MODEL", "SOFTMAX", "SIGMOID", "RAW"]
    assert list(enum_in_c("nacelle_normalize").values()) == [0, 1, 2]


def enum_in_c(name: str) -> dict[str, int]:
    """An enum's constants, which count up from 0."""
    header = (SOURCE_TREE / "shm" / "nacelle.h").read_text()
    (body,) = re.findall(rf"^typedef enum {name} {{(.*?)^}} {name};", header, re.M | re.S)
    constants = re.findall(r"^ *NACELLE_(\w+) = (\d+)", body, re.M)
    assert [int(number) for _, number in constants] == list(range(len(constants)))
    return {constant: int(number) for constant, number in constants}


def test_every_function_of_the_header_is_known() -> None:
    header = (SOURCE_TREE / "shm" / "nacelle.h").read_text()
    declared = set(re.findall(r"^NACELLE_API [^(]*\b(nacelle_\w+)\(", header, re.M))
    assert declared == set(_native._FUNCTIONS)


def test_every_function_takes_what_the_header_says() -> None:
    """By kind: a pointer, an integer of a size, nothing."""
    header = (SOURCE_TREE / "shm" / "nacelle.h").read_text()
    declarations = re.findall(r"^NACELLE_API ([^;(]*)\b(nacelle_\w+)\(([^)]*)\);", header, re.M)
    kinds_in_c = {
        name: [kind_in_c(part) for part in (returns, *arguments.split(","))]
        for returns, name, arguments in declarations
    }
    kinds_in_python = {
        name: [kind_in_python(part) for part in (returns, *(takes or [None]))]
        for name, (returns, takes) in _native._FUNCTIONS.items()
    }
    assert kinds_in_python == kinds_in_c


def kind_in_c(declaration: str) -> str:
    if "*" in declaration:
        return "pointer"
    words = declaration.split()
    (kind,) = {"void", "int", "size_t", "uint32_t", "nacelle_status"} & set(words)
    return {"nacelle_status": "int"}.get(kind, kind)


def kind_in_python(kind: Any) -> str:
    plain = {
        None: "void",
        ctypes.c_int: "int",
        ctypes.c_size_t: "size_t",
        ctypes.c_uint32: "uint32_t",
    }
    return plain.get(kind, "pointer")
