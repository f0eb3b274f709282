// Who may do what to a region: the seals, and reading memory that a peer can change.
#include "shm/region.h"
#include "sidecar/base/check.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace nacelle::shm {
namespace {

constexpr std::uint64_t kSize = 8192;

base::Fd sealed_reply_region(Mapping* own) {
  base::Result<base::Fd> fd = create_region("test", kSize);
  CHECK(fd.has_value());
  *own = *Mapping::map(fd->get(), kSize, Access::kReadWrite);
  CHECK(seal_against_writers(fd->get()).has_value());
  return *std::move(fd);
}

TEST(Region, AReplyRegionCanBeWrittenByNobodyElse) {
  Mapping own;
  const base::Fd fd = sealed_reply_region(&own);
  const char byte = 'x';
  EXPECT_EQ(::pwrite(fd.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), MAP_FAILED);
  EXPECT_EQ(::ftruncate(fd.get(), 0), -1);
  EXPECT_EQ(::ftruncate(fd.get(), 2 * kSize), -1);
  EXPECT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), -1) << "the list of seals is closed";
  void* readable = ::mmap(nullptr, kSize, PROT_READ, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(readable, MAP_FAILED);
  EXPECT_EQ(::mprotect(readable, kSize, PROT_READ | PROT_WRITE), -1);
  // Opened again by its name under /proc, as a process of the same user could.
  const base::Fd again(::open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDWR));
  if (again) {
    EXPECT_EQ(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, again.get(), 0),
              MAP_FAILED);
    EXPECT_EQ(::pwrite(again.get(), &byte, 1, 0), -1);
  }
  own.data()[5] = std::byte{42};
  EXPECT_EQ(static_cast<std::byte*>(readable)[5], std::byte{42}) << "our own mapping still writes";
  ::munmap(readable, kSize);
}

TEST(Region, ARequestRegionKeepsItsSizeButCanBeWritten) {
  const base::Result<base::Fd> fd = create_region("test", kSize);
  ASSERT_TRUE(fd);
  ASSERT_TRUE(seal_for_clients_to_write(fd->get()));
  EXPECT_EQ(::ftruncate(fd->get(), 0), -1);
  EXPECT_EQ(::ftruncate(fd->get(), 2 * kSize), -1);
  EXPECT_EQ(::fcntl(fd->get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
  EXPECT_TRUE(Mapping::map(fd->get(), kSize, Access::kReadWrite));
}

TEST(Region, OnlyTheRightSizeAndSealsAreMapped) {
  const base::Result<base::Fd> fd = create_region("test", kSize);
  ASSERT_TRUE(fd);
  EXPECT_FALSE(Mapping::map(fd->get(), 2 * kSize, Access::kRead)) << "reading on would be SIGBUS";
  const base::Fd unsealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), kSize), 0);
  EXPECT_FALSE(Mapping::map(unsealed.get(), kSize, Access::kRead))
      << "its owner could cut it short";
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  EXPECT_FALSE(Mapping::map(pipes[0], kSize, Access::kRead));
  ::close(pipes[0]);
  ::close(pipes[1]);
}

std::uint64_t allocated(const base::Fd& fd) {
  struct stat status {};
  CHECK(::fstat(fd.get(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

TEST(Region, ARegionIsAllocatedAsFarAsAsked) {
  constexpr std::uint64_t kWhole = 1ULL << 20;
  const base::Result<base::Fd> whole = create_region("test", kWhole);
  ASSERT_TRUE(whole);
  EXPECT_GE(allocated(*whole), kWhole);
  // More than a file can have: refused before a page of it is asked for.
  const base::Result<base::Fd> huge = create_region("test", 1ULL << 63);
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, base::Code::kUnavailable);
}

TEST(Region, TheRestIsAllocatedWhenItsWriterAsks) {
  constexpr std::uint64_t kWhole = 3 * Backing::kStep + 4096;
  const base::Result<base::Fd> fd = create_region("test", kWhole, 8192);
  ASSERT_TRUE(fd);
  if (allocated(*fd) == kWhole) GTEST_SKIP() << "this kernel cannot allocate a mapping's pages";
  EXPECT_EQ(allocated(*fd), 8192U);
  const Mapping map = *Mapping::map(fd->get(), kWhole, Access::kReadWrite);
  Backing backing({map.data(), kWhole}, 8192);
  EXPECT_TRUE(backing.reach(8192));
  EXPECT_EQ(allocated(*fd), 8192U) << "it had that";
  EXPECT_TRUE(backing.reach(8193));
  EXPECT_EQ(allocated(*fd), Backing::kStep);
  EXPECT_TRUE(backing.reach(kWhole));
  EXPECT_EQ(allocated(*fd), kWhole);
}

TEST(Region, WithoutMemoryItIsAnErrorAndNoSignal) {
  constexpr std::uint64_t kWhole = 2 * Backing::kStep;
  const base::Result<base::Fd> fd = create_region("test", kWhole, 4096);
  ASSERT_TRUE(fd);
  if (allocated(*fd) == kWhole) GTEST_SKIP() << "this kernel cannot allocate a mapping's pages";
  // A mapping of which a part is gone: the kernel's answer is ENOMEM, as when it has no page.
  void* map = ::mmap(nullptr, kWhole, PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  auto* bytes = static_cast<std::byte*>(map);
  ASSERT_EQ(::munmap(bytes + Backing::kStep, Backing::kStep), 0);
  Backing backing({bytes, kWhole}, 4096);
  EXPECT_FALSE(backing.reach(kWhole));
  EXPECT_TRUE(backing.reach(Backing::kStep)) << "what there is can still be had";
  ::munmap(bytes, Backing::kStep);
}

TEST(Region, UntrustedCopiesOnlyWhatIsAllInside) {
  std::byte region[16];
  for (std::size_t i = 0; i < 16; ++i) region[i] = static_cast<std::byte>(i);
  const Untrusted untrusted(region);
  std::byte out[16] = {};
  EXPECT_TRUE(untrusted.copy_in(12, 4, out));
  EXPECT_EQ(out[3], std::byte{15});
  EXPECT_FALSE(untrusted.copy_in(12, 5, out));
  EXPECT_FALSE(untrusted.copy_in(17, 0, out));
  EXPECT_FALSE(untrusted.copy_in(UINT64_MAX, 2, out)) << "the sum wraps";
  EXPECT_FALSE(untrusted.copy_in(1, UINT64_MAX, out));
}

}  // namespace
}  // namespace nacelle::shm
