"""Programs as they are written for ``twisted.spread``, without types.

None of them knows of us.
"""
