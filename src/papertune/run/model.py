"""The model of a run: its base, its weights, and the number format in which they are loaded."""

import gc
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from papertune.errors import RunError
from papertune.inference.predictor import Predictor
from papertune.manifest import Manifest
from papertune.models import (
    Base,
    Precision,
    PredictionPrecision,
    choose_device,
    choose_dtype,
    find_base,
    load_tokenizer,
)
from papertune.recipe import Recipe
from papertune.run_directory import RunDirectory


class TrainedModel:
    """The model of a run. Its weights are loaded when they are first needed.

    Attributes:
        directory: The run's files.
        recipe: The recipe that it was trained with.
        manifest: What run.json records of its training.
        device: The requested device: "cpu", "cuda", ...; None: a GPU if there is one.
        base_place: Where the caller says that the base model is; None: where the recipe says.
    """

    def __init__(
        self, directory: RunDirectory, recipe: Recipe, manifest: Manifest, *, device: str | None, base: Path | None
    ) -> None:
        self.directory = directory
        self.recipe = recipe
        self.manifest = manifest
        self.device = device
        self.base_place = base
        self._predictor: tuple[str, Predictor] | None = None  # and the name of its precision

    @cached_property
    def base(self) -> Base:
        """The base model.

        Raises:
            RunError: If it is not the one that the run was trained on.
        """
        if self.directory.model.is_dir():
            return find_base(str(self.directory.model))
        base = find_base(self.manifest.base_name, self.base_place)
        trained_on = self.manifest.base_checksum
        if trained_on is not None and base.checksum is not None and base.checksum != trained_on:
            raise RunError(
                f"{self.directory.path} was trained on {self.manifest.base_name} with weights {trained_on[:12]}..., "
                f"but {base.location} has {base.checksum[:12]}.... Give the folder of the right ones with --base."
            )
        return base

    def _precision_name(self, precision: PredictionPrecision) -> str:
        chosen = self._with_int8(precision)
        if chosen == "int8":
            from papertune.models import check_int8, int8_name

            check_int8(choose_device(self.device), self.recipe.base_bits)
            return int8_name()
        return str(choose_dtype(chosen, choose_device(self.device))).removeprefix("torch.")

    def _with_int8(self, precision: PredictionPrecision) -> PredictionPrecision:
        """Return the precision; for "auto" int8, if this CPU has fast int8 and the dev rows have confirmed it."""
        from papertune.models import cpu_features

        confirmed = self.manifest.int8 is not None and self.manifest.int8.confirms
        best = confirmed and choose_device(self.device) == "cpu" and cpu_features().int8
        return "int8" if best and precision == "auto" else precision

    def _loaded_predictor(self, precision: PredictionPrecision) -> Predictor:
        """Load the trained model and return what answers batches with it.

        A run keeps one model: the one in memory is released before that of another precision is loaded.
        """
        name = self._precision_name(precision)
        if self._predictor is None or self._predictor[0] != name:
            if self._predictor is not None:
                self._predictor = None
                gc.collect()  # a model is part of reference cycles
            model, tokenizer = self.load_to_predict(self._with_int8(precision))
            self._predictor = name, Predictor(model, tokenizer, self.recipe)
        return self._predictor[1]

    def load_to_predict(self, precision: PredictionPrecision = "auto") -> tuple[Any, Any]:
        """Load the trained model as it predicts fastest, and the tokenizer.

        Raises:
            RunError: If the base model is not the one the run was trained on, or no model was trained.
            ModelError: If it cannot be loaded.
            MissingExtraError: If quantized weights need a package that is not installed.
        """
        from papertune.methods import add_adapter, is_plain_adapter
        from papertune.models import check_int8, load_own_llama

        self.directory.check_has_model(self.recipe)
        device = choose_device(self.device)
        if precision == "int8":
            check_int8(device, self.recipe.base_bits)
        adapter = self.directory.adapter
        adapt = partial(add_adapter, folder=adapter) if adapter.is_dir() else None
        # Else the weights would be read in vain: neither a prefix nor DoRA can be added to them.
        is_plain = adapt is None or is_plain_adapter(adapter)
        own = device == "cpu" and self.recipe.base_bits is None and is_plain
        if not own or (model := load_own_llama(self.base, precision, adapt)) is None:
            return self.load(precision)
        return model, load_tokenizer(self.base, self._tokenizer_folder)

    @property
    def _tokenizer_folder(self) -> Path | None:
        return self.directory.tokenizer if self.directory.tokenizer.exists() else None

    def load(self, precision: PredictionPrecision = "auto") -> tuple[Any, Any]:
        """Load the trained model with transformers, and the tokenizer.

        A LoRA adapter is merged, except into a quantized base; a prefix is kept as an adapter.

        Raises:
            RunError: If the base model is not the one the run was trained on, or no model was trained.
            ModelError: If it cannot be loaded.
            MissingExtraError: If quantized weights need a package that is not installed.
        """
        from papertune.methods import load_for_prediction
        from papertune.models import check_int8, to_int8, use_grouped_attention

        self.directory.check_has_model(self.recipe)
        if precision == "int8":
            check_int8(choose_device(self.device), self.recipe.base_bits)
        bare, tokenizer = self.load_base("fp32" if precision == "int8" else precision)
        model = bare
        if self.directory.adapter.is_dir():
            model = load_for_prediction(bare, self.directory.adapter)
        model.eval()
        if precision == "int8":
            to_int8(bare)
            dtype = choose_dtype("auto", "cpu")
            for parameter in bare.parameters():  # what is not in integers
                # Not buffers: the frequencies of positions stay float32, as in a model that is loaded in bfloat16.
                parameter.data = parameter.data.to(dtype)
        if bare.device.type == "cpu":
            use_grouped_attention(bare)
        return model, tokenizer

    def load_base(self, precision: Precision) -> tuple[Any, Any]:
        """Load the base model without the adapter, in the number of bits of the training, and the tokenizer."""
        from papertune.models import load_model

        return load_model(
            self.base,
            precision=precision,
            device=self.device,
            tokenizer=self._tokenizer_folder,
            base_bits=self.recipe.base_bits,
        )

    def load_tokenizer(self) -> Any:
        """Load the run's tokenizer without the model."""
        return load_tokenizer(replace(self.base, location=str(self.directory.tokenizer)))
