"""Makes the expected outputs of tests/data/nsmc-bert-ko with transformers, computing in fp32:

    reference_logits.json    logits of inputs.json and of 100 labelled reviews
    nsmc_test_labels.json    the label of every line of NSMC's test file, for both weight sets
    ../nsmc_test_sample.tsv  2,000 of those lines with their label and the predicted one

    python3 tests/golden/make_nsmc_model_goldens.py ASSETS

ASSETS holds nsmc-bert-ko (the fp32 original) and datasets/nsmc/nsmc_test.tsv. Needs torch,
transformers, tokenizers and numpy. Run make_nsmc_model.py first.
"""
import hashlib
import json
import pathlib
import sys

import numpy as np
import tokenizers
import torch
import transformers

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
MODEL = DATA / "nsmc-bert-ko"
TOKENS_MAX = 128  # max_position_embeddings
TRAINING_TOKENS_MAX = 64  # what the training run cut texts to when it printed 0.855092
SAMPLE_LINES = 2000
BATCH = 128
GENERATOR = (
    f"transformers {transformers.__version__} BertForSequenceClassification, fp32 arithmetic, "
    f"eager attention, torch {torch.__version__} on CPU; tokenizers {tokenizers.__version__}, "
    f"truncation {TOKENS_MAX}"
)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(directory):
    model = transformers.BertForSequenceClassification.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def logits_alone(model, ids):
    """One text in a batch of its own, without padding."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].numpy()


def logits_of_all(model, sequences):
    """Padded batches of texts of similar length: quick, and equal to logits_alone to 1e-5."""
    out = np.zeros((len(sequences), model.config.num_labels), np.float32)
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for start in range(0, len(order), BATCH):
        chosen = order[start:start + BATCH]
        width = max(len(sequences[i]) for i in chosen)
        ids = torch.zeros(len(chosen), width, dtype=torch.long)
        mask = torch.zeros(len(chosen), width, dtype=torch.long)
        for row, i in enumerate(chosen):
            ids[row, :len(sequences[i])] = torch.tensor(sequences[i])
            mask[row, :len(sequences[i])] = 1
        with torch.no_grad():
            out[chosen] = model(input_ids=ids, attention_mask=mask).logits.numpy()
    return out


def labels_record(weights, logits, logits_short, gold):
    """Accuracy and one bit a line: bit i % 4 (lowest first) of hex digit i / 4 is line i's label."""
    predicted = logits.argmax(-1)
    digits = []
    for start in range(0, len(predicted), 4):
        digits.append(f"{sum(int(b) << k for k, b in enumerate(predicted[start:start + 4])):x}")
    margin = np.abs(logits[:, 1] - logits[:, 0])
    return {
        "weights_sha256": sha256(weights),
        "correct": int((predicted == gold).sum()),
        "accuracy": round(float((predicted == gold).mean()), 6),
        "correct_at_64_tokens": int((logits_short.argmax(-1) == gold).sum()),
        "accuracy_at_64_tokens": round(float((logits_short.argmax(-1) == gold).mean()), 6),
        "smallest_margin": float(f"{margin.min():.3g}"),
        "predicted_hex": "".join(digits),
    }


def main(assets):
    torch.set_num_threads(2)
    tokenizer = tokenizers.Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS_MAX)
    shipped = load(MODEL)
    original = load(assets / "nsmc-bert-ko")

    test_file = assets / "datasets" / "nsmc" / "nsmc_test.tsv"
    lines = test_file.read_text(encoding="utf-8").split("\n")[1:]
    rows = [line.split("\t") for line in lines if line]
    assert all(len(row) == 3 and row[2] in "01" for row in rows)
    gold = np.array([int(row[2]) for row in rows])

    # The same texts as the recording beside the original, so the two can be compared.
    inputs = json.loads((DATA / "inputs.json").read_text(encoding="utf-8"))
    items = [{"set": "inputs", "id": str(e["id"]), "text": e["text"]} for e in inputs]
    items += [{"set": "nsmc_test", "id": r[0], "text": r[1], "gold": int(r[2])} for r in rows[:100]]
    for item in items:
        item["ids"] = tokenizer.encode(item["text"]).ids
        item["logits"] = [round(float(v), 6) for v in logits_alone(shipped, item["ids"])]
    recorded = json.loads(
        (assets / "nsmc-bert-ko" / "reference_logits.json").read_text(encoding="utf-8"))["items"]
    assert [r["ids"] for r in recorded] == [item["ids"] for item in items]
    rounding = max(abs(a - b) for r, item in zip(recorded, items)
                   for a, b in zip(r["logits"], item["logits"]))
    print(f"fp16 storage moves a logit by at most {rounding:.2e}")

    head = {
        "model": "nsmc-bert-ko",
        "weights_sha256": sha256(MODEL / "model.safetensors"),
        "generator": GENERATOR,
        "labels": {str(k): v for k, v in shipped.config.id2label.items()},
        "largest_difference_to_fp32_weights": round(rounding, 6),
    }
    text = json.dumps(head, ensure_ascii=False, indent=1)[:-2] + ',\n "items": [\n'
    text += ",\n".join(json.dumps(item, ensure_ascii=False) for item in items) + "\n]}\n"
    (MODEL / "reference_logits.json").write_text(text, encoding="utf-8")

    sequences = [tokenizer.encode(row[1]).ids for row in rows]
    tokenizer.enable_truncation(TRAINING_TOKENS_MAX)
    short = [tokenizer.encode(row[1]).ids for row in rows]
    record = {
        "test_file": "NSMC's test lines as datasets/nsmc/nsmc_test.tsv of the assets has them",
        "test_file_sha256": sha256(test_file),
        "lines": len(rows),
        "generator": GENERATOR + f", padded batches of {BATCH}",
        "bits": "line i: bit i % 4, lowest first, of hex digit i / 4; 1 is POSITIVE",
    }
    shipped_logits = logits_of_all(shipped, sequences)
    alone = np.array([item["logits"] for item in items[len(inputs):]])
    assert np.abs(alone - shipped_logits[:100]).max() < 1e-5
    record["fp16"] = labels_record(MODEL / "model.safetensors", shipped_logits,
                                   logits_of_all(shipped, short), gold)
    original_logits = logits_of_all(original, sequences)
    record["fp32"] = labels_record(assets / "nsmc-bert-ko" / "model.safetensors", original_logits,
                                   logits_of_all(original, short), gold)
    (MODEL / "nsmc_test_labels.json").write_text(json.dumps(record, indent=1) + "\n",
                                                 encoding="utf-8")

    # Every 4.8th line: an even spread over the file.
    chosen = [i * len(rows) // SAMPLE_LINES for i in range(SAMPLE_LINES)]
    with open(DATA / "nsmc_test_sample.tsv", "w", encoding="utf-8", newline="\n") as out:
        out.write("id\tdocument\tlabel\tpredicted\n")
        for i in chosen:
            out.write("\t".join(rows[i]) + f"\t{int(shipped_logits[i].argmax())}\n")
    correct = sum(int(shipped_logits[i].argmax()) == gold[i] for i in chosen)
    for name in ("fp16", "fp32"):
        print(name, {k: v for k, v in record[name].items() if k != "predicted_hex"})
    differing = int((shipped_logits.argmax(-1) != original_logits.argmax(-1)).sum())
    print(f"labels that differ between the two: {differing}")
    print(f"sample: {correct} of {SAMPLE_LINES} correct = {correct / SAMPLE_LINES:.4f}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
