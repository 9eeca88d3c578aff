"""A GGUF file as a llama.cpp model. Runs in the child process alone."""

import json
from typing import Any


def load(options: dict[str, Any]) -> Any:
    """The model of a file, with its eyes where it has some. Raises what llama.cpp raises for a file it cannot use."""
    from llama_cpp import Llama  # here: an extra, and seconds of loading
    from llama_cpp.llama_chat_format import MTMDChatHandler

    return Llama(
        model_path=options["path"],
        n_ctx=options["context"],
        n_gpu_layers=options["gpu_layers"],
        n_threads=options["threads"] or None,
        chat_handler=MTMDChatHandler(clip_model_path=options["eyes"], verbose=False) if options["eyes"] else None,
        verbose=False,
    )


def grammar_of(form: dict[str, Any]) -> Any:
    """The grammar that lets a model write nothing but JSON that fits a schema."""
    from llama_cpp.llama_grammar import LlamaGrammar

    return LlamaGrammar.from_json_schema(json.dumps(form), verbose=False)
