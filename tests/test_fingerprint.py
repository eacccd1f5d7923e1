"""Fingerprints are SipHash-1-3, the hash CPython itself uses for bytes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.otlp.fingerprint import fingerprint

SAMPLES = [bytes(range(256))[:length] for length in (*range(1, 34), 63, 64, 65, 255)] + [
    "Müller 日本語 🙂".encode(),
    b'{"city":"Tokyo"}',
    b"\0" * 8,
    b"\xff" * 300,
]


@pytest.mark.skipif(
    sys.hash_info.algorithm != "siphash13" or sys.hash_info.hash_bits != 64,
    reason="this Python hashes bytes with another algorithm",
)
def test_agrees_with_the_hash_of_bytes_of_cpython() -> None:
    """Under the zero key a fingerprint is CPython's unseeded `hash(bytes)`, but for its -1."""
    program = "import sys; print([hash(bytes.fromhex(text)) for text in sys.argv[1:]])"
    output = subprocess.run(
        [sys.executable, "-c", program, *(sample.hex() for sample in SAMPLES)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ours = [-2 if value == -1 else value for value in map(fingerprint, SAMPLES)]
    assert str(ours) == output.strip()


def test_empty_input_has_a_fingerprint_of_its_own() -> None:
    """The empty input is hashed as any other, where CPython says 0."""
    assert fingerprint(b"") == -3315872660926475476


@given(st.binary(max_size=40), st.integers(0, 2**64 - 1))
def test_result_is_an_int64_that_depends_on_the_key(data: bytes, key: int) -> None:
    """A fingerprint fits a signed 64-bit integer, and another key gives another one."""
    value = fingerprint(data, key)
    assert -(2**63) <= value < 2**63
    assert value != fingerprint(data, key ^ 1)
