"""The passes of a training on a CPU in own code: llama-like decoders with frozen weights and LoRA.

Only adapters are learned, so most of what autograd keeps and computes is not needed. Forward and backward pass are
written out here with as few passes over the activations as possible. Several threads may use them at the same time.
"""
