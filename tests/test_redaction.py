"""No secret reaches a message, a log or a traceback, in whatever shape; nor does a control character of data."""

from __future__ import annotations

import logging
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dentgen.errors import BuildError, SpecError, StorageError
from dentgen.redaction import SafeFormatter, escaped, redacted, shown

SECRET = "wJalrXUtnFEMI"
SHAPES = (
    "https://user:{}@host/x.tar",
    "https://{}@host:8080/x.tar",
    "HTTPS://:{}@host",
    "s3://AKIAIOSFODNN7EXAMPLE:a/{}+b/c@bucket/x",
    "s3://KEY:a?b/{}@bucket",
    "s3://KEY:a@b/{}@bucket/y",
    "s3://KEY:/{}@bucket",
    "s3://KEY:two {}@bucket",
    "s3://KEY:{}",
    "https://host/x.tar?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE&X-Amz-Signature={}",
    "https://host/a b.tar?sig={}&se=1",
    "https://host/x?{}",
    "https://host:443?token={}",
    "https://host/#access_token={}",
    "s3://bucket/x?AWSAccessKeyId=1&Signature={}",
    "ftp://user:{}@host/x",
    "hf_{}",
    "Authorization: Bearer {}",
    "aws_secret_access_key={}",
)
SENTENCES = (
    "{}",
    "cannot be read: {}: gone",
    "403, message='Forbidden', url=URL('{}')",
    "see ({}), and <{}>.",
    "first line\n  {} -> {}",
)


@pytest.mark.parametrize(("shape", "sentence"), [*product(SHAPES, SENTENCES)])
def test_no_secret_is_left_in_any_sentence(shape: str, sentence: str) -> None:
    url = shape.format(SECRET)
    text = sentence.replace("{}", url)
    assert SECRET not in redacted(text)
    assert redacted(redacted(text)) == redacted(text), "errors quote errors"
    error = BuildError(text, file=url, key=url, found=[url], expected=url, advice=text)
    assert SECRET not in str(error)
    assert SECRET not in str(SpecError.of_faults(url, [error, error]))


@given(st.text(alphabet="abcXYZ019/+=%-._~", min_size=1, max_size=30).map(lambda text: f"{SECRET}{text}{SECRET}"))
def test_no_password_is_left(password: str) -> None:
    for scheme in ("s3", "https", "ftp", "abfs"):
        assert SECRET not in redacted(f"{scheme}://user:{password}@host/x: gone")
        assert SECRET not in redacted(f"reading https://host/x?Signature={password}, then")


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/2023::run/a@b.tar",
        "s3://bucket/is it?.tar",
        "https://host:8080/a@b",
        "https://host: permission denied for a@b",
        "https://[::1]:80/x",
        "github://owner:repository@main/a",
        "abfs://container@account.dfs.core.windows.net/x",
        "s3://arn:aws:s3:eu-west-1:1:accesspoint/x@y",
        "/local/what?sig is.tar",
        "steps: found 0, expected at least 1",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert redacted(text) == text


def test_control_characters_of_data_are_escaped_and_line_breaks_of_messages_stay() -> None:
    assert escaped("a\nb\x1b[31m\udcff é") == "a\\nb\\x1b[31m\\udcff é"
    assert shown("two\nlines\x1b[2J") == "two\nlines\\x1b[2J"
    error = StorageError("two\nlines", file="a\nb.tar", found="\x1b[2Jx", expected="\r")
    assert str(error) == "a\\nb.tar: two\nlines: found \\x1b[2Jx, expected \\r"
    assert error.file == "a\nb.tar", "fields hold what was there"


def test_logs_show_neither_secrets_nor_control_characters() -> None:
    formatter = SafeFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def line(message: str, *args: object) -> str:
        return formatter.format(logging.LogRecord("dentgen", logging.INFO, __file__, 1, message, args, None))

    assert line("%s: %d of\n%s", "a\nb", 3, "https://u:p@host/x?sig=1") == "INFO a\\nb: 3 of\nhttps://host/x?..."
    assert line("%(a)s", {"a": "https://host/x?sig=1"}) == "INFO https://host/x?..."
    error = OSError(f"https://host/x?sig={SECRET}")
    record = logging.LogRecord("dentgen", logging.INFO, __file__, 1, "no", (), (OSError, error, None))
    assert SECRET not in formatter.format(record)
