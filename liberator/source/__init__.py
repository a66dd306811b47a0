"""Sources: each yields batches of the server's own bytes and takes acknowledgements."""
