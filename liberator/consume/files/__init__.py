"""Files as a stream of their own: an event for each one that appears in a folder, or changes there.

``looking`` sees what is there, ``changes`` tells what of it is new, ``seen`` remembers what is done, and ``consumer`` makes
events of it.
"""
