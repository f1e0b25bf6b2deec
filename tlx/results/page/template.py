"""Template: pages and pictures from the files beside it, every value escaped."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tlx.results.console import amount, printable, size


def render(template: str, **values: Any) -> str:
    """Fill a template; text is escaped for HTML and SVG, but for what is marked as safe."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tlx.results.page"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "amount": amount,
        "size": size,
        "shown": _shown,
        "percent": _percent,
    }
    return environment


def _shown(text: object) -> str:
    return printable(str(text))


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
