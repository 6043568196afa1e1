"""The exceptions of cnnfast that are not Python's own."""

__all__ = ["FormatError", "UnsupportedOperatorError"]


class FormatError(ValueError):
    """A file or byte string is not what its reader expects: truncated, damaged or of another kind.

    Every reader of cnnfast either returns what the file holds or raises this; the message names
    the file, what was expected and what was found.
    """


class UnsupportedOperatorError(FormatError):
    """A model needs operators, or forms of them, that cnnfast does not have; it names them all."""
