"""The routes of screenings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import FileResponse, Response
from starlette.background import BackgroundTask

from papertune.screening import Project
from papertune.screening.prior import EARLIER, import_decisions
from papertune.serve.screens import views
from papertune.serve.screens.bodies import (
    MoreRecords,
    NewSample,
    NewScreen,
    NewTable,
    PriorDecisions,
    ScreenChanges,
    SentEvents,
)
from papertune.serve.screens.exports import EXPORT_TYPES, ExportFormat, make_table, write_export
from papertune.serve.screens.registry import Screens
from papertune.serve.tables.downloads import content_disposition
from papertune.serve.tables.models import TableMeta
from papertune.serve.tables.store import Tables
from papertune.serve.workspace import Workspace

Answer = dict[str, Any]
Reader = Annotated[str | None, Query(max_length=60, description="Who reads; default: the first reader.")]


def router(workspace: Workspace, tables: Tables) -> APIRouter:
    """Return the routes of screenings.

    Args:
        workspace: The work folder.
        tables: Its tables.
    """
    screens = Screens(workspace)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        screens.start()
        yield
        screens.close()

    router = APIRouter(prefix="/api/screens", tags=["screens"], lifespan=lifespan)
    _add_managing(router, screens, tables)
    _add_reading(router, screens)
    _add_results(router, screens, tables)
    return router


def _add_managing(router: APIRouter, screens: Screens, tables: Tables) -> None:
    @router.get("")
    def all_screens() -> Answer:
        """List all screenings, the newest first."""
        return {"screens": screens.summaries()}

    @router.post("")
    def create(new: NewScreen) -> Answer:
        """Make a screening of a table."""
        chosen = new.model_dump(exclude={"table", "name", "criteria", "labels"})
        screen_id, project = screens.create(
            tables.read(new.table),
            name=new.name or Path(tables.meta(new.table).name).stem,
            include=new.criteria,
            label_values=new.labels,
            **chosen,
        )
        return views.screen_view(screen_id, project)

    @router.get("/{screen_id}")
    def screen(screen_id: str) -> Answer:
        """Describe a screening."""
        return views.screen_view(screen_id, screens.get(screen_id))

    @router.patch("/{screen_id}")
    def change(screen_id: str, changes: ScreenChanges) -> Answer:
        """Change criteria, readers, name or target."""
        project = screens.get(screen_id)
        project.change(**changes.settings())
        return views.screen_view(screen_id, project)

    @router.post("/{screen_id}/tables")
    def add(screen_id: str, more: MoreRecords) -> Answer:
        """Add new search results; rows that repeat a record become no new one."""
        project = screens.get(screen_id)
        event = project.add(tables.read(more.table))
        return {
            "rows": event.rows,
            "new": event.rows - len(event.duplicates),
            "duplicates": len(event.duplicates),
            "records": project.state.total,
        }

    @router.post("/{screen_id}/prior")
    def prior(screen_id: str, given: PriorDecisions) -> Answer:
        """Import decisions that were made before; importing a table again changes nothing."""
        project, table = screens.get(screen_id), tables.read(given.table)
        done = import_decisions(project, table, given.label, given.include, given.exclude, given.reader or EARLIER)
        return {
            "included": done.included,
            "excluded": done.excluded,
            "other": done.other,
            "unknown": len(done.unknown),
            "first_unknown": table.where(done.unknown[0]) if done.unknown else None,
        }


def _add_reading(router: APIRouter, screens: Screens) -> None:
    @router.get("/{screen_id}/next")
    def following(screen_id: str, reader: Reader = None, n: Annotated[int, Query(ge=1, le=100)] = 20) -> Answer:
        """Return the records to read next, the most useful first; it never waits for the ranking."""
        project = screens.get(screen_id)
        who = _reader(project, reader)
        with project.unchanged():
            offers = [(offer.record, offer.reason) for offer in project.queue.next(who, n)]
        ranking = project.queue.ranking
        return {
            "records": views.record_views(project, offers, who),
            "exhausted": not offers,
            "basis": ranking.basis if ranking else None,
        }

    @router.get("/{screen_id}/records/{record}")
    def record(screen_id: str, record: int, reader: Reader = None) -> Answer:
        """Return one record as a reader sees it."""
        project = screens.get(screen_id)
        who = _reader(project, reader)
        project.state.check_record(record)
        return views.record_views(project, [(record, "asked for")], who)[0]

    @router.post("/{screen_id}/events")
    def submit(screen_id: str, sent: SentEvents) -> Answer:
        """Store decisions, notes, tags and undos: all or none; an id that came before is ignored.

        The answer comes when they are on disk.
        """
        project = screens.get(screen_id)
        project.submit([each.event() for each in sent])
        return {"progress": views.counts(project)}

    @router.get("/{screen_id}/history")
    def history(
        screen_id: str,
        reader: Annotated[str | None, Query(max_length=60, description="Only this person's; default: all.")] = None,
        n: Annotated[int, Query(ge=1, le=500)] = 10,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> Answer:
        """Return the decisions that stand, the newest first."""
        return views.history_view(screens.get(screen_id), reader, offset, n)


def _add_results(router: APIRouter, screens: Screens, tables: Tables) -> None:
    @router.get("/{screen_id}/progress")
    def progress(screen_id: str) -> Answer:
        """Return counts, what was found when, and how far readers agree."""
        return views.progress_view(screens.get(screen_id))

    @router.get("/{screen_id}/certificate")
    def certificate(screen_id: str) -> Answer:
        """Return the certificate of recall, what keeps it from being judged, and what another one costs."""
        return views.certificate_view(screens.get(screen_id))

    @router.post("/{screen_id}/sample")
    def sample(screen_id: str, new: NewSample) -> Answer:
        """Draw a random sample of the unread records for a certificate; next offers it first."""
        project = screens.get(screen_id)
        project.draw_sample(new.size, _reader(project, new.reader))
        return views.certificate_view(project)

    @router.get("/{screen_id}/conflicts")
    def conflicts(screen_id: str) -> Answer:
        """Return the records on which readers differ."""
        return views.conflicts_view(screens.get(screen_id))

    @router.get("/{screen_id}/export")
    def export(
        screen_id: str,
        kind: Annotated[ExportFormat, Query(alias="format")] = "csv",
        decided_only: Annotated[bool, Query(description="Only included and excluded records.")] = False,
    ) -> Response:
        """Download all records with the decisions, as a table or as RIS."""
        project = screens.get(screen_id)
        path = write_export(project, kind, decided_only=decided_only)
        headers = {"Content-Disposition": content_disposition(f"{project.settings.name}.x", kind)}
        return FileResponse(
            path, media_type=EXPORT_TYPES[kind], headers=headers, background=BackgroundTask(_remove, path)
        )

    @router.post("/{screen_id}/table")
    def table(screen_id: str, new: NewTable) -> TableMeta:
        """Make a table of the included and excluded records, from which a training goes on."""
        project = screens.get(screen_id)
        return make_table(project, tables, new.name or project.settings.name)


def _reader(project: Project, name: str | None) -> str:
    """Return who reads; ScreeningError if there is no such reader."""
    who = name if name is not None else project.settings.readers[0]
    project.settings.check_reader(who)
    return who


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
