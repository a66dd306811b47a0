"""Requests that start a function and wait for what it gives: ``server`` hears them, ``desk`` holds them while the dispatch
loop does the work.

Enters: requests of HTTP. Leaves: answers. Wired by `build`. Keeps nothing: whoever posts an event has it until the answer
says that it is done.
"""
