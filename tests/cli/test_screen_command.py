"""papertune screen from the first table to the export, and a simulation."""

import pytest

import papertune as api

pytestmark = pytest.mark.once

TITLES = ("Reminders for doctors", "Swimming of mice")
ROWS = [f"p{n},{TITLES[n % 2]} in study number {n}xyz,{('yes', 'no')[n % 2]}" for n in range(8)]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "papers.csv").write_text("\n".join(["id,title,decision", *ROWS]) + "\n", "utf-8")
    return tmp_path


def test_a_screening_from_a_table_to_a_labelled_table(papertune, table):
    done = papertune("screen", "import", "s", "papers.csv", "--encoder", "none", "--criterion", "reminders")
    assert (done.code, done.out) == (0, "s: 8 new records, 0 rows repeat a record; 8 in all\n")
    first = papertune("screen", "next", "s", "-n", "1").out.split("\t")
    assert first[2].startswith("Reminders for doctors")
    assert papertune("screen", "decide", "s", "p0", "include").out == "p0: include\n"
    assert papertune("screen", "decide", "s", "2", "unsure").out == "p1: unsure\n"
    assert papertune("screen", "undo", "s").out == "p1: unsure was taken back\n"
    assert papertune("screen", "decide", "s", "p1", "exclude").out == "p1: exclude\n"
    lines = papertune("screen", "next", "s", "-n", "2").out.splitlines()
    assert lines[0].split("\t")[2].startswith("Reminders for doctors")
    assert lines[1].startswith("\t+ ")
    assert papertune("screen", "sample", "s", "6").out == "s: 6 of 6 unread records are drawn; next offers them\n"
    done = papertune(
        "screen", "import", "s", "papers.csv", "--label", "decision", "--include", "yes", "--exclude", "no"
    )
    assert done.out == "s: 0 new records, 8 rows repeat a record; 8 in all\ndecision: 4 included, 4 excluded\n"
    progress = papertune("screen", "progress", "s").out.splitlines()
    assert progress[0] == "8 of 8 records are read: 4 included, 4 excluded, 0 unsure, 0 in conflict"
    assert (
        "Certified: at least 95% of the relevant records are found (3 of 6 sampled records were relevant"
        in "\n".join(progress)
    )
    assert progress[-1] == "Every record has a decision, so nothing is missed and no certificate is needed."
    assert papertune("screen", "export", "s", "-o", "out.csv").out == "out.csv: 8 records\n"
    assert api.read_table("out.csv").column("label") == ["included", "excluded"] * 4


def test_a_simulation(papertune, table):
    done = papertune("screen", "simulate", "papers.csv", "--label", "decision", "--include", "yes", "--encoder", "none",
                     "--seeds", "2", "-o", "out", "-q")  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.startswith(
        "8 records, 4 relevant, 2 screenings\n| | WSS@95 | recall at 10% | mean recall | ATD |\n"
    )
    assert done.err == ""
    assert {path.name for path in (table / "out").iterdir()} == {"simulation.json", "simulation.md", "recall.svg"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("next", "s"),
         "s is no screening: there is no project.json in it. Make one: papertune screen import s TABLE\n"),
        (("import", "s", "papers.csv", "--label", "label"),
         'papers.csv: there is no column "label". The columns are id, title, decision. Correct the name, or add the '
         "column.\n"),
        (("import", "papers.csv", "papers.csv"),
         "papers.csv cannot be written: papers.csv is not a folder. Choose another place.\n"),
        (("simulate", "papers.csv", "--label", "decision", "-o", "o"),
         'papers.csv, column "decision": no cell is "1" or "included". The cells are "yes", "no". Name the value that '
         "means include with --include.\n"),
    ],
)  # fmt: skip
def test_mistakes_are_one_message(papertune, table, command, message):
    assert papertune("screen", *command).error == message
    assert {path.name for path in table.iterdir()} == {"papers.csv"}
