#include "sidecar/statistics.h"

#include <chrono>
#include <new>
#include <utility>

namespace nacelle::sidecar {

using control::StatisticsPage;

base::Result<std::unique_ptr<StatisticsWriter>> StatisticsWriter::start(
    std::function<void(control::Statistics&)> fill) {
  constexpr std::size_t kSize = sizeof(StatisticsPage);
  base::Result<base::Fd> fd = shm::create_region("nacelle-statistics", kSize);
  if (!fd) return fd.error();
  base::Result<shm::Mapping> memory = shm::Mapping::map(fd->get(), kSize, shm::Access::kReadWrite);
  if (!memory) return memory.error();
  // Our mapping exists: no other can ever write, by whomever.
  if (base::Status sealed = shm::seal_against_writers(fd->get()); !sealed) return sealed.error();
  auto* page = new (memory->data()) StatisticsPage;
  page->magic = control::kStatisticsMagic;
  page->version = control::kStatisticsVersion;
  page->size = kSize;
  return std::unique_ptr<StatisticsWriter>(
      new StatisticsWriter(*std::move(fd), *std::move(memory), page, std::move(fill)));
}

StatisticsWriter::StatisticsWriter(base::Fd fd, shm::Mapping memory, StatisticsPage* page,
                                   std::function<void(control::Statistics&)> fill)
    : fd_(std::move(fd)),
      memory_(std::move(memory)),
      page_(page),
      fill_(std::move(fill)),
      thread_([this] { run(); }) {}

StatisticsWriter::~StatisticsWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

int StatisticsWriter::watch() {
  bool asleep = false;
  {
    const std::lock_guard lock(mutex_);
    const base::Nanos now = base::now_ns();
    asleep = watched_until_ <= now;
    watched_until_ = now + kLease;
  }
  if (asleep) {
    write();
    changed_.notify_one();
  }
  return fd_.get();
}

void StatisticsWriter::write() {
  const std::lock_guard lock(writing_);
  const std::uint64_t updates = next_->updates + 1;
  *next_ = {};
  fill_(*next_);
  next_->updates = updates;
  next_->uptime_ns = static_cast<std::uint64_t>(base::now_ns() - started_);
  control::write_statistics(*page_, *next_);
}

void StatisticsWriter::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (watched_until_ <= base::now_ns()) {
      changed_.wait(lock);
      continue;
    }
    changed_.wait_for(lock, std::chrono::nanoseconds(kInterval));
    if (stopping_) return;
    lock.unlock();
    write();
    lock.lock();
  }
}

}  // namespace nacelle::sidecar
