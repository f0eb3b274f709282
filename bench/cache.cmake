# bench_cache: a hit in the cache's memory, by a reader in the same process.
include(${CMAKE_CURRENT_LIST_DIR}/harness.cmake)
nacelle_program(bench_cache cache.cc)
target_link_libraries(bench_cache PRIVATE nacelle_bench nacelle_cache)
