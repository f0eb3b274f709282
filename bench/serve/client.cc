#include "bench/serve/client.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <vector>

namespace nacelle::bench::serve {
namespace {

using base::Nanos;

// While requests are open: deadlines pass without a byte to wake us.
constexpr Nanos kLookEvery = 5 * base::kMillisecond;

class Run {
 public:
  Run(const Load& load, std::span<const Arrival> arrivals, std::span<const std::uint32_t> texts,
      Nanos start, Target& target, std::span<Record> records)
      : load_(load),
        arrivals_(arrivals),
        texts_(texts),
        start_(start),
        end_(load.duration()),
        target_(target),
        records_(records) {}

  void run() {
    for (;;) {
      target_.advance(ended_);
      take_ended();
      const Nanos now = elapsed();
      send_due(now);
      take_ended();
      give_up_due(now);
      const bool more = closed() ? now < end_ : next_ < arrivals_.size();
      if ((!more && open_ == 0 && now >= end_) || now >= end_ + load_.grace) return;
      sleep(now);
    }
  }

 private:
  struct Cancel {
    std::uint64_t id = 0;
    Nanos at = 0;
  };

  [[nodiscard]] bool closed() const { return load_.pattern == Pattern::kClosed; }
  [[nodiscard]] Nanos elapsed() const { return base::now_ns() - start_; }

  void send_due(Nanos now) {
    if (closed()) {
      while (open_ < load_.in_flight && now < end_ && next_ < records_.size() && target_.room()) {
        records_[next_] = {.due = elapsed(), .outcome = Outcome::kLost};
        send(texts_[next_ % texts_.size()], false);
        take_ended();
      }
      return;
    }
    while (next_ < arrivals_.size() && arrivals_[next_].due <= now) {
      const Arrival& arrival = arrivals_[next_];
      const bool late = load_.timeout > 0 && now >= arrival.due + load_.timeout;
      if (late) {  // never sent
        records_[next_].done = now;
        records_[next_].outcome = Outcome::kDeadline;
        ++next_;
        continue;
      }
      if (!target_.room()) return;
      send(arrival.text, arrival.cancel);
    }
  }

  void send(std::uint32_t text, bool cancel) {
    Record& record = records_[next_];
    record.sent = elapsed();
    const Nanos left = record.due + load_.timeout - record.sent;
    const Nanos timeout = load_.timeout > 0 ? std::max<Nanos>(left, 1) : 0;
    if (cancel) cancels_.push_back({next_, record.due + load_.cancel_after});
    ++open_;
    target_.start(next_++, text, timeout, ended_);
  }

  void take_ended() {
    if (ended_.empty()) return;
    const Nanos now = elapsed();
    for (const Ended& one : ended_) {
      Record& record = records_[one.id];
      record.done = now;
      record.retry_after_us = one.retry_after_us;
      record.outcome = one.outcome;
    }
    open_ -= ended_.size();
    ended_.clear();
  }

  void give_up_due(Nanos now) {
    while (!cancels_.empty() && cancels_.front().at <= now) {
      const std::uint64_t id = cancels_.front().id;
      cancels_.pop_front();
      if (!target_.give_up(id)) continue;
      records_[id].done = now;
      records_[id].outcome = Outcome::kCancelled;
      --open_;
    }
  }

  void sleep(Nanos now) {
    Nanos until = open_ > 0 ? now + kLookEvery : end_;
    if (next_ < arrivals_.size()) {
      const Nanos due = arrivals_[next_].due;
      // What is overdue waits for room, which comes with an answer.
      if (due > now) until = std::min(until, due);
    }
    if (!cancels_.empty()) until = std::min(until, cancels_.front().at);
    descriptors_.clear();
    target_.watch(descriptors_);
    const Nanos wait = std::max<Nanos>(until - elapsed(), 0);
    const timespec time{.tv_sec = wait / base::kSecond, .tv_nsec = wait % base::kSecond};
    ::ppoll(descriptors_.data(), descriptors_.size(), &time, nullptr);
  }

  const Load& load_;
  const std::span<const Arrival> arrivals_;
  const std::span<const std::uint32_t> texts_;
  const Nanos start_;
  const Nanos end_;  // of the last phase
  Target& target_;
  const std::span<Record> records_;
  std::size_t next_ = 0;  // the first record not yet sent
  std::size_t open_ = 0;
  std::vector<Ended> ended_;
  std::deque<Cancel> cancels_;  // by time
  std::vector<pollfd> descriptors_;
};

}  // namespace

void run_client(const Load& load, std::span<const Arrival> arrivals,
                std::span<const std::uint32_t> texts, Nanos start, Target& target,
                std::span<Record> records) {
  Run(load, arrivals, texts, start, target, records).run();
}

}  // namespace nacelle::bench::serve
