// nacelled as a process that tests stop, kill and look at from outside.
#pragma once

#include <compare>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

#include "sidecar/control/api.h"
#include "tests/crash/process.h"
#include "tests/support/temp_dir.h"

namespace nacelle::crash {

// What a process holds, as the kernel counts it.
struct Footprint {
  std::size_t fds = 0;  // but for files of /proc and /sys, which come and go by themselves
  std::size_t threads = 0;
  std::size_t maps = 0;     // lines of /proc/PID/maps with a name: files, memfds, the stack
  std::size_t regions = 0;  // those of them that are memory shared with clients: 2 per client
  friend bool operator==(const Footprint&, const Footprint&) = default;
};
std::ostream& operator<<(std::ostream& out, const Footprint& footprint);

class Sidecar {
 public:
  // One service, "tiny". `more` is YAML.
  explicit Sidecar(std::string more = {});

  void start(const Namespaces& namespaces = {});
  // Returns when it was dead: wall_ns().
  base::Nanos kill();
  // SIGTERM, and waits until it has left: its exit status, 1000 + the signal that ended it, or -1
  // when it does not leave.
  int terminate();
  // The last line of its log that has these words.
  [[nodiscard]] std::string last_log_line(std::string_view with) const;
  // Stands still, or goes on. A sidecar that stands still is known to: starting over undoes it.
  void stop() { process_.stop(); }
  void go_on() { process_.go_on(); }

  [[nodiscard]] const std::string& socket() const { return socket_; }
  [[nodiscard]] pid_t pid() const { return process_.pid(); }
  control::StatusReport status();
  [[nodiscard]] Footprint footprint() const;
  // Lines of /proc/PID/maps without a name: malloc's arenas and the threads' stacks.
  [[nodiscard]] std::size_t anonymous_maps() const;
  // The sidecar process's random number, as its clients read it.
  [[nodiscard]] std::uint64_t epoch() const;
  // Lines of its log that are warnings or errors. Clients that die are none,
  // not even those that die while they connect.
  [[nodiscard]] std::string complaints() const;
  // Waits until exactly `clients` are connected, nothing of theirs is in flight, and no memory of
  // others is mapped. False: something is stuck.
  bool quiet(std::size_t clients);

 private:
  nacelle::testing::TempDir dir_;
  std::string socket_;
  std::string control_socket_;
  std::string log_;
  std::string config_;
  Process process_;
  std::optional<control::Client> control_;
};

}  // namespace nacelle::crash
