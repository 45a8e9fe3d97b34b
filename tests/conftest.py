"""Plugins by concern; see README.md for their options."""

import signal

pytest_plugins = ["tests.fix_core", "tests.fix_run", "tests.fix_segments", "tests.fix_worker"]

# A shell starts its background jobs with signals ignored, nohup too, and workers would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
