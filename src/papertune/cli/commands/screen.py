"""papertune screen: reading titles and abstracts, the most useful first."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from papertune.cli import options
from papertune.cli.app import app
from papertune.cli.progress import TerminalListener

screen = typer.Typer(
    help="Screen titles and abstracts: read the most useful first, know when to stop.", no_args_is_help=True
)
app.add_typer(screen, name="screen")

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the screening.")]
OneReader = Annotated[str | None, typer.Option("--reader", help="Who reads; default: the first reader.")]
Encoder = Annotated[
    str, typer.Option("--encoder", help='A sentence encoder beside words: "auto" if installed, "none", or a folder.')
]
Include = Annotated[list[str], typer.Option("--include", metavar="VALUE", help="A value that means include.")]


@screen.command("import")
def import_(
    folder: Folder,
    table: Annotated[str, typer.Argument(help="Search results, or a table with decisions.")],
    name: Annotated[str | None, typer.Option(help="Name of a new screening; default: that of the folder.")] = None,
    title: Annotated[str | None, typer.Option(help="Column with titles, of a new screening.")] = None,
    abstract: Annotated[str | None, typer.Option(help="Column with abstracts, of a new screening.")] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="Column with ids, of a new screening.")] = None,
    criteria: Annotated[
        list[str], typer.Option("--criterion", help="A reason to include a record, of a new screening (repeatable).")
    ] = [],  # noqa: B006
    readers: Annotated[
        list[str], typer.Option("--reader", help="A reader of a new screening (repeatable); default: reader.")
    ] = [],  # noqa: B006
    label: Annotated[str | None, typer.Option(help="Column with decisions that were made before.")] = None,
    include: Include = ["included", "1", "ASReview_relevant"],  # noqa: B006
    exclude: Annotated[list[str], typer.Option("--exclude", metavar="VALUE", help="A value that means exclude.")] = [  # noqa: B006
        "excluded",
        "0",
        "ASReview_irrelevant",
    ],
    encoder: Encoder = "auto",
    decided_by: Annotated[str, typer.Option("--by", help="Whose decisions they are: a reader, or any other name.")] = (
        "earlier"
    ),
) -> None:
    """Make a screening of a table, or add new search results and earlier decisions to it."""
    from papertune.errors import quoted
    from papertune.screening import Project
    from papertune.screening.prior import import_decisions
    from papertune.screening.settings import FILE
    from papertune.tables import read_table

    read = read_table(table)
    if label is not None:
        read.column(label)
    if (folder / FILE).exists():
        project = Project(folder)
        project.add(read)
    else:
        project = Project.create(
            folder, read, name=name, title=title, abstract=abstract, id=id_column, include=tuple(criteria) or None,
            readers=tuple(readers) or None, encoder=encoder,
        )  # fmt: skip
    with project:
        added = project.added[-1]
        new = added.rows - len(added.duplicates)
        repeated = len(added.duplicates)
        typer.echo(f"{folder}: {new:,} new records, {repeated:,} rows repeat a record; {project.state.total:,} in all")
        if label is not None:
            done = import_decisions(project, read, label, include, exclude, decided_by)
            typer.echo(f"{label}: {done.included:,} included, {done.excluded:,} excluded")
            for cell, count in done.other.items():
                typer.echo(f"{label}: {count:,} cells {quoted(cell)} are no decision")
            if done.unknown:
                first = read.where(done.unknown[0])
                typer.echo(f"{label}: {len(done.unknown):,} rows with a decision are no record, the first is {first}")


@screen.command("next")
def next_(
    folder: Folder,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of records.")] = 10,
    reader: OneReader = None,
    quiet: options.Quiet = False,
) -> None:
    """Print the records to read next: number, id, title, and the words that speak for and against."""
    from papertune.screening import Project

    with TerminalListener("encoding", quiet=quiet) as listener, Project(folder, listener) as project:
        project.queue.wait()
        ranking = project.queue.ranking
        for offer in project.queue.next(reader or project.settings.readers[0], count):
            record = offer.record
            typer.echo(f"{record + 1}\t{project.records.ids[record]}\t{project.records.titles[record]}")
            document = f"{project.records.titles[record]} {project.records.abstracts[record]}"
            speaks = ranking.words(record, document, 5) if ranking else ([], [])
            for sign, words in zip("+-", speaks, strict=True):
                if words:
                    typer.echo(f"\t{sign} {', '.join(word for word, _ in words)}")


@screen.command()
def decide(
    folder: Folder,
    record: Annotated[str, typer.Argument(help="Its number, as next prints it, or its id.")],
    verdict: Annotated[Literal["include", "exclude", "unsure"], typer.Argument(help="The decision.")],
    reader: OneReader = None,
    settle: Annotated[bool, typer.Option("--settle", help="End a conflict between readers.")] = False,
) -> None:
    """Decide about a record; the last decision counts. For many at once import a table with --label."""
    from papertune.screening import Project

    with Project(folder) as project:
        number = project.record_number(record)
        project.decide(number, verdict, reader, settles=settle)
        typer.echo(f"{project.records.name(number)}: {verdict}")


@screen.command()
def undo(folder: Folder, reader: OneReader = None) -> None:
    """Take back a reader's last decision."""
    from papertune.errors import ScreeningError
    from papertune.screening import Project

    with Project(folder) as project:
        who = reader or project.settings.readers[0]
        last = next(project.state.history(who), None)
        if last is None:
            raise ScreeningError(f"{who} has made no decision, so there is none to take back.")
        project.undo(last.id, who)
        typer.echo(f"{project.records.name(last.record)}: {last.verdict} was taken back")


