"""llama.cpp in a process of its own: a crash of the model, or a long prompt, never stalls who asks.

Questions and answers are JSON, one object a line (planner/language/child.py is the other end). The process starts with
the first question and lives on, so that it remembers the guide; one that died is started again by the next question.
"""

import asyncio
import base64
import contextlib
import json
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from planner.language.model import Answer, Message, ModelFailed, OnWords, Question

LONGEST_LINE = 2**26  # bytes: pictures travel inside a line
READY_SECONDS = 600.0  # to load, and to read the guide
STOPPING_SECONDS = 20.0  # what a process gets to stop writing, or to end, before it is killed; a new one reads slowly


@dataclass(frozen=True)
class LlamaFile:
    """A GGUF file and how it is run. `eyes` is its mmproj file, if it has one."""

    path: Path
    eyes: Path | None = None
    context: int = 12288  # tokens: the guide, the question and the answer
    gpu_layers: int = -1  # -1: all that llama.cpp can place
    threads: int = 0  # 0: llama.cpp's choice


class LlamaProcess:
    """A language model file, run by llama.cpp."""

    def __init__(self, file: LlamaFile) -> None:
        self._file = file
        self._process: Process | None = None
        self._complaints: IO[bytes] | None = None  # what the process prints: a pipe could fill up
        self._turn = asyncio.Lock()
        self._asked = 0  # number of the last question
        self._opened = ""  # how questions begin, as far as the process has read it
        self._stopping = False  # the last question was given up, and its end has not been read yet

    @property
    def name(self) -> str:
        """The file's name."""
        return self._file.path.stem

    @property
    def sees(self) -> bool:
        """With an mmproj file."""
        return self._file.eyes is not None

    @property
    def pid(self) -> int | None:
        """The process that runs the model; None while there is none."""
        return self._process.pid if self._process else None

    @property
    def questions(self) -> int:
        """How many were asked."""
        return self._asked

    async def ready(self, opening: Message, /) -> None:
        """Start the process unless it runs, and let it read how every question begins."""
        if self._opened == opening.text and self.pid and self._process and self._process.returncode is None:
            return
        greeting = Question((opening, Message("user", "Are you ready?")), {"enum": ["yes"]}, most_tokens=4)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self.answer(greeting)
        except TimeoutError as error:
            self._kill()
            reason = f"was not ready after {READY_SECONDS:g} s"
            raise ModelFailed(f"the language model {self.name} {reason}") from error
        self._opened = opening.text

    async def answer(self, question: Question, on_words: OnWords = lambda _: None) -> Answer:
        """Ask, and read until the answer is whole."""
        async with self._turn:
            try:
                return await self._ask(await self._ready(), question, on_words)
            except (BrokenPipeError, ConnectionResetError) as error:
                raise await self._death() from error
            except asyncio.CancelledError:
                self._give_up()
                raise

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        self._forget()
        if process is None:
            return
        if process.stdin:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOPPING_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _ready(self) -> Process:
        """A process that listens; one that does not stop to write is replaced."""
        if self._process and self._stopping:
            try:
                await asyncio.wait_for(self._read_until_end(self._process), STOPPING_SECONDS)
            except (TimeoutError, ModelFailed, ValueError):
                self._kill()
        self._stopping = False
        if self._process is None or self._process.returncode is not None:
            self._forget()
            self._opened = ""
            self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  (closed when the process has ended)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "planner.language.child", json.dumps(self._options()),
                stdin=PIPE, stdout=PIPE, stderr=self._complaints, limit=LONGEST_LINE,
            )  # fmt: skip
        return self._process

    def _options(self) -> dict[str, Any]:
        file = self._file
        return {
            "path": str(file.path),
            "eyes": str(file.eyes) if file.eyes else None,
            "context": file.context,
            "gpu_layers": file.gpu_layers,
            "threads": file.threads,
        }

    async def _ask(self, process: Process, question: Question, on_words: OnWords) -> Answer:
        assert process.stdin is not None
        self._asked += 1
        process.stdin.write(json.dumps(_written(self._asked, question)).encode() + b"\n")
        await process.stdin.drain()
        return await self._read_until_end(process, on_words)

    async def _read_until_end(self, process: Process, on_words: OnWords = lambda _: None) -> Answer:
        """The end of the question that was asked last."""
        assert process.stdout is not None
        while line := await process.stdout.readline():
            said = json.loads(line)
            if said["question"] != self._asked:
                continue
            if "error" in said:
                raise ModelFailed(f"the language model {self.name} could not answer: {said['error']}")
            if "text" in said:
                return Answer(said["text"], said["tokens_read"], said["tokens_written"])
            on_words(said["words"])
        raise await self._death()

    async def _death(self) -> ModelFailed:
        """What is said of a process that ended in the middle; the next question starts another one."""
        process, self._process = self._process, None
        if process is None:
            return ModelFailed(f"the language model {self.name} was stopped")
        try:
            await asyncio.wait_for(process.wait(), STOPPING_SECONDS)  # its output has ended, so it is ending itself
        except TimeoutError:
            process.kill()
        code, lines = await process.wait(), self._said()
        reason = lines[-1][:200] if code > 0 and lines else f"exit code {code}"
        return ModelFailed(f"the language model {self.name} died: {reason}")

    def _give_up(self) -> None:
        """Tell the process that nobody waits for its answer any more."""
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            return
        self._stopping = True
        process.stdin.write(json.dumps({"stop": self._asked}).encode() + b"\n")

    def _said(self) -> list[str]:
        """The lines that the process printed; they are gone then."""
        if self._complaints is None:
            return []
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        self._forget()
        return lines

    def _forget(self) -> None:
        if self._complaints is not None:
            self._complaints.close()
        self._complaints = None

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        self._process = None


def _written(number: int, question: Question) -> dict[str, Any]:
    """A question as the child reads it."""
    messages = [
        {"role": m.role, "text": m.text, "pictures": [base64.b64encode(p).decode() for p in m.pictures]}
        for m in question.messages
    ]
    return {"question": number, "messages": messages, "form": question.form, "most_tokens": question.most_tokens}
