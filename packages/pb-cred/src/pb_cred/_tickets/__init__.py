"""This package issues, keeps and takes tickets."""

from __future__ import annotations
