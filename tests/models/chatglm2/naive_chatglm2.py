"""A second ChatGLM2, written only from the description of its architecture.

It computes in float64 and slowly: one token, one head, one key at a time, without batches, cache or mask.
"""

import math

import numpy as np


def naive_logits(weights, config, ids, *, positions=None, prefix=None):
    """Return the logits of one text.

    Args:
        weights: Weights by their published names, float64.
        config: An object with the published names as attributes.
        ids: Token ids.
        positions: Positions of the tokens; None means 0, 1, 2, ...
        prefix: Keys and values before the text, shape (layers, 2, groups, virtual, head_dim).

    Returns:
        Logits, shape (seq, vocab), and a list of the hidden states before each block and after the last.
    """
    positions = range(len(ids)) if positions is None else positions
    hidden = [weights["transformer.embedding.word_embeddings.weight"][token] for token in ids]
    states = [np.array(hidden)]
    for layer in range(config.num_layers):
        part = {
            name.removeprefix(f"transformer.encoder.layers.{layer}."): weight
            for name, weight in weights.items()
            if name.startswith(f"transformer.encoder.layers.{layer}.")
        }
        before = [] if prefix is None else prefix[layer]
        hidden = block(part, config, hidden, positions, before)
        states.append(np.array(hidden))
    logits = []
    for state in hidden:
        if config.post_layer_norm:
            state = norm(weights["transformer.encoder.final_layernorm.weight"], config, state)
        logits.append(weights["transformer.output_layer.weight"] @ state)
    return np.array(logits), states


def block(part, config, hidden, positions, before):
    normed = [norm(part["input_layernorm.weight"], config, state) for state in hidden]
    added = attention(part, config, normed, positions, before)
    base = normed if config.apply_residual_connection_post_layernorm else hidden
    hidden = [old + new for old, new in zip(base, added, strict=True)]
    normed = [norm(part["post_attention_layernorm.weight"], config, state) for state in hidden]
    added = [mlp(part, config, state) for state in normed]
    base = normed if config.apply_residual_connection_post_layernorm else hidden
    return [old + new for old, new in zip(base, added, strict=True)]


def norm(weight, config, state):
    mean_square = sum(number * number for number in state) / len(state)
    return weight * state / math.sqrt(mean_square + config.layernorm_epsilon)


def linear(part, name, state):
    out = part[f"{name}.weight"] @ state
    return out + part[f"{name}.bias"] if f"{name}.bias" in part else out


def mlp(part, config, state):
    wide = linear(part, "mlp.dense_h_to_4h", state)
    inner = np.zeros(config.ffn_hidden_size)
    for index in range(config.ffn_hidden_size):
        gate, gated = wide[index], wide[config.ffn_hidden_size + index]
        inner[index] = gate / (1 + math.exp(-gate)) * gated
    return linear(part, "mlp.dense_4h_to_h", inner)


def attention(part, config, normed, positions, before):
    heads, size = config.num_attention_heads, config.kv_channels
    groups = config.multi_query_group_num if config.multi_query_attention else heads
    queries, keys, values = [], [], []  # by token, by head or group
    for state, position in zip(normed, positions, strict=True):
        rows = linear(part, "self_attention.query_key_value", state)
        if config.multi_query_attention:
            q = [rows[head * size : (head + 1) * size] for head in range(heads)]
            start = heads * size
            k = [rows[start + group * size : start + (group + 1) * size] for group in range(groups)]
            start += groups * size
            v = [rows[start + group * size : start + (group + 1) * size] for group in range(groups)]
        else:
            q = [rows[3 * head * size : (3 * head + 1) * size] for head in range(heads)]
            k = [rows[(3 * head + 1) * size : (3 * head + 2) * size] for head in range(heads)]
            v = [rows[(3 * head + 2) * size : (3 * head + 3) * size] for head in range(heads)]
        queries.append([rotate(vector, position) for vector in q])
        keys.append([rotate(vector, position) for vector in k])
        values.append(v)
    added = []
    for token in range(len(normed)):
        seen = []
        for head in range(heads):
            group = head // (heads // groups)
            visible_keys = [keys[earlier][group] for earlier in range(token + 1)]
            visible_values = [values[earlier][group] for earlier in range(token + 1)]
            if len(before):
                visible_keys = [*before[0][group], *visible_keys]
                visible_values = [*before[1][group], *visible_values]
            scores = [float(queries[token][head] @ key) / math.sqrt(size) for key in visible_keys]
            shares = [math.exp(score - max(scores)) for score in scores]
            total = sum(shares)
            seen.extend(sum(share / total * value for share, value in zip(shares, visible_values, strict=True)))
        added.append(linear(part, "self_attention.dense", np.array(seen)))
    return added


def rotate(vector, position):
    """Rotate pairs of neighbours in the first half by the position: pair i by position * 10000 ** (-2i / r)."""
    rotated = vector.copy()
    width = len(vector) // 2
    for pair in range(width // 2):
        angle = position * 10000.0 ** (-2 * pair / width)
        first, second = vector[2 * pair], vector[2 * pair + 1]
        rotated[2 * pair] = first * math.cos(angle) - second * math.sin(angle)
        rotated[2 * pair + 1] = first * math.sin(angle) + second * math.cos(angle)
    return rotated
