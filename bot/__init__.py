"""Brings GitHub in and sends comments out, and holds the ``ledex`` command line.

``BotError``                        the machinery failed; outcomes of jobs are values
├── ``BotConfigurationError``       a setting is missing or wrong; its text names the variable and the way out
└── ``bot.github.GitHubError``      see there
"""


class BotError(Exception):
    """The bot's machinery failed."""


class BotConfigurationError(BotError):
    """A setting is missing or wrong. The text is one sentence, without the value of any secret."""
