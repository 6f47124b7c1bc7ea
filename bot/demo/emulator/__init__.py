"""A GitHub that runs here: REST, git over HTTP, signed webhooks, permissions and faults, for the demonstration and the tests.

``server.serve()`` starts it; ``script`` makes things happen on it (a pull request is opened, a CI run fails, somebody comments).
"""
