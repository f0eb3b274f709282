# bench_kernels: every op of kernels/ beside a plain version over OpenBLAS, where that is installed.
include(${CMAKE_CURRENT_LIST_DIR}/harness.cmake)

find_library(NACELLE_OPENBLAS openblas)
find_path(NACELLE_OPENBLAS_INCLUDE cblas.h PATH_SUFFIXES x86_64-linux-gnu openblas)
if(NACELLE_OPENBLAS AND NACELLE_OPENBLAS_INCLUDE)
  set(peer kernels_peer.cc)
else()
  message(STATUS "OpenBLAS not found: bench_kernels has no peer (Debian: libopenblas-dev)")
  set(peer kernels_no_peer.cc)
endif()

# bf16 and int8 are compared with oneDNN, where that is installed.
find_library(NACELLE_ONEDNN dnnl)
find_path(NACELLE_ONEDNN_INCLUDE oneapi/dnnl/dnnl.hpp)
find_package(OpenMP COMPONENTS CXX)
if(NACELLE_ONEDNN AND NACELLE_ONEDNN_INCLUDE AND OpenMP_CXX_FOUND)
  list(APPEND peer kernels_onednn.cc)
else()
  message(STATUS "oneDNN not found: bf16 and int8 have no peer (Debian: libdnnl-dev)")
  list(APPEND peer kernels_no_onednn.cc)
endif()

nacelle_program(bench_kernels kernels.cc kernels_bounds.cc ${peer})
target_link_libraries(bench_kernels PRIVATE nacelle_bench nacelle_kernels)
if(NACELLE_OPENBLAS AND NACELLE_OPENBLAS_INCLUDE)
  target_include_directories(bench_kernels SYSTEM PRIVATE ${NACELLE_OPENBLAS_INCLUDE})
  target_link_libraries(bench_kernels PRIVATE ${NACELLE_OPENBLAS})
endif()
if("kernels_onednn.cc" IN_LIST peer)
  target_include_directories(bench_kernels SYSTEM PRIVATE ${NACELLE_ONEDNN_INCLUDE})
  target_link_libraries(bench_kernels PRIVATE ${NACELLE_ONEDNN} OpenMP::OpenMP_CXX)
endif()
# The peer's plain loops get every freedom that ours do not take: this machine's instructions,
# reordered sums, vectorized libm. It is never shipped.
set_source_files_properties(kernels_peer.cc kernels_bounds.cc PROPERTIES
  COMPILE_OPTIONS "-O3;-march=native;-mprefer-vector-width=512;-ffast-math")
