"""The command ``vgi-fast``. Each command imports what it needs when it runs."""
