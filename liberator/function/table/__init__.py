"""A table that is kept by a stream: rows are written and deleted as events say, and the offsets stand in the same
transaction.

``writer`` is what the dispatch loop calls; ``changes`` reads events, ``values`` makes of JSON what a column takes,
``statements`` writes many rows at once, ``target`` knows the table and makes it, ``offsets`` keeps what is done,
``database`` connects and judges errors.
"""
