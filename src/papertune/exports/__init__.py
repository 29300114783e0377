"""A run taken to other programs: llama.cpp, vLLM, Ollama, the Hugging Face hub."""
