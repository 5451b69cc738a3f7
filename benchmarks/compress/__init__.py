"""edgewise's choice beside every single tool's default, on the nine models: same samples, same machine, same rounds.

project ─ own.py: `edgewise build`, for latency and for size, from an empty cache ─┐
        ─ peers.py, worker.py, tools.py, olive.py: each tool by its own API  ──────┤
                                                                                   ↓
contenders.py  all files, and the original in every runtime
compare.py     quality on the search and the test split, size, p50 in interleaved rounds → results.py, as JSON
verdicts.py    who is compressed, who meets the floor, the best peer, ratios: a pure function of the results
aims.py        all kept results against the aims
document.py    one table per model, one of the aims

python -m benchmarks.compress [MODEL …]
"""
