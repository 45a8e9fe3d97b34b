"""How bytes travel: stdio today; each transport gives ``Connection`` objects to the worker."""
