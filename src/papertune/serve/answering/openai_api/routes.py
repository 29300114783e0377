"""The routes of OpenAI's API: models, chat completions, completions."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from papertune.errors import PapertuneError
from papertune.serve.answering.clients import unless_gone
from papertune.serve.answering.openai_api.columns import fill_texts
from papertune.serve.answering.openai_api.errors import OpenAIRoute, as_serve_error, error_body
from papertune.serve.answering.openai_api.models import Models, Target
from papertune.serve.answering.openai_api.requests import ChatRequest, CompletionRequest
from papertune.serve.answering.openai_api.shapes import ChatShape, CompletionShape, Shape
from papertune.serve.answering.wanted import Ended, Piece, WritingWanted
from papertune.serve.answering.worker import ModelWorker
from papertune.serve.errors import ServeError
from papertune.serve.workspace import Workspace

# What `papertune chat` has, and what OpenAI's API has for completions.
CHAT_TOKENS = 256
COMPLETION_TOKENS = 16

Answer = AsyncIterator[tuple[int, Piece | Ended]]


def router(workspace: Workspace, worker: ModelWorker) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI's API"], route_class=OpenAIRoute)
    models = Models(workspace)

    @routes.get("/models")
    async def list_models() -> dict[str, Any]:
        """List the models: RUN for texts, RUN:COLUMN and RUN:* for columns."""
        return {"object": "list", "data": await models.all()}

    @routes.get("/models/{name:path}")
    async def describe_model(name: str) -> dict[str, Any]:
        """Return one model."""
        return await models.describe(name)

    @routes.post("/chat/completions")
    async def create_chat_completion(request: Request, body: ChatRequest) -> Response:
        """Answer a conversation, or fill in columns for its last message: a JSON object of columns, or a document."""
        target = await models.find(body.model)
        body.check(target)
        # All labels of a column are shown, unless fewer are asked for.
        alternatives = body.top_logprobs if target.columns else body.top_logprobs or 0
        shape = ChatShape(body.model, target.checksum, alternatives, with_tokens=bool(body.logprobs))
        return await _respond(request, _chat(worker, target, body), shape, body)

    @routes.post("/completions")
    async def create_completion(request: Request, body: CompletionRequest) -> Response:
        """Continue texts, or fill in columns for them."""
        target = await models.find(body.model)
        body.check(target)
        shape = CompletionShape(body.model, target.checksum, body.logprobs, with_tokens=body.logprobs is not None)
        return await _respond(request, _complete(worker, target, body), shape, body)

    return routes


async def _chat(worker: ModelWorker, target: Target, body: ChatRequest) -> Answer:
    asked = body.dialogue
    if target.columns:
        async for index, item in fill_texts(worker, target, [asked.question], "messages"):
            yield index, item
        return
    limit = body.max_completion_tokens or body.max_tokens or CHAT_TOKENS
    alternatives = (body.top_logprobs or 0) if body.logprobs else None
    async for item in worker.write(
        target.run, WritingWanted(asked, limit, body.sampling, body.stop_texts, alternatives)
    ):
        yield 0, item


async def _complete(worker: ModelWorker, target: Target, body: CompletionRequest) -> Answer:
    if target.columns:
        async for index, item in fill_texts(worker, target, body.prompts, "prompt"):
            yield index, item
        return
    limit = body.max_tokens or COMPLETION_TOKENS
    for index, prompt in enumerate(body.prompts):
        wanted = WritingWanted(prompt, limit, body.sampling, body.stop_texts, body.logprobs)
        async for item in worker.write(target.run, wanted):
            yield index, item


async def _respond(request: Request, answer: Answer, shape: Shape, body: ChatRequest | CompletionRequest) -> Response:
    if not body.stream:
        return JSONResponse(await unless_gone(request, _whole(answer, shape)))
    # What is wrong with a request is found before the first piece, and has a status of its own.
    first = await unless_gone(request, _first(answer))
    return StreamingResponse(
        _events(first, answer, shape, wants_usage=body.wants_usage),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _first(answer: Answer) -> tuple[int, Piece | Ended]:
    return await anext(answer)


async def _whole(answer: Answer, shape: Shape) -> dict[str, Any]:
    pieces: dict[int, list[Piece]] = defaultdict(list)
    ends: dict[int, Ended] = {}
    async for index, item in answer:
        if isinstance(item, Ended):
            ends[index] = item
            _ = pieces[index]  # a choice without a piece is empty
        else:
            pieces[index].append(item)
    return shape.whole(pieces, ends)


async def _events(
    first: tuple[int, Piece | Ended], answer: Answer, shape: Shape, *, wants_usage: bool
) -> AsyncIterator[str]:
    """Yield the events of a stream: chunks, the usage if it is wanted, [DONE]; or an error instead of the rest."""
    null_usage: dict[str, Any] = {"usage": None} if wants_usage else {}
    ends: dict[int, Ended] = {}
    async for chunk in _chunks(first, answer, shape, ends):
        yield _event(chunk if "error" in chunk else chunk | null_usage)
        if "error" in chunk:
            return
    if wants_usage:
        yield _event(shape.usage_chunk(ends))
    yield "data: [DONE]\n\n"


async def _chunks(
    first: tuple[int, Piece | Ended], answer: Answer, shape: Shape, ends: dict[int, Ended]
) -> AsyncIterator[dict[str, Any]]:
    """Yield the chunks of a stream; the ends go into `ends`."""
    written: dict[int, int] = {}

    async def items() -> Answer:
        yield first
        async for each in answer:
            yield each

    try:
        async for index, item in items():
            if index not in written:
                written[index] = 0
                for chunk in shape.first(index):
                    yield chunk
            if isinstance(item, Ended):
                ends[index] = item
                yield shape.last(index, item)
            elif item.text or shape.tokens([item]):
                yield shape.chunk(index, shape.delta(item.text, shape.tokens([item]), written[index]))
                written[index] += len(item.text)
    except (ServeError, PapertuneError) as error:
        yield error_body(as_serve_error(error))


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
