"""The library in the page: the released file as it was, with its license, here and in the wheel."""

import hashlib
import tomllib
from pathlib import Path

from support.check_dumps import normal, write_dump
from support.command import ROOT
from support.report_pages import made
from tfdump.report.scripts import DAGRE, dagre_script

FOLDER = ROOT / "src" / "tfdump" / "report" / "third_party" / "dagre"
RELEASED = "54a503e346f93ca0bb10abe7999587e037262935687aca45eb4e4b0f64bbb578"
"""The SHA-256 of package/dist/dagre.min.js in the npm package @dagrejs/dagre 3.1.3."""


def test_dagre_is_the_released_file() -> None:
    assert hashlib.sha256((FOLDER / "dagre.min.js").read_bytes()).hexdigest() == RELEASED


def test_its_license_is_beside_it_and_in_the_wheel() -> None:
    text = (FOLDER / "LICENSE").read_text()
    assert text.startswith("Copyright (c) 2012-2014 Chris Pettitt")
    assert "Permission is hereby granted, free of charge" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert FOLDER.joinpath("LICENSE").relative_to(ROOT).as_posix() in project["license-files"]
    assert project["license"] == "Apache-2.0 AND MIT"
    for version in ("3.1.3", "4.0.6"):
        assert version in DAGRE
        assert version in (FOLDER / "ORIGIN.md").read_text()


def test_the_page_carries_the_license_and_names_no_file(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "a.h5", {"activations/a": (normal(3, 4), {"inputs": '["inputs/x"]'})})
    scripts = [script.text for script in made(dump)[1].all("script")]
    (library,) = (text for text in scripts if "graphlib" in text and "Permission is hereby granted" in text)
    assert library == dagre_script()
    assert "sourceMappingURL" not in library
    assert "LEGAL.txt" not in library
    assert (FOLDER / "dagre.min.js").read_text().splitlines()[0] in library
