"""Reports of evaluations as pages for a sandboxed frame."""

from pathlib import Path

from fastapi.responses import HTMLResponse, Response

from papertune.serve.errors import ServeError
from papertune.serve.jobs.job import REPORT, without_folder

# The report is one page with its own styles and plots, and without scripts; it may load nothing.
_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


def report_page(folder: Path | None) -> Response:
    """Return the report in the folder of a job.

    Args:
        folder: The folder; None: there is no such job.

    Raises:
        ServeError: 404 if there is none.
    """
    page = None if folder is None else folder / REPORT / "report.html"
    if page is None or not page.is_file():
        raise ServeError(
            404, "no_report", "there is no report yet: only a finished evaluation has one. Evaluate the run."
        )
    assert folder is not None
    text = without_folder(page.read_text("utf-8"), folder.name)
    return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY})
