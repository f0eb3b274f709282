"""Makes tiny models of random weights, one of each family, and what transformers and
sentence-transformers answer for them:

    tests/data/tiny-encoders/<name>     <Family>ForSequenceClassification: config, weights, reference
    tests/data/tiny-sentence            a SentenceTransformer: two poolings, Dense, LayerNorm, Normalize
    tests/data/tiny-cross-encoder       a CrossEncoder

    python3 tests/golden/make_tiny_encoders.py

A reference.json holds ids, token types, the mean over the last hidden states and the logits. Weights
are stored as F16 and computed with as floats, so the files stay small and the answers exact. The
bare encoder of each family has the same tensors without a prefix, which this script checks; the
tests rename them. Needs torch, transformers, sentence-transformers, tokenizers, safetensors. The
same versions give the same bytes: every random number comes from one seed.
"""
import json
import pathlib
import random
import shutil

import sentence_transformers
import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import models

import make_tiny_models as tiny

DATA = tiny.DATA
SEED = 21
GENERATOR = (f"transformers {transformers.__version__}, sentence-transformers "
             f"{sentence_transformers.__version__}, torch {torch.__version__} on CPU, fp32 "
             f"arithmetic, eager attention; seed {SEED}")
COMMON = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
          "intermediate_size": 20}
LABELS = {"id2label": {0: "calm", 1: "loud", 2: "far"}, "label2id": {"calm": 0, "loud": 1, "far": 2}}


def families(vocabulary):
    """name: (class prefix, config, prefix of the encoder's tensors)"""
    t = transformers
    bert = dict(COMMON, vocab_size=vocabulary, max_position_embeddings=40, **LABELS)
    padded = dict(bert, max_position_embeddings=42, type_vocab_size=1, pad_token_id=1,
                  layer_norm_eps=1e-5)
    modern = dict(COMMON, vocab_size=vocabulary, pad_token_id=0, cls_token_id=2, sep_token_id=3,
                  bos_token_id=2, eos_token_id=3, max_position_embeddings=420, **LABELS)
    return {
        "bert-gelu-new": ("Bert", t.BertConfig(**bert, hidden_act="gelu_new"), "bert."),
        "bert-relu": ("Bert", t.BertConfig(**bert, hidden_act="relu"), "bert."),
        "roberta": ("Roberta", t.RobertaConfig(**padded), "roberta."),
        "xlm-roberta": ("XLMRoberta", t.XLMRobertaConfig(**padded), "roberta."),
        "camembert": ("Camembert", t.CamembertConfig(**padded, hidden_act="silu"), "roberta."),
        "electra": ("Electra", t.ElectraConfig(**bert, embedding_size=12), "electra."),
        "distilbert": ("DistilBert", t.DistilBertConfig(
            vocab_size=vocabulary, max_position_embeddings=40, dim=16, n_layers=2, n_heads=2,
            hidden_dim=20, activation="gelu", **LABELS), "distilbert."),
        # Long enough for every bucket of its relative positions, and for two blocks of keys.
        "mpnet": ("MPNet", t.MPNetConfig(**dict(padded, max_position_embeddings=262)), "mpnet."),
        # Windows of 9 tokens, and texts of several blocks of keys.
        "modernbert": ("ModernBert", t.ModernBertConfig(
            **dict(modern, num_hidden_layers=4), local_attention=8), "model."),
        "modernbert-biased": ("ModernBert", t.ModernBertConfig(
            **modern, local_attention=150, layer_types=["sliding_attention", "full_attention"],
            attention_bias=True, mlp_bias=True, norm_bias=True, classifier_bias=True,
            classifier_pooling="mean", classifier_activation="silu", hidden_activation="silu",
            rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 5000.0},
                             "sliding_attention": {"rope_type": "default", "rope_theta": 70.0}}),
            "model."),
    }


