"""Takes credentials out of any text before it reaches a log, a comment, a proof or a column meant for text."""

from __future__ import annotations

import re

REMOVED = "[removed]"
_CREDENTIAL = re.compile(
    r"""
      -----BEGIN[ A-Z]{0,40}PRIVATE[ ]KEY-----
        (?: (?: (?!-----BEGIN) . ){0,12000}? -----END[ A-Z]{0,40}PRIVATE[ ]KEY-----    # stops at the next opening: time stays linear
          | (?: [A-Za-z0-9+/=\s] | \\[nr] )* )                                               # cut off before its end
    | \bgithub_pat_[A-Za-z0-9_]{22,}
    | \bgh[a-z]_[A-Za-z0-9_.\-]{20,}                               # 36 characters, or an App id and a JWT behind it
    | (?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]{6,}
    | \beC1hY2Nlc3MtdG9rZW46[A-Za-z0-9+/=]*                        # base64 of "x-access-token:", as git sends it
    | (?<= [?&]sig= ) [A-Za-z0-9%+/=_\-]+                          # signed addresses of logs and artifacts
    | (?<= :// ) [^\s/@:]{0,200} : [^\s/@]{1,4000} (?= @ )         # user and password in an address
    """,
    re.VERBOSE | re.DOTALL,
)
_AUTHORIZATION = re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|token)\s+)[^\s\"',]+")


def scrub(text: str) -> str:
    """``text`` with every token of GitHub (both forms of an installation's), private key, JWT and Authorization value replaced."""
    return _CREDENTIAL.sub(REMOVED, _AUTHORIZATION.sub(r"\g<1>" + REMOVED, text))
