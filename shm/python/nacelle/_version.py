"""The package's version. The C library must say the same: see _native.py."""

__version__ = "0.1.0"
