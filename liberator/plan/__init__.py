"""Plans: what is to be done with the rows of one table version, compiled once, and the executors that do it."""
