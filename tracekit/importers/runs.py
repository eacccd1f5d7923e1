"""What the name of a benchmark run says: the agent, and its model.

Recordings of benchmarks often name the model nowhere but in the file or folder of the run, such as
`2026-02-21T00_37_20.185158_retail_llm_agent_gpt-4.1-mini_user_simulator_gpt-4.1-mini`.
"""

from __future__ import annotations

import re
from typing import Final

_MODEL: Final = re.compile(
    r"(?i)(?:gpt-\d[\w.]*?|o[134]|claude|gemini|llama|mistral|qwen|deepseek|grok)"
    r"(?:-(?:\d[\w.]*?|[a-z]{4,}|pro|r\d))*(?=$|[\]_ /]|-(?:airline|retail|telecom))"
)
_DOMAIN: Final = re.compile(r"(?i)-(?:airline|retail|telecom)$")
_TEMPERATURE: Final = re.compile(r"-\d\.\d+_range_.*")
_USER: Final = re.compile(r"(?i)[_-]+user[_-](?:simulator|agent)?.*")
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T[\d_:.]+|(?<=_)\d{10}$")
_EDGES: Final = "_- []."

_PROVIDERS: Final = {
    "gpt": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "claude": "anthropic",
    # Gemini is served by two products of Google, and the name of a run does not say which one.
    "gemini": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "deepseek": "deepseek",
    "grok": "x_ai",
}


def agent_of(run: str) -> str:
    """Return the run's name without its time: runs of one agent then share it."""
    name = _TIME.sub("", run)
    return re.sub(r"[\s\[\]]+", "_", name).strip(_EDGES) or run


def model_of(run: str) -> str | None:
    """Return the agent's model as the run's name has it, lower-cased; None where it has none.

    What is said of the user simulator is left out.
    """
    agent = _USER.sub("", _TEMPERATURE.sub("", _TIME.sub("", run)))
    found = _MODEL.search(agent)
    return _DOMAIN.sub("", found[0]).lower() if found else None


def provider_of(model: str | None) -> str | None:
    """Return the provider of a model family; None where several may serve it."""
    if model is None:
        return None
    return next((name for start, name in _PROVIDERS.items() if model.startswith(start)), None)
