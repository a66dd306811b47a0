"""The dispatch loop: consume -> trigger -> function -> policy -> (output) -> commit. Knows only the protocols.

``loop`` turns; ``offsets`` knows what may be committed; ``backlog`` which events may start a function now, so that the order
of every key is kept; ``settle`` what becomes of an invocation.
"""
