"""The package with a real sidecar and the real small classifier."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BUILD
from numpy.typing import NDArray
from sidecar import DATA, REVIEWS, SECONDS_MAX, Sidecar, in_forked_child

import nacelle
from nacelle import _native

pytestmark = pytest.mark.skipif(
    BUILD is None, reason="NACELLE_BUILD names no build directory, so there is no nacelled to test"
)


# ---- answers ----


def test_labels_and_scores_are_the_recorded_ones(engine: nacelle.Client) -> None:
    recorded = json.loads((DATA / "nsmc-bert-ko" / "reference_logits.json").read_text())
    items = recorded["items"]
    results = engine.classify("sentiment", [item["text"] for item in items])
    for item, result in zip(items, results):
        assert list(result.scores) == ["NEGATIVE", "POSITIVE"]
        logits = np.array(item["logits"])
        expected = np.exp(logits) / np.exp(logits).sum()
        # A probability moves at most half as far as the logits, which are held to 1e-4.
        assert np.abs(np.array(list(result.scores.values())) - expected).max() <= 1e-4, item
        assert result.score == max(result.scores.values()) == result.scores[result.label]
        assert result.tokens == len(item["ids"])


def test_a_description_names_the_model(engine: nacelle.Client) -> None:
    about = engine.describe("sentiment")
    assert about.labels == ("NEGATIVE", "POSITIVE")
    assert about.embed_width == 128
    assert about.tokens_max == 128
    assert not about.multi_label
    assert len(about.digest) == 64 and int(about.digest, 16)


def test_a_list_gives_the_bits_that_its_texts_give_alone(engine: nacelle.Client) -> None:
    together = engine.embed("sentiment", REVIEWS)
    assert together.shape == (len(REVIEWS), 128) and together.dtype == np.float32
    alone = np.stack([engine.embed("sentiment", review) for review in REVIEWS])
    np.testing.assert_array_equal(together, alone)
    assert engine.classify("sentiment", REVIEWS) == [
        engine.classify("sentiment", review) for review in REVIEWS
    ]


def test_a_list_longer_than_one_request_is_answered_in_order(engine: nacelle.Client) -> None:
    texts = REVIEWS[:50] * 100  # more than limits.items_max
    vectors = engine.embed("sentiment", texts)
    np.testing.assert_array_equal(vectors, np.tile(vectors[:50], (100, 1)))


def test_pings_come_back(engine: nacelle.Client) -> None:
    assert engine.ping() == b""
    data = bytes(range(256)) * 4096  # 1 MiB, the most there may be
    assert engine.ping(data) == data
    with pytest.raises(nacelle.TooLarge):
        engine.ping(data + b"x")


# ---- bad input ----


def test_a_text_of_a_megabyte_is_truncated_and_says_so(engine: nacelle.Client) -> None:
    text = "재미있다 " * 80_000
    assert 1_000_000 <= len(text.encode()) <= 1 << 20
    result, report = engine.classify("sentiment", text, report=True)
    assert result.truncated and report.truncated.tolist() == [True]
    assert result.tokens == 128
    # Only its beginning was read: the answer is that of its beginning.
    assert engine.classify("sentiment", "재미있다 " * 200).scores == result.scores


def test_a_text_over_the_limit_is_refused_with_the_name_of_the_limit(
    engine: nacelle.Client,
) -> None:
    with pytest.raises(nacelle.TooLarge, match=r"limits\.text_bytes_max"):
        engine.embed("sentiment", ["fine", "x" * ((1 << 20) + 1)])


def test_an_unknown_service_is_refused_with_the_ones_there_are(engine: nacelle.Client) -> None:
    for call in (engine.embed, engine.classify):
        with pytest.raises(nacelle.NotFound, match="sentiment"):
            call("sentimental", "a")


def test_an_empty_list_is_refused(engine: nacelle.Client) -> None:
    with pytest.raises(nacelle.InvalidInput, match="at least one text"):
        engine.classify("sentiment", [])


def test_a_bad_text_fails_alone_when_asked_to(engine: nacelle.Client) -> None:
    texts = [REVIEWS[0], "half a pair: \ud83d", REVIEWS[1]]
    with pytest.raises(nacelle.InvalidInput) as caught:
        engine.embed("sentiment", texts)
    assert (caught.value.index, caught.value.byte) == (1, 13)

    vectors, report = engine.embed("sentiment", texts, on_error="return", report=True)
    np.testing.assert_array_equal(vectors[[0, 2]], engine.embed("sentiment", REVIEWS[:2]))
    assert np.isnan(vectors[1]).all()
    error = report.errors[1]
    assert isinstance(error, nacelle.InvalidInput) and error.byte == 13
    results = engine.classify("sentiment", texts, on_error="return")
    assert [bool(result.error) for result in results] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "byte"), [(b"\xff", 0), (b"ab\xc3", 2), (b"\xea\xb8\x8d\xc0\xaf", 3)]
)
def test_bytes_that_are_not_utf8_are_refused_by_the_sidecar(
    engine: nacelle.Client, text: bytes, byte: int
) -> None:
    """No str encodes to these, so they go around the package, to the C interface."""
    library, connection = _native.library, engine._connection
    assert connection is not None
    address = ctypes.c_void_p.from_buffer(ctypes.c_char_p(text)).value
    table = np.array([(address, len(text))], _native.TEXT)
    rows = np.ones((1, 128), np.float32)
    items = np.zeros(1, _native.ITEM)
    report = _native.Report(_native.REPORT_SIZE)
    arguments = (connection.pointer, b"sentiment", table.ctypes.data, 1, None)
    output = (rows.ctypes.data, rows.size)

    assert library.nacelle_embed(*arguments, *output, items.ctypes.data, report) == 0
    assert report.items_failed == 1
    assert (items["status"][0], items["detail"][0]) == (nacelle.Code.INVALID, byte)
    assert not rows.any()

    status = library.nacelle_embed(*arguments, *output, None, report)
    assert status == nacelle.Code.INVALID
    assert f"byte {byte}" in library.error()


def test_a_deadline_that_cannot_be_met_is_exceeded_and_the_client_goes_on(
    engine: nacelle.Client,
) -> None:
    with pytest.raises(nacelle.DeadlineExceeded):
        engine.embed("sentiment", [" ".join(REVIEWS[:20])] * 4000, timeout=0.001)
    assert engine.classify("sentiment", REVIEWS[0]).label in ("NEGATIVE", "POSITIVE")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_who_is_not_on_the_list_is_denied() -> None:
    nobody = 65534
    # Not tmp_path: only its owner may enter that.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        sidecar = Sidecar(Path(folder))
        sidecar.start()
        try:
            sidecar.connect().close()  # root itself is welcome

            def connect_as_nobody() -> bytes:
                os.setresgid(nobody, nobody, nobody)
                os.setresuid(nobody, nobody, nobody)
                try:
                    nacelle.connect(sidecar.socket, connect_timeout=SECONDS_MAX)
                except nacelle.Error as error:
                    return f"{type(error).__name__}: {error}".encode()
                return b"connected"

            said = in_forked_child(connect_as_nobody).decode()
        finally:
            sidecar.kill()
    assert said.startswith("Denied: ")
    assert "transport.allow_uids" in said


def test_without_a_sidecar_the_socket_is_named(tmp_path: Path) -> None:
    socket = tmp_path / "nobody.sock"
    with pytest.raises(nacelle.Unavailable, match=r"nobody\.sock"):
        nacelle.connect(socket, connect_timeout=0)


# ---- several callers at once ----


def test_two_processes_get_what_each_would_get_alone(
    sidecar: Sidecar, engine: nacelle.Client, tmp_path: Path
) -> None:
    program = tmp_path / "application.py"
    program.write_text(
        "import json, sys\n"
        "import numpy as np\n"
        "import nacelle\n"
        "texts = json.load(open(sys.argv[1]))\n"
        "with nacelle.connect(sys.argv[2]) as engine:\n"
        "    engine.describe('sentiment')\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.readline()\n"  # both start when the test says so
        "    vectors = [engine.embed('sentiment', texts[i::8]) for i in range(8)]\n"
        "    labels = [[r.label, r.score] for r in engine.classify('sentiment', texts)]\n"
        "np.savez(sys.argv[3], *vectors)\n"
        "print(json.dumps(labels))\n"
    )
    (tmp_path / "texts.json").write_text(json.dumps(REVIEWS))
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                str(program),
                str(tmp_path / "texts.json"),
                str(sidecar.socket),
                str(tmp_path / f"{i}.npz"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(nacelle.__file__).parents[1])},
        )
        for i in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=SECONDS_MAX)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()

    expected = [[r.label, r.score] for r in map_one_by_one(engine, REVIEWS)]
    for i, output in enumerate(outputs):
        assert json.loads(output) == expected
        stored = np.load(tmp_path / f"{i}.npz")
        for part in range(8):
            alone = np.stack([engine.embed("sentiment", t) for t in REVIEWS[part::8]])
            np.testing.assert_array_equal(stored[f"arr_{part}"], alone)


def map_one_by_one(engine: nacelle.Client, texts: list[str]) -> list[nacelle.Classification]:
    return [engine.classify("sentiment", text) for text in texts]


def test_eight_threads_share_one_client(engine: nacelle.Client) -> None:
    expected = engine.embed("sentiment", REVIEWS)
    labels = [result.label for result in engine.classify("sentiment", REVIEWS)]
    start = threading.Barrier(8)

    def hammer(number: int) -> None:
        random = np.random.default_rng(number)  # the seed names the thread
        start.wait(SECONDS_MAX)
        for _ in range(50):
            chosen = random.integers(0, len(REVIEWS), random.integers(1, 20)).tolist()
            texts = [REVIEWS[i] for i in chosen]
            np.testing.assert_array_equal(engine.embed("sentiment", texts), expected[chosen])
            got = [result.label for result in engine.classify("sentiment", texts)]
            assert got == [labels[i] for i in chosen]
            data = random.bytes(100)
            assert engine.ping(data) == data

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(hammer, number) for number in range(8)]:
            future.result()


def test_a_client_made_before_a_fork_works_in_the_child(engine: nacelle.Client) -> None:
    expected = engine.embed("sentiment", REVIEWS[0])
    received = in_forked_child(lambda: engine.embed("sentiment", REVIEWS[0]).tobytes())
    assert received == expected.tobytes()
    np.testing.assert_array_equal(engine.embed("sentiment", REVIEWS[0]), expected)


# ---- a sidecar that stops, dies, comes back ----


def test_after_sigterm_the_error_says_that_the_sidecar_is_gone(own_sidecar: Sidecar) -> None:
    own_sidecar.connect().close()  # wait until it is ready
    with own_sidecar.connect(connect_timeout=0.5) as client:
        client.classify("sentiment", REVIEWS[0])
        assert own_sidecar.stop() == 0, own_sidecar.log()
        with pytest.raises((nacelle.SidecarGone, nacelle.Unavailable), match=r"nacelle\.sock"):
            client.classify("sentiment", REVIEWS[0])


def test_after_kill_9_and_a_restart_the_client_goes_on_by_itself(own_sidecar: Sidecar) -> None:
    with own_sidecar.connect() as client:
        before = client.embed("sentiment", REVIEWS)
        own_sidecar.kill()
        own_sidecar.start()
        np.testing.assert_array_equal(client.embed("sentiment", REVIEWS), before)


def test_calls_under_way_at_kill_9_are_answered_after_the_restart(own_sidecar: Sidecar) -> None:
    with own_sidecar.connect() as client:
        expected = client.embed("sentiment", REVIEWS)
        done = threading.Event()
        progress = threading.Semaphore(0)

        def hammer() -> int:
            calls = 0
            while not done.is_set():
                np.testing.assert_array_equal(client.embed("sentiment", REVIEWS), expected)
                progress.release()
                calls += 1
            return calls

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(hammer) for _ in range(4)]
            try:
                for _ in range(8):
                    assert progress.acquire(timeout=SECONDS_MAX)
                own_sidecar.kill()
                own_sidecar.start()
                # More answers than could have been on their way when it was killed.
                for _ in range(16):
                    assert progress.acquire(timeout=SECONDS_MAX)
            finally:
                done.set()
            assert sum(future.result() for future in futures) >= 24


def test_a_sidecar_that_comes_back_with_another_model_is_read_rightly(
    own_sidecar: Sidecar,
) -> None:
    def answers(client: nacelle.Client) -> tuple[NDArray[np.float32], Any]:
        return client.embed("sentiment", "a film"), client.classify("sentiment", "a film")

    with own_sidecar.connect() as client:
        old = answers(client)
        own_sidecar.kill()
        own_sidecar.config["services"] = {"sentiment": str(DATA / "tiny-classifier")}
        own_sidecar.start()
        changed = answers(client)
        with own_sidecar.connect() as fresh:
            expected = answers(fresh)
    np.testing.assert_array_equal(changed[0], expected[0])
    assert changed[1] == expected[1]
    assert changed[0].shape != old[0].shape
