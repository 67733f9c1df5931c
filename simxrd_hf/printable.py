"""Text of strangers made safe to print: no terminal escapes, no control characters, no reversed reading order."""

import html
import re
import unicodedata

# Cc control, Cf format (zero width, reading order), Cs surrogates, Co private use, Zl and Zp line separators
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def printable(text: str, limit: int | None = None) -> str:
    """One line that shows what it says.

    Args:
        text: Any text: an id, a note, a date, a message that quotes a file.
        limit: Longest line; what is cut off is marked by an ellipsis.

    Returns:
        The text with tabs and line breaks as spaces, without other characters that are not seen, in which an escape
        sequence of a terminal has become plain letters.
    """
    if not (text.isascii() and text.isprintable()):
        spaced = " ".join(text.split()) if any(char in text for char in "\t\n\r\v\f\x85\u2028\u2029") else text
        text = "".join(char for char in spaced if unicodedata.category(char) not in _HIDDEN)
    return text if limit is None or len(text) <= limit else text[: max(limit - 1, 0)] + "…"


def printable_lines(text: str) -> str:
    """The same for a message of several lines, whose line breaks stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def markdown_text(text: str) -> str:
    """One line that Markdown shows as it stands: no HTML, links, images or tables come of it."""
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", html.escape(printable(text), quote=False))
