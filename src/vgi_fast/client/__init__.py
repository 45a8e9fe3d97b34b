"""A synchronous client for VGI workers, used by the tests and the command line.

``Client`` starts a worker, ``Client.attach`` gives a ``Catalog``, and its methods call functions.
"""

from vgi_fast.client.calls import Bound, ScalarCall, TableCall
from vgi_fast.client.catalog import Catalog
from vgi_fast.client.channels import Channel, ProcessChannel
from vgi_fast.client.client import Client
from vgi_fast.client.connection import Stream
from vgi_fast.client.launcher import LaunchChannel, Launcher
from vgi_fast.client.messages import LogRecord
from vgi_fast.client.signatures import Argument, Function

__all__ = [
    "Argument",
    "Bound",
    "Catalog",
    "Channel",
    "Client",
    "Function",
    "LaunchChannel",
    "Launcher",
    "LogRecord",
    "ProcessChannel",
    "ScalarCall",
    "Stream",
    "TableCall",
]
