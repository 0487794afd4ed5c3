"""What GPTCache makes of the labelled pairs, as JSON: run by `make bench-cache` in an environment that has it.

It gets the same encoder; questions lie in FAISS and in SQLite in memory, as its examples have it. A pair has a cache of
its own; look-ups are timed in one that holds every first question.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from libs import minilm
from services.cache.adapters.onnx_encoder import MiniLm


def main() -> None:
    from gptcache.adapter.api import get, put

    logging.disable()  # it tells of an index that it could not write, where there is none to write
    given = json.load(sys.stdin)
    pairs, thresholds = given["pairs"], given["thresholds"]
    with tempfile.TemporaryDirectory(prefix="tokenway-") as folder:
        caches = _Caches(folder)
        served: dict[str, list[bool]] = {str(each): [] for each in thresholds}
        for stored, asked in pairs:
            cache = caches.made()
            put(stored, "an answer", cache_obj=cache)
            for threshold in thresholds:
                cache.config.similarity_threshold = threshold
                served[str(threshold)].append(get(asked, cache_obj=cache) is not None)
        seconds = _look_ups(caches.made(), pairs)
    print(json.dumps({"served": served, "seconds": seconds}))


def _look_ups(cache: Any, pairs: Sequence[tuple[str, str]]) -> list[float]:
    from gptcache.adapter.api import get, put

    for stored, _ in pairs:
        put(stored, "an answer", cache_obj=cache)
    found = []
    for _, asked in pairs:
        began = time.perf_counter()
        get(asked, cache_obj=cache)
        found.append(time.perf_counter() - began)
    return found


class _Caches:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._network = MiniLm(minilm.encoder_folder())

    def made(self) -> Any:
        from gptcache import Cache, Config
        from gptcache.manager import CacheBase, VectorBase, get_data_manager
        from gptcache.processor.pre import get_prompt
        from gptcache.similarity_evaluation import SearchDistanceEvaluation

        index = VectorBase("faiss", dimension=minilm.DIMENSIONS, index_path=f"{self._folder}/none")
        cache = Cache()
        cache.init(
            pre_embedding_func=get_prompt,
            embedding_func=self._embed,
            data_manager=get_data_manager(CacheBase("sqlite", sql_url="sqlite://"), index),
            similarity_evaluation=SearchDistanceEvaluation(),
            # Else it asks the network for a tokenizer, and sends reports.
            config=Config(enable_token_counter=False, disable_report=True),
        )
        return cache

    def _embed(self, text: str, **_: object) -> Any:
        return np.frombuffer(self._network.embed(text).vector, np.float32)


if __name__ == "__main__":
    main()
