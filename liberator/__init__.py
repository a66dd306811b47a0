"""liberator: change data capture that frees data from legacy databases.

Turns database changes into schema-validated event streams and publishes them one way.
See docs/ARCHITECTURE.md for the picture of the house.
"""

__version__ = "0.1.0"
