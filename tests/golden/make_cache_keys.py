"""Prints the keys that tests/shm/cache_key_test.cc holds the product to: hashlib's SHA-256 over the
parts of a cached answer's name, as shm/cache_key.h lists them. Needs nothing but Python."""

import hashlib
import struct

ANSWERS = bytes(range(32))


def key(domain: str, op: int, parameters: bytes, prompt: str, *texts: str) -> str:
    parts = [b"nacelle cache key 1", domain.encode(), ANSWERS, struct.pack("<H", op), parameters]
    parts += [text.encode() for text in (prompt, *texts)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(struct.pack("<Q", len(part)) + part)
    return digest.hexdigest()


def parameters(element: int = 0, normalize: int = 0, function: int = 0, long_input: int = 0,
               prompt: int = 0, dimensions: int = 0, prompt_size: int = 0) -> bytes:
    return struct.pack("<5B3xII16x", element, normalize, function, long_input, prompt, dimensions,
                       prompt_size)


EMBED, CLASSIFY, RERANK = 2, 3, 5

if __name__ == "__main__":
    print("plain ", key("uid:1000", EMBED, parameters(), "", "hello world"))
    print("empty ", key("uid:1000", EMBED, parameters(), "", ""))
    print("asked ", key("pod", EMBED, parameters(element=1, dimensions=64, prompt=1, prompt_size=7),
                        "query: ", "정말 재미있는 영화였어요"))
    print("labels", key("uid:0", CLASSIFY, parameters(function=3), "", "x" * 1000))
    print("rank  ", key("uid:1000", RERANK, parameters(), "", "what is it?", "a document"))
