"""COPY formats to add to any worker: ``Worker("files", functions=arrow_ipc.FUNCTIONS)``."""
