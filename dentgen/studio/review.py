"""The check sheet of a build at ``/review``: the form, and the answers, which are kept beside the build."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from dentgen.curation.check_agreement import kept_agreement
from dentgen.curation.check_sheet import CheckSheet
from dentgen.curation.check_verdicts import parse_verdicts, require_of_sheet, store_verdicts
from dentgen.errors import DentgenError
from dentgen.studio.check_form.page import form_page, form_policy

REVIEW: Final = "/review"


class Review:
    """A sheet that is served. What the gate said is in no answer."""

    def __init__(self, out: str, sheet: CheckSheet) -> None:
        """Make the page, which reads the sheet's pictures.

        Args:
            out: The build.
            sheet: Its sheet.

        Raises:
            BuildError: If a shard is damaged.
            StorageError: If a shard cannot be read.
        """
        self._out, self._sheet = out, sheet
        self._page = form_page(out, sheet, served=True).encode()
        self._keeping = asyncio.Lock()

    def add_to(self, app: web.Application) -> None:
        """Serve it in an application."""
        app.router.add_get(REVIEW, self._form)
        app.router.add_post(REVIEW, self._answers)

    async def _form(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Security-Policy": form_policy(served=True)}
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=headers)

    async def _answers(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        try:
            async with self._keeping:
                kept = await asyncio.to_thread(self._keep, content)
        except DentgenError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(kept)

    def _keep(self, content: bytes) -> dict[str, Any]:
        verdicts = parse_verdicts(content, "answers")
        require_of_sheet(verdicts, self._sheet, "answers")
        store_verdicts(self._out, verdicts)
        agreement = kept_agreement(self._out, self._sheet)
        return {"kept": f"{len(verdicts.verdicts)} answers, {agreement.reviewers} people so far"}
