"""Writes tests/data/tokenizers/small/{tokenizer,goldens}.json.

A WordPiece vocabulary of our own, a few hundred pieces with letters, accents, Jamo, ideographs and
odd characters, in several settings, and the ids that Hugging Face's tokenizers gives for generated
adversarial texts. The texts come from a fixed seed; the settings are merge patches (RFC 7386) over
tokenizer.json.

    python3 make_tokenizer_goldens.py        needs tokenizers (which version is recorded)
"""

import json
import pathlib
import random
import unicodedata

import tokenizers
from tokenizers import Tokenizer

OUT = pathlib.Path(__file__).resolve().parents[1] / "data/tokenizers/small"
SEED = 20240607

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """the of and to in a is movie film good bad really very not un happy ##ness ##ing ##ed ##s
 ##er ##est play work believ ##able ##ment ##ly straße strasse naïve naive café cafe Café ÉTÉ été ete
 İstanbul istanbul ι ##ς ##σ λόγος λογος ΛΌΓΟΣ Москва москва й ##й и ##и 영화 ##가 재미 ##있 ##다 정말 하 ##나
 한국 ##어 가 각 힣 ##힣 ㅋ ##ㅋ ㅋㅋ ##ㅋㅋ 東 京 東京 ##京 中 国 日本 ひら がな ##な カタ ##カナ ﬁ ##ﬁ １ ##２ Ⅳ ⅳ
 א ב ##ב ש ##ש שׁ مر ##حبا हि ##न्दी ##ी ไทย ##ไ 👍 ##👍 👨 ##👩 🏽 ##🏽 ❤ ##❤ © ™ ° ± × ÷ ∞ ½ ² ##²
 [SE P] ##] [ # ## #### $ $$ € ₩ … — – “ ” ‘ ’ 、 。 「 」 ！ ？ · ¿ ¡ § ¶ ª º""".split()
ODD = [
    "\u0301", "\u0345", "\u0334", "\u302E", "\u302F", "\U0001D165", "\U0001D16D", "\U0001D158",
    "\u0378", "\uE000", "\U000F0000", "\u200B", "\u200D", "\u00AD", "\uFEFF", "\u0890", "\u08CA",
    "\u0898", "\u1B44", "\U00011442", "\U0001E000", "\u17B4", "\uFFFD", "\u0000", "\u0007", "\u0085",
    "\u2028", "\u00A0", "\u3000", "\u166D", "\u061D", "\u2E52", "\U00010D50", "\U00010D70",
    "\uA7CB", "\u0264", "\u212B", "\u2126", "\uF900", "\U0002F800", "\u4E00", "\U00020000", "\u2329",
    "\U00011938", "\U00011935", "\uAC00", "\uD7A3", "\u0958", "\u0915", "\u1E9E", "\u01C5", "\u01C6",
]


def vocabulary():
    pieces = list(SPECIAL)
    letters = [chr(c) for c in range(0x21, 0x7F)] + [chr(c) for c in range(0xC0, 0x100)]
    letters += [chr(c) for c in range(0x3B1, 0x3CA)] + [chr(c) for c in range(0x430, 0x450)]
    jamo = [chr(c) for c in range(0x1100, 0x1113)] + [chr(c) for c in range(0x1161, 0x1176)]
    jamo += [chr(c) for c in range(0x11A8, 0x11C3)]
    for c in letters + jamo + ODD:
        pieces += [c, "##" + c]
    pieces += WORDS + [unicodedata.normalize("NFD", w) for w in WORDS]
    # Half of the uncommon letters lose one of their two pieces, so that words fail half way, too.
    rng = random.Random(SEED)
    kept = [p for p in pieces if p in SPECIAL or p in WORDS or rng.random() < 0.8]
    return {piece: i for i, piece in enumerate(dict.fromkeys(kept))}


def added(vocab, *tokens):
    """added_tokens from (content, flags that are true ...): what is new gets the next free id."""
    entries, free = [], len(vocab)
    for content, *flags in tokens:
        id_ = vocab.get(content, free)
        free += id_ == free
        names = ("single_word", "lstrip", "rstrip", "normalized", "special")
        entries.append({"id": id_, "content": content, **{name: name in flags for name in names}})
    return entries


