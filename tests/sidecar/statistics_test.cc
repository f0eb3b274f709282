// The statistics page from both sides: written while somebody watches, and by nobody else.
#include "sidecar/statistics.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "sidecar/base/check.h"
#include "sidecar/control/api.h"

namespace nacelle::sidecar {
namespace {

base::Fd copy_of(int fd) { return base::Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

std::unique_ptr<StatisticsWriter> writer(std::atomic<std::uint64_t>& calls) {
  auto started = StatisticsWriter::start([&calls](control::Statistics& out) {
    out.requests = ++calls;
    out.texts = 2 * out.requests;
  });
  CHECK(started.has_value());
  return *std::move(started);
}

TEST(Statistics, APageIsThereAsSoonAsOneWatches) {
  std::atomic<std::uint64_t> calls{0};
  const auto page = writer(calls);
  EXPECT_EQ(calls.load(), 0U) << "nobody watches: nothing is done";
  const auto view = control::StatisticsView::map(copy_of(page->watch()));
  ASSERT_TRUE(view) << view.error().message;
  const auto first = view->read();
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_GE(first->updates, 1U);  // it goes on being written
  EXPECT_EQ(first->texts, 2 * first->requests);
}

TEST(Statistics, ItGoesOnBeingWritten) {
  std::atomic<std::uint64_t> calls{0};
  const auto page = writer(calls);
  const auto view = control::StatisticsView::map(copy_of(page->watch()));
  ASSERT_TRUE(view);
  const base::Nanos until = base::now_ns() + 20 * base::kSecond;
  std::uint64_t updates = 0;
  while (updates < 2 && base::now_ns() < until) {
    const auto now = view->read();
    ASSERT_TRUE(now);
    EXPECT_EQ(now->texts, 2 * now->requests);
    updates = now->updates;
    ::poll(nullptr, 0, 10);
  }
  EXPECT_GE(updates, 2U);
}

TEST(Statistics, NobodyElseCanWriteOrCutIt) {
  std::atomic<std::uint64_t> calls{0};
  const auto page = writer(calls);
  const base::Fd fd = copy_of(page->watch());
  void* const writable = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  EXPECT_EQ(writable, MAP_FAILED);
  EXPECT_EQ(::ftruncate(fd.get(), 0), -1);
  EXPECT_EQ(::pwrite(fd.get(), "x", 1, 0), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(Statistics, APageOfAnotherSizeOrWithoutSealsIsRefused) {
  const base::Fd small(::memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(small.get(), 4096), 0);
  ASSERT_EQ(::fcntl(small.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_FALSE(control::StatisticsView::map(small));
  const base::Fd open(::memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(open.get(), sizeof(control::StatisticsPage)), 0);
  EXPECT_FALSE(control::StatisticsView::map(open));
}

}  // namespace
}  // namespace nacelle::sidecar
