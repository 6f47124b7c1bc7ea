"""Brings GitHub in and sends comments out, and holds the ``ledex`` command line.

``BotError``                        the machinery failed; outcomes of jobs are values
├── ``BotConfigurationError``       a setting is missing or wrong; its text names the variable and the way out
├── ``bot.bundle.DamagedBundle``    a proof bundle is none, or not as it was written
├── ``bot.replay.CannotReplay``     what it takes to run a proof again is not here
├── ``bot.attestation.SigningFailed``  a key cannot be used, or a signature is not the key's
├── ``bot.checkout.FetchFailed``     git could not bring a commit
├── ``bot.sandbox_service.SandboxUnreachable``  the process that runs repairs does not answer
└── ``bot.github.GitHubError``      see there
"""


class BotError(Exception):
    """The bot's machinery failed."""


class BotConfigurationError(BotError):
    """A setting is missing or wrong. The text is one sentence, without the value of any secret."""
