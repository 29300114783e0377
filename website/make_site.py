"""Builds the docs site in build/website/site: English at its root, Chinese in zh-CN/.

    python website/make_site.py

Zensical builds one language at a time, each with a search of its own. A broken link or anchor, and a page that no
reader is led to, end it with exit code 1.
"""

import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import tomli_w
from click import unstyle
from site_pages import CHINESE, ENGLISH, Language, SiteError, navigation, write_pages

ROOT = Path(__file__).parents[1]


def build(folder: Path, root: Path = ROOT) -> Path:
    """Build the site.

    Args:
        folder: Where to work; replaced if it exists.
        root: The repository.

    Returns:
        The folder of the site.

    Raises:
        SiteError: If a page is missing or has a broken link, or Zensical or mkdocstrings are not installed.
    """
    if missing := [name for name in ("zensical", "mkdocstrings") if find_spec(name) is None]:
        raise SiteError(f"the docs site needs {' and '.join(missing)}: pip install 'papertune[docs]'")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(root / "website" / "overrides", folder / "overrides")
    for language in (ENGLISH, CHINESE):
        pages = folder / language.code
        write_pages(root, language, pages)
        config = folder / f"{language.code}.toml"
        config.write_text(_config(root, language), "utf-8")
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(config)]
        built = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        if built.returncode:
            raise SiteError(unstyle(built.stdout).partition("\nTraceback")[0])
    return folder / "site"


def _config(root: Path, language: Language) -> str:
    """Return Zensical's settings for a language, as TOML."""
    settings = tomllib.loads((root / "website" / "zensical.toml").read_text("utf-8"))
    project = settings["project"]
    up = "../" * language.folder.count("/")
    project["docs_dir"] = language.code
    project["site_dir"] = f"{project['site_dir']}/{language.folder}".rstrip("/")
    project["nav"] = navigation(root, language)
    project["theme"]["language"] = language.code
    project["extra"] = {
        "alternate": [
            {"name": each.name, "lang": each.code, "link": f"{up}{each.folder}"} for each in (ENGLISH, CHINESE)
        ]
    }
    project["plugins"]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(root / "src")]
    return tomli_w.dumps(settings)


def main() -> int:
    """Build the site, and say where it is."""
    try:
        site = build(ROOT / "build" / "website")
    except SiteError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{site / 'index.html'}: open it in a browser\n")
    sys.stdout.write(f"with its search: python -m http.server --directory {site}, then http://localhost:8000\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
