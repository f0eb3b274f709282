"""What the masters of preforking servers and their children do here with one Nacelle client.

Importing this makes the client and uses it: so it must be the master that imports it, before it
forks. A child then calls work(), which asks through the same object and compares every answer with
what the question says it must be, so an answer to another's question is always seen.
"""

from __future__ import annotations

import os
import random

import numpy as np

import nacelle

MASTER = os.getpid()
SERVICE = "sentiment"
TEXTS = [f"{n}번째 영화, 정말 {'재미있어요' if n % 2 else '지루해요'}" for n in range(64)]
PING_BYTES_MAX = 5000  # so that some payloads fit in a slot and some take the arena
# Of so many calls one embeds, one classifies, and the others ping.
CALLS_PER_EMBED = 20

client = nacelle.connect(name="preforked", connect_timeout=60)
vectors = client.embed(SERVICE, TEXTS)
labels = client.classify(SERVICE, TEXTS)
# A wrong row can only be seen when no two are alike.
assert len({row.tobytes() for row in vectors}) == len(TEXTS)
assert len({found.score for found in labels}) == len(TEXTS)


def right(number: int, chance: random.Random) -> bool:
    """Makes one call; whether its answer is the one to its question."""
    which = chance.randrange(len(TEXTS))
    kind = chance.randrange(CALLS_PER_EMBED)
    if kind == 0:
        return np.array_equal(client.embed(SERVICE, TEXTS[which]), vectors[which])
    if kind == 1:
        return client.classify(SERVICE, TEXTS[which]) == labels[which]
    # Nobody else sends these bytes: they begin with the process and the call.
    data = f"{os.getpid()} {number} ".encode() + chance.randbytes(chance.randrange(PING_BYTES_MAX))
    return client.ping(data) == data


def work(number: int, calls: int) -> dict[str, int]:
    """Makes `calls` calls, the same ones for the same number."""
    assert os.getpid() != MASTER
    chance = random.Random(number)
    wrong = sum(not right(call, chance) for call in range(calls))
    return {"number": number, "pid": os.getpid(), "calls": calls, "wrong": wrong}
