"""``export``: write a finished run's network in a format that other programs read, and prove that it says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlx.config.roots import ExportConfig
from tlx.errors import InputError
from tlx.export.packages import must_be_there
from tlx.export.push import must_be_possible, push
from tlx.results.console import console, say, size
from tlx.results.run_folder import RunFolder, shown
from tlx.storage import read_json, write_folder, write_json

FACTS = "export.json"  # what was written, by which a folder is known to be an export that may be replaced


def export(config: ExportConfig) -> dict[str, Any]:
    """Write the export and its card, measure it against the network on real images; push it where that is asked for.

    What can be refused is refused before torch is imported, which takes seconds.

    Raises:
        InputError: No finished run, a network that the format cannot hold, a folder that holds something else.
        ParityError: The export does not say what the network says; nothing is left of it.
        MachineError: No network, though it is to be pushed.
    """
    folder = RunFolder.open(config.run)
    folder.must_be_finished()
    output = Path(config.output).expanduser().absolute() if config.output else folder.path / "export" / config.format
    _must_be_free(output)
    must_be_there(config.format)
    if config.push_to_hub:
        must_be_possible(config.push_to_hub)
    facts = _written(config, folder, output)
    if config.push_to_hub:
        say(console(), "hub", push(output, config.push_to_hub))
    return facts


def _written(config: ExportConfig, folder: RunFolder, output: Path) -> dict[str, Any]:
    """Write the export as a whole: only one that passes its check gets its place."""
    import numpy as np

    from tlx.export.card import card
    from tlx.export.formats import FORMATS
    from tlx.export.parity import compared
    from tlx.export.pictures import pictures
    from tlx.export.reference import reference
    from tlx.export.subject import Subject
    from tlx.network import model_folder
    from tlx.results.progress import bar
    from tlx.verbs.resume import saved_config

    out = console()
    settings = saved_config(folder.read_config(), config.backbone)
    model = model_folder.load(folder.model, settings.backbone)
    subject, format = Subject(model, folder.model, settings.backbone), FORMATS[config.format]
    with bar(out, "scan") as progress:
        seen = pictures(settings, model.preprocessing.least, progress)
    if seen.remark:
        say(out, "data", seen.remark)
    say(out, "model", f"{shown(folder.model)}: {settings.backbone.name}, {len(model.classes)} classes")
    expected = np.stack(list(map(reference(model), seen.images)))
    facts: dict[str, Any] = {}

    def fill(beside: Path) -> None:
        note = format.write(beside, subject)
        found = np.stack(list(map(format.read(beside, subject), seen.images)))
        parity = compared(expected, found, seen.which)
        say(out, "parity", f"{parity.words} ({format.reader} against PyTorch and Pillow)")
        text = card(config.format, subject, read_json(folder.result), parity, format.reader, note)
        (beside / "README.md").write_text(text, "utf-8")
        files = sorted([*(file.name for file in beside.iterdir()), FACTS])
        facts.update(format=config.format, files=files, parity=parity.__dict__, takes=note, **subject.facts())
        write_json(beside / FACTS, facts)

    write_folder(output, fill)
    for name in facts["files"]:
        say(out, "file", f"{shown(output / name)}, {size((output / name).stat().st_size)}")
    return facts


def _must_be_free(output: Path) -> None:
    """Make sure that nothing is lost where the export goes: what stands there is nothing, or an earlier export.

    Raises:
        InputError: Something else stands there.
    """
    if not output.exists():
        return
    names = {file.name for file in output.iterdir()} if output.is_dir() else {output.name}
    facts = read_json(output / FACTS) if FACTS in names else None
    known = set(map(str, facts.get("files") or ())) if isinstance(facts, dict) else set()
    if unknown := sorted(names - known):
        what = f"output={shown(output)} holds other things than an earlier export: {', '.join(unknown[:3])}"
        raise InputError(what, "give another folder")
