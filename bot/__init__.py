"""Brings GitHub in and sends comments out, and holds the ``ledex`` command line."""
