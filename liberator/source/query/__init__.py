"""Tables read by queries: every new or changed row becomes an event, as far as a query can tell.

``source`` is the thread and its schedule; ``passes`` what one way through a table does, whatever the database;
``postgres`` and ``sqlalchemy`` are the databases, behind the protocol in ``database``; ``keys`` remembers which rows were
published, so that deletes can be told.
"""
