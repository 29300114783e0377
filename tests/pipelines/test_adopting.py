import json
import shutil

import pytest

import papertune
from papertune import ModelError, OutputError, RecipeError, RunError


@pytest.fixture
def adapter(run, tmp_path):
    """A folder with the run's adapter alone."""
    return shutil.copytree(run.directory.adapter, tmp_path / "adapter")


def test_an_adopted_run_predicts_like_the_trained_run(run, recipe, papers, adapter, tmp_path):
    adopted = papertune.adopt(adapter, recipe, tmp_path / "adopted")
    new = papers(5, 300)
    expected = run.predict(new, probabilities=True, precision="fp32")
    assert adopted.predict(new, probabilities=True, precision="fp32").equals(expected)
    opened = papertune.load_run(tmp_path / "adopted")
    assert opened.manifest.trained_weights == run.manifest.trained_weights
    assert opened.manifest.tables == []
    assert "adopted adapter" in (tmp_path / "adopted" / "README.md").read_text("utf-8")


def test_the_adopted_recipe_has_the_settings_of_the_adapter(recipe, adapter, tmp_path):
    recipe["method"] = {"rank": 64, "alpha": 128}
    adopted = papertune.adopt(adapter, recipe, tmp_path / "adopted")
    assert (adopted.recipe.method.rank, adopted.recipe.method.alpha) == (4, 16)


def test_an_adopted_run_can_be_trained_further(recipe, papers, adapter, tmp_path):
    papertune.adopt(adapter, recipe, tmp_path / "adopted")
    start = f"method.start_from={tmp_path / 'adopted'}"
    assert papertune.train(papers(4), recipe, tmp_path / "run", overrides=[start]).manifest.steps == 2


class TestErrors:
    def check(self, error, message, recipe, adapter, tmp_path):
        with pytest.raises(error, match=message):
            papertune.adopt(adapter, recipe, tmp_path / "adopted")
        assert not (tmp_path / "adopted").exists()

    def test_a_folder_without_an_adapter(self, recipe, tmp_path):
        self.check(RunError, "no adapter_config.json", recipe, tmp_path, tmp_path)

    def test_a_method_without_an_adapter(self, recipe, adapter, tmp_path):
        recipe["method"] = {"kind": "full"}
        self.check(RecipeError, 'is "full", but .* is a LoRA adapter', recipe, adapter, tmp_path)

    def test_an_adapter_for_another_model(self, recipe, adapter, make_model, tiny_tokenizer, tmp_path):
        make_model(layers=1).save_pretrained(tmp_path / "other")
        tiny_tokenizer.save_pretrained(tmp_path / "other")
        recipe["model"] = str(tmp_path / "other")
        self.check(ModelError, "does not fit the base model", recipe, adapter, tmp_path)

    def test_incomplete_weights(self, recipe, adapter, tmp_path):
        weights = adapter / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        self.check(RunError, "cannot be read", recipe, adapter, tmp_path)

    @pytest.mark.parametrize("missing", ["r", "lora_alpha"])
    def test_a_configuration_without_a_required_key(self, recipe, adapter, tmp_path, missing):
        config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
        del config[missing]
        (adapter / "adapter_config.json").write_text(json.dumps(config))
        self.check(RunError, missing, recipe, adapter, tmp_path)

    def test_an_output_folder_that_is_not_empty(self, recipe, adapter, tmp_path):
        (tmp_path / "adopted").mkdir()
        (tmp_path / "adopted" / "thesis.txt").write_text("mine")
        with pytest.raises(OutputError, match="exists and is not empty"):
            papertune.adopt(adapter, recipe, tmp_path / "adopted")
        assert [path.name for path in (tmp_path / "adopted").iterdir()] == ["thesis.txt"]
