"""Finds sentences by meaning: the nearest by a bit per number, then the best of those."""

import sys

import nacelle
import numpy as np

SENTENCES = ["The cat sat on the mat.", "A film, not for a cat.", "Bad end!", "Too long a text."]

with nacelle.connect() as engine:
    kept = engine.embed("minilm", SENTENCES, dtype="ubinary")  # uint8 [4, 48] for 384 numbers
    query = engine.embed("minilm", sys.argv[1], dtype="ubinary", prompt_name="query")
    differing_bits = np.unpackbits(kept ^ query, axis=1).sum(axis=1)
    nearest = [SENTENCES[i] for i in np.argsort(differing_bits)[:3]]
    for found in engine.rerank("ranker", sys.argv[1], nearest, top_n=2):
        print(f"{found.score:.3f} {nearest[found.document]}")
