// A server as one process of the generator sees it. None of these calls waits.
#pragma once

#include <poll.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/serve/load.h"
#include "sidecar/base/result.h"

namespace nacelle::bench::serve {

struct Ended {
  std::uint64_t id = 0;
  Outcome outcome = Outcome::kFailed;
  std::uint32_t retry_after_us = 0;
};

class Target {
 public:
  Target() = default;
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  virtual ~Target() = default;

  // Whether start() can take another request. What is due while there is no room waits here in the
  // generator, and its latency counts on.
  [[nodiscard]] virtual bool room() const = 0;
  // Sends text number `text` and notes it as `id`. `timeout` is what is left of its time, 0: the
  // server's default. A request may end at once.
  virtual void start(std::uint64_t id, std::uint32_t text, base::Nanos timeout,
                     std::vector<Ended>& ended) = 0;
  // Takes `id` back; false when it has ended before.
  virtual bool give_up(std::uint64_t id) = 0;
  // Goes on as far as it can, and appends what has ended.
  virtual void advance(std::vector<Ended>& ended) = 0;
  // What to poll before the next advance().
  virtual void watch(std::vector<pollfd>& descriptors) const = 0;
  // Why the last request was kFailed; "" when none was.
  [[nodiscard]] virtual const std::string& complaint() const = 0;
};

// Where the server is and what is asked of it. Shared by all processes, and made before they are.
struct Question {
  std::vector<std::string> sockets;  // HTTP: servers that share the work, connection by connection
  std::string service;               // Nacelle
  std::string name;                  // Nacelle: the client's, for nacellectl
  std::vector<std::string> texts;    // at least one
  // Nacelle: each text's vector as one caller alone gets it. A request answered with other bits has
  // failed.
  std::vector<std::vector<float>> vectors;
};

// Fills in `question.vectors`. To be called before the processes are forked.
base::Status ask_alone(Question& question);

// `connections` >= 1 connections, of which one is proven to work. `question` outlives the target.
// `first` is the number of its first connection among those of all processes.
base::Result<std::unique_ptr<Target>> connect_nacelle(const Question& question,
                                                      std::uint32_t connections);
base::Result<std::unique_ptr<Target>> connect_http(const Question& question,
                                                   std::uint32_t connections, std::uint32_t first);

}  // namespace nacelle::bench::serve
