# The library of bench/harness.h; every benchmark's .cmake file includes this.
include_guard()
nacelle_library(nacelle_bench harness.cc)
target_link_libraries(nacelle_bench PUBLIC nacelle_base PRIVATE nlohmann_json::nlohmann_json)
