// Files that are there, that are not, and that are not files.
#include "sidecar/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>

#include "tests/support/temp_dir.h"

namespace nacelle::base {
namespace {

using nacelle::testing::TempDir;
using ::testing::HasSubstr;

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(File, AMappedFileShowsItsBytes) {
  const TempDir dir;
  Result<MappedFile> file = MappedFile::open(dir.write("a", "some bytes"));
  ASSERT_TRUE(file);
  const MappedFile moved = *std::move(file);
  EXPECT_EQ(text_of(moved), "some bytes");
}

TEST(File, AnEmptyFileIsNoBytes) {
  const TempDir dir;
  const Result<MappedFile> file = MappedFile::open(dir.write("a", ""));
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->bytes().empty());
}

TEST(File, AMissingFileIsNamed) {
  const Result<MappedFile> file = MappedFile::open("/no/such/file");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Code::kNotFound);
  EXPECT_THAT(file.error().message, HasSubstr("/no/such/file"));
  EXPECT_THAT(file.error().message, HasSubstr("ENOENT"));
}

// Opening a pipe without a writer would hang for ever.
TEST(File, FoldersAndPipesAreRefusedAtOnce) {
  const TempDir dir;
  const std::string pipe = dir / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {dir.path(), pipe}) {
    const Result<MappedFile> file = MappedFile::open(path);
    ASSERT_FALSE(file) << path;
    EXPECT_EQ(file.error().code, Code::kInvalid);
    EXPECT_THAT(file.error().message, HasSubstr("not a regular file"));
  }
}

TEST(File, ReadingStopsAtTheLimit) {
  const TempDir dir;
  const std::string path = dir.write("a", "12345");
  EXPECT_EQ(*read_file(path, 5), "12345");
  const Result<std::string> text = read_file(path, 4);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, Code::kTooLarge);
  EXPECT_THAT(text.error().message, HasSubstr("5 bytes; the limit is 4"));
}

}  // namespace
}  // namespace nacelle::base
