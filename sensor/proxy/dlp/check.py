"""Whether detector files are right: their format, and every one of their cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sensor.proxy.dlp.load import DetectorError, load
from sensor.proxy.dlp.model import Text
from sensor.proxy.dlp.samples import expand
from sensor.proxy.dlp.scan import Config, scan


def check_folder(folder: Path) -> list[str]:
    """What is wrong with the files of a folder, a line each."""
    try:
        detectors = load((folder,))
    except DetectorError as error:
        return [str(problem) for problem in error.problems]
    return list(wrong_cases(Config(detectors)))


def wrong_cases(config: Config) -> Iterator[str]:
    """Cases that do not do what they should, with all detectors of the configuration looking at them."""
    for detector in config.detectors:
        for case in detector.fires:
            if detector.id not in _found(case, config):
                yield f"{detector.id}: fires: is silent on {case!r}"
        for case in detector.silent:
            if detector.id in _found(case, config):
                yield f"{detector.id}: silent: fires on {case!r}"


def _found(case: str, config: Config) -> set[str]:
    return {hit.detector for hit in scan([Text("case", expand(case))], config).hits}
