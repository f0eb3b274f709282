"""Writes sidecar/tokenizer/unicode_pins.cc and tests/data/tokenizers/unicode.json.

Hugging Face's tokenizers carries Unicode tables of several ages (the general categories are older
than the lower-case map). Nacelle takes Unicode from libutf8proc and corrects it where those tables
differ: this script asks the real library about every code point and records the differences, and
for the test a digest of what the library answers in every block of 4096 code points.

    python3 make_unicode_pins.py        needs tokenizers and libutf8proc.so.2 (Debian 12: 2.8.0)
"""

import ctypes
import json
import pathlib
import re

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK = 4096

utf8proc = ctypes.CDLL("libutf8proc.so.2")
for name in ("utf8proc_version", "utf8proc_unicode_version", "utf8proc_category_string"):
    getattr(utf8proc, name).restype = ctypes.c_char_p
utf8proc.utf8proc_decompose_char.restype = ctypes.c_ssize_t
# utf8proc_property_t begins with two int16: the category and the combining class.
utf8proc.utf8proc_get_property.restype = ctypes.POINTER(ctypes.c_int16)
DECOMPOSE, COMPAT = 1 << 4, 1 << 2


def bert(**options):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**off, **options})


CLEAN, CHINESE = bert(clean_text=True), bert(handle_chinese_chars=True)
STRIP, LOWER = bert(strip_accents=True), bert(lowercase=True)
UNCASED = bert(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True)
NFC, NFD = normalizers.NFC(), normalizers.NFD()
NFKC, NFKD = normalizers.NFKC(), normalizers.NFKD()
NMT, ACCENTS = normalizers.Nmt(), normalizers.StripAccents()
DIGITS = pre_tokenizers.Digits(individual_digits=False)
WORDS = pre_tokenizers.BertPreTokenizer()

# A token that must be a whole word tells what the library takes for a word character.
WORD_PROBE = Tokenizer(models.WordPiece({"<unk>": 0}, unk_token="<unk>"))
WORD_PROBE.add_tokens([AddedToken("<x>", single_word=True, normalized=False)])

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def category(c):
    return utf8proc.utf8proc_category_string(c).decode()


def decomposed(c, options=DECOMPOSE):
    out = (ctypes.c_int32 * 32)()
    boundary = ctypes.c_int(0)
    count = utf8proc.utf8proc_decompose_char(c, out, 32, options, ctypes.byref(boundary))
    return "".join(map(chr, out[:count]))


def kind(c):
    """What BertPreTokenizer does at `c`: w(hite space), p(unctuation) or - (nothing)."""
    pieces = [piece for piece, _ in WORDS.pre_tokenize_str(f"a{chr(c)}b")]
    return {1: "-", 2: "w", 3: "p"}[len(pieces)]


def is_word(c):
    return 1 not in WORD_PROBE.encode("<x>" + chr(c)).ids


def plain_is_word(c, cat):
    """unicode.cc's rule before correction."""
    return (cat[0] in "LM" or cat in ("Nd", "Nl", "Pc") or c in (0x200C, 0x200D)
            or any(a <= c <= b for a, b in ((0x24B6, 0x24E9), (0x1F130, 0x1F149),
                                            (0x1F150, 0x1F169), (0x1F170, 0x1F189))))


def reorders(c):
    """Whether the library's canonical ordering moves `c` behind or before another mark."""
    after, before = chr(c) + "\u0334", "\u0345" + chr(c)
    return NFD.normalize_str(after) != after or NFD.normalize_str(before) != before


def regex_class(name):
    """The code points that a class has in the library's regular expressions."""
    others = normalizers.Replace(Regex(f"[^\\p{{{name}}}]+"), "")
    return {ord(c) for b in range(0, len(CODE_POINTS), BLOCK)
            for c in others.normalize_str("".join(map(chr, CODE_POINTS[b:b + BLOCK])))}


