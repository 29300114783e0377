from dataclasses import replace

import torch

from papertune.models import find_base, load_model


def test_chatglm2_keeps_its_first_layers(chatglm2_folder):
    base = find_base(str(chatglm2_folder))
    whole, _ = load_model(base, precision="fp32", device="cpu")
    kept, _ = load_model(replace(base, first_layers=1), precision="fp32", device="cpu")
    assert (kept.config.num_layers, kept.config.num_hidden_layers) == (1, 1)
    ids = torch.arange(70, 90)[None]
    with torch.no_grad():
        found, full = (model(ids, use_cache=False).logits for model in (kept, whole))
        del whole.transformer.encoder.layers[1]
        torch.testing.assert_close(found, whole(ids, use_cache=False).logits)
    assert not torch.equal(found, full)
