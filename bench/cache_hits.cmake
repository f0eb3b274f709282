# bench_cache_hits: a hit in the cache's memory, by a reader in the same process.
nacelle_program(bench_cache_hits cache_hits.cc)
target_link_libraries(bench_cache_hits PRIVATE nacelle_bench nacelle_cache)
