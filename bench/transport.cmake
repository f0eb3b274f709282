# The processes that bench/transport.py starts: a program per library, so that a library which is
# not installed is a program that is not there. The peers are built only for this benchmark
# (./run bench transport sets NACELLE_BENCH_PEERS and installs them).
include(${CMAKE_CURRENT_LIST_DIR}/harness.cmake)
option(NACELLE_BENCH_PEERS "Build the transport benchmark's peers that are installed" OFF)

nacelle_library(transport_process transport/process.cc transport/measure.cc)
target_link_libraries(transport_process PUBLIC nacelle_base Threads::Threads)

nacelle_program(transport_nacelle transport/nacelle.cc)
target_link_libraries(transport_nacelle PRIVATE transport_process nacelle_shm)
nacelle_program(transport_plain transport/plain.cc transport/unchecked_ring.cc
  transport/pipes_and_sockets.cc transport/message_queue.cc)
target_link_libraries(transport_plain PRIVATE transport_process nacelle_shm Boost::headers rt)

if(NACELLE_BENCH_PEERS)
  find_package(PkgConfig REQUIRED)

  # transport_peer(name SOURCE PACKAGE... ): transport_NAME, where pkg-config knows the packages.
  function(transport_peer name source)
    pkg_check_modules(TRANSPORT_${name} IMPORTED_TARGET ${ARGN})
    if(NOT TRANSPORT_${name}_FOUND)
      message(STATUS "bench transport: no peer ${name}, pkg-config does not know ${ARGN}")
      return()
    endif()
    nacelle_program(transport_${name} ${source})
    target_link_libraries(transport_${name} PRIVATE transport_process PkgConfig::TRANSPORT_${name})
  endfunction()

  transport_peer(http transport/http.cc cpp-httplib openssl)
  transport_peer(redis transport/redis.cc hiredis)

  find_package(iceoryx_posh CONFIG QUIET)
  if(iceoryx_posh_FOUND)
    nacelle_program(transport_iceoryx transport/iceoryx.cc)
    target_link_libraries(transport_iceoryx PRIVATE transport_process iceoryx_posh::iceoryx_posh)
  endif()

  find_program(NACELLE_PROTOC protoc)
  find_program(NACELLE_GRPC_PLUGIN grpc_cpp_plugin)
  if(NACELLE_PROTOC AND NACELLE_GRPC_PLUGIN)
    transport_peer(grpc transport/grpc.cc grpc++ protobuf)
  endif()
  if(TARGET transport_grpc)
    set(made ${CMAKE_CURRENT_BINARY_DIR}/transport_grpc)
    file(MAKE_DIRECTORY ${made})
    add_custom_command(
      OUTPUT ${made}/null.pb.cc ${made}/null.pb.h ${made}/null.grpc.pb.cc ${made}/null.grpc.pb.h
      COMMAND ${NACELLE_PROTOC} --cpp_out=${made} --grpc_out=${made}
        --plugin=protoc-gen-grpc=${NACELLE_GRPC_PLUGIN}
        -I ${CMAKE_CURRENT_SOURCE_DIR}/transport null.proto
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/transport/null.proto)
    # Not held to our warnings.
    add_library(transport_grpc_messages STATIC ${made}/null.pb.cc ${made}/null.grpc.pb.cc)
    target_include_directories(transport_grpc_messages SYSTEM PUBLIC ${made})
    target_link_libraries(transport_grpc_messages PUBLIC PkgConfig::TRANSPORT_grpc)
    target_link_libraries(transport_grpc PRIVATE transport_grpc_messages)
  endif()
endif()
