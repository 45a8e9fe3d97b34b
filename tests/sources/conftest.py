from tests.fix_memory import peer as peer
