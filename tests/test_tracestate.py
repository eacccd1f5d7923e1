"""Thresholds and randomness in tracestate, as OTEP-235 writes them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.otlp import tracestate
from tracekit.otlp.tracestate import ALWAYS, NEVER, Sampling

THRESHOLDS = st.integers(ALWAYS, NEVER - 1)
PROBABILITIES = st.floats(2.0**-56, 1.0, exclude_min=False)

OTHERS = st.lists(
    st.from_regex(r"[a-z][a-z0-9]{0,3}:[A-Za-z0-9._-]{1,8}", fullmatch=True).filter(
        lambda member: not member.startswith(("th:", "rv:"))
    ),
    max_size=4,
).map(tuple)

PRECISION_TABLE = (
    (1 / 2, "8", "8", "8"),
    (1 / 3, "aab", "aaab", "aaaab"),
    (1 / 4, "c", "c", "c"),
    (1 / 5, "ccd", "cccd", "ccccd"),
    (1 / 8, "e", "e", "e"),
    (1 / 10, "e66", "e666", "e6666"),
    (1 / 16, "f", "f", "f"),
    (1 / 100, "fd71", "fd70a", "fd70a4"),
    (1 / 1000, "ffbe7", "ffbe77", "ffbe76d"),
    (1 / 1_000_000, "ffffef4", "ffffef39", "ffffef391"),
)
"""Probability, then `th` with 3, 4 and 5 digits, from the specification."""


@pytest.mark.parametrize(("share", "three", "four", "five"), PRECISION_TABLE)
def test_thresholds_of_the_specification(share: float, three: str, four: str, five: str) -> None:
    """A probability becomes the threshold the specification lists, at each precision."""
    written = [tracestate.encode_threshold(tracestate.threshold(share, n)) for n in (3, 4, 5)]
    assert written == [three, four, five]
    assert tracestate.encode_threshold(tracestate.threshold(share)) == four


@pytest.mark.parametrize(
    ("key", "written"),
    [("chat-42", "1ade1c134dc7b5"), ("Auftrag-7/ü", "f56b9d3dd250df"), ("", "e3b0c44298fc1c")],
)
def test_randomness_of_a_session(key: str, written: str) -> None:
    """R of a session is the start of the SHA-256 of its key: the documented vectors."""
    assert tracestate.encode_randomness(tracestate.session_randomness(key)) == written


@given(st.text(st.characters(exclude_categories=())))
def test_any_key_has_a_randomness(key: str) -> None:
    """Every text is a session key, lone surrogates included."""
    assert 0 <= tracestate.session_randomness(key) < NEVER


@given(THRESHOLDS)
def test_thresholds_survive(rejection: int) -> None:
    """A threshold is read as it was written, and is written without trailing zeros."""
    text = tracestate.encode_threshold(rejection)
    assert tracestate.decode_threshold(text) == rejection
    assert text == "0" or not text.endswith("0")


@given(THRESHOLDS)
def test_randomness_survives(randomness: int) -> None:
    """R is read as it was written, always with 14 digits."""
    text = tracestate.encode_randomness(randomness)
    assert (tracestate.decode_randomness(text), len(text)) == (randomness, 14)


@pytest.mark.parametrize(
    ("text", "rejection"), [("08", 0x08 << 48), ("8", 1 << 55), ("80", 1 << 55)]
)
def test_leading_zeros_count(text: str, rejection: int) -> None:
    """Leading zeros of a threshold are significant, trailing ones are not."""
    assert tracestate.decode_threshold(text) == rejection


@pytest.mark.parametrize("text", ["", "C", "g", " 8", "0x8", "8_0", "+8", "1" * 15, "٣"])
def test_malformed_thresholds(text: str) -> None:
    """What is not one to fourteen lower-case hex digits is no threshold."""
    assert tracestate.decode_threshold(text) is None


@pytest.mark.parametrize("text", ["", "8", "1" * 13, "1" * 15, "F" * 14])
def test_malformed_randomness(text: str) -> None:
    """What is not fourteen lower-case hex digits is no randomness."""
    assert tracestate.decode_randomness(text) is None


@given(PROBABILITIES, st.integers(1, 14))
def test_rounding_is_small(share: float, precision: int) -> None:
    """Rounding changes what is kept and what is rejected by less than their precision allows."""
    rejection = tracestate.threshold(share, precision)
    exact = NEVER - max(1, round(math.ldexp(share, 56)))
    assert ALWAYS <= rejection < NEVER
    assert abs(rejection - exact) <= 16.0 ** (1 - precision) * min(exact, NEVER - exact)


@given(PROBABILITIES)
def test_adjusted_count_is_one_over_probability(share: float) -> None:
    """What a kept one stands for is the inverse of the share the threshold keeps."""
    rejection = tracestate.threshold(share)
    product = tracestate.probability(rejection) * tracestate.adjusted_count(rejection)
    assert product == pytest.approx(1)


@pytest.mark.parametrize("share", [0, -0.1, 1.1, math.nan, math.inf])
def test_impossible_probabilities(share: float) -> None:
    """There is no threshold for a probability outside of 0 to 1, nor for 0."""
    with pytest.raises(ValueError, match="probability"):
        tracestate.threshold(share)


@pytest.mark.parametrize("number", [-1, NEVER])
def test_numbers_of_other_sizes(number: int) -> None:
    """Only 56 bits can be written, and only a threshold that keeps something."""
    with pytest.raises(ValueError, match="56 bits"):
        tracestate.encode_threshold(number)
    with pytest.raises(ValueError, match="56 bits"):
        tracestate.encode_randomness(number)
    with pytest.raises(ValueError, match="adjusted count"):
        tracestate.adjusted_count(NEVER)


@given(st.none() | THRESHOLDS, st.none() | THRESHOLDS, OTHERS)
def test_members_survive(
    rejection: int | None, randomness: int | None, rest: tuple[str, ...]
) -> None:
    """What is written is read again, sub-keys of others included."""
    sampling = Sampling(rejection, randomness, rest)
    assert tracestate.parse(tracestate.serialise(sampling)) == sampling


@given(st.text(max_size=300))
def test_any_text_can_be_read(value: str) -> None:
    """No value of others is too odd to be read, and reading it twice says the same."""
    read = tracestate.parse(value)
    assert tracestate.parse(tracestate.serialise(read)) == read


@given(st.lists(st.text("abc", min_size=1, max_size=60).map("x:{}".format), max_size=20).map(tuple))
def test_length_limit(rest: tuple[str, ...]) -> None:
    """A member never exceeds its limit; its own values stay, those of others leave from the end."""
    value = tracestate.serialise(Sampling(1, 2, rest))
    kept = tracestate.parse(value)
    assert len(value) <= tracestate.LIMIT
    assert (kept.threshold, kept.randomness) == (1, 2)
    assert kept.rest == rest[: len(kept.rest)]


def test_too_long_members_are_not_read() -> None:
    """A member above the limit counts as absent."""
    assert tracestate.parse("th:8;x:" + "1" * tracestate.LIMIT) == Sampling()


@pytest.mark.parametrize("value", ["th:8;th:4", "th:8;th:8", "th:"])
def test_contradictions_are_unknown(value: str) -> None:
    """A threshold that is said twice or malformed is not known."""
    assert tracestate.parse(value).threshold is None


def test_members_of_other_vendors_stay() -> None:
    """Writing moves our member to the front and leaves the others as they were, in their order."""
    header = "vendor=a:1, ot=th:8;x:y ,other=b"
    sampling = tracestate.read(header)
    assert sampling == Sampling(1 << 55, None, ("x:y",))
    assert tracestate.write(header, sampling) == header
    assert tracestate.write(header, sampling.raised(0xC << 52)) == "ot=th:c;x:y,vendor=a:1,other=b"
    assert tracestate.write(header, Sampling()) == "vendor=a:1,other=b"
    assert tracestate.write("", Sampling(ALWAYS)) == "ot=th:0"


def test_at_most_32_members() -> None:
    """A member that is added to a full tracestate pushes out the last one."""
    header = ",".join(f"v{n}=1" for n in range(32))
    written = tracestate.write(header, Sampling(ALWAYS)).split(",")
    assert (len(written), written[0], written[-1]) == (32, "ot=th:0", "v30=1")


@given(THRESHOLDS, st.none() | THRESHOLDS)
def test_thresholds_only_rise(stage: int, before: int | None) -> None:
    """A later stage raises the threshold or leaves it; one that keeps all changes nothing."""
    after = Sampling(before).raised(stage).threshold
    if stage == ALWAYS:
        assert after == before
    else:
        assert after == max(stage, before or 0)


@given(THRESHOLDS, st.none() | THRESHOLDS, st.integers(0, (1 << 128) - 1))
def test_inconsistent_thresholds_are_erased(
    rejection: int, randomness: int | None, trace_id: int
) -> None:
    """A threshold above R is erased with R and the rest kept: the trace came by another way."""
    sampling = Sampling(rejection, randomness, ("x:y",))
    own = tracestate.trace_randomness(trace_id) if randomness is None else randomness
    assert sampling.kept_with(trace_id) is (own >= rejection)
    expected = sampling if own >= rejection else Sampling(None, randomness, ("x:y",))
    assert sampling.consistent(trace_id) == expected
    assert sampling.erased().kept_with(trace_id) is None
