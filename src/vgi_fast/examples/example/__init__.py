"""The catalogs of ``vgi-fast-example-worker``, one module per subject."""
