"""Logs of programs: text, or a JSON object a line with the build, unit, key and attempt that a record belongs to.

Only programs set up logging: the command line, and the processes of a build. A library leaves its caller's alone.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from dentgen.redaction import SafeFormatter, protect_logs, shown

LogFormat = Literal["text", "json"]

#: Fields that a record may have beside its own, from ``log_context`` or ``extra``.
FIELDS: Final = ("build", "unit", "key", "attempt")
_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_CONTEXT: ContextVar[Mapping[str, Any]] = ContextVar("dentgen_log_context", default={})  # noqa: B039 - never changed
#: What Ray puts before a line of a worker when it shows it to the driver, colours included.
_RAY_PREFIX: Final = re.compile(r"^(?:\x1b\[\d+m)*\(.{1,200}? pid=\d+(?:, ip=[^)]*)?\)(?:\x1b\[\d+m)* ")
_COLOUR: Final = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
_ERRORS: Final = ("error:", "unexpected error:")


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Give records of this thread, or task, these fields within the block."""
    token = _CONTEXT.set({**_CONTEXT.get(), **fields})
    try:
        yield
    finally:
        _CONTEXT.reset(token)


class JsonFormatter(SafeFormatter):
    """Formats a record as one JSON object, without what must not be shown."""

    def format(self, record: logging.LogRecord) -> str:
        """The object, in ASCII and without line breaks."""
        plain = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None, "stack_info": None})
        values: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": super().format(plain),
            **_CONTEXT.get(),
            **{name: record.__dict__[name] for name in FIELDS if name in record.__dict__},
        }
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps({name: shown(value) if isinstance(value, str) else value for name, value in values.items()})


def log_format() -> LogFormat:
    """How this process logs, so that its workers can do likewise."""
    handlers = logging.getLogger().handlers
    return "json" if any(isinstance(handler.formatter, JsonFormatter) for handler in handlers) else "text"


def start_logging(form: LogFormat, stream: TextIO | None = None) -> None:
    """Log to standard error, what dentgen says from INFO on, what others say from WARNING on; a second call may switch.

    Args:
        form: Lines of text, or JSON.
        stream: Where JSON goes; None: standard error. Text goes wherever this process logs already, if it does.
    """
    logging.basicConfig(level=logging.WARNING, format=_TEXT)
    logging.getLogger("dentgen").setLevel(logging.INFO)
    if form == "json" and log_format() == "text":
        handler = logging.StreamHandler(stream)
        handler.setFormatter(JsonFormatter())
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    protect_logs()


class JsonLines(io.TextIOBase):
    """A text stream that logs every line which is printed to it, for the time of a command.

    Lines that actors of Ray logged as JSON are passed on as they are; Ray shows them with a prefix.
    """

    def __init__(self, stream: TextIO) -> None:
        """Log through the handlers of this process; objects of actors go to ``stream``."""
        super().__init__()
        self._stream, self._local = stream, threading.local()  # what is left of a line belongs to who wrote it
        self._log = logging.getLogger("dentgen.console")

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """That of the stream: crash handlers and child processes write there directly."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Take text; whole lines are logged at once."""
        *lines, self._local.rest = re.split(r"[\r\n]+", self._left() + text)
        for line in lines:
            self._take(line)
        return len(text)

    def close(self) -> None:
        """Log what is left of this thread's last line."""
        if not self.closed and self._left():
            self._take(self._left())
            self._local.rest = ""
        super().close()

    def _left(self) -> str:
        return getattr(self._local, "rest", "")

    def _take(self, line: str) -> None:
        content = _RAY_PREFIX.sub("", line)
        if content != line and _is_record(content):
            self._stream.write(f"{content}\n")
            self._stream.flush()
        elif plain := _COLOUR.sub("", line).strip():
            self._log.log(logging.ERROR if plain.startswith(_ERRORS) else logging.INFO, "%s", plain)


def _is_record(text: str) -> bool:
    try:
        values = json.loads(text)
    except ValueError:
        return False
    return isinstance(values, dict) and {"time", "level", "logger", "message"} <= values.keys()


@contextmanager
def json_output() -> Iterator[None]:
    """Within the block, whatever this process prints to standard error is a JSON object a line."""
    before, root = sys.stderr, logging.getLogger()
    handlers = root.handlers[:]
    lines = JsonLines(before)
    start_logging("json", before)
    sys.stderr = lines
    try:
        yield
    finally:
        lines.close()
        sys.stderr = before
        root.handlers[:] = handlers
