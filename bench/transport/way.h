// What the contenders of `./run bench transport` have in common: a way for one process to ask
// another, and the null request that all of them carry.
//
// A request is kRequestSize bytes; its first four say how long the reply must be, the next four are
// a serial number. The reply is the request's bytes, over and over, up to that size.
//
// Each program of this folder links the ways of one library and process.cc, its main(): a library
// that is not installed is a program that is not there, and the benchmark says so.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "sidecar/base/result.h"
#include "sidecar/base/time.h"

namespace nacelle::bench {

inline constexpr std::size_t kRequestSize = 64;
inline constexpr std::size_t kReplyMax = 64 << 10;
// Serial numbers go round, so that a store of known answers (Redis) can take part.
inline constexpr std::uint32_t kSerials = 16;

inline void make_request(std::span<std::byte> request, std::uint32_t reply_size,
                         std::uint32_t serial) {
  for (std::size_t i = 8; i < kRequestSize; ++i) {
    request[i] = static_cast<std::byte>(i * 31 + std::size_t{serial} * 7 + 1);
  }
  std::memcpy(request.data(), &reply_size, sizeof reply_size);
  std::memcpy(&request[4], &serial, sizeof serial);
}

inline std::uint32_t wanted_size(const void* request) {
  std::uint32_t size = 0;
  std::memcpy(&size, request, sizeof size);
  return std::min<std::uint32_t>(size, kReplyMax);
}

// The null op: every server's work.
inline void make_reply(const std::byte* request, std::byte* reply, std::size_t size) {
  std::memcpy(reply, request, std::min(kRequestSize, size));
  for (std::size_t done = kRequestSize; done < size; done *= 2) {
    std::memcpy(reply + done, reply, std::min(done, size - done));
  }
}

// One-way traffic: what arrived, and in what time.
struct OneWay {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  base::Nanos duration = 0;
};

// A client of a server, for one thread.
class Caller {
 public:
  Caller() = default;
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  virtual ~Caller() = default;

  // Sends kRequestSize bytes and receives as many as `reply` holds: what the request asks for.
  virtual base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) = 0;
  // Called once before calls with replies of that size.
  virtual base::Status prepare(std::uint32_t /*reply_size*/) { return base::ok(); }
  // As many messages of `size` bytes as the way carries in one direction, for about `duration`.
  virtual base::Result<OneWay> one_way(std::uint32_t /*size*/, base::Nanos /*duration*/) {
    return base::Error{base::Code::kInvalid, "this way has no one-way mode"};
  }
  // Sleeps that ended by their time-out although the answer was there.
  [[nodiscard]] virtual std::uint64_t rescued() const { return 0; }
};

// Says where clients find the server, in a word; after that they may come.
using Ready = std::function<void(const std::string& at)>;

struct Way {
  const char* name;
  // Answers whoever comes until the process is killed. `folder` is empty and this server's own.
  // Null when somebody else's program is the server.
  base::Status (*serve)(const std::string& folder, const Ready& ready);
  base::Result<std::unique_ptr<Caller>> (*connect)(const std::string& at);
};

// The ways of this program.
std::span<const Way> ways();

// "cannot WHAT: why", from errno.
base::Error cannot(const std::string& what);

}  // namespace nacelle::bench
