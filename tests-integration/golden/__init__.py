"""This package holds recorded conversations of PB, and their recorder."""
