#include "sidecar/cache/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>

namespace nacelle::cache {
namespace {

// A call that is interrupted is tried this often: signals come and go.
constexpr int kTriesMax = 100;

int outcome(int result) { return result < 0 ? -errno : result; }

class RealFiles final : public Files {
 public:
  int open(const std::string& path, OpenFor how) override {
    // Without O_NONBLOCK a FIFO in the place of a file would be waited for.
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
    if (how == OpenFor::kReading) flags |= O_RDONLY;
    if (how == OpenFor::kWriting) flags |= O_RDWR;
    if (how == OpenFor::kCreating) flags |= O_RDWR | O_CREAT | O_EXCL;
    if (how == OpenFor::kLocking) flags |= O_RDWR | O_CREAT;
    const int file = ::open(path.c_str(), flags, 0600);
    if (file < 0) return -errno;
    struct stat status {};
    if (::fstat(file, &status) == 0 && S_ISREG(status.st_mode)) return file;
    ::close(file);
    return -EINVAL;
  }
  void close(int file) override { ::close(file); }
  std::int64_t size(int file) override {
    struct stat status {};
    return ::fstat(file, &status) == 0 ? static_cast<std::int64_t>(status.st_size) : -errno;
  }
  std::int64_t pread(int file, std::span<std::byte> into, std::uint64_t offset) override {
    const ssize_t count = ::pread(file, into.data(), into.size(), static_cast<off_t>(offset));
    return count < 0 ? -errno : count;
  }
  std::int64_t pwrite(int file, std::span<const std::byte> bytes, std::uint64_t offset) override {
    const ssize_t count = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    return count < 0 ? -errno : count;
  }
  int allocate(int file, std::uint64_t size) override {
    const auto length = static_cast<off_t>(size);
    if (::fallocate(file, 0, 0, length) == 0) return 0;
    // A file system that cannot promise room: then a write may find none.
    if (errno == EOPNOTSUPP) return outcome(::ftruncate(file, length));
    return -errno;
  }
  int truncate(int file, std::uint64_t size) override {
    return outcome(::ftruncate(file, static_cast<off_t>(size)));
  }
  int sync(int file) override { return outcome(::fdatasync(file)); }
  int lock(int file) override { return outcome(::flock(file, LOCK_EX | LOCK_NB)); }

  int rename(const std::string& from, const std::string& to) override {
    return outcome(::rename(from.c_str(), to.c_str()));
  }
  int unlink(const std::string& path) override { return outcome(::unlink(path.c_str())); }
  int make_directory(const std::string& path) override {
    if (::mkdir(path.c_str(), 0700) != 0) return errno == EEXIST ? 0 : -errno;
    // Else a power cut might take it away with all that is in it.
    const std::string parent = std::filesystem::path(path).parent_path().string();
    return sync_directory(parent.empty() ? "." : parent);
  }
  int sync_directory(const std::string& path) override {
    const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return -errno;
    const int result = outcome(::fsync(directory));
    ::close(directory);
    return result;
  }
  int list(const std::string& path, std::size_t count_max,
           std::vector<std::string>& names) override {
    names.clear();
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
    if (directory == nullptr) return -errno;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(directory.get());
      if (entry == nullptr) return -errno;
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (names.size() == count_max) return -EOVERFLOW;
      names.push_back(name);
    }
  }
  int random(std::span<std::byte> into) override {
    return ::getentropy(into.data(), into.size()) == 0 ? 0 : -errno;
  }
};

// Calls until the answer is not -EINTR.
template <typename Call>
int uninterrupted(const Call& call) {
  int result = -EINTR;
  for (int i = 0; i < kTriesMax && result == -EINTR; ++i) result = call();
  return result;
}

// Calls with what is left of `size` until nothing is, or the file ends.
template <typename Call>
std::int64_t whole(std::size_t size, const Call& call) {
  std::size_t done = 0;
  int interruptions = 0;
  while (done < size) {
    const std::int64_t count = call(done);
    if (count == -EINTR && ++interruptions < kTriesMax) continue;
    if (count < 0) return count;
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return static_cast<std::int64_t>(done);
}

}  // namespace

Files& real_files() {
  static RealFiles files;
  return files;
}

int open_file(Files& files, const std::string& path, OpenFor how, OpenFile& out) {
  const int file = uninterrupted([&] { return files.open(path, how); });
  if (file < 0) return file;
  out = OpenFile(files, file);
  return 0;
}

std::int64_t read_at(Files& files, int file, std::span<std::byte> into, std::uint64_t offset) {
  return whole(into.size(), [&](std::size_t done) {
    return files.pread(file, into.subspan(done), offset + done);
  });
}

int write_at(Files& files, int file, std::span<const std::byte> bytes, std::uint64_t offset) {
  const std::int64_t count = whole(bytes.size(), [&](std::size_t done) {
    return files.pwrite(file, bytes.subspan(done), offset + done);
  });
  if (count < 0) return static_cast<int>(count);
  return count == static_cast<std::int64_t>(bytes.size()) ? 0 : -EIO;
}

int allocate_file(Files& files, int file, std::uint64_t size) {
  return uninterrupted([&] { return files.allocate(file, size); });
}

int sync_file(Files& files, int file) {
  return uninterrupted([&] { return files.sync(file); });
}

int lock_file(Files& files, int file) {
  return uninterrupted([&] { return files.lock(file); });
}

}  // namespace nacelle::cache
