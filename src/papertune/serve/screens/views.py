"""Screenings as JSON for the page."""

from collections.abc import Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

from papertune.screening import Project
from papertune.screening.agreement import agreements, conflicts
from papertune.screening.prior import EARLIER
from papertune.screening.ranking.highlight import highlight
from papertune.screening.ranking.ranker import Ranking

# Points of the curve; more cannot be told apart.
_MAX_POINTS = 300
_WORDS = 6


def screen_view(screen_id: str, project: Project) -> dict[str, Any]:
    """Return what a screening is about."""
    settings = project.settings
    with project.unchanged():
        tables = [
            {"rows": event.rows, "new": event.rows - len(event.duplicates), "at": event.at} for event in project.added
        ]
        tags = sorted({tag for record in range(project.state.total) for tag in project.state.tags(record)})
    return {
        "id": screen_id,
        "name": settings.name,
        "records": project.state.total,
        "columns": {part: getattr(settings, part) for part in ("title", "abstract", "id", "doi")},
        "criteria": settings.include,
        "exclude": settings.exclude,
        "readers": settings.readers,
        "readers_per_record": settings.readers_per_record,
        "label": settings.label,
        "labels": settings.label_values,
        "target": settings.target,
        "encoder": settings.encoder,
        "tables": tables,
        "tags": tags,
        "progress": counts(project),
    }


def record_views(project: Project, records: Sequence[tuple[int, str]], reader: str) -> list[dict[str, Any]]:
    """Return records as a reader sees them: without the decisions of others.

    Args:
        project: The screening.
        records: Number of each record, and why it is shown.
        reader: Who reads.
    """
    with project.unchanged():
        ranking = project.queue.ranking
        views = [_record_view(project, record, reader) | {"reason": reason} for record, reason in records]
    for view in views:
        view |= _words(ranking, view)
    return views


def _record_view(project: Project, record: int, reader: str) -> dict[str, Any]:
    records, state = project.records, project.state
    doi = records.dois[record]
    last = state.decision(record, reader)
    return {
        "record": record,
        "id": records.ids[record],
        "title": records.titles[record],
        "abstract": records.abstracts[record],
        "link": f"https://doi.org/{quote(doi, safe='/')}" if doi else None,
        "near_duplicates": [
            {"record": other, "title": records.titles[other], "verdict": state.verdict(other, reader)}
            for other in project.queue.near_duplicates(record)
        ],
        "verdict": last.verdict if last else None,
        "event": last.id if last else None,
        "note": state.notes(record).get(reader, ""),
        "tags": state.tags(record, reader),
    }


def _words(ranking: Ranking | None, view: dict[str, Any]) -> dict[str, Any]:
    """Return the words of a record for and against it, and its texts in parts with their signs."""
    record, title, abstract = view["record"], view["title"], view["abstract"]
    known = ranking is not None and record < len(ranking.features)
    words_for, against = ranking.words(record, f"{title} {abstract}", _WORDS) if ranking and known else ([], [])
    stemmed = ranking is not None and ranking.features.stemmed
    words = [*words_for, *against]
    return {
        "words_learned": ranking is not None and known and ranking.weights is not None,
        "words_for": [word for word, _ in words_for],
        "words_against": [word for word, _ in against],
        "title_parts": highlight(title, words, stemmed=stemmed),
        "abstract_parts": highlight(abstract, words, stemmed=stemmed),
    }


def history_view(project: Project, reader: str | None, offset: int, count: int) -> dict[str, Any]:
    """Return the decisions that stand, the newest first; of each reader's decisions about a record, the last one."""
    with project.unchanged():
        seen: set[tuple[int, str, bool]] = set()
        found = []
        for event in project.state.history(reader):
            key = event.record, event.reader, event.settles
            if key in seen:
                continue
            seen.add(key)
            found.append(event)
            if len(found) > offset + count:
                break
        shown = [
            {
                "event": event.id,
                "record": event.record,
                "title": project.records.titles[event.record],
                "verdict": event.verdict,
                "settles": event.settles,
                "reader": event.reader,
                "at": event.at,
            }
            for event in islice(found, offset, offset + count)
        ]
    return {"decisions": shown, "more": len(found) > offset + count}


def conflicts_view(project: Project) -> dict[str, Any]:
    """Return the records on which readers differ, with the decisions and notes of each."""
    with project.unchanged():
        found = [
            {
                "record": record,
                "title": project.records.titles[record],
                "abstract": project.records.abstracts[record],
                "verdicts": project.state.verdicts(record),
                "notes": project.state.notes(record),
            }
            for record in conflicts(project.state)
        ]
    return {"conflicts": found}


def counts(project: Project) -> dict[str, int]:
    """Return how many records there are and what was decided."""
    outcomes = list(project.state.outcomes.values())
    return {
        "records": project.state.total,
        "read": len(outcomes),
        **{outcome: outcomes.count(outcome) for outcome in ("include", "exclude", "unsure", "conflict")},
    }


def progress_view(project: Project) -> dict[str, Any]:
    """Return counts, the curve of what was found, and the agreement of readers."""
    with project.unchanged():
        curve = project.found_curve(without=[EARLIER])
        found = agreements(project.state, project.settings.readers)
        by_reader: dict[str, int] = {}
        for event in project.state.history():
            by_reader[event.reader] = by_reader.get(event.reader, 0) + 1
        numbers = counts(project)
    ranking = project.queue.ranking
    last = next((place for place, each in enumerate(curve, start=1) if each == curve[-1]), 0)
    return {
        **numbers,
        "curve": _points(curve),
        "since_last": len(curve) - last,
        "readers": by_reader,
        "agreement": [
            {
                "readers": each.readers,
                "records": each.records,
                "both_include": each.both_include,
                "only_first": each.only_first,
                "only_second": each.only_second,
                "both_exclude": each.both_exclude,
                "kappa": each.kappa,
            }
            for each in found
        ],
        "ranking": ranking.basis if ranking else None,
    }


def certificate_view(project: Project) -> dict[str, Any]:
    """Return how far the last sample is, the certificate if it can be judged, and what another one would cost."""
    with project.unchanged():
        cost, samples = project.certificate_cost(), project.state.samples
        sample = samples[-1] if samples else None
        gaps = project.sample_gaps() if samples else None
        judged = project.certificate() if gaps and not (gaps.added or gaps.left or gaps.open) else None
        left = len(project.sample_left())
    return {
        "target": project.settings.target,
        "attempts": len(samples),
        "sample": sample
        and gaps
        and {
            "size": len(sample.records),
            "unseen": sample.unseen,
            "left": left,
            "added": gaps.added,
            "undecided": gaps.left,
            "open": gaps.open,
        },
        "certificate": judged
        and {
            "certified": judged.certified,
            "attempt": judged.attempt,
            "found": judged.found,
            "hits": judged.hits,
            "size": judged.size,
            "unseen": judged.unseen,
            "alpha": judged.alpha,
            "p_value": judged.p_value,
            "lower_bound": judged.lower_bound,
        },
        "cost": {
            "found": cost.found,
            "unseen": cost.unseen,
            "sizes": [{"hits": hits, "size": size} for hits, size in cost.sizes],
            "reading_all_is_cheaper": cost.reading_all_is_cheaper,
        },
    }


def _points(curve: list[int]) -> list[tuple[int, int]]:
    """Return (records read, relevant ones found), at most `_MAX_POINTS` of them, the last one included."""
    count = min(len(curve), _MAX_POINTS)
    places = [round(len(curve) * part / count) for part in range(1, count + 1)]
    return [(place, curve[place - 1]) for place in places]
