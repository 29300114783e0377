import inspect
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import get_args

import pytest
import torch
from typer.testing import CliRunner

from papertune import load_run
from papertune.cli import commands  # noqa: F401 - its functions join the app
from papertune.cli.app import app
from papertune.errors import ModelError, OutputError, PapertuneWarning, RunError
from papertune.exports import export as export_module
from papertune.exports.export import export
from papertune.exports.formats.gguf import GgufExport
from papertune.exports.registry import FORMATS
from papertune.inference.merge import merged_model
from papertune.methods import load_adapter, merge_adapter


def files(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def prompts_of(folder):
    return json.loads((folder / "check.json").read_text("utf-8"))["prompts"]


class TestFolders:
    def test_hub(self, run, tmp_path):
        from transformers import AutoModelForCausalLM

        export(run, tmp_path / "out", to="hub", weights="f32")
        assert files(tmp_path / "out") == [
            "ANSWERS.md", "README.md", "chat_template.jinja", "check.json", "config.json", "generation_config.json",
            "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        ]  # fmt: skip
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
        merged, _ = merged_model(load_run(run, device="cpu"), "fp32")
        for name, tensor in merged.state_dict().items():
            assert torch.equal(model.state_dict()[name], tensor)
        for prompt in prompts_of(tmp_path / "out"):
            logits = model(input_ids=torch.tensor([prompt["prompt_ids"]])).logits[0, -1]
            ((tokens, logs),) = [zip(*each["log_probabilities"].items(), strict=True) for each in prompt["next"]]
            found = logits.log_softmax(-1)[list(map(int, tokens))].tolist()
            assert found == pytest.approx(logs, abs=1e-4)

    def test_vllm_is_in_bfloat16(self, run, tmp_path):
        export(run, tmp_path / "out", to="vllm")
        assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"

    def test_vllm_with_the_base_model_and_the_adapter_beside_each_other(self, run, tiny_folder, tmp_path):
        from transformers import AutoModelForCausalLM

        export(run, tmp_path / "out", to="vllm", weights="f32", adapter=True)
        base = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "base")
        plain = AutoModelForCausalLM.from_pretrained(tiny_folder)
        assert all(torch.equal(base.state_dict()[name], tensor) for name, tensor in plain.state_dict().items())
        adapted = merge_adapter(load_adapter(base, tmp_path / "out" / "adapter"))
        merged, _ = merged_model(load_run(run, device="cpu"), "fp32")
        ids = torch.tensor([prompts_of(tmp_path / "out")[0]["prompt_ids"]])
        assert torch.allclose(adapted(ids).logits, merged(ids).logits, atol=1e-4)
        # peft's README.md has the base model's path on this machine.
        assert (run / "adapter" / "README.md").is_file()
        kept = ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"]
        assert [file for file in files(tmp_path / "out") if file.startswith("adapter")] == kept
        page = (tmp_path / "out" / "ANSWERS.md").read_text("utf-8")
        assert "vllm serve out/base --enable-lora --lora-modules run=out/adapter --max-lora-rank 8" in page

    def test_an_adapter_in_another_number_format(self, run, tmp_path):
        from safetensors.torch import load_file

        export(run, tmp_path / "out", to="hub", adapter=True, weights="bf16")
        written = load_file(tmp_path / "out" / "adapter_model.safetensors")
        assert {tensor.dtype for tensor in written.values()} == {torch.bfloat16}
        trained = load_file(run / "adapter" / "adapter_model.safetensors")
        assert all(torch.equal(written[name], tensor.bfloat16()) for name, tensor in trained.items())

    def test_vllm_has_to_be_told_that_there_are_more_than_20_tokens(self, make_run, tiny_folder, tmp_path):
        labels = [f"{letter}{number}" for letter in "abcdefghijklmnopqrstuvw" for number in (1, 2)]
        column = {"kind": "label", "question": "Which?", "labels": labels}
        path = make_run(tiny_folder, changes={"columns": {"label": column}})
        export(path, tmp_path / "out", to="vllm")
        page = (tmp_path / "out" / "ANSWERS.md").read_text("utf-8")
        assert '"logprobs": 23, ' in page
        assert "--logprobs-mode processed_logprobs --max-logprobs 23\n" in page

    def test_ollama(self, run, tmp_path):
        with pytest.warns(
            PapertuneWarning, match=r"Ollama only writes the most probable token, and for \d+ of 20 samp"
        ):
            export(run, tmp_path / "out", to="ollama", weights="q8_0")
        assert files(tmp_path / "out") == ["ANSWERS.md", "Modelfile", "README.md", "check.json", "model.gguf"]
        assert (tmp_path / "out" / "Modelfile").read_text("utf-8") == (
            'FROM ./model.gguf\nTEMPLATE """<|im_start|>system\nYou read papers.<|im_end|>\n<|im_start|>user\n'
            '{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n"""\nPARAMETER temperature 0\nPARAMETER repeat_penalty 1\n'
            'PARAMETER num_ctx 1026\nPARAMETER stop "<|im_end|>"\n'
        )

    def test_the_one_first_token_of_all_labels_begins_a_label_for_ollama(
        self, make_run, tiny_folder, tmp_path, monkeypatch
    ):
        from papertune.exports import sample

        column = {"kind": "label", "question": "Which?", "labels": ["one", "one two"]}
        path = make_run(tiny_folder, changes={"columns": {"label": column}})
        tokenizer = load_run(path).load_tokenizer()
        logits = torch.zeros(len(tokenizer), dtype=torch.float64)
        logits[tokenizer.encode("one", add_special_tokens=False)[0]] = 1
        prefill = sample.Engine.prefill
        monkeypatch.setattr(
            sample.Engine, "prefill", lambda self, prompts: replace(prefill(self, prompts), last_logits=logits[None])
        )
        export(path, tmp_path / "out", to="ollama")  # a warning would be an error

    def test_columns_that_are_written_have_their_most_probable_tokens(self, make_run, tiny_folder, tmp_path):
        columns = {
            "label": {"kind": "label", "question": "Which one?", "labels": ["one", "one two"], "loss": "answer"},
            "Keywords": {"kind": "keywords", "question": "List the keywords."},
        }
        export(make_run(tiny_folder, changes={"columns": columns}), tmp_path / "out", to="hub", weights="f32")
        prompts = prompts_of(tmp_path / "out")
        assert [each["question"] for each in prompts] == ["label", "Keywords"] * 10
        # The second label begins with all of the first, so the end of the answer is a token to compare.
        assert prompts[0]["next"][0]["after_ids"] == []
        assert len(prompts[0]["next"]) > 2
        assert sum(prompts[0]["probabilities"].values()) == pytest.approx(1)
        ((step,), empty) = prompts[1]["next"], prompts[1]["probabilities"]
        assert (len(step["log_probabilities"]), empty) == (5, {})
        page = (tmp_path / "out" / "ANSWERS.md").read_text("utf-8")
        assert "The score of a label is the sum of the log-probabilities" in page
        assert "This is a column of kind\nkeywords: papertune may choose" in page


class TestAnswersAndCard:
    def test_the_page_says_what_the_run_does_beside_the_model(self, make_run, tiny_folder, tmp_path):
        path = make_run(tiny_folder)
        manifest = json.loads((path / "run.json").read_text())
        manifest["calibration"] = {
            "label": {"rows": 40, "calibrator": {"kind": "temperature", "temperature": 1.5}, "abstain_below": 0.7}
        }
        (path / "run.json").write_text(json.dumps(manifest))
        export(path, tmp_path / "out", to="gguf")
        page = (tmp_path / "out" / "ANSWERS.md").read_text("utf-8")
        assert "the probabilities are calibrated: softmax(log p / 1.5000); the most probable label stays." in page
        assert "the cell stays empty if the calibrated probability of the chosen label is below 0.7000." in page
        ids = load_run(path).load_tokenizer().get_vocab()
        assert f"| 1 | {ids['1']} |\n| 0 | {ids['0']} |" in page
        assert f'"logit_bias": [[{ids["0"]}, 100], [{ids["1"]}, 100]], "n_probs": 2' in page
        assert "DOCUMENT\n\nQUESTION<|im_end|>" in page

    def test_columns_of_several_labels_and_of_ranked_keywords(self, make_run, tiny_folder, tmp_path):
        columns = {
            "topics": {"kind": "labels", "question": "Is it about {label}?", "labels": ["a", "b"], "thresholds": 0.25},
            "Keywords": {"kind": "ranked_keywords", "question": "List the keywords."},
        }
        export(make_run(tiny_folder, changes={"columns": columns}), tmp_path / "out", to="hub")
        page = (tmp_path / "out" / "ANSWERS.md").read_text("utf-8")
        assert "- topics: a label is predicted from this probability of its first answer: a 0.2500, b 0.2500.\n" in page
        assert "- Keywords: the run ranks keywords of several answers and of the document; the model alone" in page
        assert [each["question"] for each in prompts_of(tmp_path / "out")][:3] == ["topics: a", "topics: b", "Keywords"]

    @pytest.mark.parametrize(
        ("to", "adapter", "library", "relation"),
        [("gguf", False, "gguf", "quantized"), ("gguf", True, "gguf", "adapter"), ("hub", True, "peft", "adapter")],
    )
    def test_the_cards_metadata_can_be_parsed(self, run, tmp_path, monkeypatch, to, adapter, library, relation):
        from huggingface_hub import ModelCard

        from papertune.exports import card

        monkeypatch.setattr(card, "hub_id", lambda name: "owner/base")
        opened = load_run(run, device="cpu")
        weights = "q8_0" if to == "gguf" else None
        export(opened, tmp_path / "out", to=to, adapter=adapter, weights=weights)
        data = ModelCard.load(tmp_path / "out" / "README.md").data
        assert (data.library_name, data.base_model, data.base_model_relation) == (library, "owner/base", relation)
        assert data.tags[0] == "papertune"
        # Paths of this machine are nobody's business.
        texts = [file.read_text("utf-8") for file in (tmp_path / "out").iterdir() if file.suffix in (".md", ".json")]
        assert all(str(tmp_path.parent.parent) not in text for text in texts)

    @pytest.mark.parametrize(
        ("name", "id"),
        [
            ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"),
            ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
            ("/models/qwen", None),
            ("../qwen", None),
            ("models/a/b", None),
            ("models/qwen.gguf", None),
            ("qwen", None),
            ("models/qwen", None),  # a folder
        ],
    )
    def test_only_names_of_the_hub_are_base_models_of_a_card(self, name, id, tmp_path, monkeypatch):
        from papertune.exports.base_model import hub_id

        monkeypatch.chdir(tmp_path)
        (tmp_path / "models" / "qwen").mkdir(parents=True)
        assert hub_id(name) == id


class TestRefusals:
    @pytest.fixture
    def check(self, tmp_path):
        def refused(path, error, **options):
            with pytest.raises(error) as caught:
                export(path, tmp_path / "out", **options)
            assert list(tmp_path.glob("*out*")) == []
            return str(caught.value)

        return refused

    def test_a_prefix(self, make_prefix_run, check):
        message = check(make_prefix_run, RunError, to="gguf")
        assert message == (
            f"{make_prefix_run} was trained with P-Tuning v2: it has a prefix instead of changed weights, so there is "
            "nothing to merge into the model. Predict with the run itself."
        )

    def test_dora_as_an_adapter_but_not_merged(self, make_run, tiny_folder, check, tmp_path):
        path = make_run(tiny_folder, use_dora=True, changes={"method": {"dora": True}})
        assert check(path, RunError, to="vllm", adapter=True) == (
            f"{path} was trained with DoRA, and other programs read plain LoRA adapters only. Leave --adapter out: the "
            "merged model has all of it."
        )
        export(path, tmp_path / "out", to="gguf")

    def test_an_adapter_of_a_rank_that_vllm_does_not_read(self, run, check, monkeypatch):
        from papertune.exports.formats import vllm

        monkeypatch.setattr(vllm, "_RANKS", (1, 2))
        assert check(run, RunError, to="vllm", adapter=True) == (
            f"{run}: its adapter has rank 4, and vLLM reads adapters up to rank 2. Leave --adapter out: the merged "
            "model has all of it."
        )

    def test_an_adapter_for_ollama(self, run, check):
        assert check(run, RunError, to="ollama", adapter=True) == (
            "--to ollama writes whole models only. Leave --adapter out, or take --to gguf."
        )

    def test_a_whole_model_as_an_adapter(self, run, check, tmp_path):
        import shutil

        path = tmp_path / "whole"
        shutil.copytree(run, path)
        (path / "adapter").rename(path / "model")
        assert check(path, RunError, to="gguf", adapter=True) == (
            f"{path} has no adapter: its training changed the whole model. Leave --adapter out."
        )

    def test_an_adapter_of_the_embedding_for_llama_cpp(self, make_run, tiny_folder, check):
        path = make_run(tiny_folder, target_modules=["q_proj", "embed_tokens"])
        assert check(path, RunError, to="gguf", adapter=True) == (
            f"{path}: its adapter changes the model's embedding, which llama.cpp reads in another form. Leave "
            "--adapter out: the merged model has all of it."
        )

    def test_words_only(self, run, check, monkeypatch):
        opened = load_run(run)
        monkeypatch.setattr(type(opened.directory), "has_model", property(lambda self: False))
        assert check(opened, RunError, to="hub") == (
            f'{run} has no trained model to export: words or other sources answer "label". Predict with the run '
            'itself, or train with sources = ["model"].'
        )

    def test_numbers_that_the_format_does_not_have(self, run, check):
        assert check(run, OutputError, to="vllm", weights="q8_0") == (
            "--to vllm writes weights in bf16, f16 or f32, not in q8_0."
        )
        assert check(run, OutputError, to="onnx") == '--to "onnx" is not a format of export: gguf, vllm, hub, ollama.'

    def test_a_model_that_llama_cpp_does_not_read(self, run, check, monkeypatch):
        from papertune.exports.gguf_files.architecture import Llama

        monkeypatch.setattr(Llama, "problem", lambda self: "a bend")
        assert check(run, ModelError, to="gguf") == (
            f"{run}: the model has a bend, which llama.cpp's llama does not compute. Export it with --to vllm or --to "
            "hub instead."
        )

    def test_a_name_that_is_no_repository(self, run, check):
        assert check(run, OutputError, to="hub", push_to="papers") == (
            '--push "papers" names no owner. Write it as owner/name.'
        )
        assert check(run, OutputError, to="hub", push_to="a/b/c").startswith('--push "a/b/c" is not the name of a repo')


class TestAtomicWriting:
    def test_files_that_are_there_stay(self, run, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "model.gguf").write_text("mine")
        with pytest.raises(OutputError) as caught:
            export(run, tmp_path / "out", to="gguf")
        assert str(caught.value) == f"{tmp_path / 'out'} exists and is not empty. Choose a new folder."
        assert files(tmp_path) == ["out/model.gguf"]

    def test_an_error_leaves_nothing_and_an_empty_folder_is_filled(self, run, tmp_path, monkeypatch):
        (tmp_path / "out").mkdir()
        with monkeypatch.context() as patch:

            def fail(self, exported, folder):
                (folder / "model.gguf").write_text("half")
                raise OSError(28, os.strerror(28))

            patch.setattr(GgufExport, "write", fail)
            with pytest.raises(OutputError) as caught:
                export(run, tmp_path / "out", to="gguf")
        assert str(caught.value) == (
            f"{tmp_path / 'out'} cannot be written: No space left on device. Choose another folder."
        )
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        export(run, tmp_path / "out", to="gguf")
        assert "model.gguf" in files(tmp_path / "out")

    @pytest.mark.parametrize("write", [export, lambda run, folder, to: load_run(run).merge(folder)])
    def test_a_disk_that_is_full_while_safetensors_are_written(self, run, tmp_path, monkeypatch, write):
        from safetensors import SafetensorError
        from transformers import PreTrainedModel

        def fail(self, folder):
            raise SafetensorError("I/O error: No space left on device (os error 28)")

        monkeypatch.setattr(PreTrainedModel, "save_pretrained", fail)
        with pytest.raises(OutputError) as caught:
            write(run, tmp_path / "out", to="hub")
        assert str(caught.value).startswith(
            f"{tmp_path / 'out'} cannot be written: I/O error: No space left on device (os error 28)."
        )

    def test_the_folder_is_not_there_until_it_is_complete(self, run, tmp_path, monkeypatch):
        # What a killed export has left.
        (tmp_path / ".out.unfinished").mkdir()
        (tmp_path / ".out.unfinished" / "old.gguf").write_text("half")
        write, seen = GgufExport.write, []

        def watched(self, exported, folder):
            write(self, exported, folder)
            seen.append(((tmp_path / "out").exists(), files(folder)))

        monkeypatch.setattr(GgufExport, "write", watched)
        export(run, tmp_path / "out", to="gguf")
        assert seen == [(False, ["ANSWERS.md", "check.json", "model.gguf"])]
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        assert files(tmp_path / "out") == ["ANSWERS.md", "README.md", "check.json", "model.gguf"]

    def test_a_folder_that_cannot_be_replaced_is_found_before_the_work(self, run, tmp_path, monkeypatch):
        (tmp_path / "out").mkdir()

        def fail(self):
            raise OSError(16, os.strerror(16))

        monkeypatch.setattr(type(tmp_path), "rmdir", fail)
        monkeypatch.setattr(export_module, "_loaded", None)  # the model is not loaded
        with pytest.raises(OutputError) as caught:
            export(run, tmp_path / "out", to="gguf")
        assert str(caught.value) == (
            f"{tmp_path / 'out'} cannot be replaced: a disk is mounted there, or another program uses it. Choose a new "
            f"folder in it, such as {tmp_path / 'out' / 'model'}."
        )

    def test_a_link_to_an_empty_folder_stays_a_link(self, run, tmp_path):
        (tmp_path / "disk").mkdir()
        (tmp_path / "out").symlink_to("disk")
        export(run, tmp_path / "out", to="gguf")
        assert (tmp_path / "out").is_symlink()
        assert "model.gguf" in files(tmp_path / "disk")

    def test_an_error_of_the_model_is_not_one_of_the_folder(self, run, tmp_path, monkeypatch):
        def fail(*_, **__):
            raise PermissionError(13, os.strerror(13), "base/model.safetensors")

        monkeypatch.setattr(export_module, "_loaded", fail)
        with pytest.raises(PermissionError, match=r"Permission denied: 'base/model.safetensors'"):
            export(run, tmp_path / "out", to="gguf")
        assert list(tmp_path.iterdir()) == []

    def test_two_exports_to_one_folder(self, run, tmp_path):
        from filelock import FileLock

        with FileLock(tmp_path / ".out.lock"), pytest.raises(OutputError) as caught:
            export(run, tmp_path / "out", to="gguf")
        assert str(caught.value) == (
            f"{tmp_path / 'out'}: another export writes there. Wait for it, or choose another folder."
        )


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload needs."""

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((self.path, content))
        if self.path == "/api/repos/create":
            taken = json.loads(content)["name"] == "taken"
            return self.answer({"url": f"{self.server.address}/owner/name"}, 409 if taken else 200)
        if "/preupload/" in self.path:
            asked = json.loads(content)["files"]
            plain = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            return self.answer({"files": [{"path": each["path"], **plain} for each in asked]})
        return self.answer({"commitUrl": f"{self.server.address}/owner/name/commit/1", "commitOid": "1"})

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class TestPush:
    @pytest.fixture
    def hub(self):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
        server.calls, server.address = [], f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
        server.server_close()

    @pytest.fixture
    def push(self, hub, tmp_path):
        def upload(name, **environment):
            (tmp_path / "out").mkdir(exist_ok=True)
            (tmp_path / "out" / "README.md").write_text("# a card")
            # The hub's address is read when huggingface_hub is imported.
            settings = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_made_up"}
            settings |= {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home"), **environment}
            program = (
                "import sys; from pathlib import Path; from papertune.errors import OutputError\n"
                "from papertune.exports.push import push\n"
                "try: push(Path(sys.argv[1]), sys.argv[2])\n"
                "except OutputError as error: sys.exit(str(error))"
            )
            arguments = [sys.executable, "-c", program, str(tmp_path / "out"), name]
            return subprocess.run(
                arguments, capture_output=True, text=True, env={**os.environ, **settings}, check=False
            )

        return upload

    def test_the_folder_is_uploaded_into_a_new_private_repository(self, hub, push):
        done = push("owner/name")
        assert done.stderr == ""
        assert done.returncode == 0
        made = json.loads(dict(hub.calls)["/api/repos/create"])
        assert (made["organization"], made["name"], made["visibility"]) == ("owner", "name", "private")
        commit = next(content for path, content in hub.calls if "/commit/" in path)
        parts = [json.loads(line) for line in commit.splitlines()]
        assert [part["value"]["path"] for part in parts if part["key"] == "file"] == ["README.md"]

    def test_a_repository_that_exists_is_left_alone(self, hub, push, tmp_path):
        done = push("owner/taken")
        folder = tmp_path / "out"
        assert done.stderr.strip() == (
            "owner/taken: the repository exists already, and stays as it is. Choose another name. "
            f"{folder} is complete: `hf upload --private OWNER/OTHER {folder}` uploads it."
        )
        assert [path for path, _ in hub.calls] == ["/api/repos/create"]

    def test_no_connection(self, push, tmp_path):
        done = push("owner/name", HF_ENDPOINT="http://127.0.0.1:9")
        assert done.stderr.startswith("owner/name: the hub could not be reached or refused the upload (")
        assert done.stderr.strip().endswith(f"`hf upload --private owner/name {tmp_path / 'out'}` uploads it.")


def test_the_command(run, tmp_path):
    arguments = ["export", str(run), "-o", str(tmp_path / "out"), "--to", "gguf", "--weights", "q8_0", "-q"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.output == f"{tmp_path / 'out'}: ready; ANSWERS.md says how to ask it\n"
    assert files(tmp_path / "out") == ["ANSWERS.md", "README.md", "check.json", "model.gguf"]


def test_the_command_knows_the_formats():
    from papertune.cli.commands.train import export as command

    annotation = inspect.signature(command).parameters["to"].annotation
    assert get_args(get_args(annotation)[0]) == tuple(FORMATS)
