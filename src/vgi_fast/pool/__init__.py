"""A worker in several processes behind one listening socket.

The supervisor has imported the worker, accepts the connections and gives each to the process that has the
fewest; a process serves its connections in threads. All processes are forks of the supervisor.

The rule for authors: whatever one call leaves behind for another has to be in the storage or in the opaque
data, as with processes that DuckDB starts itself. A module's variables are a cache at best. What is loaded
before ``worker.run()`` is shared by all processes; threads, connections and open transactions have to be made
when they are first needed, for none of them survives the fork.
"""
