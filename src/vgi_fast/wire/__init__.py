"""Every fact of the protocol, declared once: metadata keys, versions, records and methods.

Everything that differs between protocol generations is data keyed by the generation's number.
"""
