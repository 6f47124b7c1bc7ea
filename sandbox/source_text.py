"""Python source as its interpreter decodes it, and back to bytes without a change of encoding or line ends. Pure."""

from __future__ import annotations

import tokenize
from dataclasses import dataclass
from io import BytesIO


@dataclass(frozen=True)
class SourceText:
    """A file decoded as its interpreter decodes it: ``text`` with its own line ends, and how to write it back."""

    text: str
    encoding: str

    def encode(self, text: str) -> bytes:
        """Bytes of an edited text in the file's own encoding (a byte order mark comes back). Raises UnicodeEncodeError."""
        return text.encode(self.encoding)


def decode(content: bytes) -> SourceText:
    """Decode Python source by its declaration or byte order mark. Raises SyntaxError, UnicodeDecodeError (a ValueError)."""
    encoding, _ = tokenize.detect_encoding(BytesIO(content).readline)
    return SourceText(content.decode(encoding), encoding)


def readable(content: bytes) -> str:
    """The text of what may be Python source: by its declaration, else as UTF-8 with marks where that fails. Never raises."""
    try:
        return decode(content).text
    except (SyntaxError, ValueError):
        return content.decode("utf-8", "replace")
