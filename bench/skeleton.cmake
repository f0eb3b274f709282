# skeleton_client: the processes that bench/skeleton.py starts. It is no benchmark by itself, so its
# name does not begin with bench_.
include(${CMAKE_CURRENT_LIST_DIR}/harness.cmake)

# kernels_bounds.cc gets its flags from kernels.cmake.
nacelle_program(skeleton_client skeleton_client.cc skeleton_round_trips.cc kernels_bounds.cc)
target_link_libraries(skeleton_client PRIVATE nacelle_bench nacelle_kernels nacelle_shm)
