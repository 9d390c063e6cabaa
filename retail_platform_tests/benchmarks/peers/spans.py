"""When the steps of a job by hand began and ended."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Spans:
    """Collects them, and writes them when the job is done."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[float, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step; its name appears once."""
        began = time.time()
        yield
        self.steps[name] = (began, time.time())

    def tell(self, out: Path, **more: Any) -> None:
        """Write the spans, and what else there is to tell."""
        (out / "told.json").write_text(json.dumps({"steps": self.steps, **more}))
