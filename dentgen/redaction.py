"""What messages and logs may show: no passwords, tokens or signatures, and no control characters of data."""

from __future__ import annotations

import logging
import re
from typing import Final

_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.\-]*"
_URL: Final = re.compile(rf"({_SCHEME})://([^\s'\"<>`]*)")
#: ``USER:PASSWORD@`` whose password may hold slashes and spaces, as secret keys of AWS do; a port is not one.
_PASSWORD: Final = re.compile(
    rf"(?<![A-Za-z0-9+.\-])(?!github:)({_SCHEME}://)(?!arn:)[^\s/@:?#'\"]*:(?!\d+(?:[/\s?#]|$)|[\s?#]|$)(?:[^\s'\"]*@|[^\n'\"@]{{0,200}}@)",
    re.IGNORECASE,
)
_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:]*):\d*[^\w]*")
#: Schemes with something else before the ``@``: OWNER:REPOSITORY@BRANCH, CONTAINER@ACCOUNT.
_OWNERS: Final = frozenset({"github"})
_CONTAINERS: Final = frozenset({"abfs", "abfss", "wasb", "wasbs", "az"})
#: A query, up to the punctuation of the sentence around it.
_QUERY: Final = re.compile(r"\?(?!\.\.\.).*?([:;,.)\]}]*)$", re.DOTALL)
_FRAGMENT: Final = re.compile(r"#(?!\.\.\.)[^#]*=.*?([:;,.)\]}]*)$", re.DOTALL)
#: Parameters that hold secrets, wherever they stand.
_PARAMETER: Final = re.compile(
    r"((?:[?&;#](?:sig|signature|key|key-pair-id|policy|code|auth)"
    r"|\b(?:x-(?:amz|goog)-[a-z-]+|(?:aws_?)?(?:access|secret)[a-z_]*key(?:_?id)?|(?:[a-z]+_)?session_token"
    r"|(?:access_|refresh_|id_)?token|api_?key|password|passwd|client_secret|secret))=)(?!\.\.\.)[^&;\s'\"<>]+",
    re.IGNORECASE,
)
#: Tokens that are known by their form: Hugging Face, AWS, GitHub, and what follows "Bearer".
_TOKEN: Final = re.compile(
    r"\b(hf_|AKIA|ASIA|gh[pousr]_|github_pat_)[A-Za-z0-9_]{10,}|\b(Bearer )(?!\.\.\.)[\w.~+/=-]{8,}"
)


def redacted(text: str) -> str:
    """The text without passwords, tokens and signatures, in URLs or alone; a second call changes nothing.

    Users and passwords before a host are removed; queries of web addresses, and what is known to be secret anywhere
    else, become ``...``.
    """
    text = _PASSWORD.sub(r"\1", text)
    text = _URL.sub(lambda found: f"{found[1]}://{_without_query(found[1], without_user(found[1], found[2]))}", text)
    text = _PARAMETER.sub(r"\1...", text)
    return _TOKEN.sub(lambda found: f"{found[1] or found[2]}...", text)


def without_user(scheme: str, rest: str) -> str:
    """What follows ``SCHEME://`` in a URL, without user and password; a password may contain any character."""
    scheme = scheme.lower()
    authority = rest.partition("/")[0]
    user, at, _ = authority.rpartition("@")
    if scheme in _OWNERS or (scheme in _CONTAINERS and ":" not in user) or authority.startswith("arn:"):
        return rest
    port = not at and not (authority.endswith(":") and "@" in rest) and _PORT.fullmatch(authority)
    named = ":" in (user if at else authority) and not port
    if named and "@" in rest:
        return rest.rpartition("@")[2]
    if named:  # cut off before its host
        return f"{authority.partition(':')[0]}:..."
    return rest[len(user) + 1 :] if at else rest


def _without_query(scheme: str, rest: str) -> str:
    if "?" in rest and (scheme.lower() in {"http", "https"} or "=" in rest.partition("?")[2]):
        return _QUERY.sub(r"?...\1", rest, count=1)
    return _FRAGMENT.sub(r"#...\1", rest, count=1)


def escaped(text: str, *, keep: str = "") -> str:
    """Escape control characters and lone surrogates, so that text is safe in terminals, JSON and any encoding.

    Args:
        text: Any text.
        keep: Characters that stay as they are, such as the line breaks of a message of several lines.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape", "backslashreplace").decode() for c in text
    )


def shown_name(value: object) -> str:
    """A name or value from data as a message shows it: on one line, without secrets."""
    return redacted(escaped(str(value)))


def shown(text: str) -> str:
    """A message as a terminal or log shows it; its own line breaks stay."""
    return redacted(escaped(text, keep="\n\t"))


class SafeFormatter(logging.Formatter):
    """Formats log records as another formatter does, without what must not be shown; texts in them stay on a line."""

    def __init__(self, formatter: logging.Formatter | None = None) -> None:
        """Wrap a formatter; None: the message alone."""
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        if isinstance(record.args, tuple) and any(isinstance(value, str) for value in record.args):
            record = logging.makeLogRecord(record.__dict__)  # other handlers get the original
            record.args = tuple(escaped(value) if isinstance(value, str) else value for value in record.args or ())
        return shown(self._formatter.format(record))


def protect_logs() -> None:
    """Let every handler of this process's root logger show only what may be shown; for programs, not for libraries."""
    handlers = [*logging.getLogger().handlers, *([logging.lastResort] if logging.lastResort else [])]
    for handler in handlers:
        if not isinstance(handler.formatter, SafeFormatter):
            handler.setFormatter(SafeFormatter(handler.formatter))
