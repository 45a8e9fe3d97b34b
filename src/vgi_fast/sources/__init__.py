"""Tables from data: frames, Arrow data, files, and databases reflected through SQLAlchemy."""
