"""The typed schema: one dataclass for every kind of object that a config group can hold.

A group's yaml file names its ``kind``; the dataclass of that kind holds every argument, its type, its default and its
limits, once. The builder of the object takes just that dataclass. This module imports nothing heavy.
"""

from tlx.config.freeze import *  # noqa: F403
from tlx.config.images import *  # noqa: F403
from tlx.config.learning import *  # noqa: F403
from tlx.config.surgery import *  # noqa: F403
