"""nacelled as its operator meets it: what it refuses, what it says, and how it leaves."""

import json
import struct

import nacelle
import pytest


def refused(result, *words: str) -> None:
    assert result.returncode == 2, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


# ---- config: refused before anything is opened ----


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("schedular: {max_delay_us: 5}\n", ['"schedular', "scheduler", "nacelle.yaml:4"]),
        ("transport: {slots: 0}\n", ["transport.slots", "1 to 256"]),
        ("transport: {slots: many}\n", ["transport.slots", "many"]),
        ("kernels: {backend: abacus}\n", ["kernels.backend", "abacus"]),
        ("limits: {items_max: -1}\n", ["limits.items_max"]),
    ],
)
def test_a_bad_option_is_named_with_the_fix(nacelled, more, words):
    refused(nacelled.run(f"--config={nacelled.config(more=more)}"), *words)
    assert not nacelled.socket.exists()
    assert not nacelled.control.exists()


def test_a_config_file_that_is_not_there(nacelled):
    refused(nacelled.run("--config=/no/such/file.yaml"), "/no/such/file.yaml")


def test_without_services_it_says_how_to_name_one(nacelled):
    refused(nacelled.run(), "services")


def test_a_batch_too_small_for_one_text_is_refused(nacelled):
    path = nacelled.config(more="scheduler: {batch_tokens_max: 100}\n")
    refused(nacelled.run(f"--config={path}"), "scheduler.batch_tokens_max", "128")


def test_flags_and_environment_go_before_the_file(nacelled):
    path = nacelled.config(more="transport: {slots: 0}\n")
    # The file's bad value is still an error: it would bite as soon as the flag is gone.
    refused(nacelled.run(f"--config={path}", "--transport.slots=8"), "transport.slots")


# ---- models: refused with the file's name and the reason ----


def test_a_model_that_is_not_there(nacelled):
    path = nacelled.config(model=nacelled.folder / "nothing")
    refused(nacelled.run(f"--config={path}"), "sentiment", str(nacelled.folder / "nothing"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(nacelled, model, name):
    (model / name).unlink()
    refused(nacelled.run(f"--config={nacelled.config(model)}"), name)


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1, -100_000])
def test_truncated_weights_are_named_with_what_to_do(nacelled, model, keep):
    weights = model / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:keep])
    refused(nacelled.run(f"--config={nacelled.config(model)}"), "model.safetensors")


def test_a_wrong_dtype_is_named_with_its_tensor(nacelled, model):
    weights = model / "model.safetensors"
    data = weights.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    name = next(key for key in header if key.endswith("query.weight"))
    header[name]["dtype"] = "I16"  # as wide as fp16: only the meaning is wrong
    text = json.dumps(header).encode()
    weights.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    refused(nacelled.run(f"--config={nacelled.config(model)}"), "model.safetensors", name, "I16")


def test_an_unknown_tokenizer_component_is_named(nacelled, model):
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["normalizer"] = {"type": "Alchemy"}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    refused(nacelled.run(f"--config={nacelled.config(model)}"), "tokenizer.json", "Alchemy")


def test_an_unknown_architecture_is_named(nacelled, model):
    path = model / "config.json"
    config = json.loads(path.read_text())
    config["architectures"] = ["GrandModel"]
    path.write_text(json.dumps(config))
    refused(nacelled.run(f"--config={nacelled.config(model)}"), "config.json", "GrandModel")


# ---- serving ----


def test_nacellectl_shows_what_was_served(nacelled):
    nacelled.start()
    with nacelle.connect(str(nacelled.socket), name="a-test") as engine:
        engine.classify("sentiment", ["하나", "둘", "셋"])
        status = json.loads(nacelled.ctl("--json", "status").stdout)
    assert status["state"] == "serving"
    assert status["totals"]["texts"] == 3
    assert status["clients"][0]["name"] == "a-test"
    assert status["totals"]["rescued_by_timeout"] == 0
    models = nacelled.ctl("models")
    assert models.returncode == 0
    assert "BertForSequenceClassification" in models.stdout
    explain = nacelled.ctl("config", "explain", "transport.slots")
    assert explain.returncode == 0
    assert "transport.slots" in explain.stdout
    wrong = nacelled.ctl("statsu")
    assert wrong.returncode == 2
    assert "status" in wrong.stderr


def test_without_a_sidecar_nacellectl_says_what_to_do(nacelled):
    result = nacelled.ctl("status")
    assert result.returncode == 3
    assert str(nacelled.control) in result.stderr


def test_every_bad_input_is_answered_and_it_serves_on(nacelled):
    nacelled.start(more="limits: {text_bytes_max: 1000000}\n")
    with nacelle.connect(str(nacelled.socket)) as engine:
        with pytest.raises(nacelle.InvalidInput, match="empty"):
            engine.embed("sentiment", [])
        with pytest.raises(nacelle.NotFound, match="sentiment"):
            engine.embed("no-such-service", ["x"])
        with pytest.raises(nacelle.TooLarge, match="limits.text_bytes_max"):
            engine.embed("sentiment", ["x" * 1_000_001])
        with pytest.raises(nacelle.InvalidInput, match=r"texts\[1\]"):
            engine.embed("sentiment", ["fine", "half a pair: \ud800"])
        _, report = engine.embed("sentiment", ["영화 " * 140_000], report=True)
        assert report.truncated[0]
        assert report.tokens[0] == 128
        assert engine.classify("sentiment", "정말 재미있는 영화").label == "POSITIVE"


def test_sigterm_drains_and_removes_the_sockets(nacelled):
    nacelled.start()
    with nacelle.connect(str(nacelled.socket)) as engine:
        engine.ping(b"hello")
        assert nacelled.stop() == 0
    assert "stopped" in nacelled.log
    assert not nacelled.socket.exists()
    assert not nacelled.control.exists()


def test_one_copy_of_the_model_serves_all(nacelled):
    nacelled.start()
    engines = [nacelle.connect(str(nacelled.socket)) for _ in range(8)]
    before = json.loads(nacelled.ctl("--json", "status").stdout)["models"]
    for engine in engines:
        engine.classify("sentiment", "좋아요")
    after = json.loads(nacelled.ctl("--json", "status").stdout)
    assert [m["memory_bytes"] for m in after["models"]] == [m["memory_bytes"] for m in before]
    assert len(after["clients"]) == 8
    for engine in engines:
        engine.close()
