"""Screening: a person reads titles and abstracts, the most useful first, and includes or excludes each record."""

from papertune.screening.events import Decided, Event, Noted, Tagged, Undone, read_event
from papertune.screening.project import Project
from papertune.screening.settings import Settings

__all__ = ["Decided", "Event", "Noted", "Project", "Settings", "Tagged", "Undone", "read_event"]
