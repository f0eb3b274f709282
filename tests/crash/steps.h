// Row A1: clients that die at a chosen instruction of a chosen call, beside one that does not.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tests/crash/ledger.h"
#include "tests/crash/load.h"
#include "tests/crash/process.h"
#include "tests/crash/sidecar.h"
#include "tests/crash/stepper.h"
#include "tests/crash/trials.h"

namespace nacelle::crash {

enum class Call { kConnect, kSubmit, kAnswer, kSleep, kGiveUp, kCancel, kClose };
inline constexpr std::array kCalls{Call::kConnect, Call::kSubmit, Call::kAnswer, Call::kSleep,
                                   Call::kGiveUp,  Call::kCancel, Call::kClose};
std::string_view name_of(Call call);

class StepRun {
 public:
  // Starts a sidecar and a neighbour: a client that calls all the while and is never harmed.
  StepRun(Trials& trials, const Namespaces& victims, const Namespaces& sidecar);
  // Why this machine cannot do it.
  [[nodiscard]] const std::optional<std::string>& skip() const { return skip_; }

  // Kills a client at each `stride`th boundary of the call, and looks after each that nothing of it
  // is left and that the neighbour is served. The first boundary is random below the stride.
  void step_through(Call call, std::uint32_t size, std::uint64_t stride);
  // Stops the neighbour, expects the books to be right and the sidecar to have nothing to say, and
  // reports.
  void finish();

 private:
  struct Victim {
    Process process;
    Stepper stepper;
  };
  Victim begin(Call call, std::uint32_t size);
  void end(Victim& victim, Call call, std::size_t k);

  Trials& trials_;
  Namespaces namespaces_;
  std::optional<std::string> skip_;
  Ledger ledger_;
  Sidecar sidecar_;
  Process neighbour_;
  Footprint fresh_;  // the sidecar's, before its first client
  bool sidecar_stands_ = false;
  bool stuck_ = false;
  std::uint64_t missed_ = 0;
  Latencies reclaim_;
};

}  // namespace nacelle::crash
