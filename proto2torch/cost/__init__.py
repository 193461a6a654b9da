"""What a net costs, before it is run: parameters, multiply-adds, and memory. None of it needs torch."""

from __future__ import annotations

from proto2torch.cost.memory import Memory, estimate
from proto2torch.cost.rows import Row, Totals, rows, totals

__all__ = ["Memory", "Row", "Totals", "estimate", "rows", "totals"]
