"""Runs in a work folder, and a server on a real port."""

import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

import httpx2
import uvicorn
from fastapi import FastAPI

from papertune.serve.answering import openai_api, predict
from papertune.serve.answering.opened import RunInMemory
from papertune.serve.answering.worker import ModelWorker
from papertune.serve.errors import handle_errors
from papertune.serve.security import protect
from papertune.serve.security.keys import Keys
from papertune.serve.workspace import Workspace, open_workspace

TOKEN = "a-token-for-tests"
TEXT = "heart graph aspirin network trial method patients learning effect fast study neural"
WORDS = TEXT.split()


def make_papers(count: int, start: int = 0) -> list[dict[str, str]]:
    """Make papers of many lengths, every other one medical."""
    papers = []
    for n in range(start, start + count):
        words = [WORDS[(n * 5 + i * (1 + n % 3)) % len(WORDS)] for i in range(4 + 7 * n % 23)]
        papers.append(
            {
                "uuid": f"p{n:03}",
                "title": f"the {words[0]} of {words[1]} {n}",
                "abstract": " ".join(words),
                "label": ("yes", "no", "maybe")[n % 3],
                "topics": "; ".join(sorted({words[0], words[1]} & {"heart", "graph", "trial"})),
                "Keywords": f"{words[0]}; {words[2]} {words[3]}",
                "answer": f"It is {words[0]}.",
                "year": str(1990 + n % 30),
            }
        )
    return papers


def make_recipe(model: Path, **columns: Any) -> dict[str, Any]:
    """Make a recipe for these papers on the tiny model."""
    return {
        "model": str(model),
        "table": {"id": "uuid", "document": "title: {title}\nabstract: {abstract}"},
        "encoding": {"max_prompt_tokens": 120},
        "columns": columns,
        "method": {"rank": 4},
        "training": {"precision": "fp32", "micro_batch_size": 4, "warmup_steps": 1, "learning_rate": 0.01},
    }


LABEL = {"kind": "label", "question": "Is it medical?", "labels": ["yes", "no", "maybe"]}


@pytest.fixture(scope="session")
def workspace(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a work folder with three runs, for reading only.

    all: a column of each kind; the label column abstains and has label sets. joined: words and model together. words:
    no model.
    """
    import papertune

    made = open_workspace(tmp_path_factory.mktemp("work"))
    columns = {
        "label": {**LABEL, "sources": ["model"], "calibration": "none", "abstain_below": 0.7, "coverage": 0.8},
        "topics": {"kind": "labels", "question": "Is it about {label}?", "labels": ["heart", "graph", "trial"]},
        "Keywords": {"kind": "ranked_keywords", "question": "Name a keyword.", "beams": 3, "count": 3},
        "answer": {"kind": "text", "question": "What is it?", "max_new_tokens": 6},
        "year": {"kind": "number", "question": "Which year?", "integer": True, "minimum": 1900, "maximum": 2030},
    }
    folder = made.runs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a training without dev rows
        papertune.train(make_papers(4), make_recipe(tiny_folder, **columns), folder / "all")
        papertune.calibrate(folder / "all", make_papers(30, 200))
        joined = make_recipe(tiny_folder, label={**LABEL, "sources": ["words", "model"]})
        papertune.train(make_papers(12), joined, folder / "joined")
        words = make_recipe(tiny_folder, label={**LABEL, "sources": ["words"]})
        papertune.train(make_papers(12), words, folder / "words")
    # A model without a use has no weight; here it must take part.
    manifest = json.loads((folder / "joined" / "run.json").read_text("utf-8"))
    manifest["joins"]["label"]["weights"] = {"words": 0.6, "model": 0.4}
    (folder / "joined" / "run.json").write_text(json.dumps(manifest), "utf-8")
    return made


class Server:
    """An app on a port of its own, in a thread.

    Args:
        app: The app.

    Attributes:
        url: Its address.
        client: Knows the token.
    """

    def __init__(self, app: FastAPI) -> None:
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        self.client = httpx2.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """End it."""
        self.client.close()
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="session")
def worker(workspace: Workspace) -> Iterator[ModelWorker]:
    """Return a worker with a place for four requests that wait, and for one run."""
    made = ModelWorker(RunInMemory(workspace.run_path, device="cpu"), max_waiting=4)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def server(workspace: Workspace, worker: ModelWorker) -> Iterator[Server]:
    """Return a server of the work folder."""
    app = FastAPI()
    handle_errors(app)
    protect(app, Keys(TOKEN, "a-session"), "127.0.0.1", 0)
    app.include_router(predict.router(workspace, worker))
    app.include_router(openai_api.router(workspace, worker))
    running = Server(app)
    yield running
    running.close()


@pytest.fixture(scope="session")
def papers() -> Callable[..., list[dict[str, str]]]:
    """Return a function that makes papers: their number, and the number of the first."""
    return make_papers
