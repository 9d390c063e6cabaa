"""Entity tags: an answer is the same as long as the warehouse holds the same load and publication.

The tags are weak: they stand for the content, whatever its compression.
"""

from hashlib import blake2b
from importlib.metadata import version

_CODE = version("retail-platform")
"""Another version of the platform may answer the same question in another form."""


def digest(*asked: object) -> str:
    """A short name of all that decides an answer but the warehouse's version: address, arguments, who may see what."""
    return blake2b("\0".join(map(str, (_CODE, *asked))).encode(), digest_size=9).hexdigest()


def etag(warehouse_version: str, asked: str) -> str:
    """The tag of an answer.

    Args:
        warehouse_version: that the answer is of.
        asked: the `digest` of the question.
    """
    return f'W/"{warehouse_version}-{asked}"'


def is_fresh(if_none_match: str, tag: str) -> bool:
    """Whether a client that sent this If-None-Match has the answer of the tag already (RFC 9110, weak comparison)."""
    opaque = tag.removeprefix("W/")
    return any(each.strip().removeprefix("W/") in (opaque, "*") for each in if_none_match.split(","))
