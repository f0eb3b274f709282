"""Writes tests/data/tokenizers/families/*.json: a small tokenizer of each family, and its ids.

The families are put together from the components of the real files (GPT-2, RoBERTa, Llama 2 and 3,
Qwen2, Gemma, Mistral, DeepSeek, CLIP, XLM-RoBERTa, ALBERT, T5, ...), with vocabularies of a few
hundred pieces trained by us on tests/data/nsmc_test_sample.tsv and some English. Each file holds the
tokenizer.json, patches over it that change one part (see merge), and for generated texts the ids and
the decoded text that Hugging Face's tokenizers gives.

    python3 make_family_goldens.py        needs tokenizers (which version is recorded)
"""

import base64
import json
import pathlib
import random
import struct
import unicodedata

import tokenizers
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

import compare_tokenizers
from make_tokenizer_goldens import merge

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
OUT = DATA / "tokenizers/families"
SEED = 20240612
TEXTS_MAX = 220
# Cases whose expressions the regex library matches: Debian's knows Unicode 14 (as Python 3.11 does),
# the one inside of Hugging Face's tokenizers a newer one, so their texts keep to the former.
BY_LIBRARY = ("Regex", "replace with more", "a pattern by the library")

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
DEEPSEEK = ["\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?"
            "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]
CLIP = (r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
ENGLISH = ["The movie is really good, isn't it?", "I'll say they've 12345 reasons; we're DONE!",
           "naïve café, Straße", "http://example.com/a?b=1&c=2", "    indented\n\tcode = x[0]",
           "It's the 3rd of May, 2024.", "HELLO world hello WORLD"] * 20


def corpus():
    lines = (DATA / "nsmc_test_sample.tsv").read_text().split("\n")
    return [line.split("\t")[1] for line in lines[1:] if "\t" in line] + ENGLISH


def charsmap(entries):
    """A precompiled_charsmap of these texts: a double-array trie in Darts-clone's units."""
    texts, where = b"", {}
    for target in sorted(set(entries.values())):
        where[target] = len(texts)
        texts += target.encode() + b"\0"
    trie = {}
    for key, target in entries.items():
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[None] = where[target]
    units, used = {0: 0}, {0}

    def place(node, position, label):
        children = sorted(node, key=lambda b: -1 if b is None else b)
        labels = [0 if b is None else b for b in children]
        # An offset is stored in 21 bits: enough for this small trie without the extension bit.
        offset = next(o for o in range(1, 1 << 21)
                      if all((position ^ o ^ b) not in used for b in labels))
        used.update(position ^ offset ^ b for b in labels)
        units[position] = offset << 10 | (1 << 8 if None in node else 0) | label
        for child, its_label in zip(children, labels):
            at = position ^ offset ^ its_label
            if child is None:
                units[at] = 1 << 31 | node[None]
            else:
                place(node[child], at, its_label)

    place(trie, 0, 0)
    # The library looks at the units of any byte: there must be 256 behind the last.
    size = max(units) + 257
    packed = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(size))
    return base64.b64encode(struct.pack("<I", len(packed)) + packed + texts).decode()


CHARSMAP = charsmap({"\u00a0": " ", "\t": " ", "\n": " ", "\r": " ", "\u3000": " ", "\u200b": "",
                     "\uff21": "A", "\uff22": "B", "\ufb01": "fi", "\u2167": "VIII", "e\u0301": "\u00e9",
                     "\u1112\u1161\u11ab": "\ud55c", "\u00bd": "1\u20442", "\uff76": "\u30ab", "\u2026": "...",
                     "\u0001": "", "\u212b": "\u00c5", "\uff01": "!", "a\u0300": "\u00e0"})


def precompiled():
    return {"type": "Precompiled", "precompiled_charsmap": CHARSMAP}


def trained(model, trainer, normalizer=None, pre_tokenizer=None):
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def bpe(pre_tokenizer, size=600, normalizer=None, alphabet=(), special=(), **options):
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=list(special),
                                  initial_alphabet=list(alphabet), limit_alphabet=400,
                                  **{k: v for k, v in options.items()
                                     if k in ("continuing_subword_prefix", "end_of_word_suffix")})
    return trained(models.BPE(**options), trainer, normalizer, pre_tokenizer)


