"""Jobs: existing commands in processes of their own, which outlive the server."""

from papertune.serve.jobs.jobs import Jobs
from papertune.serve.jobs.routes import router

__all__ = ["Jobs", "router"]