@screen.command()
def sample(
    folder: Folder,
    size: Annotated[int, typer.Argument(min=1, help="Number of records; progress says how many are needed.")],
    reader: OneReader = None,
) -> None:
    """Draw a random sample of the unread records for a certificate of recall; next offers it first."""
    from papertune.screening import Project

    with Project(folder) as project:
        drawn = project.draw_sample(size, reader)
        typer.echo(f"{folder}: {len(drawn.records):,} of {drawn.unseen:,} unread records are drawn; next offers them")


@screen.command()
def progress(folder: Folder) -> None:
    """Print what was found, how far readers agree, the certificate, and what one would cost."""
    from papertune.screening import Project
    from papertune.screening.progress import progress_lines

    with Project(folder) as project:
        for line in progress_lines(project):
            typer.echo(line)


@screen.command()
def export(
    folder: Folder,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The table: csv, tsv, jsonl, json, parquet, xlsx or ris.")
    ],
    decided_only: Annotated[bool, typer.Option("--decided-only", help="Only included and excluded records.")] = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Write all records with the decisions as a labelled table, from which train and predict go on."""
    from papertune.screening import Project
    from papertune.screening.export import export as write

    with Project(folder) as project:
        rows = write(project, output, decided_only=decided_only, overwrite=overwrite)
        typer.echo(f"{output}: {rows:,} records")


@screen.command()
def simulate(
    table: Annotated[str, typer.Argument(help="A table whose labels are known.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for numbers and plot.")],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", help="Its document and label column are used.", show_default=False),
    ] = None,
    label: Annotated[str | None, typer.Option(help='The label column; default: the recipe\'s, or "label".')] = None,
    include: Annotated[
        list[str],
        typer.Option(
            "--include",
            metavar="VALUE",
            help="A value that means include; default: the recipe's first label, or included and 1.",
        ),
    ] = [],  # noqa: B006
    encoder: Encoder = "auto",
    seeds: Annotated[int, typer.Option(min=1, help="Number of screenings, each from other records.")] = 10,
    quiet: options.Quiet = False,
) -> None:
    """Show how soon the ranking would have found the relevant records, beside that of ELAS u4."""
    from papertune.files import check_new_folder
    from papertune.screening.simulation.report import markdown, write_simulations
    from papertune.screening.simulation.simulate import run_simulations
    from papertune.screening.simulation.table import labelled_documents

    check_new_folder(output)
    documents, relevant = labelled_documents(table, recipe, label, include)
    with TerminalListener("simulating", quiet=quiet) as listener:
        done: Any = run_simulations(documents, relevant, seeds, encoder=encoder, listener=listener)
    write_simulations(done, output)
    typer.echo(f"{done.records:,} records, {done.relevant:,} relevant, {seeds} screenings")
    typer.echo(markdown(done), nl=False)
    typer.echo(f"{output / 'recall.svg'}: recall by records read")
