"""Rules as text: every character and number is looked at before Python's parser sees it."""

import ast
import re
from typing import Final

from tradewright.rules.fault import RuleInvalid

MAX_LENGTH: Final = 500
MAX_DEPTH: Final = 20

_QUOTED = re.compile(r"\"[A-Za-z0-9_:/+-]{1,40}\"|'[A-Za-z0-9_:/+-]{1,40}'")
_FOREIGN = re.compile(r"[^A-Za-z0-9_ .,()\[\]<>=!+\-*/%\t\r\n]")
_SINGLE_EQUALS = re.compile(r"(?<![<>=!])=(?!=)")
_MEANT: Final = {"&": "write and", "|": "write or"}
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def parsed(text: str) -> ast.expr:
    """Return Python's tree of *text*, with columns as in *text*.

    Raises:
        RuleInvalid: It has characters that no rule has, or does not parse.
    """
    if len(text) > MAX_LENGTH:
        raise RuleInvalid(
            text[:40] + "…", 1, f"{len(text)} characters", f"use at most {MAX_LENGTH}"
        )
    if not text.strip():
        raise RuleInvalid(text, 1, "the rule is empty", "write a condition such as close > open")
    _check_characters(text)
    flat = re.sub(r"\s", " ", text)
    indent = len(flat) - len(flat.lstrip())
    try:
        tree = ast.parse(flat.strip(), mode="eval").body
    except SyntaxError as e:
        if single := _SINGLE_EQUALS.search(flat):
            column = single.start() + 1
            raise RuleInvalid(text, column, "'=' compares nothing", "write ==") from None
        detail = e.msg.split(". ")[0].removeprefix("invalid syntax").strip(" .")
        raise RuleInvalid(
            text,
            # Python says 0 when the text ends too early
            indent + e.offset if e.offset else len(text) + 1,
            detail[:1].lower() + detail[1:] if detail else "this cannot be read here",
            "check operators and brackets before it",
        ) from None
    except (RecursionError, MemoryError):
        raise RuleInvalid(text, 1, "nested too deeply", f"use {MAX_DEPTH} levels") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            node.col_offset += indent
            node.end_col_offset = (node.end_col_offset or 0) + indent
    return tree


def _check_characters(text: str) -> None:
    # What is quoted is hours, days or a time zone; a blank of the same length stands for it here
    bare = _QUOTED.sub(lambda quoted: " " * len(quoted[0]), text)
    if foreign := _FOREIGN.search(bare):
        raise RuleInvalid(
            text,
            foreign.start() + 1,
            f"{foreign[0]!r} is not part of the language",
            _MEANT.get(foreign[0], "use numbers, names, + - * / %, comparisons, and, or, not"),
        )
    # Python's parser warns of "1and 2" and takes 0x1f, 1_000 and 2j; none of it is a number here
    for number in _NUMBER.finditer(bare):
        after = text[number.end() : number.end() + 1]
        if after and (after.isalnum() or after in "_."):
            raise RuleInvalid(
                text, number.end() + 1, f"{after!r} follows a number", "put a space or an operator"
            )
