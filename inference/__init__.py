"""Turns a failure into explained, verified patches, without GitHub: bot, ``ledex fix``, benchmark and training all call ``repair``.

Errors (the machinery failed; an unfixed bug is a value)::

    InferenceError
    └── ConfigurationError   a setting, a policy file or an option cannot be used; the message says how to mend it
"""


class InferenceError(Exception):
    """The machinery failed. ``reason`` is a short word fit for a metric."""

    reason = "inference"


class ConfigurationError(InferenceError):
    reason = "configuration"
