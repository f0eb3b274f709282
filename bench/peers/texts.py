"""Texts of exactly so many tokens, for benchmarks of encoders."""

from pathlib import Path


class Maker:
    """A real sentence each, filled up with words of others that are one token."""

    def __init__(self, tokenizer, words, generator):
        source = Path(words).read_text(encoding="utf-8")
        self.tokenizer, self.random = tokenizer, generator
        self.sentences = [line for line in source.splitlines() if line.isascii() and line]
        vocabulary = sorted({word for line in self.sentences for word in line.split()
                             if word.isalpha()})
        self.single = [word for word, ids in zip(vocabulary, tokenizer.encode_batch(
            vocabulary, add_special_tokens=False)) if len(ids.ids) == 1]

    def tokens(self, text):
        return len(self.tokenizer.encode(text).ids)

    def make(self, length):
        """One text of `length` tokens, special ones included, or None when this try was in vain."""
        text = self.random.choice(self.sentences)
        missing = length - self.tokens(text)
        if missing < 0:
            text, missing = "", length - self.tokens("")
        text = " ".join([text, *self.random.choices(self.single, k=missing)]).strip()
        return text if self.tokens(text) == length else None
