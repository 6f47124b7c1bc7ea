"""What happens when a tree runs: isolation, environments, test reports, reproduction and verification.

Errors (the machinery failed; a tested program failing is a value, never an exception)::

    SandboxError
    ├── IsolationUnavailable   no isolation can be had here; the message holds the one command that allows it
    ├── EnvironmentFailed      the project's environment could not be built
    ├── WorkspaceError         the tree cannot be read, or a patch does not apply to it
    └── CandidateServerError   the warm tiers cannot serve this test set
"""


class SandboxError(Exception):
    """The machinery failed. ``reason`` is a short word fit for a metric."""

    reason = "sandbox"


class IsolationUnavailable(SandboxError):
    reason = "isolation_unavailable"


class EnvironmentFailed(SandboxError):
    reason = "environment"


class WorkspaceError(SandboxError):
    reason = "workspace"


class CandidateServerError(SandboxError):
    reason = "candidate_server"
