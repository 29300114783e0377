"""The server behind `papertune serve`: tables, jobs, answers and screenings over HTTP, and a page for them."""
