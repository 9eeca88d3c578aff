"""Any server that speaks OpenAI's chat completions: llama.cpp's, vLLM, SGLang, Ollama, LM Studio, or a paid one."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from yarl import URL

from planner.language.model import Answer, Message, ModelFailed, OnWords, Question

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 120.0  # between two pieces of an answer; the whole plan has a time limit of its own
LONGEST_ANSWER = 2**20  # characters: more is no answer to any question of ours
TEMPERATURE = 0.3


class ModelServer:
    """A language model behind an address like http://127.0.0.1:8080/v1."""

    def __init__(self, address: str, model: str = "", key: str = "", *, sees: bool = False) -> None:
        self._address = address.rstrip("/")
        self._model = model
        self._key = key
        self._sees = sees
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """The model's name, or the server's; a password in its address is not told."""
        return self._model or URL(self._address).host_port_subcomponent or ""

    @property
    def sees(self) -> bool:
        """As the settings say."""
        return self._sees

    async def ready(self, _: Message, /) -> None:
        """A server remembers what it wants to."""

    async def answer(self, question: Question, on_words: OnWords = lambda _: None) -> Answer:
        """Ask the server. Whatever it or the network does wrong is a ModelFailed."""
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            async with (
                self._turn,
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.post(
                    f"{self._address}/chat/completions", json=self._asked(question), allow_redirects=False
                ) as response,
            ):
                if response.status != 200:
                    raise ModelFailed(f"the language model server {self.name} answered with status {response.status}")
                return await _read(response, on_words)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            reason = "it was silent for too long" if isinstance(error, TimeoutError) else type(error).__name__
            raise ModelFailed(f"the language model server {self.name} gave no answer: {reason}") from error

    async def close(self) -> None:
        """Nothing is held between questions."""

    def _asked(self, question: Question) -> dict[str, Any]:
        form = {"name": "answer", "strict": True, "schema": question.form}
        return {
            **({"model": self._model} if self._model else {}),
            "messages": [_message(message) for message in question.messages],
            "response_format": {"type": "json_schema", "json_schema": form},
            "max_tokens": question.most_tokens,
            "temperature": TEMPERATURE,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


def _message(message: Message) -> dict[str, Any]:
    if not message.pictures:
        return {"role": message.role, "content": message.text}
    pictures = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"}}
        for picture in message.pictures
    ]
    return {"role": message.role, "content": [{"type": "text", "text": message.text}, *pictures]}


async def _read(response: aiohttp.ClientResponse, on_words: OnWords) -> Answer:
    """The streamed pieces, put together."""
    text = ""
    usage: dict[str, int] = {}
    async for event in _events(response):
        for choice in event.get("choices") or []:
            text += (choice.get("delta") or {}).get("content") or ""
        usage = event.get("usage") or usage
        if len(text) > LONGEST_ANSWER:
            raise ValueError(f"an answer of more than {LONGEST_ANSWER} characters")
        on_words(len(text.split()))
    return Answer(text, usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a stream of server-sent events."""
    async for line in response.content:
        data = line.strip().removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or data == b"[DONE]":
            continue
        event = json.loads(data)
        if not isinstance(event, dict):
            raise ValueError("an event that is no object")
        yield event
