// Where the hostile scenarios play: a real sidecar pipeline in this process, its books, and a
// neighbour: a client that behaves, calls all the time, and checks every answer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "shm/client.h"
#include "sidecar/config.h"
#include "sidecar/pipeline.h"
#include "sidecar/services.h"
#include "tests/support/temp_dir.h"

namespace nacelle::testing {

// What this process has open or mapped, the sidecar in it included. Exact.
std::size_t open_descriptors();
std::size_t mapped_regions();

// What a hostile client may change, and how. Two of them are equal when nothing leaked and nothing
// was counted in between.
struct Books {
  std::map<std::string, std::uint64_t> violations;
  std::map<std::string, std::uint64_t> refused;
  std::uint64_t clients = 0;
  std::uint64_t in_flight_of_others = 0;  // not the neighbour's
  std::size_t descriptors = 0;
  std::size_t regions = 0;
  std::uint64_t rescued = 0;
  bool operator==(const Books&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Books& books);

// Calls until it is destroyed: pings that must come back byte by byte, texts whose rows are known.
class Neighbour {
 public:
  explicit Neighbour(const std::string& socket, std::uint64_t seed);
  ~Neighbour();
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;

  // Waits for `count` more calls to be answered; false when that takes too long or one was wrong.
  [[nodiscard]] bool served(std::uint64_t count = 5);
  // What the first wrong answer was; empty when there is none.
  [[nodiscard]] std::string complaint() const;

 private:
  void call(std::uint64_t seed);

  std::unique_ptr<Client> client_;
  std::atomic<std::uint64_t> calls_{0};
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::string complaint_;
  std::thread thread_;
};

// Small arenas, so that they are soon full and soon made.
sidecar::Config stage_config();

class Stage {
 public:
  explicit Stage(const sidecar::Config& config = stage_config());
  ~Stage();

  [[nodiscard]] const std::string& path() const { return config_.socket; }
  [[nodiscard]] const sidecar::Config& config() const { return config_; }
  [[nodiscard]] Neighbour& neighbour() { return *neighbour_; }
  [[nodiscard]] control::StatusReport report() const { return pipeline_->report(); }
  [[nodiscard]] Books books() const;

 private:
  TempDir dir_;
  sidecar::Config config_;
  std::unique_ptr<sidecar::Services> services_;
  std::unique_ptr<sidecar::Pipeline> pipeline_;
  std::unique_ptr<Neighbour> neighbour_;
};

}  // namespace nacelle::testing
