"""nacelle.h: what it promises of each function, and structs of other ages than the library's."""

import ctypes
import re
from pathlib import Path

import pytest
from conftest import ROOT

HEADER = (ROOT / "shm" / "nacelle.h").read_text()
FILL = 0xA5  # of memory that the library must leave alone
SIZE_BYTES = 4  # every versioned struct begins with its size


def undocumented(header: str) -> set[str]:
    """The functions whose comment does not speak of threads and of ownership."""
    function = r"(/\*(?:(?!\*/).)*\*/\n)?^NACELLE_API [^(]*?(nacelle_\w+)\("
    found = re.findall(function, header, re.DOTALL | re.MULTILINE)
    assert len(found) == len(re.findall(r"^NACELLE_API ", header, re.MULTILINE))
    words = (r"\bThreads\b", r"\b[Oo]wnership: ")
    return {name for comment, name in found if not all(re.search(w, comment) for w in words)}


def test_every_function_says_who_may_call_it_and_who_owns_what():
    assert undocumented(HEADER) == set()
    # And a function that does not say so would be found.
    less = HEADER.replace(" * Threads: any number may call it", " * Call it")
    assert undocumented(less) == {"nacelle_connect"}
    assert undocumented(HEADER + "\nNACELLE_API int nacelle_more(void);\n") == {"nacelle_more"}


class Versioned:
    """A struct of `size` bytes as a program of another age has it, with memory around it."""

    def __init__(self, size: int, room: int = 1024) -> None:
        self.memory = (ctypes.c_ubyte * room)(*[FILL] * room)
        ctypes.c_uint32.from_buffer(self.memory).value = size
        self.size = size

    @property
    def untouched(self) -> bool:
        return all(byte == FILL for byte in bytes(self.memory)[max(self.size, SIZE_BYTES) :])

    def number(self, offset: int) -> int:
        return ctypes.c_uint32.from_buffer(self.memory, offset).value


@pytest.fixture
def library(build: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(build / "lib" / "libnacelle.so"))
    library.nacelle_error.restype = ctypes.c_char_p
    return library


@pytest.fixture
def client(library: ctypes.CDLL, nacelled):
    nacelled.start()

    class Options(ctypes.Structure):  # of a program that is newer than the library
        _fields_ = [
            ("size", ctypes.c_uint32),
            ("connect_timeout_ms", ctypes.c_uint32),
            ("socket", ctypes.c_char_p),
            ("name", ctypes.c_char_p),
            ("of_the_future", ctypes.c_uint64 * 8),
        ]

    options = Options(ctypes.sizeof(Options), 60_000, str(nacelled.socket).encode())
    options.of_the_future[:] = [2**64 - 1] * 8
    client = ctypes.c_void_p()
    status = library.nacelle_connect(ctypes.byref(options), ctypes.byref(client))
    assert status == 0, library.nacelle_error()
    yield client
    library.nacelle_close(client)


# Offsets in nacelle_description: embed_width at 4, labels at 8, windows_max at 160; 168 bytes in all,
# 152 of which the first version had.
@pytest.mark.parametrize("size", [0, SIZE_BYTES, 8, 12, 100, 150, 152, 160, 164, 168, 512])
def test_a_description_is_written_as_far_as_the_caller_has_it(library, client, size: int):
    description = Versioned(size)
    assert library.nacelle_describe(client, b"sentiment", description.memory) == 0
    assert description.number(0) == size
    assert description.untouched
    assert (description.number(4) == 128) == (size >= 8)
    assert (description.number(8) == 2) == (size >= 12)
    assert (description.number(160) == 128) == (size >= 164)


@pytest.mark.parametrize("size", [0, SIZE_BYTES, 12, 20, 32, 512])
def test_a_report_is_written_as_far_as_the_caller_has_it(library, client, size: int):
    text = ctypes.create_string_buffer(b"a film")
    table = (ctypes.c_uint64 * 2)(ctypes.addressof(text), 6)  # a nacelle_text
    report, call = Versioned(size), Versioned(SIZE_BYTES)  # a call without even a timeout
    scores = (ctypes.c_float * 2)()
    status = library.nacelle_classify(
        client,
        b"sentiment",
        table,
        ctypes.c_size_t(1),
        call.memory,
        scores,
        ctypes.c_size_t(2),
        None,
        report.memory,
    )
    assert status == 0, library.nacelle_error()
    assert report.number(0) == size
    assert report.untouched
    assert (report.number(16) == 1) == (size >= 20)  # batch_texts


def classify(library, client, call) -> tuple[int, list[float]]:
    text = ctypes.create_string_buffer(b"a film")
    table = (ctypes.c_uint64 * 2)(ctypes.addressof(text), 6)
    scores = (ctypes.c_float * 2)()
    count = ctypes.c_size_t
    status = library.nacelle_classify(
        client, b"sentiment", table, count(1), call, scores, count(2), None, None
    )
    return status, list(scores)


# Offsets in nacelle_call: function at 28; 56 bytes, 16 of which the first version had.
@pytest.mark.parametrize("size", [0, SIZE_BYTES, 16, 28, 32, 40, 56, 512])
def test_a_call_is_read_as_far_as_the_caller_has_it(library, client, size: int):
    memory = (ctypes.c_ubyte * 1024)()
    numbers = (ctypes.c_uint32 * 256).from_buffer(memory)
    numbers[0], numbers[7] = size, 3  # NACELLE_RAW
    if size > 56:
        memory[56:] = [FILL] * (1024 - 56)
    status, scores = classify(library, client, memory)
    assert status == 0, library.nacelle_error()
    assert (abs(sum(scores) - 1) > 1e-3) == (size >= 32), "logits do not sum to 1"


def test_numbers_that_mean_nothing_are_refused(library, client):
    for field, name in ((4, "dtype"), (6, "normalize"), (7, "function"), (8, "long_input")):
        call = (ctypes.c_uint32 * 14)(56)
        call[field] = 5
        status, _ = classify(library, client, call)
        assert status == 1
        assert f"{name} is 5; this library knows 0 to" in library.nacelle_error().decode()


def test_the_best_come_sorted(library):
    library.nacelle_best.restype = ctypes.c_size_t
    scores = (ctypes.c_float * 5)(1, 3, float("nan"), 3, 2)
    best = (ctypes.c_uint32 * 6)(*[FILL] * 6)
    size = ctypes.c_size_t
    assert library.nacelle_best(scores, size(5), best, size(2)) == 2
    assert list(best) == [1, 3, *[FILL] * 4]
    assert library.nacelle_best(scores, size(5), best, size(2**40)) == 4
    assert list(best) == [1, 3, 4, 0, FILL, FILL]
    assert library.nacelle_best(scores, size(5), best, size(0)) == 0
    assert library.nacelle_best(None, size(5), best, size(1)) == 0