def randomize(model):
    """Weights large enough that every part of the forward pass shows, rounded to F16."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "norm" in name.lower() and name.endswith("weight")
            wide = any(part in name for part in ("query", "key", "q_lin", "k_lin", ".q.", ".k.",
                                                 "Wqkv", "relative_attention_bias"))
            value = 1 + 0.2 * noise if is_norm else (0.5 if wide else 0.25) * noise
            parameter.copy_(value.half().float())
    return model.eval()


def half_weights(path):
    """The file's tensors as F16: nothing is lost, since randomize() has rounded them. Without the
    pooler that AutoModel adds to a bare encoder, which no answer needs."""
    state = {k: v for k, v in load_file(path).items() if not k.startswith("pooler.")}
    for tensor in state.values():
        assert torch.equal(tensor.half().float(), tensor.float())
    save_file({k: v.half().contiguous() for k, v in state.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)


def rounded(vector):
    return [round(float(v), 6) for v in vector]


def write_reference(directory, items, **head):
    text = json.dumps({"generator": GENERATOR, **head}, ensure_ascii=False, indent=1)[:-2]
    text += ',\n "items": [\n' + ",\n".join(json.dumps(i, ensure_ascii=False) for i in items)
    (directory / "reference.json").write_text(text + "\n]}\n", encoding="utf-8")


def batches(config, vocabulary):
    """Ids and types of one token, a few, and as many as the positions allow."""
    chance = random.Random(SEED)
    padding = config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet")
    limit = config.max_position_embeddings - (2 if padding else 0)
    lengths = [1, 2, 7, 19, limit - 1, limit]
    if limit > 300:
        lengths = [1, 2, 7, 12, 150, 193, limit]
    types = getattr(config, "type_vocab_size", 1)
    for number, length in enumerate(lengths):
        ids = [chance.randrange(5, vocabulary) for _ in range(length)]
        if padding and number in (2, 3):
            ids[1] = ids[4] = config.pad_token_id  # a text may spell padding out
        yield ids, [chance.randrange(types) for _ in range(length)]


def make_family(name, kind, config, prefix, vocabulary):
    directory = DATA / "tiny-encoders" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config._attn_implementation = "eager"
    model = randomize(getattr(transformers, kind + "ForSequenceClassification")(config))
    encoder = getattr(model, model.base_model_prefix)
    bare = getattr(transformers, kind + "Model")(config)
    extra = {k for k in bare.state_dict() if not k.startswith("pooler.")} ^ {
        k[len(prefix):] for k in model.state_dict()
        if k.startswith(prefix) and not k.startswith(prefix + "pooler.")}
    assert not extra, extra

    items = []
    for ids, types in batches(config, vocabulary):
        more = {"token_type_ids": torch.tensor([types])} if max(types) > 0 else {}
        arguments = {"input_ids": torch.tensor([ids]), **more,
                     "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        with torch.no_grad():
            hidden = encoder(**arguments).last_hidden_state[0]
            logits = model(**arguments).logits[0]
        items.append({"ids": ids, "types": types, "mean": rounded(hidden.mean(0)),
                      "logits": rounded(logits)})
    shards = name == "xlm-roberta"
    model.half().save_pretrained(directory, max_shard_size="6KB" if shards else "1GB")
    for path in directory.glob("*.safetensors"):
        path.chmod(0o644)
    write_reference(directory, items, model=name, prefix=prefix)


def as_library_tokenizer(tokenizer, limit):
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=limit,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"])


def save_parts(directory, tokenizer, model):
    model.save_pretrained(directory)
    as_library_tokenizer(tokenizer, 40).save_pretrained(directory)


def make_sentence(tokenizer, vocabulary):
    directory = DATA / "tiny-sentence"
    parts = directory.with_name("parts.tmp")
    for path in (directory, parts):
        shutil.rmtree(path, ignore_errors=True)
    config = transformers.BertConfig(**COMMON, vocab_size=vocabulary, max_position_embeddings=40)
    save_parts(parts, tokenizer, randomize(transformers.BertModel(config, add_pooling_layer=False)))
    transformer = models.Transformer(str(parts), max_seq_length=24)
    both = models.Pooling(16, pooling_mode=("cls", "mean"))
    dense = randomize(models.Dense(32, 12, activation_function=torch.nn.Tanh()))
    with torch.no_grad():  # so small that the LayerNorm's epsilon shows
        for parameter in dense.parameters():
            parameter.copy_((parameter / 64).half().float())
    plain = randomize(models.Dense(12, 12, bias=False, use_residual=True,
                                   activation_function=torch.nn.GELU()))
    norm = randomize(models.LayerNorm(12))
    prompts = {"query": "the film ", "document": ""}
    whole = sentence_transformers.SentenceTransformer(
        modules=[transformer, both, dense, plain, norm, models.Normalize()], device="cpu",
        prompts=prompts, default_prompt_name="query")
    texts = tiny.TEXTS
    modes = {}
    for mode in models.Pooling.POOLING_MODES:
        pooled = sentence_transformers.SentenceTransformer(
            modules=[transformer, models.Pooling(16, pooling_mode=mode)], device="cpu")
        modes[mode] = pooled.encode(texts, batch_size=1)
    vectors = whole.encode(texts, batch_size=1, prompt="")
    queries = whole.encode(texts, batch_size=1)
    whole.save_pretrained(str(directory))
    shutil.rmtree(parts)
    for path in directory.rglob("*.safetensors"):
        half_weights(path)
    for path in [*directory.rglob("*.md"), directory / "special_tokens_map.json"]:
        path.unlink(missing_ok=True)
    write_reference(directory, [
        {"text": text, "vector": rounded(vectors[i]), "query_vector": rounded(queries[i]),
         "pooled": {mode: rounded(rows[i]) for mode, rows in modes.items()}}
        for i, text in enumerate(texts)], model="tiny-sentence", prompts=prompts)


def make_cross_encoder(tokenizer, vocabulary):
    directory = DATA / "tiny-cross-encoder"
    parts = directory.with_name("parts.tmp")
    for path in (directory, parts):
        shutil.rmtree(path, ignore_errors=True)
    config = transformers.BertConfig(**COMMON, vocab_size=vocabulary, max_position_embeddings=40,
                                     num_labels=1)
    save_parts(parts, tokenizer, randomize(transformers.BertForSequenceClassification(config)))
    model = sentence_transformers.CrossEncoder(str(parts), device="cpu")
    pairs = [(a, b) for a in tiny.TEXTS[2:6] for b in tiny.TEXTS[3:8]]
    scores = model.predict(pairs, batch_size=1)
    raw = model.predict(pairs, batch_size=1, activation_fn=torch.nn.Identity())
    model.save_pretrained(str(directory))
    shutil.rmtree(parts)
    half_weights(directory / "model.safetensors")
    for path in [*directory.rglob("*.md"), directory / "special_tokens_map.json"]:
        path.unlink(missing_ok=True)
    items = []
    for i, pair in enumerate(pairs):
        encoding = tokenizer.encode(*pair)
        items.append({"pair": pair, "ids": encoding.ids, "types": encoding.type_ids,
                      "logit": rounded([raw[i]])[0], "score": rounded([scores[i]])[0]})
    write_reference(directory, items, model="tiny-cross-encoder")


if __name__ == "__main__":
    made, size = tiny.make_tokenizer()
    for family, (kind, config, prefix) in families(size).items():
        make_family(family, kind, config, prefix, size)
    made.save(str(DATA / "tiny-encoders" / "tokenizer.json"))
    make_sentence(made, size)
    make_cross_encoder(made, size)
    print(GENERATOR)
