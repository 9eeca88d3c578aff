"""A language model server on the loopback that says what a test tells it to: the outer seam of the director."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from planner.language.server import ModelServer

Say = Callable[[dict[str, Any]], str]  # what is answered to a request's body


class Script:
    """Answers, one after the other; the last one is repeated. What was asked is kept."""

    def __init__(
        self,
        answers: Sequence[str | Say],
        status: int = 200,
        silence: float | Callable[[dict[str, Any]], float] = 0.0,
        cut: bool = False,
    ) -> None:
        self.answers = list(answers)
        self.status = status
        self.silence = silence  # seconds before anything is said
        self.cut = cut  # the connection ends in the middle
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers.get("Authorization"))
        await asyncio.sleep(self.silence(body) if callable(self.silence) else self.silence)
        if self.status != 200:
            return web.Response(status=self.status)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        text = answer if isinstance(answer, str) else answer(body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        middle = len(text) // 2
        for piece in (text[:middle], text[middle:]):
            await response.write(f"data: {json.dumps({'choices': [{'delta': {'content': piece}}]})}\n\n".encode())
            if self.cut and request.transport:
                request.transport.close()
                return response
        usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
        await response.write(f": a comment\n\ndata: {json.dumps(usage)}\n\ndata: [DONE]\n\n".encode())
        return response

    def user_text(self, question: int = -1) -> str:
        """What the model was told last, without the guide."""
        return "\n".join(m["content"] for m in self.asked[question]["messages"] if m["role"] == "user")

    def form(self, question: int = -1) -> dict[str, Any]:
        """The schema that the answer had to fit."""
        schema: dict[str, Any] = self.asked[question]["response_format"]["json_schema"]["schema"]
        return schema


@asynccontextmanager
async def served(script: Script, key: str = "", *, sees: bool = False) -> AsyncIterator[ModelServer]:
    """A model behind a real socket of this machine."""
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", script.handle)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield ModelServer(f"http://127.0.0.1:{runner.addresses[0][1]}/v1/", "director", key, sees=sees)
    finally:
        await runner.cleanup()


def least(schema: dict[str, Any], words: str = "plain words") -> Any:
    """The shortest value that fits one of our schemas: first of each enum, fewest items, given words as texts."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: least(part, words) for name, part in schema["properties"].items()}
    if schema["type"] == "array":
        return [least(schema["items"], words)] * schema["minItems"]
    return words


def filled(body: dict[str, Any]) -> str:
    """An answer that fits whatever was asked for and says nothing."""
    return json.dumps(least(body["response_format"]["json_schema"]["schema"]))