def ranges(code_points):
    out = []
    for c in sorted(code_points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def digest(text):
    value = 0xCBF29CE484222325  # FNV-1a, 64 bits
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


ascii_punctuation = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
other, punctuation, nonspacing, starters, atoms, lower, word = [], [], [], [], [], [], []
compatibility_atoms, numeric, marks = [], [], []
regex = {name: regex_class(name) for name in "LNPSM"}
regex_pins = {name: [c for c in CODE_POINTS if (c in regex[name]) != (category(c)[0] == name)]
              for name in regex}
blocks = {}
for c in CODE_POINTS:
    s = chr(c)
    cat = category(c)
    answers = {
        "clean": CLEAN.normalize_str(s),
        "chinese": CHINESE.normalize_str(s),
        "strip": STRIP.normalize_str(s),
        "lower": LOWER.normalize_str(s),
        "uncased": UNCASED.normalize_str(s),
        "words": kind(c),
        "word": "w" if is_word(c) else "-",
        "numeric": "n" if len(DIGITS.pre_tokenize_str(f"a{s}b")) != 1 else "-",
        "nfc": NFC.normalize_str(s),
        "nfd": NFD.normalize_str(s),
        "nfkc": NFKC.normalize_str(s),
        "nfkd": NFKD.normalize_str(s),
        "nfc of nfd": NFC.normalize_str(NFD.normalize_str(s)),
        "nmt": NMT.normalize_str(s),
        "accents": ACCENTS.normalize_str(s),
        "regex": "".join(name for name in regex if c in regex[name]),
    }
    for name, answer in answers.items():
        blocks.setdefault(name, {}).setdefault(c // BLOCK, []).append(answer)

    removed = cat in ("Cc", "Cf", "Co") and c not in (9, 10, 13) or c == 0xFFFD
    if (answers["clean"] == "") != removed:
        other.append(c)
    if (answers["words"] == "p") != (cat[0] == "P" or s in ascii_punctuation):
        punctuation.append(c)
    if (answers["strip"] == "") != (cat == "Mn"):
        nonspacing.append(c)
    if (answers["accents"] == "") != (cat[0] == "M"):
        marks.append(c)
    nfd = answers["nfd"]
    if answers["nfkd"] != decomposed(c, DECOMPOSE | COMPAT):
        assert answers["nfkd"] == nfd, hex(c)
        compatibility_atoms.append(c)
    if (answers["numeric"] == "n") != (cat[0] == "N"):
        numeric.append(c)
    if nfd != decomposed(c):
        assert nfd == s, hex(c)
        atoms.append(c)
    if utf8proc.utf8proc_get_property(c)[1] != 0 and nfd == s and not reorders(c):
        starters.append(c)
    if (answers["word"] == "w") != plain_is_word(c, cat):
        word.append(c)
    if answers["lower"] != chr(utf8proc.utf8proc_tolower(c)):
        lower.append((c, answers["lower"]))

lower_ranges = []
for c, text in lower:
    if len(text) != 1:
        assert (c, text) == (0x130, "i\u0307")  # handled in unicode.cc: the one that grows
        continue
    delta = ord(text) - c
    last = lower_ranges[-1] if lower_ranges else None
    if last and last[1] == c - 1 and last[2] == delta:
        last[1] = c
    else:
        lower_ranges.append([c, c, delta])


source = f"""// Written by tests/golden/make_unicode_pins.py: do not edit.
//
// tokenizers {tokenizers.__version__} against libutf8proc {utf8proc.utf8proc_version().decode()} (Unicode {utf8proc.utf8proc_unicode_version().decode()}). See unicode_pins.h.
#include "sidecar/tokenizer/unicode_pins.h"

namespace nacelle::tokenizer {{
namespace {{

constexpr Range kOther[] = {{OTHER}};
constexpr Range kPunctuation[] = {{PUNCTUATION}};
constexpr Range kNonspacing[] = {{NONSPACING}};
constexpr Range kStarters[] = {{STARTERS}};
constexpr Range kAtoms[] = {{ATOMS}};
constexpr Range kCompatibilityAtoms[] = {{COMPATIBILITY}};
constexpr Range kWord[] = {{WORD}};
constexpr Range kNumeric[] = {{NUMERIC}};
constexpr Range kMarks[] = {{MARKS}};
constexpr Range kRegexLetters[] = {{REGEX_L}};
constexpr Range kRegexNumbers[] = {{REGEX_N}};
constexpr Range kRegexPunctuation[] = {{REGEX_P}};
constexpr Range kRegexSymbols[] = {{REGEX_S}};
constexpr Range kRegexMarks[] = {{REGEX_M}};
constexpr LowerPin kLower[] = {{LOWER}};

}}  // namespace

const UnicodePins& unicode_pins() {{
  static constexpr UnicodePins kPins = {{.other = kOther,
                                        .punctuation = kPunctuation,
                                        .nonspacing = kNonspacing,
                                        .starters = kStarters,
                                        .atoms = kAtoms,
                                        .compatibility_atoms = kCompatibilityAtoms,
                                        .word = kWord,
                                        .numeric = kNumeric,
                                        .marks = kMarks,
                                        .regex_letters = kRegexLetters,
                                        .regex_numbers = kRegexNumbers,
                                        .regex_punctuation = kRegexPunctuation,
                                        .regex_symbols = kRegexSymbols,
                                        .regex_marks = kRegexMarks,
                                        .lower = kLower}};
  return kPins;
}}

}}  // namespace nacelle::tokenizer
"""


def cells(rows):
    return "{" + ", ".join("{" + ", ".join(f"0x{v:X}" if i < 2 else str(v) for i, v in enumerate(r)) + "}" for r in rows) + "}"


for name, rows in (("OTHER", ranges(other)), ("PUNCTUATION", ranges(punctuation)),
                   ("NONSPACING", ranges(nonspacing)), ("STARTERS", ranges(starters)),
                   ("ATOMS", ranges(atoms)), ("COMPATIBILITY", ranges(compatibility_atoms)),
                   ("WORD", ranges(word)), ("NUMERIC", ranges(numeric)), ("MARKS", ranges(marks)),
                   *((f"REGEX_{name}", ranges(pins)) for name, pins in regex_pins.items()), ("LOWER", lower_ranges)):
    if not rows:  # an empty array is no C++
        source = re.sub(rf"constexpr Range (\w+)\[\] = {{{name}}};", r"constexpr std::span<const Range> \1;", source)
    source = source.replace("{" + name + "}", cells(rows))
    print(name, len(rows))
(ROOT / "sidecar/tokenizer/unicode_pins.cc").write_text(source)

data = {
    "generator": f"tokenizers {tokenizers.__version__}",
    "block": BLOCK,
    "digests": {name: [digest("\n".join(found[b])) if b in found else "" for b in range(0x110000 // BLOCK)]
                for name, found in blocks.items()},
}
(ROOT / "tests/data/tokenizers").mkdir(parents=True, exist_ok=True)
(ROOT / "tests/data/tokenizers/unicode.json").write_text(json.dumps(data, indent=0) + "\n")
