"""Members of tar archives, read in turn from a stream; nothing is ever unpacked to disk."""

from __future__ import annotations

import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from tracekit.errors import InputError
from tracekit.otlp.streams import Stream, as_file

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC: Final = b"ustar"
_MAGIC_AT: Final = 257
_LONGEST_HEADER: Final = 1 << 20
"""Bytes an extended header may have; its content is a path, and is held in memory."""
_EXTENDED: Final = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)


class _Member(tarfile.TarInfo):
    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENDED and self.size > _LONGEST_HEADER:
            raise tarfile.ReadError("a header claims to be longer than any path")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


def is_archive(head: bytes) -> bool:
    """Whether the first bytes of a stream are those of a tar archive."""
    return head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC


def members(stream: Stream) -> Iterator[tuple[PurePosixPath, Stream | str]]:
    """Yield the path and content of each file of an archive, or why it is skipped.

    Hidden files and folders are passed over. Content is to be read before the next member is
    asked for. It needs no budget of its own: the archive's stream is charged already.

    Raises:
        InputError: The archive is damaged.
    """
    name = stream.name
    try:
        with tarfile.open(fileobj=as_file(stream), mode="r|", tarinfo=_Member) as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined]  # else all are remembered
                path = PurePosixPath(member.name)
                if member.isdir() or _is_hidden(path):
                    continue
                content = archive.extractfile(member) if _is_plain(member) else None
                if content is None:
                    yield path, "no regular file"
                else:
                    yield path, Stream(content, f"{name}: {path}", stream.limits, size=member.size)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{name}: the archive is damaged ({error})") from error


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") for part in path.parts if part != "..")


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse()
