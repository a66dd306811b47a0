"""How long a change takes from its commit until a consumer has it, at a steady pace that is far below what a side can do.

Enters: a `Ground`. Leaves: times by side, and for ours where they were spent. Its rooms:

    writer      a process that commits so many transactions a second
    listener    a process that notes when a consumer got each event
    traced      our connector with a clock at each of its steps
    journey     one side's run, from the writer to the listener
    view        the figures for people and for programs
"""
