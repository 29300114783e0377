"""What is between two products in single passes, compiled by numba when it is first needed (the extra `speed`).

`papertune.models.llama.steps` does the same with PyTorch, where each step reads and writes all of its numbers.
"""
