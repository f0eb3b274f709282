// Writes the statistics page (sidecar/control/statistics.h) while somebody watches.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "shm/shm.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"
#include "sidecar/base/time.h"
#include "sidecar/control/statistics.h"

namespace nacelle::sidecar {

class StatisticsWriter {
 public:
  static constexpr base::Nanos kInterval = 500 * base::kMillisecond;
  // Who watches asks again within this time; then the thread sleeps until the next one does.
  static constexpr base::Nanos kLease = 10 * base::kSecond;

  // `fill` is called on a thread of this object's: all of the page but updates and uptime_ns. It
  // may keep what it compares with between calls.
  static base::Result<std::unique_ptr<StatisticsWriter>> start(
      std::function<void(control::Statistics&)> fill);
  ~StatisticsWriter();
  StatisticsWriter(const StatisticsWriter&) = delete;
  StatisticsWriter& operator=(const StatisticsWriter&) = delete;

  // Any thread. The page's descriptor, which stays this object's: it is written from now on, for
  // kLease, and has been written once when this returns.
  int watch();

 private:
  StatisticsWriter(base::Fd fd, shm::Mapping memory, control::StatisticsPage* page,
                   std::function<void(control::Statistics&)> fill);
  void run();
  void write();

  base::Fd fd_;
  shm::Mapping memory_;
  control::StatisticsPage* page_;  // in it
  std::function<void(control::Statistics&)> fill_;
  const base::Nanos started_ = base::now_ns();
  std::unique_ptr<control::Statistics> next_ = std::make_unique<control::Statistics>();

  std::mutex writing_;  // held while the page is written, so that it has one writer
  std::mutex mutex_;    // guards the rest
  std::condition_variable changed_;
  base::Nanos watched_until_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace nacelle::sidecar
