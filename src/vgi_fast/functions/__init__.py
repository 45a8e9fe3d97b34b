"""What authors write: functions, their parameters and types, and how a call finds and feeds them."""
