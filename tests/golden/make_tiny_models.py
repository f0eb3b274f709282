"""Makes two models of random weights, small enough to read, and what transformers answers for them:

    tests/data/tiny-bert        BertModel, stored as F32, F16 and BF16, mean pooling + Normalize
    tests/data/tiny-classifier  BertForSequenceClassification with 3 labels, multi-label

    python3 tests/golden/make_tiny_models.py

reference.json beside each holds ids and outputs. Needs torch, transformers, tokenizers,
safetensors. The same versions give the same bytes: every random number comes from one seed.
"""
import json
import pathlib

import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import models, normalizers, pre_tokenizers, processors

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
SEED = 20
TOKENS_MAX = 24  # max_position_embeddings, small enough that a sentence reaches it
STORAGE = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
TEXTS = [
    "",
    "a",
    "the cat sat",
    "The CAT sat on the mat.",
    "good film, bad end",
    "unbelievable!",
    "zyxwvut 0 1 2",
    "the the the the the the the the the the",
    "caf\u00e9 na\u00efve",
    "not a film for a cat but a cat for a film",
    "this text is far too long for the model and must be cut to its limit of tokens",
]
WORDS = ("the a cat sat on mat film good bad end not but for this is text too far long model "
         "and must be cut to its limit of").split()
GENERATOR = (f"transformers {transformers.__version__}, fp32 arithmetic, eager attention, torch "
             f"{torch.__version__} on CPU; tokenizers {tokenizers.__version__}, "
             f"truncation {TOKENS_MAX}; seed {SEED}")


def make_tokenizer():
    """BERT's, over letters, a few words and a little punctuation: about 100 pieces."""
    letters = [chr(ord("a") + i) for i in range(26)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces += [".", ",", "!", "0", "1"] + WORDS + [c for c in letters if c not in WORDS]
    pieces += ["##" + c for c in letters] + ["##able", "##ing", "##s2"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    assert len(vocabulary) == len(pieces)
    out = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    out.add_special_tokens(pieces[:5])
    out.normalizer = normalizers.BertNormalizer(lowercase=True)
    out.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    out.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])])
    return out, len(pieces)


def make_config(vocabulary, **more):
    return transformers.BertConfig(
        vocab_size=vocabulary, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=72, max_position_embeddings=TOKENS_MAX, type_vocab_size=2, **more)


def randomize(model):
    """Weights large enough that every part of the forward pass shows in the answer."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("LayerNorm.weight"):
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_(0.2 * noise)
    return model.eval()


def stored(model, directory, name, dtype):
    """Writes the weights as `dtype` and gives back a model that computes with what was stored."""
    state = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items()
             if "position_ids" not in k}
    path = directory / name
    save_file(state, path, metadata={"format": "pt"})
    path.chmod(0o644)
    again = type(model)(model.config) if isinstance(
        model, transformers.BertForSequenceClassification) else type(model)(
            model.config, add_pooling_layer=False)
    again.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    return again.eval()


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_config(directory, config, architecture):
    fields = config.to_dict()
    fields["architectures"] = [architecture]
    fields["dtype"] = "float32"
    write_json(directory / "config.json", fields)


def rounded(vector):
    return [round(float(v), 7) for v in vector]


def write_reference(directory, items, **head):
    text = json.dumps({"generator": GENERATOR, "tokens_max": TOKENS_MAX, **head},
                      ensure_ascii=False, indent=1)[:-2]
    text += ',\n "items": [\n' + ",\n".join(json.dumps(i, ensure_ascii=False) for i in items)
    (directory / "reference.json").write_text(text + "\n]}\n", encoding="utf-8")


def make_encoder(tokenizer, vocabulary):
    directory = DATA / "tiny-bert"
    directory.mkdir(parents=True, exist_ok=True)
    config = make_config(vocabulary)
    config._attn_implementation = "eager"
    model = randomize(transformers.BertModel(config, add_pooling_layer=False))
    items = [{"text": t, "ids": tokenizer.encode(t).ids} for t in TEXTS]
    for storage, dtype in STORAGE.items():
        name = "model.safetensors" if storage == "f32" else f"model.{storage}.safetensors"
        again = stored(model, directory, name, dtype)
        for item in items:
            with torch.no_grad():
                hidden = again(input_ids=torch.tensor([item["ids"]])).last_hidden_state[0]
            mean, first = hidden.mean(0), hidden[0]
            item[storage] = {
                "mean": rounded(mean),
                "mean_normalized": rounded(mean / mean.norm()),
                "cls": rounded(first),
                "cls_normalized": rounded(first / first.norm()),
            }
    tokenizer.save(str(directory / "tokenizer.json"))
    write_config(directory, config, "BertModel")
    prefix = "sentence_transformers.models."
    write_json(directory / "modules.json", [
        {"idx": 0, "name": "0", "path": "", "type": prefix + "Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": prefix + "Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": prefix + "Normalize"},
    ])
    write_json(directory / "1_Pooling" / "config.json", {
        "word_embedding_dimension": config.hidden_size,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    })
    write_reference(directory, items, model="tiny-bert")


def make_classifier(tokenizer, vocabulary):
    directory = DATA / "tiny-classifier"
    directory.mkdir(parents=True, exist_ok=True)
    labels = {0: "calm", 1: "loud", 2: "far away"}
    config = make_config(vocabulary, id2label=labels, label2id={v: k for k, v in labels.items()},
                         problem_type="multi_label_classification")
    config._attn_implementation = "eager"
    model = randomize(transformers.BertForSequenceClassification(config))
    again = stored(model, directory, "model.safetensors", torch.float32)
    items = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        with torch.no_grad():
            logits = again(input_ids=torch.tensor([ids])).logits[0]
            hidden = again.bert(input_ids=torch.tensor([ids])).last_hidden_state[0]
        mean = hidden.mean(0)
        items.append({"text": text, "ids": ids, "logits": rounded(logits),
                      "mean_normalized": rounded(mean / mean.norm())})
    tokenizer.save(str(directory / "tokenizer.json"))
    write_config(directory, config, "BertForSequenceClassification")
    write_reference(directory, items, model="tiny-classifier")


if __name__ == "__main__":
    made, size = make_tokenizer()
    made.enable_truncation(TOKENS_MAX)
    make_encoder(made, size)
    make_classifier(made, size)
    print(f"{size} pieces; {GENERATOR}")
