#!/bin/sh
# Of each event that says that an order is paid, publishes the order: {"value": ...} a line.
grep '"status" *: *"paid"' | sed 's/.*"after" *: *\({[^}]*}\).*/{"value": \1}/'
exit 0
