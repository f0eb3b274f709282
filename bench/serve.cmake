# What bench/serve.py starts besides nacelled.
include(${CMAKE_CURRENT_LIST_DIR}/serve/load.cmake)
