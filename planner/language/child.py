"""The process in which llama.cpp runs: questions come in as JSON lines, answers go out as JSON lines.

    {"question": 1, "messages": [...], "form": {...}, "most_tokens": 900}  ->  {"question": 1, "words": 12} ...
                                                      {"question": 1, "text": "...", "tokens_read": .., ...}
    {"stop": 1}                                       ends question 1 where it is; its end is answered all the same

It ends when nobody writes to it any more. Started by planner/language/process.py alone.
"""

import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO

TEMPERATURE = 0.3  # a plan is no poem; repeated attempts differ all the same, since their questions do
SEED = 1  # same question, same answer
WORDS_BETWEEN_NEWS = 4


class Inbox:
    """Lines from the parent, read by a thread, so that "stop" is heard while the model writes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._questions: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.stopped = 0  # questions up to this number are not waited for any more
        threading.Thread(target=self._read, daemon=True).start()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (question := self._questions.get()) is not None:
            yield question

    def _read(self) -> None:
        for line in self._stream:
            said = json.loads(line)
            if "stop" in said:
                self.stopped = said["stop"]
            else:
                self._questions.put(said)
        self.stopped = sys.maxsize
        self._questions.put(None)


def main() -> None:
    """Load the model, then answer until the parent is gone."""
    out = private_output()
    try:
        from planner.language.gguf import grammar_of, load  # here: its library is an extra, and takes a second to load

        model = load(json.loads(sys.argv[1]))
    except ImportError:
        sys.exit("llama-cpp-python is not installed; it comes with the extra llm")
    except (ValueError, OSError, RuntimeError):  # whose words name paths of this machine
        sys.exit("llama.cpp cannot load the file")
    inbox = Inbox(sys.stdin.buffer)
    for asked in inbox:
        number = asked["question"]
        try:
            answer = write(model, grammar_of(asked["form"]), asked, inbox, out)
        except ValueError as error:  # llama.cpp's word for a question that does not fit the context
            answer = {"error": str(error)}
        tell(out, {"question": number, **answer})


def private_output() -> TextIO:
    """The stream to the parent. What libraries print goes to stderr instead."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def tell(out: TextIO, said: dict[str, Any]) -> None:
    """One line for the parent."""
    out.write(json.dumps(said) + "\n")
    out.flush()


def write(model: Any, grammar: Any, asked: dict[str, Any], inbox: Inbox, out: TextIO) -> dict[str, Any]:
    """The answer to one question, word by word."""
    pieces: list[str] = []
    stream = model.create_chat_completion(
        messages=[chat_message(message) for message in asked["messages"]],
        grammar=grammar,  # explicit, since response_format falls back to any JSON without a word
        max_tokens=asked["most_tokens"],
        temperature=TEMPERATURE,
        seed=SEED,
        stream=True,
    )
    for part in stream:
        piece = part["choices"][0]["delta"].get("content")
        if piece:
            pieces.append(piece)
            if len(pieces) % WORDS_BETWEEN_NEWS == 0:
                tell(out, {"question": asked["question"], "words": len("".join(pieces).split())})
        if inbox.stopped >= asked["question"]:
            break
    return {"text": "".join(pieces), "tokens_read": model.n_tokens - len(pieces), "tokens_written": len(pieces)}


def chat_message(message: dict[str, Any]) -> dict[str, Any]:
    """A message as llama.cpp's chat templates take it."""
    if not message["pictures"]:
        return {"role": message["role"], "content": message["text"]}
    pictures = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}}
        for picture in message["pictures"]
    ]
    return {"role": message["role"], "content": [{"type": "text", "text": message["text"]}, *pictures]}


if __name__ == "__main__":
    main()
