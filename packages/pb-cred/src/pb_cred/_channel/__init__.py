"""This package tells what is known of the connection that a login comes over."""

from __future__ import annotations