def unigram(special, size=1500):
    trainer = trainers.UnigramTrainer(vocab_size=size, show_progress=False, special_tokens=special,
                                      unk_token="<unk>", shrinking_factor=0.5)
    return trained(models.Unigram(), trainer, normalizers.NFKC(),
                   pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]))


BYTES = [f"<0x{b:02X}>" for b in range(256)]
LETTERS = pre_tokenizers.ByteLevel.alphabet()


def token(text, type_id=0):
    return {"SpecialToken": {"id": text, "type_id": type_id}}


def text(which, type_id=0):
    return {"Sequence": {"id": which, "type_id": type_id}}


def template(tokenizer, single, pair):
    names = {p["SpecialToken"]["id"] for p in single + pair if "SpecialToken" in p}
    return {"type": "TemplateProcessing", "single": single, "pair": pair,
            "special_tokens": {n: {"id": n, "ids": [tokenizer.token_to_id(n)], "tokens": [n]}
                               for n in sorted(names)}}


def families():
    """name -> (tokenizer.json, {name of patch: patch})"""
    gpt2 = bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), alphabet=LETTERS,
               special=["<|endoftext|>"])
    gpt2.post_processor = processors.ByteLevel(trim_offsets=False)
    gpt2.decoder = decoders.ByteLevel()
    split = {"type": "Split", "behavior": "Isolated", "invert": False}
    bytes_of_words = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                      "use_regex": False}

    def patterns(*regexes):
        return {"type": "Sequence", "pretokenizers":
                [{**split, "pattern": {"Regex": r}} for r in regexes] + [bytes_of_words]}

    yield "gpt2", gpt2, {
        "prefix space": {"pre_tokenizer": {"add_prefix_space": True}},
        "no pattern": {"pre_tokenizer": {"use_regex": False}},
        "llama 3": {"pre_tokenizer": patterns(LLAMA3), "model": {"ignore_merges": True}},
        "qwen 2": {"normalizer": {"type": "NFC"}, "pre_tokenizer": patterns(QWEN)},
        "deepseek": {"normalizer": {"type": "Sequence", "normalizers": []},
                     "pre_tokenizer": patterns(*DEEPSEEK)},
        "a pattern by the library": {"pre_tokenizer": patterns(r"\p{Hangul}+|\p{L}{1,3}(?=\p{L})|(?i:MO|ss)|\s")},
        "nfkc": {"normalizer": {"type": "NFKC"}},
        "nfkd": {"normalizer": {"type": "NFKD"}},
        "nfd": {"normalizer": {"type": "NFD"}},
        "bytes in the normalizer": {"normalizer": {"type": "ByteLevel"}, "pre_tokenizer": None},
        "bytes before digits": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            bytes_of_words, {"type": "Digits", "individual_digits": True}]}},
    }

    roberta = bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), alphabet=LETTERS,
                  special=["<s>", "<pad>", "</s>", "<unk>"])
    roberta.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    roberta.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    roberta.decoder = decoders.ByteLevel()
    yield "roberta", roberta, {
        "bert": {"post_processor": {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}},
        "sequence": {"post_processor": {"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
            template(roberta, [token("<s>"), text("A")], [token("<s>"), text("A"), text("B", 1)])]}}}

    clip = bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(CLIP), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)]), alphabet=LETTERS,
        special=["<|startoftext|>", "<|endoftext|>"], end_of_word_suffix="</w>",
        unk_token="<|endoftext|>",
        normalizer=normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "),
                                         normalizers.Lowercase()]))
    clip.post_processor = processors.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0),
                                                       add_prefix_space=False, trim_offsets=False)
    clip.decoder = decoders.BPEDecoder(suffix="</w>")
    yield "clip", clip, {}

    llama = bpe(None, size=1000, special=["<unk>", "<s>", "</s>"] + BYTES, unk_token="<unk>",
                fuse_unk=True, byte_fallback=True,
                normalizer=normalizers.Sequence([normalizers.Replace(" ", "▁"), normalizers.Prepend("▁")]))
    spaces = [{"type": "Prepend", "prepend": "▁"},
              {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    base = json.loads(llama.to_str())
    # Whole lines were words to the trainer: keep the merges that stay inside of one word.
    base["model"]["merges"] = [m for m in base["model"]["merges"] if "▁" not in (m[0] + m[1])[1:]]
    base["normalizer"] = {"type": "Sequence", "normalizers": spaces}
    # Only the three are found in texts: the bytes are not added tokens in the real files.
    base["added_tokens"] = base["added_tokens"][:3]
    base["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    base["post_processor"] = template(llama, [token("<s>"), text("A")],
                                      [token("<s>"), text("A"), token("<s>", 1), text("B", 1)])
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    no_bytes = {"byte_fallback": False}
    yield "llama", base, {
        "mistral": {"normalizer": None, "pre_tokenizer": metaspace},
        "words": {"normalizer": None, "pre_tokenizer": {**metaspace, "split": True}},
        "always": {"normalizer": None, "pre_tokenizer": {**metaspace, "prepend_scheme": "always"}},
        "never": {"normalizer": None, "pre_tokenizer": {**metaspace, "prepend_scheme": "never", "split": True},
                  "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}},
        "first behind others": {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True},
                                "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                                    {"type": "Punctuation", "behavior": "MergedWithPrevious"}, metaspace]}},
        "gemma": {"normalizer": spaces[1], "pre_tokenizer": {
            "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}},
        "unknown fused": {"model": no_bytes},
        "unknown apart": {"model": {**no_bytes, "fuse_unk": False}},
        "unknown dropped": {"model": {**no_bytes, "unk_token": None}},
        "a byte missing": {"model": {"vocab": {"<0xEC>": None}}},
        "whole words first": {"normalizer": None, "model": {"ignore_merges": True}, "pre_tokenizer":
                              {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}},
    }

    marked = bpe(pre_tokenizers.Whitespace(), continuing_subword_prefix="##", unk_token="[UNK]",
                 special=["[UNK]"])
    marked.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    # What splits: every behavior, with strings and expressions, turned round or not.
    splits = {}
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            for pattern in ({"String": "가"}, {"Regex": r"[aeiou]|이"}, {"Regex": r"\d*|!+"}):
                name = f"{behavior} {'not ' if invert else ''}{next(iter(pattern.values()))}"
                splits[name] = {"pre_tokenizer": {"type": "Split", "pattern": pattern, "behavior": behavior,
                                                  "invert": invert}}
    yield "marked", marked, {
        **splits,
        "white space": {"pre_tokenizer": {"type": "WhitespaceSplit"}},
        "delimiter": {"pre_tokenizer": {"type": "CharDelimiterSplit", "delimiter": "이"}},
        "digits": {"pre_tokenizer": {"type": "Digits", "individual_digits": False}},
        "punctuation": {"pre_tokenizer": {"type": "Punctuation"}},
        "punctuation, contiguous": {"pre_tokenizer": {"type": "Punctuation", "behavior": "Contiguous"}},
        "nmt": {"normalizer": {"type": "Nmt"}},
        "strip left": {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": False}},
        "strip right": {"normalizer": {"type": "Strip", "strip_left": False, "strip_right": True}},
        "replace with more": {"normalizer": {"type": "Replace", "pattern": {"Regex": r"\b|o(?=o)"}, "content": " o "}},
        "ctc": {"decoder": {"type": "CTC", "pad_token": "[UNK]", "word_delimiter_token": "##", "cleanup": True}},
        "no decoder": {"decoder": None},
    }

    xlmr = unigram(["<s>", "<pad>", "</s>", "<unk>"])
    base = json.loads(xlmr.to_str())
    base["normalizer"] = precompiled()
    old = {"type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True}
    base["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, old]}
    base["decoder"] = old
    base["added_tokens"].append({"id": len(base["model"]["vocab"]), "content": "<mask>", "single_word": False,
                                 "lstrip": True, "rstrip": False, "normalized": False, "special": True})
    base["post_processor"] = template(xlmr, [token("<s>"), text("A"), token("</s>")],
                                      [token("<s>"), text("A"), token("</s>"), token("</s>"), text("B"),
                                       token("</s>")])
    quotes = {"type": "Replace", "pattern": {"String": "``"}, "content": "\""}
    lower = [{"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]
    many = [{"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}]
    always = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    with_bytes = base["model"]["vocab"] + [[b, -20.0] for b in BYTES]
    yield "xlm-r", base, {
        "albert": {"normalizer": {"type": "Sequence", "normalizers": [quotes, *lower, precompiled()]},
                   "pre_tokenizer": always},
        "t5": {"normalizer": {"type": "Sequence", "normalizers": [precompiled(), *many]}, "pre_tokenizer": always},
        "whole lines": {"pre_tokenizer": {**always, "split": False}},
        "bytes": {"model": {"byte_fallback": True, "vocab": with_bytes},
                  "added_tokens": [dict(t, id=t["id"] + (256 if t["content"] == "<mask>" else 0))
                                   for t in base["added_tokens"]],
                  "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, always]}},
    }


def drop_nulls(model):
    """A patch cannot take a piece away: a piece of id null is gone."""
    kept = sorted(((i, p) for p, i in model["vocab"].items() if i is not None))
    return {**model, "vocab": {p: i for i, p in kept}}


def main():
    rng = random.Random(SEED)
    OUT.mkdir(parents=True, exist_ok=True)
    lines = corpus()
    dump = lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for name, base, patches in families():
        if isinstance(base, Tokenizer):
            base = json.loads(base.to_str())
        whole = Tokenizer.from_str(json.dumps(base))
        texts = rng.sample(lines, 20) + compare_tokenizers.adversarial(rng, TEXTS_MAX - 20, whole)
        texts = list(dict.fromkeys(t for t in texts if "\x00" not in t))
        cases = []
        for case, patch in {"as it is": {}, **patches}.items():
            patched = merge(base, patch)
            if isinstance(patched["model"]["vocab"], dict):
                patched["model"] = drop_nulls(patched["model"])
            tokenizer = Tokenizer.from_str(json.dumps(patched))
            count = len(texts) if not patch else min(len(texts), 45)
            known = range(len(texts))
            if any(part in case for part in BY_LIBRARY):
                known = [i for i in known if all(unicodedata.category(c) != "Cn" for c in texts[i])]
            chosen = sorted(rng.sample(known, min(len(known), count)))
            ids = [tokenizer.encode(texts[i]).ids for i in chosen]
            cases.append({"name": case, "patch": patch, "texts": chosen, "ids": ids,
                          "decoded": [tokenizer.decode(one) for one in ids]
                          if not patch or "decoder" in patch else None})
        rows = ",\n".join(dump(case) for case in cases)
        (OUT / f"{name}.json").write_text(
            f'{{"generator": "tests/golden/make_family_goldens.py", "tokenizers": '
            f'"{tokenizers.__version__}", "seed": {SEED},\n"tokenizer": {dump(base)},\n'
            f'"texts": {dump(texts)},\n"cases": [\n{rows}]}}\n')
        print(name, len(texts), "texts", len(cases), "cases", (OUT / f"{name}.json").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
