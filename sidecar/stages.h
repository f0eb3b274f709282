// Where a request's time goes. Stages follow each other without a gap: each begins where the one
// before ended, so the times of a request's stages sum to its whole time, from the moment it was
// taken out of its slot until its reply was published.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sidecar/base/time.h"

namespace nacelle::sidecar {

enum class Stage : std::uint8_t {
  kTokenize,   // out of shared memory, checked, tokens
  kBatchWait,  // in the queue, and between the batches of a request that needs several
  kCompute,    // its batches are in the model
  kCopy,       // tokens are gathered for its batches, rows made of what they computed
  kReply,      // its rows are there; until the reply is published
};
inline constexpr std::array<std::string_view, 5> kStageNames = {"tokenize", "batch_wait", "compute",
                                                                "copy", "reply"};
inline constexpr std::size_t kStages = kStageNames.size();

struct StageTimes {
  // At most how long the request lay in its slot before it was taken, while intake was awake: it
  // was not there the last time that intake looked. Before `taken`, so no part of the sum.
  base::Nanos ring = 0;
  base::Nanos taken = 0;
  base::Nanos mark = 0;  // where the stage at hand began
  std::array<base::Nanos, kStages> spent{};
  // For the trace: where on the way things happened.
  base::Nanos tokenized = 0;
  base::Nanos first_begin = 0;    // of its first batch; 0 before
  base::Nanos last_end = 0;       // of its last one
  std::uint64_t first_batch = 0;  // BatchTimes::number
  std::uint64_t last_batch = 0;

  void take(base::Nanos now, base::Nanos in_ring) {
    *this = {};
    ring = in_ring;
    taken = mark = now;
  }
  // What passed since the last call belongs to `stage`.
  void pass(Stage stage, base::Nanos now) {
    if (now <= mark) return;
    spent[static_cast<std::size_t>(stage)] += now - mark;
    mark = now;
  }
  // Of a request that was answered with what was computed for another one: it waited for that one's
  // first batch, and from then on for what that one waited for. Of what was over when it came
  // nothing counts.
  void follow(const StageTimes& leader) {
    pass(Stage::kBatchWait, leader.first_begin);
    base::Nanos left = leader.last_end > mark ? leader.last_end - mark : 0;
    for (const Stage stage : {Stage::kCompute, Stage::kCopy}) {
      const base::Nanos part = leader.of(stage) < left ? leader.of(stage) : left;
      spent[static_cast<std::size_t>(stage)] += part;
      mark += part;
      left -= part;
    }
    pass(Stage::kBatchWait, leader.last_end);
    // It may have come when that batch had begun.
    first_begin = leader.first_begin > tokenized ? leader.first_begin : tokenized;
    first_batch = leader.first_batch;
    last_end = leader.last_end;
    last_batch = leader.last_batch;
  }
  [[nodiscard]] base::Nanos of(Stage stage) const { return spent[static_cast<std::size_t>(stage)]; }
  [[nodiscard]] base::Nanos sum() const {
    base::Nanos total = 0;
    for (const base::Nanos time : spent) total += time;
    return total;
  }
};

// When a batch passed from one step to the next.
struct BatchTimes {
  base::Nanos begin = 0;     // the executor has it
  base::Nanos gathered = 0;  // its tokens are packed
  base::Nanos computed = 0;  // the model is done
  base::Nanos end = 0;       // rows are in the replies
  std::uint64_t number = 0;  // counts up from 1
};

}  // namespace nacelle::sidecar
