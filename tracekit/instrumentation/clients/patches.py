"""Replacing functions of other packages, and putting them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Patches:
    """What has been replaced."""

    def __init__(self) -> None:
        self._originals: dict[tuple[Any, str], Any] = {}

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace an attribute of a class, unless that was done before.

        Args:
            owner: The class.
            name: The attribute.
            make: Returns the replacement for what is there.
        """
        if (owner, name) not in self._originals:
            original = vars(owner)[name]
            # As it is looked up: wrappers of others (wrapt) tell methods from functions by that.
            setattr(owner, name, make(getattr(owner, name)))
            self._originals[owner, name] = original

    def undo(self) -> None:
        """Put everything back."""
        for (owner, name), original in self._originals.items():
            setattr(owner, name, original)
        self._originals.clear()
