"""The mathematics and models of the pipeline. The stages beside this package call it.

Imports point one way: stages -> genlab, and within genlab report -> models -> training ->
data, measures -> the modules beside this file. Importing `genlab` is cheap: torch is imported
only where it is needed.
"""

import logging

__version__ = "0.1.0"

log = logging.getLogger("genlab")


class InputError(ValueError):
    """Something the user gave is wrong: a file, an option, a configuration key.

    The message is one line: what was found and where, what is expected, what to do.
    Stages print it without a traceback and exit with code 2 (`genlab.cli.run`).
    """


class ComputationError(RuntimeError):
    """The input was sound but the computation failed (say, the loss became NaN)."""


class Interrupted(BaseException):
    """A signal or a time limit asked to stop. The state needed to resume has been saved. No code may swallow it."""
