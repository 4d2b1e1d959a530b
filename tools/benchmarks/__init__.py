"""What `tools/bench.py` and `tools/bench_gpu.py` measure, one file a subject."""
