# serve_load: the load generator that bench/serve.py and the end-to-end tests start. Included by
# whichever of them is built.
include_guard(GLOBAL)
set(here ${CMAKE_CURRENT_LIST_DIR})
nacelle_library(nacelle_serve_load ${here}/account.cc ${here}/client.cc ${here}/http_reply.cc
  ${here}/http_target.cc ${here}/nacelle_target.cc ${here}/options.cc ${here}/schedule.cc)
target_link_libraries(nacelle_serve_load PUBLIC nacelle_base nacelle_shm
  nlohmann_json::nlohmann_json)
nacelle_program(serve_load ${here}/main.cc)
target_link_libraries(serve_load PRIVATE nacelle_serve_load)
