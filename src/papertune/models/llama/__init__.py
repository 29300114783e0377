"""Llama-like models for prediction on a CPU, from their weights, without transformers' modelling code.

The results are those of transformers up to rounding. Products have packed weights, take the silu, the gate and the sum
with the residual in their last step, and queries, keys and values come from one product. What is between products is in
`steps.py`, and joined in `models/fused` where numba is installed. The last layer computes only the positions whose
logits are wanted.
"""
