"""This package measures the four packages beside `twisted.spread` and the field.

README.md says how to run it and how to read what it prints.
"""
