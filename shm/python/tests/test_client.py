"""The calls of Client over the double of libnacelle: results, errors, threads, closing."""

from __future__ import annotations

import ctypes
import math
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nacelle
from nacelle import _native


def test_embeddings_are_a_float32_array_with_a_row_per_text(client: nacelle.Client) -> None:
    vectors = client.embed("sizes", ["a", "bcd", ""])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, ord("a"), 0], [3, ord("b"), 1], [0, 0, 2]]


def test_a_single_str_gives_a_single_row(client: nacelle.Client) -> None:
    assert client.embed("sizes", "bcd").tolist() == [3, ord("b"), 0]
    assert client.embed("sizes", ["bcd"]).shape == (1, 3)


def test_an_embedding_belongs_to_its_caller(client: nacelle.Client) -> None:
    first = client.embed("sizes", ["a"])
    kept = first.copy()
    first += 1
    assert client.embed("sizes", ["a"]).tolist() == kept.tolist()
    assert first.flags.writeable and first.flags.owndata


def test_classifications_have_label_score_and_all_scores_in_the_models_order(
    client: nacelle.Client,
) -> None:
    results: list[nacelle.Classification] = client.classify("sizes", ["tiny", "long " * 10])
    assert [r.label for r in results] == ["short", "x" * 300]
    assert [r.score for r in results] == [0.625, 0.625]
    assert list(results[0].scores.items()) == [("긍정", 0.25), ("short", 0.625), ("x" * 300, 0.125)]
    assert [(r.truncated, r.tokens, r.error) for r in results] == [
        (False, 4, None),
        (True, 16, None),
    ]
    one: nacelle.Classification = client.classify("sizes", "tiny")
    assert one == results[0]


def test_a_report_tells_tokens_truncation_and_the_batch(client: nacelle.Client) -> None:
    vectors, report = client.embed("sizes", ["a", "b" * 17], report=True)
    assert vectors.shape == (2, 3)
    assert report.tokens.tolist() == [1, 16]
    assert report.truncated.tolist() == [False, True]
    assert (report.queue_us, report.compute_us) == (11, 22)
    assert (report.batch_texts, report.batch_clients) == (33, 2)
    assert report.errors == {}
    result, one = client.classify("sizes", "a", report=True)
    assert result.label == "short" and one.tokens.tolist() == [1]


def test_a_description_has_the_labels_whatever_their_length(client: nacelle.Client) -> None:
    assert client.describe("sizes") == nacelle.Description(
        service="sizes",
        embed_width=3,
        labels=("긍정", "short", "x" * 300),
        tokens_max=16,
        multi_label=False,
        digest="0" * 64,
        architecture="double",
        reranks=False,
        long_input="chunk_mean",
        windows_max=7,
        prompts=("prompt 0", "prompt 1"),
    )


def test_a_service_that_does_not_do_it_is_refused_with_what_it_does(
    client: nacelle.Client,
) -> None:
    with pytest.raises(nacelle.InvalidInput, match=r'"labels" does not embed.*classify\(\)'):
        client.embed("labels", "a")
    with pytest.raises(nacelle.InvalidInput, match=r'"embeds" does not classify.*embed\(\)'):
        client.classify("embeds", "a")


def test_pings_carry_bytes_both_ways(client: nacelle.Client) -> None:
    assert client.ping() == b""
    assert client.ping(b"abc") == b"cba"
    with pytest.raises(nacelle.TooLarge, match="1 MiB"):
        client.ping(bytes(2**20 + 1))


# ---- bad texts ----


def test_one_bad_text_fails_the_call_and_is_named(client: nacelle.Client) -> None:
    with pytest.raises(nacelle.InvalidInput) as caught:
        client.embed("sizes", ["fine", "a\ud800"])
    assert (caught.value.index, caught.value.byte) == (1, 1)


def test_one_bad_text_can_fail_alone(client: nacelle.Client) -> None:
    texts = ["fine", "é\udfff", "also fine"]
    vectors, report = client.embed("sizes", texts, on_error="return", report=True)
    assert vectors[0].tolist() == [4, ord("f"), 0] and vectors[2].tolist() == [9, ord("a"), 2]
    assert np.isnan(vectors[1]).all()
    assert list(report.errors) == [1]
    error = report.errors[1]
    assert isinstance(error, nacelle.InvalidInput) and (error.index, error.byte) == (1, 2)

    results = client.classify("sizes", texts, on_error="return")
    assert [r.label for r in results] == ["short", "", "short"]
    assert math.isnan(results[1].score) and all(map(math.isnan, results[1].scores.values()))
    assert isinstance(results[1].error, nacelle.InvalidInput)


