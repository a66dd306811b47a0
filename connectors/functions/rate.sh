#!/bin/sh
# What a price is multiplied by.
cat > /dev/null
echo '{"value": {"percent": 119}}'
