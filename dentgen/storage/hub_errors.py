"""What the client of the Hugging Face hub raises."""

from __future__ import annotations

from typing import Final

from huggingface_hub import errors

#: A server that cannot be reached: the error of whichever HTTP library the client uses.
NO_CONNECTION: Final[type[Exception]] = errors.HTTPError  # type: ignore[attr-defined]  # imported there
#: Everything that a request to the hub raises: refused, not reached, not on disk, not valid.
HUB_ERRORS: Final = (errors.HfHubHTTPError, NO_CONNECTION, OSError, ValueError)