def test_a_text_that_failed_for_another_reason_says_which(client: nacelle.Client) -> None:
    with pytest.raises(nacelle.Internal, match=r"texts\[1\] was not answered: internal"):
        client.embed("item:11", ["a", "b"])
    results = client.classify("item:999", ["a", "b"], on_error="return")
    assert results[0].label == "short" and results[0].error is None
    assert "status 999" in str(results[1].error)


# ---- errors ----

ERRORS: list[tuple[int, type[nacelle.Error], type[Exception]]] = [
    (1, nacelle.InvalidInput, ValueError),
    (2, nacelle.NotFound, LookupError),
    (3, nacelle.TooLarge, ValueError),
    (4, nacelle.Busy, nacelle.Error),
    (5, nacelle.DeadlineExceeded, TimeoutError),
    (6, nacelle.Cancelled, nacelle.Error),
    (7, nacelle.SidecarGone, ConnectionError),
    (8, nacelle.Denied, PermissionError),
    (9, nacelle.VersionMismatch, nacelle.Error),
    (10, nacelle.Unavailable, ConnectionError),
    (11, nacelle.Internal, nacelle.Error),
]


@pytest.mark.parametrize(("status", "kind", "builtin"), ERRORS)
def test_every_status_is_an_exception_that_is_also_the_builtin_one_expects(
    client: nacelle.Client,
    status: int,
    kind: type[nacelle.Error],
    builtin: type[Exception],
) -> None:
    with pytest.raises(builtin) as caught:
        client.embed(f"status:{status}", "a")
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.message, str(error)) == (
        nacelle.Code(status),
        "as the test wanted",
        "as the test wanted",
    )
    # An errno would make `except OSError` code believe that a system call failed.
    assert getattr(error, "errno", None) is None


def test_a_status_of_a_newer_library_is_a_plain_error_with_its_number(
    client: nacelle.Client,
) -> None:
    with pytest.raises(nacelle.Error) as caught:
        client.classify("status:77", "a")
    assert type(caught.value) is nacelle.Error and caught.value.code == 77


def test_busy_says_when_another_try_is_worth_it(client: nacelle.Client) -> None:
    with pytest.raises(nacelle.Busy) as caught:
        client.embed("status:4", "a")
    assert caught.value.retry_after == 0.0025


@pytest.mark.parametrize("status", [1, 4, 5, 7])
def test_errors_survive_pickling(client: nacelle.Client, status: int) -> None:
    with pytest.raises(nacelle.Error) as caught:
        client.embed(f"status:{status}", "a")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is type(caught.value)
    assert copy.__dict__ == caught.value.__dict__ and str(copy) == str(caught.value)


def test_classifications_survive_pickling(client: nacelle.Client) -> None:
    result = client.classify("sizes", "a")
    assert pickle.loads(pickle.dumps(result)) == result


def test_an_unknown_service_is_not_found(client: nacelle.Client) -> None:
    with pytest.raises(nacelle.NotFound, match='no service "nothing"'):
        client.embed("nothing", "a")


def test_a_service_name_that_c_would_cut_is_refused(client: nacelle.Client) -> None:
    with pytest.raises(nacelle.InvalidInput, match="NUL"):
        client.embed("sizes\0x", "a")


def test_on_error_has_two_words(client: nacelle.Client) -> None:
    with pytest.raises(ValueError, match='must be "raise" or "return"'):
        client.embed("sizes", "a", on_error="ignore")  # type: ignore[call-overload]


# ---- connecting, times, names ----


def test_without_a_sidecar_connecting_is_unavailable(double: _native.Library) -> None:
    with pytest.raises(nacelle.Unavailable, match="nobody is there"):
        nacelle.Client("nobody", library=double)


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(5.0, 5000), (0.0001, 1), (0.0015, 2), (0, 1), (1e12, 2**32 - 1), (math.inf, 2**32 - 1)],
)
def test_connect_timeouts_are_rounded_up_and_zero_is_the_shortest(
    double: _native.Library, knobs: ctypes.CDLL, seconds: float, milliseconds: int
) -> None:
    nacelle.Client(connect_timeout=seconds, library=double).close()
    assert knobs.double_connect_timeout_ms() == milliseconds


def test_timeouts_arrive_and_no_timeout_is_the_sidecars_own(
    client: nacelle.Client, knobs: ctypes.CDLL
) -> None:
    client.embed("sizes", "a", timeout=0.25)
    assert knobs.double_timeout_ms() == 250
    client.embed("sizes", "a")
    assert knobs.double_timeout_ms() == 0


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_a_timeout_that_cannot_be_met_is_refused(client: nacelle.Client, seconds: float) -> None:
    with pytest.raises(nacelle.InvalidInput, match=r"timeout is .* must be more than 0"):
        client.embed("sizes", "a", timeout=seconds)


