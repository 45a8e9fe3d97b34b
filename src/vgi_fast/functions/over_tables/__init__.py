"""Functions whose input is a table: table-in-out functions, row transforms, buffering, COPY."""
