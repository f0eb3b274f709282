// The file calls that the journal makes, behind an interface: so that tests can fail any of them,
// and cut the power between any two.
//
// As the system calls do, they return what is asked for, or an errno's negative: -ENOSPC. They may
// be interrupted (-EINTR) and read or write less than asked. Calls for different files, and reads,
// writes and syncs of one, may come from two threads at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nacelle::cache {

enum class OpenFor {
  kReading,   // an existing regular file
  kWriting,   // the same, to be written and read
  kCreating,  // one that must not exist yet (-EEXIST), to be written and read
  kLocking,   // made when it is missing
};

class Files {
 public:
  Files() = default;
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  virtual ~Files() = default;

  // A number for the calls below. Never follows a symbolic link; -EINVAL for what is no regular
  // file.
  virtual int open(const std::string& path, OpenFor how) = 0;
  virtual void close(int file) = 0;
  virtual std::int64_t size(int file) = 0;
  virtual std::int64_t pread(int file, std::span<std::byte> into, std::uint64_t offset) = 0;
  virtual std::int64_t pwrite(int file, std::span<const std::byte> bytes, std::uint64_t offset) = 0;
  // Makes the file `size` bytes long, the new ones zero, with room for them on the disk where the
  // file system can promise that.
  virtual int allocate(int file, std::uint64_t size) = 0;
  virtual int truncate(int file, std::uint64_t size) = 0;
  // When it returns 0, the file's bytes and size survive a power cut.
  virtual int sync(int file) = 0;
  // -EWOULDBLOCK while another process has it. Until close() or the process's end.
  virtual int lock(int file) = 0;

  virtual int rename(const std::string& from, const std::string& to) = 0;
  virtual int unlink(const std::string& path) = 0;
  // 0, too, when it is there already. A new one survives a power cut. Makes no parents.
  virtual int make_directory(const std::string& path) = 0;
  // When it returns 0, what was created, renamed and unlinked in it survives a power cut.
  virtual int sync_directory(const std::string& path) = 0;
  // The names in it, in no order; -EOVERFLOW when there are more than `count_max`.
  virtual int list(const std::string& path, std::size_t count_max,
                   std::vector<std::string>& names) = 0;

  // Fills `into` with bytes that nobody can guess.
  virtual int random(std::span<std::byte> into) = 0;
};

// This machine's files.
Files& real_files();

// A file with one owner.
class OpenFile {
 public:
  OpenFile() = default;
  OpenFile(Files& files, int file) : files_(&files), file_(file) {}
  OpenFile(OpenFile&& other) noexcept
      : files_(other.files_), file_(std::exchange(other.file_, -1)) {}
  OpenFile& operator=(OpenFile&& other) noexcept {
    std::swap(files_, other.files_);
    std::swap(file_, other.file_);
    return *this;
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (file_ >= 0) files_->close(file_);
  }
  [[nodiscard]] int get() const { return file_; }
  explicit operator bool() const { return file_ >= 0; }

 private:
  Files* files_ = nullptr;
  int file_ = -1;
};

// The calls that are interrupted or come back short, gone on with. An errno's negative when that
// fails, or when it never comes to an end.
int open_file(Files& files, const std::string& path, OpenFor how, OpenFile& out);
// How many bytes were read: fewer than asked at the end of the file only.
std::int64_t read_at(Files& files, int file, std::span<std::byte> into, std::uint64_t offset);
int write_at(Files& files, int file, std::span<const std::byte> bytes, std::uint64_t offset);
int allocate_file(Files& files, int file, std::uint64_t size);
int sync_file(Files& files, int file);
int lock_file(Files& files, int file);

}  // namespace nacelle::cache