def test_a_client_is_named_after_the_script_unless_told_otherwise(
    double: _native.Library, knobs: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/srv/app/worker.py", "--flag"])
    nacelle.Client(library=double).close()
    assert knobs.double_name() == b"worker.py"
    monkeypatch.setattr(sys, "argv", ["/srv/" + "긴" * 40])
    nacelle.Client(library=double).close()
    assert knobs.double_name().decode() == "긴" * 21  # 63 bytes: cut between characters
    nacelle.Client(library=double, name="mine").close()
    assert knobs.double_name() == b"mine"
    with pytest.raises(nacelle.InvalidInput, match="at most 63"):
        nacelle.Client(library=double, name="긴" * 22)


def test_a_socket_path_arrives_as_given(double: _native.Library, knobs: ctypes.CDLL) -> None:
    nacelle.Client(library=double).close()
    assert knobs.double_socket() == b"(null)"
    nacelle.Client("/run/x.sock", library=double).close()
    assert knobs.double_socket() == b"/run/x.sock"
    with pytest.raises(nacelle.InvalidInput, match="NUL"):
        nacelle.Client("/run/x\0.sock", library=double)


# ---- a sidecar that comes back with another model ----


def test_rows_are_read_with_the_width_of_the_model_that_wrote_them(
    client: nacelle.Client,
) -> None:
    assert client.embed("grows", ["a", "bc"]).tolist() == [[1, 97, 0, 0], [2, 98, 1, 0]]
    assert client.describe("grows").embed_width == 4


def test_labels_are_those_of_the_model_that_scored(client: nacelle.Client) -> None:
    before = client.describe("grows").digest
    assert client.classify("grows", "a").label == "short"
    assert client.describe("grows").digest != before


def test_a_model_that_never_rests_is_reported(client: nacelle.Client) -> None:
    with pytest.raises(nacelle.Unavailable, match='service "restless" changed 3 times'):
        client.embed("restless", "a")


# ---- threads and closing ----


def test_a_closed_client_says_so_and_closes_again(double: _native.Library) -> None:
    client = nacelle.Client(library=double)
    assert "open" in repr(client)
    client.close()
    client.close()
    assert "closed" in repr(client)
    for call in (
        lambda: client.embed("sizes", "a"),
        lambda: client.classify("sizes", "a"),
        lambda: client.describe("sizes"),
        lambda: client.ping(),
    ):
        with pytest.raises(nacelle.Closed, match=r"closed; nacelle.connect\(\) makes another"):
            call()


def test_the_connection_goes_with_the_with_block_or_the_last_reference(
    double: _native.Library, knobs: ctypes.CDLL
) -> None:
    before = knobs.double_open_clients()
    with nacelle.Client(library=double):
        assert knobs.double_open_clients() == before + 1
    assert knobs.double_open_clients() == before
    client = nacelle.Client(library=double)
    del client
    assert knobs.double_open_clients() == before


def test_an_error_that_is_kept_does_not_keep_the_connection(
    double: _native.Library, knobs: ctypes.CDLL
) -> None:
    before = knobs.double_open_clients()
    client = nacelle.Client(library=double)
    with pytest.raises(nacelle.Busy) as caught:
        client.embed("status:4", "a")
    client.close()
    assert knobs.double_open_clients() == before
    assert caught.tb is not None


def test_closing_during_a_call_frees_nothing_under_it(
    double: _native.Library, knobs: ctypes.CDLL
) -> None:
    before = knobs.double_open_clients()
    client = nacelle.Client(library=double)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.embed, "blocks", "a")
        blocked = knobs.double_wait_blocked(1)
        client.close()
        open_during = knobs.double_open_clients()
        knobs.double_release()
        with pytest.raises(nacelle.Closed):
            call.result()
    assert blocked
    assert open_during == before + 1
    assert knobs.double_open_clients() == before


def test_a_call_leaves_python_to_the_other_threads(
    client: nacelle.Client, knobs: ctypes.CDLL
) -> None:
    """Four calls block at the same time; with the GIL held the first would keep the others out."""
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(client.embed, "blocks", "ab") for _ in range(4)]
        all_blocked = knobs.double_wait_blocked(4)
        knobs.double_release()
        assert all_blocked
        for future in futures:
            assert future.result().tolist() == [2, ord("a"), 0]
