"""Makes a cross-encoder of random weights, and records what sentence-transformers answers:

    tests/data/tiny-reranker                  BertForSequenceClassification with one label
    tests/data/tiny-reranker/reference.json   what CrossEncoder gives for queries and documents
    tests/data/tiny-bert/embeddings.json      embeddings of tiny-bert as SentenceTransformer.encode
                                              and quantize_embeddings give them: shortened, not
                                              normalized, with prompts, as float16, int8 and bits

    python3 tests/golden/make_tiny_reranker.py

Needs torch, transformers, sentence-transformers, safetensors. The same versions give the same
bytes: every random number comes from one seed. The tokenizer is tiny-classifier's, whose template
has pairs.
"""
import json
import pathlib
import shutil

import numpy as np
import sentence_transformers
import torch
import transformers
from safetensors.torch import save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.util.quantization import quantize_embeddings

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
SEED = 21
TOKENS_MAX = 24
GENERATOR = (f"sentence-transformers {sentence_transformers.__version__}, transformers "
             f"{transformers.__version__}, torch {torch.__version__} on CPU; seed {SEED}")
QUERIES = ["the cat", "good film", "", "is this text too long for the model and its limit"]
DOCUMENTS = [
    "the cat sat on the mat.",
    "a film for a cat",
    "",
    "bad end!",
    "the the the the the the the the the the",
    "not good, but not bad",
    "caf\u00e9 na\u00efve 0 1",
    "this text is far too long for the model and must be cut to its limit of tokens",
]
TEXTS = ["the cat sat on the mat.", "a", "good film, bad end", "unbelievable!", ""]
PROMPT = "this is a text: "
DIMENSIONS = 16


def dump(path, head, items):
    text = json.dumps({"generator": GENERATOR, **head}, ensure_ascii=False, indent=1)[:-2]
    text += ',\n "items": [\n' + ",\n".join(json.dumps(i, ensure_ascii=False) for i in items)
    path.write_text(text + "\n]}\n", encoding="utf-8")


def rounded(vector):
    return [round(float(v), 7) for v in vector]


def make_reranker():
    directory = DATA / "tiny-reranker"
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(DATA / "tiny-classifier" / "tokenizer.json", directory)
    vocabulary = len(json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"])
    config = transformers.BertConfig(
        vocab_size=vocabulary, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=72, max_position_embeddings=TOKENS_MAX, type_vocab_size=2, num_labels=1)
    model = transformers.BertForSequenceClassification(config)
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = 0.2 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + noise if name.endswith("LayerNorm.weight") else noise)
    state = {k: v.contiguous() for k, v in model.state_dict().items() if "position_ids" not in k}
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "model.safetensors").chmod(0o644)
    fields = {**config.to_dict(), "architectures": ["BertForSequenceClassification"],
              "dtype": "float32"}
    (directory / "config.json").write_text(json.dumps(fields, indent=2) + "\n")

    # Read back from what was written, as an application would. The files that say how the
    # tokenizer is wrapped are for this only.
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(directory / "tokenizer.json"), pad_token="[PAD]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]", model_max_length=TOKENS_MAX,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    scratch = DATA.parents[1] / "build" / "tiny-reranker"
    shutil.copytree(directory, scratch, dirs_exist_ok=True)
    tokenizer.save_pretrained(scratch)
    encoder = CrossEncoder(str(scratch), device="cpu", max_length=TOKENS_MAX)
    items = []
    for query in QUERIES:
        pairs = [(query, document) for document in DOCUMENTS]
        encoded = tokenizer(*zip(*pairs), truncation="longest_first", max_length=TOKENS_MAX)
        raw = encoder.predict(pairs, batch_size=1, activation_fn=torch.nn.Identity())
        scores = encoder.predict(pairs, batch_size=1)
        ranks = encoder.rank(query, DOCUMENTS, top_k=3, batch_size=1)
        items.append({"query": query, "ids": encoded["input_ids"],
                      "types": encoded["token_type_ids"], "raw": rounded(raw),
                      "scores": rounded(scores), "top_3": [r["corpus_id"] for r in ranks]})
    dump(directory / "reference.json", {"model": "tiny-reranker", "tokens_max": TOKENS_MAX,
                                        "documents": DOCUMENTS}, items)


def make_embeddings():
    directory = DATA / "tiny-bert"
    scratch = DATA.parents[1] / "build" / "tiny-bert"
    shutil.copytree(directory, scratch, dirs_exist_ok=True)
    transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(directory / "tokenizer.json"), pad_token="[PAD]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]", model_max_length=TOKENS_MAX).save_pretrained(scratch)
    model = SentenceTransformer(str(scratch), device="cpu", prompts={"task": PROMPT})
    assert isinstance(model[2], sentence_transformers.models.Normalize)
    unscaled = SentenceTransformer(modules=[model[0], model[1]], device="cpu")
    items = []
    for text in TEXTS:
        whole = model.encode([text])
        short = model.encode([text], truncate_dim=DIMENSIONS, normalize_embeddings=True)
        largest = np.abs(whole).max()
        items.append({
            "text": text,
            "float32": rounded(whole[0]),
            "unscaled": rounded(unscaled.encode([text])[0]),
            "prompted": rounded(model.encode([text], prompt_name="task")[0]),
            "short": rounded(short[0]),
            "float16": whole[0].astype(np.float16).view(np.uint16).tolist(),
            # Ours: quantize_embeddings has int8 by ranges over a calibration set only.
            "int8": np.rint(whole[0] / largest * np.float32(127)).astype(np.int8).tolist(),
            "binary": quantize_embeddings(whole, "binary")[0].tolist(),
            "ubinary": quantize_embeddings(whole, "ubinary")[0].tolist(),
            "short_ubinary": quantize_embeddings(short, "ubinary")[0].tolist(),
        })
    dump(directory / "embeddings.json",
         {"model": "tiny-bert", "prompt": PROMPT, "dimensions": DIMENSIONS}, items)


if __name__ == "__main__":
    make_reranker()
    make_embeddings()
    print(GENERATOR)
