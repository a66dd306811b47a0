"""The files of a new function's project, with `__NAME__` and `__MODULE__` in the places of its names."""
