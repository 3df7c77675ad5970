"""Task folders made of text, for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.task.sound import FILES


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sound folder with some files replaced, or left out where None is given."""

    def write(files: dict[str, str | bytes | None] | None = None) -> Path:
        where = tmp_path / "task"
        where.mkdir(exist_ok=True)
        for name, content in {**FILES, **(files or {})}.items():
            if isinstance(content, bytes):
                (where / name).write_bytes(content)
            elif content is not None:
                (where / name).write_text(content, encoding="utf-8")
        return where

    return write
