"""Workers to read and to run."""
