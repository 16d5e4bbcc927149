"""The way to mteb: encoders of this project as its models, and APwD as its tasks.

::

    import mteb
    from benchmark.mteb import load_mteb_model, make_apwd_tasks

    model = load_mteb_model("hf:laion/clap-htsat-unfused")
    tasks = make_apwd_tasks("apwd")  # a set that `bgknown apwd build` made
    for result in mteb.evaluate(model, tasks, cache=None).task_results:
        print(result.task_name, result.get_score())

The other way, a model of mteb as an encoder here, is the kind ``mteb`` (``benchmark.encoders.adapters.mteb``).

Nothing here contacts a hub: datasets are made in memory, audio is read from files by libsndfile, not by torchcodec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.encoders.adapters.mteb_inputs import import_mteb
from bgknown.lazy import export_lazily

if TYPE_CHECKING:
    from benchmark.mteb.apwd import ApwdRetrieval, make_apwd_tasks
    from benchmark.mteb.audio import LocalAudio
    from benchmark.mteb.model import EncoderModel, load_mteb_model

import_mteb()  # the modules of this folder derive classes from its own

__all__ = ["ApwdRetrieval", "EncoderModel", "LocalAudio", "load_mteb_model", "make_apwd_tasks"]
__getattr__, __dir__ = export_lazily(
    __name__,
    {
        "ApwdRetrieval": "benchmark.mteb.apwd",
        "EncoderModel": "benchmark.mteb.model",
        "LocalAudio": "benchmark.mteb.audio",
        "load_mteb_model": "benchmark.mteb.model",
        "make_apwd_tasks": "benchmark.mteb.apwd",
    },
)
