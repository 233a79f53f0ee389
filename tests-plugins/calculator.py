"""This module has what the tests of each project serve."""

from __future__ import annotations

import pb_broker as pb


class Calculator(pb.Root):
    """Adds, and remembers."""

    def __init__(self) -> None:
        self.total = 0

    def remote_add(self, number: int) -> int:
        """Return the total so far."""
        self.total += number
        return self.total
