"""A language model behind one small protocol: llama.cpp in a process of its own, or an OpenAI-compatible server."""
