"""Text of strangers on a terminal."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from simxrd_hf.printable import markdown_text, printable, printable_lines


def test_escapes_and_hidden_characters_go():
    assert printable("\x1b[31mred\x1b[0m\x07") == "[31mred[0m"
    assert printable("two\r\nlines\tand tabs") == "two lines and tabs"
    assert printable("pay\u202elgnp.exe") == "paylgnp.exe"  # right-to-left override
    assert printable("P3₁21, Å, 2θ") == "P3₁21, Å, 2θ"
    assert printable("abcdef", 4) == "abc…"
    assert printable_lines("a\x1b[2J\nb") == "a[2J\nb"


@given(st.text())
def test_what_remains_is_seen(text):
    shown = printable(text)
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert printable(shown) == shown


def test_markdown_shows_text_as_it_stands():
    from markdown_it import MarkdownIt

    for text in ["<script>f()</script>", "[a](https://x.org) ![b](c)", "*a* _b_ `c` # d | e", "R&D <3", "5 % of 230"]:
        shown = MarkdownIt("commonmark").enable("table").parseInline(markdown_text(text))[0].children
        assert "".join(token.content for token in shown) == text
        assert {token.type for token in shown} <= {"text", "text_special"}
