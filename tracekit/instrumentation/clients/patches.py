"""Replacing functions of other packages, and putting them back."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

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


class Hooks:
    """Hooks of one SDK: on its classes, for everyone or for some objects only.

    A copy of an object is another one: it is not seen until it is added itself, and whatever was
    changed on it holds, as nothing of the original is kept on the object.

    Attributes:
        patches: What has been replaced.
    """

    def __init__(self) -> None:
        self.patches: Final = Patches()
        self._is_everyone = self._is_someone = False
        self._some: Final[weakref.WeakSet[Any]] = weakref.WeakSet()

    def __contains__(self, owner: object) -> bool:
        """Return whether the calls of an object are to be seen."""
        return self._is_everyone or owner in self._some

    def has(self, owner: object) -> bool:
        """Return whether an object was added itself."""
        return owner in self._some

    def add(self, owner: object) -> None:
        """See the calls of one object, from now on."""
        self._is_someone = True
        self._some.add(owner)

    def add_everyone(self) -> None:
        """See the calls of all objects."""
        self._is_everyone = True

    def remove_everyone(self) -> bool:
        """See those that were added only; return whether the classes are as they were."""
        self._is_everyone = False
        if not self._is_someone:
            self.patches.undo()
        return not self._is_someone
