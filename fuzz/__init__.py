"""This package feeds the four packages what no honest peer would send.

README.md says how to run it, and what each target holds to be true.
"""
