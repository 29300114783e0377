"""Writing models and adapters as .gguf files, the format of llama.cpp."""
