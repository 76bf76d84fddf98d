"""Loading the model of a command, with TensorFlow kept quiet."""

from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.cli.progress import starting
from tfdump.cli.settings import Settings
from tfdump.errors import ModelError
from tfdump.files.paths import check_path
from tfdump.process.stages import Stage, silent_stage

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


def load(
    model: Path,
    imports: tuple[Path, ...],
    trust: bool,
    settings: Settings,
    seed: int = 0,
    signature: str | None = None,
    max_bytes: int | None = None,
    stage: Stage = silent_stage,
) -> "LoadedModel":
    """Import the user's modules and load the model; raises ModelError when either fails."""
    check_path(model, "model", ModelError)  # said before the seconds that TensorFlow takes
    from tfdump.model.backend import import_quietly

    with starting(settings, "Starting TensorFlow"):
        import_quietly(settings.verbose)
    stage(f"Loading {model.name}")
    from tfdump.model.loading.load import load_model
    from tfdump.model.loading.user_code import import_user_code
    from tfdump.model.state import start_session

    custom = import_user_code(tuple(str(item) for item in imports))
    start_session(seed)
    return load_model(model, trust=trust, custom=custom, signature=signature, max_bytes=max_bytes)
