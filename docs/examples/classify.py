"""Labels the arguments, and tells how alike the first two are."""

import sys

import nacelle

with nacelle.connect() as engine:
    for found in engine.classify("sentiment", sys.argv[1:]):
        print(f"{found.label} {found.score:.3f}")
    print(f"cosine {engine.embed('sentiment', sys.argv[1:3]).prod(0).sum():.3f}")
