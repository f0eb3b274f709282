# The processes that bench/cache.py starts: a program per library, so that a library which is not
# installed is a program that is not there. The peers are built only for this benchmark
# (./run bench cache sets NACELLE_BENCH_PEERS and installs them).
include(${CMAKE_CURRENT_LIST_DIR}/harness.cmake)
option(NACELLE_BENCH_PEERS "Build benchmarks' peers that are installed" OFF)
find_package(OpenSSL REQUIRED)

nacelle_library(cache_process cache/main.cc cache/store.cc)
target_link_libraries(cache_process PUBLIC nacelle_base Threads::Threads
  PRIVATE nlohmann_json::nlohmann_json OpenSSL::Crypto)

nacelle_program(cache_nacelle cache/nacelle.cc)
target_link_libraries(cache_nacelle PRIVATE cache_process nacelle_shm nacelle_cache)

if(NACELLE_BENCH_PEERS)
  find_package(PkgConfig REQUIRED)

  # cache_peer(name SOURCE PACKAGE... ): cache_NAME, where pkg-config knows the packages.
  function(cache_peer name source)
    pkg_check_modules(CACHE_${name} IMPORTED_TARGET ${ARGN})
    if(NOT CACHE_${name}_FOUND)
      message(STATUS "bench cache: no peer ${name}, pkg-config does not know ${ARGN}")
      return()
    endif()
    nacelle_program(cache_${name} ${source})
    target_link_libraries(cache_${name} PRIVATE cache_process OpenSSL::Crypto PkgConfig::CACHE_${name})
  endfunction()

  cache_peer(redis cache/redis.cc hiredis)
  cache_peer(memcached cache/memcached.cc libmemcached)
  cache_peer(lmdb cache/lmdb.cc lmdb)
endif()
