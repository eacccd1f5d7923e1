"""Whatever is in a file, reading it gives requests or an `InputError`; nothing else comes out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from test_importers_benchmarks import tau2_session, tau_session
from test_importers_claude_code import assistant, text, tool_result, tool_use, user
from test_importers_langfuse import export, observation
from test_importers_mini_swe_agent import answer, trajectory
from test_otlp_files import FORMATS

from tracekit.errors import InputError
from tracekit.importers.detect import open_sources
from tracekit.otlp.streams import Limits

RECORDINGS = [
    *(make() for make in FORMATS.values()),
    json.dumps([tau_session()]).encode(),
    json.dumps(tau2_session()).encode(),
    trajectory(answer(1, "```bash\nls\n```"), {"role": "user", "content": "<returncode>1"}),
    export(observation(), observation(id="b" * 16)),
    b"\n".join(
        json.dumps(line).encode()
        for line in (assistant(1, text("x"), tool_use()), user(2, tool_result()))
    ),
]
LIMITS = Limits(total_bytes=1 << 22, record_bytes=1 << 20, chunk_bytes=100)

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(-9, 9), st.text(max_size=9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=5,
)


def read(data: bytes) -> None:
    """Read a file of these bytes to its end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.json"
        path.write_bytes(data)
        for source in open_sources([str(path)], limits=LIMITS):
            try:
                assert all(isinstance(chunk, bytes) for chunk in source.chunks())
                assert isinstance(source.outcomes(), list)
            except InputError:
                continue


@given(data=st.binary(max_size=200))
@example(data=b"[" * 1000 + b"]" * 1000)
@example(data=b'{"a":' * 1000 + b"1" + b"}" * 1000)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No content of a file is a crash."""
    read(data)


@given(
    recording=st.sampled_from(RECORDINGS),
    at=st.floats(0, 1, exclude_max=True),
    cut=st.integers(0, 9),
    put=st.binary(max_size=4),
)
def test_a_damaged_recording_is_read_or_refused(
    recording: bytes, at: float, cut: int, put: bytes
) -> None:
    """Bytes lost, changed or added anywhere in a file are no crash either."""
    place = int(at * len(recording))
    read(recording[:place] + put + recording[place + cut :])


@given(data=st.data())
def test_a_recording_with_any_value_in_any_place_is_read_or_refused(data: st.DataObject) -> None:
    """Importers meet values of every type where they expect another."""
    documents = [json.dumps([tau_session()]).encode(), *RECORDINGS[-4:]]
    document = data.draw(st.sampled_from(documents))
    lines = [json.loads(line) for line in document.splitlines()]
    value = lines[data.draw(st.integers(0, len(lines) - 1))]
    while True:
        keys = sorted(value) if isinstance(value, dict) else list(range(len(value)))
        key = data.draw(st.sampled_from(keys))
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        value = inner
    value[key] = data.draw(json_values)
    read("\n".join(json.dumps(line) for line in lines).encode())
