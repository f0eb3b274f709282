// A file system in memory that loses its power: Files for the journal's tests.
//
// It knows for each file and for the directory what was synced and what was done since. crash()
// makes what a disk may hold after a power cut: of what was not synced any part, in any order,
// sector by sector, torn, or garbage in its place. What was synced is safe, unless its sector was
// written again.
//
// Before each call a hook is asked, which may look at the state, and may let the call fail.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "sidecar/cache/files.h"

namespace nacelle::cache {

enum class FileCall {
  kOpen,
  kSize,
  kPread,
  kPwrite,
  kAllocate,
  kTruncate,
  kSync,
  kLock,
  kRename,
  kUnlink,
  kMakeDirectory,
  kSyncDirectory,
  kList,
  kRandom
};

class CrashFiles : public Files {
 public:
  using Bytes = std::vector<std::byte>;
  // What the hook answers: go on, an errno's negative, or do half of a read or write.
  static constexpr int kHalf = 1;
  using Hook = std::function<int(FileCall call)>;

  explicit CrashFiles(std::uint64_t seed) : random_(seed) {}

  void set_hook(Hook hook) { hook_ = std::move(hook); }
  [[nodiscard]] std::uint64_t calls() const { return calls_; }
  // Of the file that this call, or the last one that did, removes.
  [[nodiscard]] const std::string& unlinked() const { return unlinked_; }

  // What is there after a power cut now. Nothing is locked or open.
  [[nodiscard]] std::unique_ptr<CrashFiles> crash(std::uint64_t seed,
                                                  std::size_t sector_bytes) const;
  // The same after a kill -9: all that was written.
  [[nodiscard]] std::unique_ptr<CrashFiles> reopened(std::uint64_t seed) const;

  // Files by their whole path, as they are now.
  [[nodiscard]] std::vector<std::string> paths() const;
  [[nodiscard]] const Bytes& content(const std::string& path) const;
  void put(const std::string& path, Bytes content);  // synced
  // Of all files together.
  [[nodiscard]] std::uint64_t bytes() const;

  int open(const std::string& path, OpenFor how) override;
  void close(int file) override;
  std::int64_t size(int file) override;
  std::int64_t pread(int file, std::span<std::byte> into, std::uint64_t offset) override;
  std::int64_t pwrite(int file, std::span<const std::byte> bytes, std::uint64_t offset) override;
  int allocate(int file, std::uint64_t size) override;
  int truncate(int file, std::uint64_t size) override;
  int sync(int file) override;
  int lock(int file) override;
  int rename(const std::string& from, const std::string& to) override;
  int unlink(const std::string& path) override;
  int make_directory(const std::string& path) override;
  int sync_directory(const std::string& path) override;
  int list(const std::string& path, std::size_t count_max,
           std::vector<std::string>& names) override;
  int random(std::span<std::byte> into) override;

 private:
  struct Change {
    bool resizes = false;  // else it writes
    std::uint64_t at = 0;  // the offset, or the new size
    Bytes bytes;
  };
  struct Inode {
    Bytes now;
    Bytes durable;
    std::vector<Change> unsynced;
    bool locked = false;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  struct NameChange {
    std::string from;  // removed, unless it is ""
    std::string to;    // added, unless it is ""
    std::shared_ptr<Inode> inode;
  };
  static void apply(const Change& change, Bytes& bytes);
  static void apply(const NameChange& change, Names& names);
  Bytes after_power_cut(const Inode& inode, std::mt19937_64& random,
                        std::size_t sector_bytes) const;
  Names names_after_power_cut(std::mt19937_64& random) const;
  int before(FileCall call);
  void resize(Inode& inode, std::uint64_t size);

  std::mt19937_64 random_;
  Hook hook_;
  std::uint64_t calls_ = 0;
  Names names_;
  Names durable_names_;
  std::vector<NameChange> unsynced_names_;
  std::map<int, std::shared_ptr<Inode>> open_;
  std::vector<Bytes> buried_;  // of files that are gone: their blocks may show up in new ones
  std::string unlinked_;
  int next_file_ = 3;
};

}  // namespace nacelle::cache
