"""From a provider and a model name to the places of a price list where the price may stand."""

from __future__ import annotations

import re
from typing import NamedTuple

from tracekit.costs import data

# Claude Code marks the long context window ("[1m]"), OpenRouter the routing (":nitro", ":exacto");
# neither changes the price of a token. ":free", ":floor" and ":online" do, so they stay.
_MARK = re.compile(r"(\[[^\]]*\]|:nitro|:exacto)$")


class Place(NamedTuple):
    """A model id within a seller's price list; seller None: the list its name belongs to."""

    seller: str | None
    model: str


def _key(provider: str) -> str:
    return re.sub(r"[- ]", "_", provider.strip().lower())


def _spellings(model: str) -> list[str]:
    """Return the ways to read a name: as written, without marks, without its resource path."""
    bare = _MARK.sub("", model)
    # "models/x", "publishers/google/models/x" and "arn:...:inference-profile/x" all end in the id.
    is_path = bare.startswith("arn:") or "models/" in bare
    return list(dict.fromkeys([model, bare, bare.rsplit("/", 1)[-1] if is_path else bare]))


def _aliases(seller: str | None, name: str) -> list[Place]:
    return [
        Place(alias.seller, alias.target)
        for alias in data.models().aliases
        if alias.name == name and seller in {None, alias.seller}
    ]


def places(provider: str | None, model: str) -> tuple[Place, ...]:
    """Return where the price of a model may stand, best place first.

    Args:
        provider: OTel `gen_ai.provider.name`; None where none is named.
        model: Model name as written: with vendor prefix, region prefix or resource path.

    Returns:
        Places without repetition; none where the provider sells no tokens we know the price of.
    """
    return tuple(dict.fromkeys(_places(provider, model.strip().lower())))


def _places(provider: str | None, model: str) -> list[Place]:
    table = data.providers()
    key = _key(provider) if provider else None
    seller = table.sellers.get(key) if key else None
    relayed = table.relays.get(key, ()) if key else ("",)
    if not seller and not relayed:
        return []
    found: list[Place] = []
    for name in _spellings(model):
        if seller or not key or "/" not in name:
            found.append(Place(seller, name))
        found.extend(_aliases(seller, name))
    found.extend(_by_prefix(seller, relayed, model))
    if not seller:
        found.extend(_by_shape(model))
    return found


def _by_prefix(seller: str | None, relayed: tuple[str, ...], model: str) -> list[Place]:
    """Return the places by the vendor prefix: the seller's own, or one that is believed here."""
    prefix, slash, rest = model.partition("/")
    vendor = data.providers().prefixes.get(_key(prefix)) if slash else None
    # A free offer of a gateway has no counterpart at the vendor.
    if vendor is None or model.endswith(":free"):
        return []
    own = seller is not None and data.providers().sellers.get(vendor) == seller
    if own or any(model.startswith(start) for start in relayed):
        # LiteLLM writes the region between: "bedrock/us-east-1/anthropic.claude-...".
        tail = [rest] if "/" not in rest else [rest, rest.rsplit("/", 1)[-1]]
        return [place for name in tail for place in _places(vendor, name)]
    return []


def _by_shape(model: str) -> list[Place]:
    return [
        place
        for shape in data.providers().shapes
        if shape.pattern.match(model)
        for place in _places(shape.provider, model)
    ]
