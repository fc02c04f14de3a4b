"""Whose word is being carried out: set where a request comes in, and read where it is proposed."""

from contextvars import ContextVar

MAX_CHARS = 64

WHO: ContextVar[str] = ContextVar("who", default="")
"""Who asked, at most `MAX_CHARS` long; empty in the loops, which nobody asks."""
