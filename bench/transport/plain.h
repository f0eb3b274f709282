// The ways that need nothing but the system and Boost; plain.cc lists them.
#pragma once

#include "bench/transport/way.h"

namespace nacelle::bench {

// pipes_and_sockets.cc
base::Status serve_pipe(const std::string& folder, const Ready& ready);
base::Result<std::unique_ptr<Caller>> connect_pipe(const std::string& at);
base::Status serve_socket(const std::string& folder, const Ready& ready);
base::Result<std::unique_ptr<Caller>> connect_socket(const std::string& at);
base::Status serve_spinning_socket(const std::string& folder, const Ready& ready);
base::Result<std::unique_ptr<Caller>> connect_spinning_socket(const std::string& at);

// unchecked_ring.cc
base::Status serve_ring(const std::string& folder, const Ready& ready);
base::Result<std::unique_ptr<Caller>> connect_ring(const std::string& at);
base::Status serve_futex(const std::string& folder, const Ready& ready);
base::Result<std::unique_ptr<Caller>> connect_futex(const std::string& at);
base::Status serve_stream(const std::string& folder, const Ready& ready);
base::Result<std::unique_ptr<Caller>> connect_stream(const std::string& at);

// message_queue.cc
base::Status serve_message_queue(const std::string& folder, const Ready& ready);
base::Result<std::unique_ptr<Caller>> connect_message_queue(const std::string& at);

}  // namespace nacelle::bench
