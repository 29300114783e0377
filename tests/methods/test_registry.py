import subprocess
import sys
from typing import Annotated, ClassVar, Literal

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from papertune.methods import METHODS, AdapterMethod, Method, adapters, build_trainable, load_adapter, registry
from papertune.methods import load_for_prediction as load

IDS = torch.arange(3, 23).reshape(2, 10)


def test_a_method_is_chosen_by_its_kind():
    for method in METHODS:
        assert type(TypeAdapter(Method).validate_python({"kind": method.kind_name()})) is method
    with pytest.raises(ValidationError, match="'lora', 'ptuning_v2', 'full', 'freeze'"):
        TypeAdapter(Method).validate_python({"kind": "ia3"})


def test_methods_are_imported_without_torch():
    program = "import sys, papertune.methods; print({'torch', 'peft', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class Ia3Method(AdapterMethod):
    """A method that papertune does not have (Liu et al. 2022, arXiv:2205.05638)."""

    kind: Literal["ia3"]
    targets: Annotated[tuple[str, ...], "names of linear layers"] = ("k_proj", "v_proj")

    peft_type: ClassVar[str] = "IA3"
    adapter_name: ClassVar[str] = "IA3 adapter"
    tensor_names: ClassVar[tuple[str, ...]] = (".ia3_l",)

    def build(self, model):
        from peft import IA3Config, get_peft_model

        config = IA3Config(task_type="CAUSAL_LM", target_modules=list(self.targets), feedforward_modules=[])
        return get_peft_model(model, config)

    def adopted(self, config):
        return self.model_copy(update={"targets": tuple(config["target_modules"])})


def test_a_new_method_needs_only_a_class_and_a_line_in_the_registry(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "METHODS", (*METHODS, Ia3Method))
    method = registry.methods_by_kind()["ia3"](kind="ia3")
    model = build_trainable(make_model(), method, seed=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.5)
        expected = model(input_ids=IDS).logits
    method.save(model, tmp_path / "adapter", "tiny", torch.float32)
    config = adapters.check_adapter(tmp_path / "adapter")
    assert adapters.adopted_method(method, config, tmp_path).targets in (("k_proj", "v_proj"), ("v_proj", "k_proj"))
    for loaded in (load_adapter(make_model(), tmp_path / "adapter"), load(make_model(), tmp_path / "adapter")):
        with torch.no_grad():
            torch.testing.assert_close(loaded(input_ids=IDS).logits, expected, rtol=0, atol=1e-5)
    assert not any("ia3" in name for name, _ in loaded.named_parameters())  # merged
