"""Serving: from requests on a connection to the functions and catalogs of one worker."""
