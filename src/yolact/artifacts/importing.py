"""From a ``.pth`` file of the original to a model of ours, and to an artifact."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from torch import Tensor

from yolact.artifacts.artifact import check_weights, write_artifact
from yolact.artifacts.metadata import ArtifactMetadata
from yolact.artifacts.original_weights import read_original_state, rename_original_weights
from yolact.artifacts.recognition import recognise
from yolact.artifacts.registry import PUBLISHED
from yolact.config.presets import COCO_CATEGORY_IDS, COCO_CLASSES, Recipe, preset
from yolact.errors import UsageError
from yolact.files import sha256_of
from yolact.model.build import build_skeleton


def read_original(
    path: Path,
    *,
    model: str | None = None,
    class_names: Sequence[str] | None = None,
    say: Callable[[str], None],
) -> tuple[dict[str, Tensor], ArtifactMetadata]:
    """Read a state dict of the original and find out which model it is.

    Args:
        path: The file. Nothing in it is executed.
        model: The preset it belongs to; by its keys and shapes if None.
        class_names: In the order of the labels. By default those of the published model if their
            number fits, else ``class_0`` and so on.
        say: Told what had to be guessed.

    Returns:
        The weights by our names, and the record that an artifact of them carries.

    Raises:
        CheckpointError: If the file is missing, broken, of another model, or holds keys that the
            specification does not know (spec 2.3).
        UsageError: If there is no such preset, or the class names are of another number.
    """
    state = read_original_state(path)
    source = str(path)
    found = recognise({key: tuple(t.shape) for key, t in state.items()}, source, path.name)
    if model is None:
        model, *others = found.names
        if others:
            say(
                f"{path} fits {', '.join(sorted(found.names))} alike and is taken for {model}; "
                "name the model if that is wrong."
            )
    recipe = _recipe(model, found.num_classes, class_names, source, say)
    weights = rename_original_weights(state, source)
    provenance = {
        "model": model,
        "source": path.name,
        "licence": _licence(model, path.name),
        "imported_by": f"yolact {version('yolact')}",
    }
    # Results of COCO's own classes shall carry COCO's own numbers.
    category_ids = COCO_CATEGORY_IDS if recipe.model.class_names == COCO_CLASSES else ()
    return weights, ArtifactMetadata(recipe.model, recipe.detection, category_ids, provenance)


def import_original(
    path: Path,
    out: Path,
    *,
    model: str | None = None,
    class_names: Sequence[str] | None = None,
    say: Callable[[str], None],
) -> ArtifactMetadata:
    """Write the artifact of an original ``.pth`` file; ``out`` must not exist.

    The weights are checked against the architecture first, name by name and shape by shape. The
    record names the source file and its SHA-256. Arguments are those of :func:`read_original`.

    Raises:
        CheckpointError: As :func:`read_original`, or if the weights do not fit the model.
        UsageError: As :func:`read_original`, or if ``out`` exists.
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"{out} must end in .safetensors.")
    if out.exists():
        raise UsageError(f"{out} exists already and is left as it is: name another --out.")
    weights, metadata = read_original(path, model=model, class_names=class_names, say=say)
    check_weights(build_skeleton(metadata.model), weights, str(path))
    metadata = replace(
        metadata, provenance={**metadata.provenance, "source_sha256": sha256_of(path)}
    )
    write_artifact(out, weights, metadata)
    return metadata


def _licence(model: str, file_name: str) -> str:
    published = PUBLISHED.get(model)
    if published is None or published.weights is None or published.weights.name != file_name:
        return "that of its author"
    return published.licence


def _recipe(
    model: str,
    num_classes: int,
    class_names: Sequence[str] | None,
    source: str,
    say: Callable[[str], None],
) -> Recipe:
    if class_names is not None:
        if len(class_names) != num_classes:
            raise UsageError(
                f"{source} has {num_classes} classes, but {len(class_names)} names are given."
            )
        return preset(model, tuple(class_names))
    recipe = preset(model)
    if recipe.model.num_classes == num_classes:
        return recipe
    say(
        f"{source} has {num_classes} classes and no names for them: "
        f"they are called class_0 to class_{num_classes - 1} here."
    )
    return preset(model, tuple(f"class_{label}" for label in range(num_classes)))
