"""A GGUF file as a llama.cpp model that writes by a grammar. Runs in the child process alone."""

import ctypes
import json
import math
from typing import Any

import numpy as np
from llama_cpp import Llama, llama_cpp
from llama_cpp._internals import LlamaSampler
from llama_cpp.llama_chat_format import MTMDChatHandler
from llama_cpp.llama_grammar import LlamaGrammar

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)], align=True)


class Scribe(Llama):
    """A model that asks its grammar last. llama-cpp-python asks it first, about every token of the vocabulary: with the
    262 144 tokens of Gemma that takes longer than the network (docs/lab.md)."""

    def _init_sampler(self, grammar: LlamaGrammar | None = None, **settings: Any) -> Any:  # type: ignore[override]
        chain = super()._init_sampler(**settings)
        return chain if grammar is None else GrammarLast(chain, self._model.vocab, grammar, self._n_vocab)


class GrammarLast:
    """Draws a token, and only if the grammar forbids it draws again among those that it allows: as llama.cpp's own
    programs do (common/sampling.cpp). The distribution is another one than grammar first only after a refusal."""

    def __init__(self, chain: LlamaSampler, vocab: Any, grammar: LlamaGrammar, n_vocab: int) -> None:
        text, root = grammar._grammar.encode(), grammar._root.encode()
        self._chain, self._n_vocab = chain, n_vocab
        self._grammar = llama_cpp.llama_sampler_init_grammar(vocab, text, root)
        if not self._grammar:
            raise ValueError("llama.cpp does not understand the grammar")

    def sample(self, context: Any, index: int = -1) -> int:
        """The next token."""
        token = int(self._chain.sample(context, index))
        if not self._allows(token):
            token = self._drawn(context, index)
        llama_cpp.llama_sampler_accept(self._grammar, token)
        return token

    def close(self) -> None:
        """Free both samplers."""
        grammar, self._grammar = self._grammar, None
        if grammar:
            llama_cpp.llama_sampler_free(grammar)
            self._chain.close()  # type: ignore[no-untyped-call]

    def __del__(self) -> None:
        self.close()

    def _allows(self, token: int) -> bool:
        candidates = np.zeros(1, CANDIDATE)
        candidates["id"] = token
        llama_cpp.llama_sampler_apply(self._grammar, ctypes.byref(_array(candidates)))
        return bool(candidates["logit"][0] != -math.inf)

    def _drawn(self, context: Any, index: int) -> int:
        """A token among those that the grammar allows."""
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context.ctx, index), (self._n_vocab,))
        candidates = np.zeros(self._n_vocab, CANDIDATE)
        candidates["id"] = np.arange(self._n_vocab)
        candidates["logit"] = logits
        array = _array(candidates)
        llama_cpp.llama_sampler_apply(self._grammar, ctypes.byref(array))
        llama_cpp.llama_sampler_apply(self._chain.sampler, ctypes.byref(array))
        return int(array.data[array.selected].id)


def load(options: dict[str, Any]) -> Scribe:
    """The model of a file, with its eyes where it has some. Raises what llama.cpp raises for a file it cannot use."""
    return Scribe(
        model_path=options["path"],
        n_ctx=options["context"],
        n_gpu_layers=options["gpu_layers"],
        n_threads=options["threads"] or None,
        chat_handler=MTMDChatHandler(clip_model_path=options["eyes"], verbose=False) if options["eyes"] else None,
        verbose=False,
    )


def grammar_of(form: dict[str, Any]) -> LlamaGrammar:
    """The grammar that lets a model write nothing but JSON that fits a schema."""
    return LlamaGrammar.from_json_schema(json.dumps(form), verbose=False)


def _array(candidates: np.ndarray[Any, Any]) -> Any:
    """Candidates as llama.cpp takes them; they must live as long as it is used."""
    data = candidates.ctypes.data_as(llama_cpp.llama_token_data_p)
    return llama_cpp.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)
