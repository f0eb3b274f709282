"""A bad request is refused, by name, and harms nobody: not the sidecar, and no request beside it.

These are the mistakes and the malice of applications that use the library, against the real program
with a real model; tests/hostile has those that write what they like into the shared memory. The
dice have a seed. NACELLE_BAD_REQUESTS sets another number of requests, such as the 100,000 of a
campaign.
"""

import json
import os
import random
import threading

import nacelle
import numpy
import pytest

SEED = 20
REQUESTS = int(os.environ.get("NACELLE_BAD_REQUESTS", "1200"))
THREADS = 4
TEXT_BYTES_MAX = 20_000
ITEMS_MAX = 64
LIMITS = f"limits: {{text_bytes_max: {TEXT_BYTES_MAX}, items_max: {ITEMS_MAX}, windows_max: 4}}\n"
GOOD = "정말 재미있는 영화"


def noise(dice: random.Random, most: int) -> str:
    """Any characters: controls, marks that combine, private ones, other planes, halves of pairs."""
    planes = ((0, 0x20), (0x300, 0x370), (0xAC00, 0xD7A4), (0xD800, 0xE000), (0xE000, 0xF900),
              (0xFE00, 0x10000), (0x1F300, 0x1FA00), (0x10FF00, 0x110000))
    return "".join(chr(dice.randrange(*dice.choice(planes))) for _ in range(dice.randrange(most)))


def half_a_pair(dice: random.Random) -> str:
    return noise(dice, 50) + chr(dice.randrange(0xD800, 0xDC00)) + "x"


def bad_text_among_good(engine, dice, good):
    vectors, report = engine.embed("sentiment", [GOOD, half_a_pair(dice), GOOD], on_error="return",
                                   report=True)
    assert numpy.array_equal(vectors[[0, 2]], [good, good])
    assert numpy.isnan(vectors[1]).all()
    assert set(report.errors) == {1}
    raise report.errors[1]


def long_text_rejected_among_good(engine, dice, good):
    long = "영화 " * dice.randrange(200, 900)
    vectors, report = engine.embed("sentiment", [GOOD, long], on_error="return", report=True,
                                   long_input="reject")
    assert numpy.array_equal(vectors[0], good)
    raise report.errors[1]


# What is asked, and the class of the refusal.
BAD = [
    (nacelle.InvalidInput, bad_text_among_good),
    (nacelle.TooLarge, long_text_rejected_among_good),
    (nacelle.InvalidInput, lambda e, d, _: e.classify("sentiment", ["fine", half_a_pair(d)])),
    (nacelle.TooLarge, lambda e, d, _: e.embed("sentiment", "x" * (TEXT_BYTES_MAX
                                                                   + d.randrange(1, 9999)))),
    (nacelle.TooLarge, lambda e, d, _: e.embed("sentiment", ["a b " * d.randrange(600, 4000)],
                                               long_input="chunk_mean")),
    (nacelle.NotFound, lambda e, d, _: e.embed(f"service-{d.random()}", GOOD)),
    (nacelle.NotFound, lambda e, d, _: e.embed("sentiment", GOOD, prompt_name=f"p{d.random()}")),
    (nacelle.InvalidInput, lambda e, d, _: e.embed("sentiment", GOOD,
                                                   dimensions=d.randrange(129, 1 << 31))),
    (nacelle.InvalidInput, lambda e, d, _: e.rerank("sentiment", "query", ["document"])),
    (nacelle.InvalidInput, lambda e, d, _: e.embed("sentiment", [])),
    (nacelle.TooLarge, lambda e, d, _: e.embed("sentiment", GOOD,
                                               prompt="p" * d.randrange(4097, 9999))),
]


def odd_but_right(engine, dice):
    """Strange, and to be answered: any characters but halves of pairs, and long lists."""
    count = dice.randrange(1, 99)
    texts = [noise(dice, 60).encode("utf-8", "replace").decode() for _ in range(count)]
    vectors = engine.embed("sentiment", texts)
    assert vectors.shape == (len(texts), 128)
    assert numpy.isfinite(vectors).all()


def abuse(engine, dice, count, good, refused):
    for _ in range(count):
        which = dice.randrange(len(BAD) + 2)
        if which == len(BAD):
            assert numpy.array_equal(engine.embed("sentiment", GOOD), good)
        elif which > len(BAD):
            odd_but_right(engine, dice)
        else:
            expected, ask = BAD[which]
            with pytest.raises(expected):
                ask(engine, dice, good)
            refused[which] += 1


def test_no_bad_request_ends_the_sidecar_or_touches_a_good_one(nacelled):
    nacelled.start(more=LIMITS)
    wrong = []
    refused = [[0] * len(BAD) for _ in range(THREADS)]
    with nacelle.connect(str(nacelled.socket)) as engine:
        good = engine.embed("sentiment", GOOD)

        def work(number):
            try:
                abuse(engine, random.Random(SEED * 100 + number), REQUESTS // THREADS, good,
                      refused[number])
            except BaseException as error:  # told by the main thread
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, f"seed {SEED}: {wrong[0]!r}"
        assert all(map(sum, zip(*refused))), "a kind was never asked"
        assert numpy.array_equal(engine.embed("sentiment", GOOD), good)
        status = json.loads(nacelled.ctl("--json", "status").stdout)
        assert status["clients"][0]["in_flight"] == 0
    assert nacelled.process.poll() is None
    assert (status["pid"], status["state"]) == (nacelled.process.pid, "serving")
    assert (status["violations"], status["totals"]["rescued_by_timeout"]) == ([], 0)
    assert nacelled.stop() == 0
