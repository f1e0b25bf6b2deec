"""Hub: whether Hugging Face's hub can be reached, asked before its clients are, which retry for a minute."""

from __future__ import annotations

import ssl
from threading import Thread
from urllib.error import HTTPError
from urllib.request import Request, build_opener

HUB_TIMEOUT_S = 5.0  # an unreachable hub is told within ten seconds


def out_of_reach() -> str:
    """Say why the hub cannot be reached, or nothing. Knocks through the proxy where there is one."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    complaints: list[str] = []

    def knock() -> None:
        try:
            build_opener().open(Request(constants.ENDPOINT, method="HEAD"), timeout=HUB_TIMEOUT_S).close()
            complaints.append("")
        except HTTPError as error:  # an answer all the same, unless a proxy gives it for a hub that does not
            complaints.append(str(error) if error.code in (502, 503, 504) else "")
        except Exception as error:
            reason = getattr(error, "reason", error)
            complaints.append("" if isinstance(reason, ssl.SSLError) else _told(reason))  # the client has its own CAs

    # In a thread: a name without an answer, or with many addresses, takes many times the timeout.
    thread = Thread(target=knock, daemon=True)
    thread.start()
    thread.join(HUB_TIMEOUT_S)
    return complaints[0] if complaints else f"no answer in {HUB_TIMEOUT_S:g} s"


def _told(reason: object) -> str:
    return str(getattr(reason, "strerror", None) or reason or type(reason).__name__)