def base_tokenizer():
    vocab = vocabulary()
    token = lambda t, type_id: {"SpecialToken": {"id": t, "type_id": type_id}}
    text = lambda t, type_id: {"Sequence": {"id": t, "type_id": type_id}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added(vocab, *((t, "special") for t in SPECIAL)),
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0)],
            "pair": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0), text("B", 1),
                     token("[SEP]", 1)],
            "special_tokens": {t: {"id": t, "ids": [vocab[t]], "tokens": [t]}
                               for t in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocab},
    }


def settings(base):
    """name -> (merge patch, how many of the texts)"""
    vocab = base["model"]["vocab"]
    special = [(t, "special") for t in SPECIAL]
    norm = lambda **changes: {"normalizer": changes}
    return {
        "uncased": ({}, None),
        "cased": (norm(strip_accents=False, lowercase=False), 600),
        "lower, accents kept": (norm(strip_accents=False), 600),
        "upper, accents stripped": (norm(strip_accents=True, lowercase=False), 600),
        "nothing cleaned": (norm(clean_text=False), 600),
        "ideographs not apart": (norm(handle_chinese_chars=False), 300),
        "every step off": (norm(clean_text=False, handle_chinese_chars=False, lowercase=False), 400),
        "no normalizer": ({"normalizer": None}, 400),
        "no pre-tokenizer": ({"pre_tokenizer": None}, 400),
        "neither, short words": ({"normalizer": None, "pre_tokenizer": None,
                                  "model": {"max_input_chars_per_word": 3}}, 300),
        "no post-processor": ({"post_processor": None}, 100),
        "another prefix": ({"model": {"continuing_subword_prefix": "#"}}, 300),
        "other types": ({"post_processor": {"single": [
            {"Sequence": {"id": "A", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
            {"SpecialToken": {"id": "[CLS]", "type_id": 2}}]}}, 100),
        "added tokens": ({"added_tokens": added(
            vocab, *special, ["[CLSX]"], ["<s>", "lstrip"], ["</s>", "rstrip"],
            ["movie", "single_word"], ["<b>", "lstrip", "rstrip"], ["영화관"],
            ["<s><s>", "single_word"])}, 1000),
        "normalized added tokens": ({"added_tokens": added(
            vocab, *special, ["Good Bad", "normalized"], ["ÉTÉ", "normalized", "single_word"],
            ["<S>", "normalized", "lstrip"], ["</s>", "normalized", "rstrip"],
            ["영화", "normalized"], ["<s>"])}, 1000),
        "added tokens, raw": ({"normalizer": None, "pre_tokenizer": None, "added_tokens": added(
            vocab, *special, ["movie", "single_word"], ["<s>", "lstrip"], ["</s>", "rstrip"],
            ["<b>", "lstrip", "rstrip"], ["good", "normalized", "single_word"], ["  "])}, 1000),
    }


def merge(target, patch):
    # A part with its type takes the place of the one before, whatever that held.
    if not isinstance(patch, dict) or "type" in patch:
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        # Unlike RFC 7386, null is a value here: it switches a component off.
        result[key] = merge(result.get(key), value)
    return result


# -------------------------------------------------------------------------------------- the texts

SPACES = [" ", "  ", "\t", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u1680",
          "\u180e", "\u2000", "\u2003", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f",
          "\u2060", "\u3000", "\ufeff"]
CONTROLS = [chr(c) for c in range(0x20)] + ["\x7f", "\x80", "\x9f", "\xad", "\u200e", "\u200f",
            "\u202a", "\u202e", "\u2066", "\ufff9", "\ufffd", "\ufffe", "\uffff", "\ud7ff", "\ue000",
            "\uf8ff", "\U000e0001", "\U000e007f", "\U000f0000", "\U0010ffff", "\u0378", "\u0890"]
MARKS = ["\u0300", "\u0301", "\u0308", "\u0327", "\u0331", "\u0334", "\u0345", "\u0360", "\u05b0",
         "\u05bc", "\u0591", "\u064b", "\u0651", "\u093c", "\u094d", "\u0e38", "\u0f71", "\u0f74",
         "\u0f39", "\u1b44", "\u1baa", "\u302a", "\u302e", "\u302f", "\u3099", "\u20dd", "\u0903",
         "\ua953", "\U0001d165", "\U0001d166", "\U0001d16d", "\U0001d170", "\U0001d167", "\u0898",
         "\u08ca", "\u08d4", "\u1ac1", "\u1dfb", "\U00011442", "\U00011446", "\U0001e000",
         "\U0001e94a", "\U00011c3f", "\U000116b6", "\U00016ff0"]
BASES = ["a", "e", "E", "A", "\u00e9", "\u00c9", "\u1e69", "\u1ec7", "\u01d6", "\u212b", "\u2126", "\u0130", "\u0131", "\u017f",
         "\u1e9e", "\u00df", "\u03a3", "\u03c2", "\u03c3", "\u0390", "\u1fb7", "\u0439", "\u0419", "\u0451", "\u05e9", "\ufb2c",
         "\u0915", "\u0958", "\u0f43", "\u0f73", "\u1100", "\u1161", "\u11a8", "\u3131", "\u314b", "\uac00", "\uac01",
         "\ud7a3", "\uc601", "\u304b", "\u304c", "\u30d1", "\uff76", "\u2adc", "\U0001d158", "\U0001d15e", "\U0001d160",
         "\U0001109a", "\U00011938", "\u01c4", "\u01c5", "\ufb01", "\u2163", "\uff21", "\u24b6", "\U0001f130", "\U00010400", "\U00010d50",
         "\ua7cb", "\u1c89", "\u10a0", "\u13a0", "\uab70", "\u00b5", "\u2160"]
IDEOGRAPHS = ["\u4e00", "\u9fff", "\u6771", "\u4eac", "\u3400", "\u4dbf", "\u4dc0", "\u33ff", "\ua000", "\uf900", "\ufaff",
              "\ufb00", "\U00020000", "\U0002a6df", "\U0002a6e0", "\U0002a700", "\U0002b73f", "\U0002b740", "\U0002b81f",
              "\U0002b820", "\U0002b91f", "\U0002b920", "\U0002ceaf", "\U0002ceb0", "\U0002f800", "\U0002fa1f", "\U0002fa20",
              "\U00030000", "\u3007", "\u2e80", "\u3042"]
EMOJI = ["\U0001f44d", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\U0001f1f0\U0001f1f7", "#\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e007f"]
PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + [
    "\u2014", "\u2026", "\u300c", "\u300d", "\uff01", "\u00a1", "\u00bf", "\u00ab", "\u00b7", "\u037e", "\u055a", "\u061b", "\u061d", "\u166d",
    "\u2010", "\u2018", "\u203f", "\u2329", "\u2e43", "\u2e52", "\u3030", "\uff3f", "\U00010ead", "\U0001144b", "\u00a3", "\u20ac", "\u00a9", "\u2192", "\u2260"]
TOKENS = ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "[CLS", "CLS]", "[SE", "[SEP", "[sep]", "[ SEP ]", "[[SEP]]",
          "[SEP]]", "[CLSX]", "[MA SK]", "[\u200bSEP]", "<s>", "</s>", "<b>", "<S>", "<s><s>", "movie", "movies",
          "good bad", "Good  Bad", "GOOD BAD", "\u00e9t\u00e9", "E\u0301TE\u0301", "ete", "\uc601\ud654", "\uc601\ud654\uad00", "\u1112\u1161\u11ab"]
WORDLIKE = [w.removeprefix("##") for w in WORDS]
RTL = ["\u05e9\u05c1\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\u202e\u05d0\u05d1\u202c", "\u0623\u0651\u064e"]


def any_code_point(rng):
    while True:
        c = rng.choice([rng.randrange(0x80), rng.randrange(0x3000), rng.randrange(0x10000),
                        rng.randrange(0x20000), rng.randrange(0x110000)])
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def word(rng):
    return "".join(rng.choice(WORDLIKE) for _ in range(rng.randrange(1, 4)))


def cluster(rng):
    return rng.choice(BASES) + "".join(rng.choice(MARKS) for _ in range(rng.choice([0, 1, 1, 2, 3, 8])))


def piece(rng):
    return rng.choice([
        lambda: rng.choice(WORDLIKE), lambda: rng.choice(WORDLIKE).upper(), lambda: word(rng),
        lambda: rng.choice(SPACES), lambda: rng.choice(SPACES), lambda: " ",
        lambda: rng.choice(CONTROLS), lambda: rng.choice(MARKS), lambda: cluster(rng),
        lambda: rng.choice(BASES), lambda: rng.choice(IDEOGRAPHS), lambda: rng.choice(EMOJI),
        lambda: rng.choice(PUNCTUATION), lambda: rng.choice(TOKENS), lambda: rng.choice(TOKENS),
        lambda: rng.choice(RTL), lambda: any_code_point(rng), lambda: rng.choice(ODD),
    ])()


def fixed_texts():
    texts = ["", " ", "\u0000", "a", "[SEP]", "[CLS][SEP]", " [SEP] ", "a[SEP]b", "[SEP", "SEP]", "[[SEP]",
             "\u0301", "\u0301\u0327", "a\u0301\u0327", "e\u0327\u0301", "\u1100\u1161\u11a8", "\uac01\u11a8", "\u302f\u302e",
             "\u0130", "\u03a3\u03a3", "\u039f\u03a3 ", "\u1e9e", "\ud55c\uad6d\uc5b4", "\u110b\u1167\u11bc\u1112\u116a", "\u6771\u4eac", "a\u6771b", "\u302e\u6771\u302e",
             "a" * 99, "a" * 100, "a" * 101, "a" * 300, "\uac00" * 33, "\uac00" * 34, "\uac00" * 50, "\uac00" * 51, "\uac00" * 101,
             "\u00e9" * 100, "\u00e9" * 101, "a" + "\u0301" * 200, "\U0001d165\u302e" * 60, "\U0001d16d\U0001d165" * 40,
             "\u6771" * 150, "!" * 150, "a!" * 60, "[SEP]" * 20, "\u200b" * 120 + "a", "a\u200b" * 101, "\u00ad".join("movie"),
             "the movie is good. " * 8, "\ufeffthe movie", "\t\tthe\r\nmovie\n"]
    texts += SPACES + CONTROLS + MARKS + IDEOGRAPHS + EMOJI + PUNCTUATION + TOKENS
    texts += ["the" + s + "movie" for s in SPACES + CONTROLS]
    return texts


def generated(rng, count):
    return ["".join(piece(rng) for _ in range(rng.choice([1, 2, 3, 5, 8, 13]))) for _ in range(count)]


def main():
    rng = random.Random(SEED)
    texts = list(dict.fromkeys(fixed_texts() + generated(rng, 2000)))
    base = base_tokenizer()
    cases = []
    for name, (patch, count) in settings(base).items():
        tokenizer = Tokenizer.from_str(json.dumps(merge(base, patch)))
        if count is None:
            chosen = list(range(len(texts)))
        else:
            # The added-token settings look at texts that hold such tokens first.
            marked = [i for i, t in enumerate(texts) if any(m in t for m in TOKENS)]
            order = marked if "added" in name else []
            rest = [i for i in range(len(texts)) if i not in set(order)]
            chosen = sorted((order + rng.sample(rest, len(rest)))[:count])
        encoded = [tokenizer.encode(texts[i]) for i in chosen]
        case = {"name": name, "patch": patch, "texts": None if count is None else chosen,
                "ids": [e.ids for e in encoded]}
        if name == "other types":
            case["types"] = [e.type_ids for e in encoded]
        cases.append(case)
    OUT.mkdir(parents=True, exist_ok=True)
    dump = lambda value: json.dumps(value, separators=(",", ":"))
    (OUT / "tokenizer.json").write_text(json.dumps(base, indent=0) + "\n")
    lines = ",\n".join(dump(case) for case in cases)
    (OUT / "goldens.json").write_text(
        f'{{"generator": "tests/golden/make_tokenizer_goldens.py", "tokenizers": '
        f'"{tokenizers.__version__}", "seed": {SEED},\n"texts": {dump(texts)},\n"cases": [\n{lines}]}}\n')
    print(len(base["model"]["vocab"]), "pieces", len(texts), "texts", len(cases), "cases")


if __name__ == "__main__":
    main()
