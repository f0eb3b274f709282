#include "sidecar/statistics.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <new>
#include <utility>

#include "sidecar/base/file.h"

namespace nacelle::sidecar {
namespace {

using control::StatisticsPage;

base::Error failed(const std::string& doing) {
  return {base::Code::kUnavailable,
          "statistics page: cannot " + doing + ": " + base::errno_text(errno)};
}

}  // namespace

base::Result<std::unique_ptr<StatisticsWriter>> StatisticsWriter::start(
    std::function<void(control::Statistics&)> fill) {
  constexpr std::size_t kSize = sizeof(StatisticsPage);
  base::Fd fd(::memfd_create("nacelle-statistics", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return failed("create it");
  // Allocated now, so that running out of memory comes here and not as SIGBUS later.
  if (::ftruncate(fd.get(), kSize) != 0 || ::fallocate(fd.get(), 0, 0, kSize) != 0) {
    return failed("size it");
  }
  void* const memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) return failed("map it");
  // Our mapping exists: no other can ever write, by whomever.
  if (::fcntl(fd.get(), F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
    const base::Error error = failed("seal it (Linux 5.1 or newer is needed)");
    ::munmap(memory, kSize);
    return error;
  }
  auto* page = new (memory) StatisticsPage;
  page->magic = control::kStatisticsMagic;
  page->version = control::kStatisticsVersion;
  page->size = kSize;
  return std::unique_ptr<StatisticsWriter>(
      new StatisticsWriter(std::move(fd), page, std::move(fill)));
}

StatisticsWriter::StatisticsWriter(base::Fd fd, StatisticsPage* page,
                                   std::function<void(control::Statistics&)> fill)
    : fd_(std::move(fd)), page_(page), fill_(std::move(fill)), thread_([this] { run(); }) {}

StatisticsWriter::~StatisticsWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
  ::munmap(page_, sizeof *page_);
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
