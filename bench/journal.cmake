# bench_journal: the result cache on disk, written and recovered.
include(${CMAKE_CURRENT_LIST_DIR}/harness.cmake)
nacelle_program(bench_journal journal.cc)
target_link_libraries(bench_journal PRIVATE nacelle_bench nacelle_journal)
