"""An engine alone: `engine_loop.py ENGINE FILE [WORKERS|all]`.

With `all` it prints names: TLS, QUIC, DNS; else wall and CPU seconds of the engine, packets and flows."""

import gc
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from sensor.knowledge.catalogue import load
from sensor.packets.engine import create, facts
from sensor.packets.facts import Limits, Message, Opened, Totals

engine, file, how = sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "1"
watch = replace(load().watch(), all=how == "all")
counted: Counter[str] = Counter()
gc.set_threshold(100_000, 20, 100)  # as `aiscope read` does
start, before = time.monotonic(), time.process_time()
if engine == "native":
    made = create(engine, watch, Limits())
    source = made.read(file, workers=1 if how == "all" else int(how))  # type: ignore[attr-defined]
    batches = (batch for part in (source, (made.finish() for _ in range(1))) for batch in part)
else:
    batches = facts(file, watch, Limits(), engine)
for batch in batches:
    for fact in batch:
        if isinstance(fact, Opened):
            counted[fact.name_source] += 1
        elif isinstance(fact, Message):
            counted[fact.kind] += fact.payload[2] & 0x80 == 0
        elif isinstance(fact, Totals):
            counted.update(fact.counters)
if how == "all":
    print(counted["sni"], counted["quic_sni"], counted["dns"])
else:
    took = time.monotonic() - start, time.process_time() - before
    print(*took, counted["frames"] + counted["duplicates"], counted["flows"])
