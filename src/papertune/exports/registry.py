"""The formats of export, by name."""

from papertune.exports.format import ExportFormat
from papertune.exports.formats.gguf import GgufExport
from papertune.exports.formats.hub import HubExport
from papertune.exports.formats.ollama import OllamaExport
from papertune.exports.formats.vllm import VllmExport

FORMATS: dict[str, ExportFormat] = {
    each.name: each for each in (GgufExport(), VllmExport(), HubExport(), OllamaExport())
}
