"""The modules of tfdump, as files."""

from support.command import ROOT

SOURCE = ROOT / "src" / "tfdump"
MODULES = {".".join(("tfdump", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in SOURCE.rglob("*.py")}
MODULES = {name.removesuffix(".__init__"): path for name, path in sorted(MODULES.items())}
"""The file of each module, by its dotted name."""
