// The file calls on this machine, and that their double in memory does the same.
#include "sidecar/cache/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "tests/sidecar/cache/crash_files.h"
#include "tests/support/temp_dir.h"

namespace nacelle::cache {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> some(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7);
  return bytes;
}

// The same calls with the same answers on this machine and in memory: a test that passes on one
// says something about the other.
class BothFiles : public ::testing::TestWithParam<bool> {
 protected:
  Files& files() { return GetParam() ? real_files() : memory_; }
  std::string path(const std::string& name) { return dir_ / name; }

  testing::TempDir dir_;
  CrashFiles memory_{1};
};

TEST_P(BothFiles, WhatIsWrittenIsRead) {
  OpenFile file;
  ASSERT_EQ(open_file(files(), path("a"), OpenFor::kCreating, file), 0);
  const auto bytes = some(1000);
  EXPECT_EQ(write_at(files(), file.get(), bytes, 500), 0);
  EXPECT_EQ(files().size(file.get()), 1500);
  std::vector<std::byte> back(1000);
  EXPECT_EQ(read_at(files(), file.get(), back, 500), 1000);
  EXPECT_EQ(back, bytes);
  EXPECT_EQ(read_at(files(), file.get(), back, 1400), 100) << "up to the end";
  EXPECT_EQ(read_at(files(), file.get(), back, 1500), 0);
  EXPECT_EQ(sync_file(files(), file.get()), 0);
  EXPECT_EQ(files().sync_directory(dir_.path()), 0);
}

TEST_P(BothFiles, AFileIsCreatedOnceAndFoundAfterwards) {
  OpenFile file;
  EXPECT_EQ(open_file(files(), path("a"), OpenFor::kReading, file), -ENOENT);
  EXPECT_EQ(open_file(files(), path("a"), OpenFor::kWriting, file), -ENOENT);
  ASSERT_EQ(open_file(files(), path("a"), OpenFor::kCreating, file), 0);
  OpenFile other;
  EXPECT_EQ(open_file(files(), path("a"), OpenFor::kCreating, other), -EEXIST);
  EXPECT_EQ(open_file(files(), path("a"), OpenFor::kWriting, other), 0);
}

TEST_P(BothFiles, AllocatedRoomIsZeroAndCutOffAgain) {
  OpenFile file;
  ASSERT_EQ(open_file(files(), path("a"), OpenFor::kCreating, file), 0);
  EXPECT_EQ(write_at(files(), file.get(), some(10), 0), 0);
  EXPECT_EQ(allocate_file(files(), file.get(), 8192), 0);
  EXPECT_EQ(files().size(file.get()), 8192);
  std::vector<std::byte> back(8192);
  EXPECT_EQ(read_at(files(), file.get(), back, 0), 8192);
  EXPECT_EQ(back[9], std::byte{63});
  EXPECT_EQ(back[10], std::byte{0});
  EXPECT_EQ(files().truncate(file.get(), 4096), 0);
  EXPECT_EQ(files().size(file.get()), 4096);
}

TEST_P(BothFiles, NamesAreMovedRemovedAndListedUpToABound) {
  for (const char* name : {"a", "b", "c"}) {
    OpenFile file;
    ASSERT_EQ(open_file(files(), path(name), OpenFor::kCreating, file), 0);
  }
  EXPECT_EQ(files().rename(path("a"), path("d")), 0);
  EXPECT_EQ(files().rename(path("a"), path("d")), -ENOENT);
  EXPECT_EQ(files().unlink(path("b")), 0);
  EXPECT_EQ(files().unlink(path("b")), -ENOENT);
  std::vector<std::string> names;
  EXPECT_EQ(files().list(dir_.path(), 2, names), 0);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"c", "d"}));
  EXPECT_EQ(files().list(dir_.path(), 1, names), -EOVERFLOW);
}

TEST_P(BothFiles, ALockIsHeldByOneUntilItIsClosed) {
  OpenFile first;
  ASSERT_EQ(open_file(files(), path("lock"), OpenFor::kLocking, first), 0);
  EXPECT_EQ(lock_file(files(), first.get()), 0);
  OpenFile second;
  ASSERT_EQ(open_file(files(), path("lock"), OpenFor::kLocking, second), 0);
  EXPECT_EQ(lock_file(files(), second.get()), -EWOULDBLOCK);
  first = OpenFile();
  EXPECT_EQ(lock_file(files(), second.get()), 0);
}

INSTANTIATE_TEST_SUITE_P(Files, BothFiles, ::testing::Bool(), [](const auto& real) {
  return std::string(real.param ? "real" : "memory");
});

TEST(RealFiles, OpensRegularFilesOnly) {
  const testing::TempDir dir;
  fs::create_directory(dir / "folder");
  dir.write("file", "text");
  fs::create_symlink(dir / "file", dir / "link");
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  OpenFile file;
  EXPECT_EQ(open_file(real_files(), dir / "folder", OpenFor::kReading, file), -EINVAL);
  EXPECT_EQ(open_file(real_files(), dir / "fifo", OpenFor::kReading, file), -EINVAL);
  EXPECT_EQ(open_file(real_files(), dir / "link", OpenFor::kReading, file), -ELOOP);
  EXPECT_EQ(real_files().make_directory(dir / "folder"), 0) << "it is there";
  EXPECT_EQ(real_files().make_directory(dir / "no/parent"), -ENOENT);
}

TEST(Files, InterruptionsAndShortCallsAreGoneOnWith) {
  CrashFiles files(1);
  OpenFile file;
  ASSERT_EQ(open_file(files, "a", OpenFor::kCreating, file), 0);
  int turn = 0;
  files.set_hook([&](FileCall) {
    ++turn;
    return turn % 3 == 0 ? -EINTR : CrashFiles::kHalf;
  });
  const auto bytes = some(5000);
  EXPECT_EQ(write_at(files, file.get(), bytes, 0), 0);
  std::vector<std::byte> back(5000);
  EXPECT_EQ(read_at(files, file.get(), back, 0), 5000);
  EXPECT_EQ(back, bytes);
  files.set_hook([](FileCall) { return -EINTR; });
  EXPECT_EQ(write_at(files, file.get(), bytes, 0), -EINTR) << "not for ever";
  EXPECT_EQ(read_at(files, file.get(), back, 0), -EINTR);
  EXPECT_EQ(sync_file(files, file.get()), -EINTR);
}

}  // namespace
}  // namespace nacelle::cache
