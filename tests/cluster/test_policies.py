"""Rights in the bucket: what a build does with it, and no more."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import ROOT

FOLDER = ROOT / "cluster"


def statements() -> list[dict[str, Any]]:
    """The statements of the policy."""
    policy = json.loads((FOLDER / "s3-policy.json").read_text())
    assert policy["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def test_every_right_is_named_and_limited_to_a_prefix() -> None:
    for statement in statements():
        assert statement["Effect"] == "Allow"
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert all("*" not in action and action.startswith("s3:") for action in actions)
        resource = statement["Resource"]
        assert resource == "arn:aws:s3:::BUCKET" or resource.endswith(("/conditions/*", "/datasets/*"))
        assert resource != "arn:aws:s3:::BUCKET" or "Condition" in statement


def test_conditions_are_only_read() -> None:
    (reading,) = [statement for statement in statements() if statement["Resource"].endswith("/conditions/*")]
    assert reading["Action"] == "s3:GetObject"


def test_datasets_are_written_and_leases_renewed() -> None:
    (writing,) = [statement for statement in statements() if statement["Resource"].endswith("/datasets/*")]
    assert set(writing["Action"]) == {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}


def test_uploads_that_a_kill_left_are_removed() -> None:
    (rule,) = json.loads((FOLDER / "s3-lifecycle.json").read_text())["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert rule["Status"] == "Enabled"
    assert "Expiration" not in rule, "no sample is ever deleted"
