"""Problems and warnings, gathered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from proto2torch.errors import Proto2TorchError, Where


@dataclass
class Findings:
    """What was found in one file and what it names."""

    errors: list[Proto2TorchError] = field(default_factory=list)
    """What fails."""
    warnings: list[Proto2TorchError] = field(default_factory=list)
    """What runs and trains badly, or not as it seems to say."""

    def warn(self, text: str, where: Where | None = None, hint: str | None = None) -> None:
        """Note what trains badly."""
        self.warnings.append(Proto2TorchError(text, where=where, hint=hint))

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Take what the block raises, all of its problems."""
        try:
            yield
        except Proto2TorchError as error:
            known = {str(e) for e in self.errors}
            self.errors += [e for e in getattr(error, "problems", None) or [error] if str(e) not in known]
