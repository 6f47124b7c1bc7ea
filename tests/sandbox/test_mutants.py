"""Mutants of whole files: they stay in the file's encoding, with its line ends. Those of texts: ``test_refusal``."""

from __future__ import annotations

import ast

import pytest

from sandbox.mutants import mutants, mutated_files


@pytest.mark.parametrize(("declared", "encoding"), [
    ("# coding: latin-1", "latin-1"), ("# -*- coding: cp1252 -*-", "cp1252"), ("# coding: utf-8", "utf-8"), ("#", "utf-8-sig"),
])  # fmt: skip
def test_a_mutant_has_the_encoding_and_the_line_ends_of_its_file(declared: str, encoding: str) -> None:
    before, after = (f"{declared}\r\nx = 'é'\r\ny = 'ß' {sign} x\r\n".encode(encoding) for sign in ("<", ">"))
    made = mutated_files(before, after)
    assert f"{declared}\r\nx = 'é'\r\ny = ('ß' <= x)\r\n".encode(encoding) in made


def test_every_mutant_of_a_file_can_be_read_by_python() -> None:
    before, after = (f"# coding: shift_jis\nx = '表'\ny = 1 {sign} x\n".encode("shift_jis") for sign in ("<", ">"))
    made = mutated_files(before, after)
    assert made
    for content in made:
        ast.parse(content)


@pytest.mark.parametrize("content", [b"# coding: no-such-encoding\nx = 1\n", b"x = '\xe9'\n", b"# coding: ascii\nx = '\xc3\xa9'\n"])
def test_a_file_that_python_cannot_decode_has_no_mutants(content: bytes) -> None:
    assert mutated_files(b"x = 2\n", content) == []


def test_a_mutant_with_a_letter_that_the_file_cannot_hold_is_left_out() -> None:
    before, after = (f"# coding: ascii\nx = y {sign} '\\u20ac'\n".encode() for sign in ("<", ">"))
    assert [b for b in mutated_files(before, after) if b"(y <=" in b] == []


def test_a_form_feed_is_no_line_end() -> None:
    before = "x = 1\n\x0c\ndef f(a):\n    return a < 3\n"
    assert before.replace("a < 3", "(a >= 3)") in mutants(before.replace("<", ">"), before)
