"""JSON of whatever has to be said, in a log as in an answer."""

import json
import re
from typing import Any

import orjson

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def json_of(content: Any) -> bytes:
    r"""JSON in UTF-8, which holds no lone surrogates: they are written as text, `\ud800`.

    Args:
        content: values of which JSON has no kind are written as their text.
    """
    try:
        return orjson.dumps(content, default=str)
    except TypeError:  # lone surrogates, numbers of more than 64 bits
        text = json.dumps(content, ensure_ascii=False, default=str)
        return LONE_SURROGATE.sub(lambda half: rf"\\u{ord(half[0]):04x}", text).encode()
